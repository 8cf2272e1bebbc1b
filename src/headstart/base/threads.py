"""Threads of the library that multiplies matrices for numpy."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from threading import Lock
from types import TracebackType
from typing import Any


class OneThreadAProduct:
    """Inside this context matrices are multiplied on the calling thread alone: for callers that keep the cores busy.

    The library's own threads wait for each other by spinning: on a core that another program wants, too, a small
    product takes a hundred times as long. Threads may be inside at once; the last one out puts back what was.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limited: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limited = _controller().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limited.restore_original_limits()


ONE_THREAD_A_PRODUCT = OneThreadAProduct()
SMALL = 2e9  # multiplications, less than a tenth of a second; below, threads that wait for each other gain nothing


def threads_for(multiplications: float) -> AbstractContextManager[None]:
    """Return the context in which so much work is best done."""
    return ONE_THREAD_A_PRODUCT if multiplications < SMALL else nullcontext()


@lru_cache(maxsize=1)
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()

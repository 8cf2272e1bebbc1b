"""Threads of the library that multiplies matrices for numpy."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from threading import Lock
from typing import Any

SMALL = 2e9
"""Multiplications that take less than a tenth of a second, where threads that wait for each other gain nothing."""


class OneThreadAProduct:
    """Inside this context matrices are multiplied on the calling thread alone: for callers that keep the cores busy.

    The library's own threads wait for each other by spinning: on a core that another program wants, too, a small
    product takes a hundred times as long. Threads may be inside at once; the last one out puts back what was.
    threadpoolctl sets the threads; its own contexts serve one thread at a time: of two that overlap, the second puts
    back the limit of the first, and from version 3.8 on only one thread may set anything until it gives that right up.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                _release_control()
                self._limiter = _controller().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _release_control()
                self._limiter.restore_original_limits()
                _release_control()


ONE_THREAD_A_PRODUCT = OneThreadAProduct()


def threads_for(multiplications: float) -> AbstractContextManager[None]:
    """Return the context in which so much work is best done."""
    return ONE_THREAD_A_PRODUCT if multiplications < SMALL else nullcontext()


@lru_cache(maxsize=1)
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def _release_control() -> None:
    """Let this thread set the number of threads, whichever thread set it last."""
    for library in _controller().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)

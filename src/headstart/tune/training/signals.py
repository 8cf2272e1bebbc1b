"""Ctrl-C and SIGTERM as a request that a loop looks at, so that what it was doing is saved before it stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TERMINATED = 143


class Terminated(SystemExit):
    """The end of a process that was asked to stop by SIGTERM, with the exit code that says so."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


class StopRequest:
    """Whether the process was asked to stop, and by which signal."""

    def __init__(self) -> None:
        self._signal: int | None = None

    def requested(self) -> bool:
        """Return whether a signal has come: then save, and leave."""
        return self._signal is not None

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Ignore the signals that are held back, so that what the block saves is not cut short."""
        held_back = [number for number in SIGNALS if signal.getsignal(number) == self._request]
        for number in held_back:
            signal.signal(number, signal.SIG_IGN)
        try:
            yield
        finally:
            for number in held_back:
                signal.signal(number, self._request)

    def raise_(self) -> None:
        """Raise KeyboardInterrupt for SIGINT (Ctrl-C), Terminated for SIGTERM, and nothing where none has come."""
        if self._signal == signal.SIGTERM:
            raise Terminated
        if self._signal is not None:
            raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._signal is None:
            self._signal = number


@contextmanager
def interruptible() -> Iterator[StopRequest]:
    """Hold Ctrl-C and SIGTERM back while the block runs, for the block to look at.

    The first signal is kept; another one changes nothing. Where the command line ends soon after Ctrl-C whatever
    computes, it waits for what is saved inside `StopRequest.saving`. When the block ends of
    itself, a signal that it did not act on is raised after all. Outside the main thread, where Python delivers no
    signals, nothing is held back; nor is a signal that the process was started to ignore (`nohup`).
    """
    stop = StopRequest()
    before: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    before[number] = signal.signal(number, stop._request)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    stop.raise_()

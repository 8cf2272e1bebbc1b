"""Connections that cannot be held open: one that has no whole header in time, or does not read its answer, is ended.

uvicorn itself waits for a header for ever, and drops at its end what it has not read yet.
"""

from __future__ import annotations

import asyncio
import errno
import select
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from headstart.base.errors import UsageError

HEADER_SECONDS = 6.0
LOOKS = 8  # at a connection, before its client has waited for too long
A_MOMENT, PAUSE = 0.25, 0.002  # seconds
LAST_CALL = 0.3  # seconds in which a request that is on its way at the end is still heard
AT_ONCE = 16  # connections that are read from before the loop goes on with everything else
MAX_PORT = 65_535
BACKLOG = 2048  # connections that the system keeps until they are accepted


class WatchedProtocol(H11Protocol):
    """A connection whose client has to go on."""

    patience = HEADER_SECONDS
    """Seconds in which a whole header must have come, and a client must have read some of what was sent."""
    _since = 0.0  # when it began to wait for a header, or for its answer to be read
    _unread = 0  # bytes that the client had not read when it was looked at
    _check: asyncio.TimerHandle | None = None
    _refused = False  # whether what came was no HTTP
    heard = False
    """Whether anything has come over it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._since = time.monotonic()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no longer."""
        if self._check is not None:
            self._check.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self.heard = True
        if not self._refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and drop the rest of it for a moment, so that its sender comes to read the answer."""
        self._refused = True
        body = b'{"error": "a request must be HTTP/1.1, with a header of 64 kB at most"}\n'
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        self.transport.write_eof()
        self.loop.call_later(A_MOMENT, self.transport.close)

    def is_new(self) -> bool:
        """Return whether it was accepted a moment ago and has said nothing yet."""
        return not self.heard and time.monotonic() - self._since < A_MOMENT and not self.transport.is_closing()

    def _has_more(self) -> bool:
        """Return whether something has come that was not read yet, since there is so much else to do."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _look_later(self) -> None:
        self._check = self.loop.call_later(self.patience / LOOKS, self._look)

    def _look(self) -> None:
        """End the connection where its client has waited for too long."""
        now, unread = time.monotonic(), self.transport.get_write_buffer_size()
        answering = self.cycle is not None and not self.cycle.response_complete
        if (unread and unread < self._unread) or (answering and not unread):
            self._since = now
        self._unread = unread
        if now - self._since > self.patience and not self._has_more():
            self.transport.abort()
        else:
            self._look_later()

    def on_response_complete(self) -> None:
        """Wait for the next header from here on."""
        self._since = time.monotonic()
        super().on_response_complete()

    def shutdown(self) -> None:
        """Answer what is under way, and what comes in a moment, and close then."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_CALL, self._close_idle)
        else:
            super().shutdown()

    def _close_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()


class FewAtOnce(selectors.DefaultSelector):
    """What tells the loop which connections have something to read: few, and the same ones until they are read.

    The loop would read from a thousand connections before it goes one step on with an answer, which takes several.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, `AT_ONCE` at most."""
        return super().select(timeout)[:AT_ONCE]


class Server(uvicorn.Server):
    """A server that ends with what was accepted answered, and without a signal of its own."""

    stopped_by = 0
    """The signal that ended it."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, *, patience: float = HEADER_SECONDS) -> None:
        super().__init__(config)
        self._listener, self._patience = listener, patience
        self._new: deque[WatchedProtocol] = deque()
        self._taking: set[asyncio.Task[None]] = set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until a signal comes."""
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(FewAtOnce())) as runner:
            runner.run(self.serve())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await super().startup(sockets=[])
        self._resume()

    def _resume(self) -> None:
        if not self.should_exit:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Accept one connection, unless many are new: asyncio itself accepts all that wait in a row."""
        while self._new and not self._new[0].is_new():
            self._new.popleft()
        if len(self._new) + len(self._taking) < AT_ONCE and self._accept_one():
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        loop.call_later(PAUSE, self._resume)

    def _accept_one(self) -> bool:
        """Accept a connection, and return whether one was waiting."""
        try:
            connection, _ = self._listener.accept()
        except OSError:  # none is waiting any more, or no file is free
            return False
        connection.settimeout(0.0)
        task = asyncio.get_running_loop().create_task(self._take(connection))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)
        return True

    async def _take(self, connection: socket.socket) -> None:
        loop, config = asyncio.get_running_loop(), self.config

        def protocol() -> WatchedProtocol:
            state = self.lifespan.state
            made = WatchedProtocol(config=config, server_state=self.server_state, app_state=state, _loop=loop)
            made.patience = self._patience
            return made

        try:
            self._new.append((await loop.connect_accepted_socket(protocol, connection))[1])
        except OSError:
            connection.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what waits in the queue of the system, and no more; answer all that was accepted."""
        asyncio.get_running_loop().remove_reader(self._listener)
        while self._accept_one():
            pass
        await asyncio.gather(*self._taking)
        self._listener.close()
        await super().shutdown(sockets=[])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End gracefully at SIGTERM and SIGINT; a second one changes nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # which holds the end of the process back: see `cli.app`
        self.stopped_by, self.should_exit = number, True


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address. UsageError: it is taken, or none of this machine."""
    if port > MAX_PORT:
        raise UsageError(f"--port must be at most {MAX_PORT}", port, "give another")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        remedy = "stop what listens there, or give another --port" if taken else "give another --host or --port"
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{host}:{port} must be free to listen on", reason, remedy) from error
    listener.settimeout(0.0)
    return listener


def allow_many_files() -> None:
    """Let this process hold as many connections as the system lets it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 16)), hard))

"""What stands before every request: who may ask, what is logged and counted, and how a refused body is got rid of."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import urlsplit

from headstart.base.errors import one_line
from headstart.base.log import without_secrets
from headstart.serving.metrics import Metrics
from headstart.serving.payload import Message, Receive, RequestError

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
OPEN = ("/", "/healthz", "/readyz")
"""What needs no token: it says nothing of the models."""
PREDICT = "/v1/predict"
LINGER = 2.0
"""Seconds in which the rest of a refused body is read and dropped, so that its sender comes to read the answer."""
SLOW = 408
WRITING = 20.0  # seconds that a client may take to read an answer
HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class JsonLog:
    """Lines of JSON about requests and bundles: never what was sent, nor what it was called."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def __call__(self, event: str, *, level: str = "info", **values: Any) -> None:
        """Write one line."""
        shown = {name: without_secrets(value) if name == "reason" else value for name, value in values.items()}
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event, **shown}
        print(json.dumps(line), file=self._stream or sys.stderr, flush=True)


class JsonHandler(logging.Handler):
    """What a library logs, as lines of the same kind."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        JsonLog()(record.name, level=record.levelname.lower(), reason=one_line(record.getMessage()))


class Guard:
    """An ASGI application in front of another.

    Args:
        app: what answers.
        token: what a request must carry as `Authorization: Bearer`; None for none.
        is_full: whether a request to classify would be refused now, before its body is read.
        hosts: the names, without a port, that the header Host may hold; empty for any.
        paths: those that are counted under their own name.
        log: is told of each answer.
    """

    def __init__(
        self,
        app: App,
        *,
        token: str | None,
        hosts: tuple[str, ...],
        is_full: Callable[[], bool],
        paths: tuple[str, ...],
        metrics: Metrics,
        log: JsonLog,
    ) -> None:
        self._app, self._token, self._hosts, self._paths = app, token, hosts, paths
        self._is_full, self._metrics, self._log = is_full, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        start, level = time.perf_counter(), "info"
        try:
            self._check(scope, exchange.headers)
            if scope["path"] == PREDICT and self._is_full():
                raise RequestError(503, "too much is waiting: try again", {"Retry-After": "1"})
            await self._app(scope, exchange.receive, exchange.send)
        except RequestError as error:
            await exchange.refuse(error)
        except Exception as error:  # noqa: BLE001 - one request must not end the server, nor go without an answer
            level = "error"
            self._log("request failed", level=level, reason=one_line(f"{type(error).__name__}: {error}"))
            if not exchange.status:
                await exchange.refuse(RequestError(503, "this request could not be answered", {"Retry-After": "1"}))
        seconds = time.perf_counter() - start
        path = scope["path"] if scope["path"] in self._paths else "other"
        self._metrics.requests.labels(path, str(exchange.status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        self._log(
            "request",
            level=level,
            method=one_line(scope["method"], 20),
            path=one_line(scope["path"], 100),
            status=exchange.status,
            seconds=round(seconds, 4),
            received=exchange.received,
            client=(scope.get("client") or ("",))[0],
            **exchange.noted,
        )

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Raise RequestError unless this request may be answered."""
        host = headers.get("host", "")
        if self._hosts and _without_port(host) not in self._hosts:
            raise RequestError(403, f"the header Host must name this server; found {host!r}")
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != host
        if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise RequestError(
                403, f"a page of another site must not ask this server; found {origin or 'such a page'!r}"
            )
        if self._token is not None and scope["path"] not in OPEN:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
                raise RequestError(401, "a request must carry the token of this server", {"WWW-Authenticate": "Bearer"})


class _Exchange:
    """One request and its answer on their way: what is still to come of the one, what has gone out of the other."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.status, self.received = 0, 0
        self.noted: dict[str, Any] = scope.setdefault("state", {}).setdefault("noted", {})
        states = self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers
        self._more, self._gone = states, False

    async def receive(self) -> Message:
        """Return the next message of the client."""
        message = await self._receive()
        self.received += len(message.get("body", b""))
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        self._gone = message["type"] == "http.disconnect"
        return message

    async def send(self, message: Message) -> None:
        """Send a message; the last one of a refused body only when its rest was read, or took too long."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in present),
                *([(b"connection", b"close")] if self._more else []),
            ]
        elif self._more and not message.get("more_body", False):
            await self._write({**message, "more_body": True})
            if self.status != SLOW:
                await self._drop_rest()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._write(message)

    async def _write(self, message: Message) -> None:
        await asyncio.wait_for(self._send(message), WRITING)

    async def _drop_rest(self) -> None:
        try:
            async with asyncio.timeout(LINGER):
                while self._more and not self._gone:
                    await self.receive()
        except TimeoutError:
            self._more = False

    async def refuse(self, error: RequestError) -> None:
        """Answer with a status and the reason, as one line of JSON."""
        body = json.dumps({"error": error.reason}).encode() + b"\n"
        headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
        pairs = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()

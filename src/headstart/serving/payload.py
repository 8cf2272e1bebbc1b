"""The body of a request: read as it comes, never past the limits, into the bytes and texts to classify.

Nothing in it is a path, an address or code: a name is only given back, and what is to be classified stands in the body
itself.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from headstart.base.errors import did_you_mean, list_some, one_line
from headstart.base.hashing import foreign_json

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

RAW = ("image/", "audio/", "application/octet-stream")
"""Content types of a body that is the bytes of one file."""
PATIENCE = 6.0
"""Seconds after which a body must have begun to come; from then on it must have come as fast as `SLOWEST`."""
SLOWEST = 1 << 16  # bytes a second
MAX_HEADER = 4096  # bytes of a header of one part
MAX_NAME = 200  # characters of a name that is given back
ITEM_KEYS = ("name", "text", "data")
BODY_KEYS = ("model", "items", "every_class")


class RequestError(Exception):
    """A request that cannot be answered: the status, and the reason as a sentence."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, one_line(reason), headers or {}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold, and what the bodies of all requests may hold together."""

    body: int  # bytes
    items: int
    all_bodies: int  # bytes
    patience: float = PATIENCE  # seconds


@dataclass
class Payload:
    """What a request asks for."""

    items: list[tuple[str, bytes | str]] = field(default_factory=list)  # name, and the bytes of a file, or a text
    model: str | None = None  # None for the first
    every_class: bool = False

    def add(self, name: str, item: bytes | str, limits: Limits) -> None:
        """Add an item. RequestError: there are too many."""
        if len(self.items) >= limits.items:
            raise RequestError(413, f"a request may hold {limits.items:,} items: send more in further requests")
        self.items.append((name[:MAX_NAME] or f"item {len(self.items)}", item))


class Bodies:
    """The bytes of bodies that are in memory, of all requests together."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.held = limits, 0

    async def chunks(self, receive: Receive, stated: str | None) -> AsyncIterator[bytes]:
        """Yield a body as it comes.

        Args:
            receive: as ASGI has it.
            stated: the length in the header; None where there is none.

        Raises:
            RequestError: it is too large, comes too slowly, or all bodies together are too large.
        """
        limit, start, received = self.limits.body, time.monotonic(), 0
        if stated is not None and (not stated.isascii() or not stated.isdigit() or int(stated) > limit):
            raise too_large(limit)
        try:
            more = True
            while more:
                left = start + self.limits.patience + received / SLOWEST - time.monotonic()
                try:
                    message = await asyncio.wait_for(receive(), max(0.0, left))
                except TimeoutError:
                    raise RequestError(408, f"the body came too slowly: {received:,} bytes so far") from None
                if message["type"] != "http.request":
                    raise RequestError(400, "the connection ended before the body did")
                body, more = message.get("body", b""), message.get("more_body", False)
                received += len(body)
                self.held += len(body)
                if received > limit:
                    raise too_large(limit)
                if self.held > self.limits.all_bodies:
                    raise RequestError(503, "too many bodies are in memory: try again", {"Retry-After": "1"})
                yield body
        finally:
            self.held -= received

    async def payload(self, receive: Receive, headers: dict[str, str]) -> Payload:
        """Return what a request asks for. RequestError: its body is none that we read; the reason says why."""
        kind, _, _ = headers.get("content-type", "").partition(";")
        kind, stated = kind.strip().lower(), headers.get("content-length")
        payload = Payload()
        if kind == "multipart/form-data":
            form = _Form(headers["content-type"], payload, self.limits)
            async for chunk in self.chunks(receive, stated):
                form.write(chunk)
            form.finish()
        elif kind in ("application/json", "text/plain") or kind.startswith(RAW):
            data = b"".join([chunk async for chunk in self.chunks(receive, stated)])
            if kind == "application/json":
                _read_json(data, payload, self.limits)
            else:
                payload.add("", data, self.limits)
        else:
            what = f"not {one_line(kind, 80)!r}" if kind else "and none was stated"
            raise RequestError(
                415, f"the content type must be multipart/form-data, application/json, image/… or audio/…, {what}"
            )
        if not payload.items:
            raise RequestError(400, "a request must hold something to classify: a part `file` or `text`, or `items`")
        return payload


def too_large(limit: int) -> RequestError:
    """Return the refusal of a body."""
    return RequestError(413, f"a body may hold {limit:,} bytes: send less in one request")


class _Form:
    """A multipart form, parsed as it comes: parts `file` and `text`, several of each, `model` and `every_class`."""

    def __init__(self, content_type: str, payload: Payload, limits: Limits) -> None:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser, parse_options_header

        self._payload, self._limits, self._error = payload, limits, FormParserError
        self._options = parse_options_header
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise RequestError(400, "a multipart form must state its boundary in the content type")
        self._header, self._value, self._headers = bytearray(), bytearray(), dict[bytes, bytes]()
        self._part, self._parts, self._ended = bytearray(), 0, False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._grow(self._header, data[start:end]),
            "on_header_value": lambda data, start, end: self._grow(self._value, data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._part.extend(memoryview(data)[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks, max_header_size=MAX_HEADER)
        except FormParserError as error:
            raise RequestError(400, f"the form must be multipart/form-data: {error}") from error

    def write(self, chunk: bytes) -> None:
        """Parse some more; RequestError where it is no form."""
        try:
            self._parser.write(chunk)
        except self._error as error:
            raise RequestError(400, f"the form must be multipart/form-data: {error}") from error

    def finish(self) -> None:
        """Raise RequestError unless the form came to its end."""
        if not self._ended:
            raise RequestError(400, "the form must end with its boundary, and it was cut off before")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._limits.items + len(BODY_KEYS):
            raise RequestError(413, f"a form may hold {self._limits.items:,} items: send more in further requests")
        self._headers.clear()
        self._part = bytearray()

    def _grow(self, buffer: bytearray, more: bytes) -> None:
        buffer.extend(more)
        if len(buffer) > MAX_HEADER:
            raise RequestError(400, f"a header of a part may hold {MAX_HEADER:,} bytes")

    def _end_header(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end(self) -> None:
        self._ended = True

    def _end_part(self) -> None:
        _, options = self._options(self._headers.get(b"content-disposition"))
        name, data = _text(options.get(b"name", b""), "a name"), bytes(self._part)
        if name == "text":
            self._payload.add("", _text(data, "a text"), self._limits)
        elif name == "file" or b"filename" in options:
            self._payload.add(options.get(b"filename", b"").decode("utf-8", "replace"), data, self._limits)
        elif name == "model":
            self._payload.model = _text(data, "the name of a model")
        elif name == "every_class":
            self._payload.every_class = _text(data, "every_class").lower() in ("1", "true", "on", "yes")
        else:
            raise _unknown(name, ("file", "text", "model", "every_class"))


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(400, f"{what} must be in UTF-8; byte {error.start:,} is not") from error


def _unknown(name: str, known: tuple[str, ...]) -> RequestError:
    more = did_you_mean(name, known)
    if name in ("url", "uri", "path", "href"):
        more = ": no file and no address is read for a request, so send the bytes themselves"
    return RequestError(400, f"fields must be among {', '.join(known)}; found {one_line(name, 80)!r}{more}")


def _read_json(data: bytes, payload: Payload, limits: Limits) -> None:
    """Read `{"model": …, "items": [{"name": …, "data": base64} or {"text": …}], "every_class": …}`."""
    try:
        content = foreign_json(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body must be JSON: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(400, "the body must be a JSON object with `items`")
    items = content.get("items", [])
    _check_keys(content, BODY_KEYS)
    model, every_class = content.get("model"), content.get("every_class", False)
    if not isinstance(items, list) or not isinstance(model, str | None) or not isinstance(every_class, bool):
        raise RequestError(400, "`items` must be a list, `model` a text and `every_class` true or false")
    payload.model, payload.every_class = model, every_class
    for item in items:
        if not isinstance(item, dict) or not all(isinstance(value, str) for value in item.values()):
            raise RequestError(400, "an item must be an object of texts: `data` in base64 or `text`, and a `name`")
        _check_keys(item, ITEM_KEYS)
        if ("text" in item) == ("data" in item):
            raise RequestError(400, "an item must hold either `data` in base64 or `text`")
        payload.add(item.get("name", ""), item["text"] if "text" in item else _decoded(item["data"]), limits)


def _check_keys(content: dict[str, Any], known: tuple[str, ...]) -> None:
    if odd := sorted(content.keys() - set(known)):
        raise _unknown(odd[0], known)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, f"`data` must be base64: {error}") from error


def reasons(failed: list[tuple[str, str]]) -> str:
    """Return why items cannot be used, as one sentence."""
    return list_some([f"{name}: {reason}" for name, reason in failed], separator="; ")

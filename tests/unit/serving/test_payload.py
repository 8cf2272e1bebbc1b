"""The body of a request becomes items, or is refused with its reason; nothing in it is a path or an address."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hostile_requests import FORM, part

from headstart.serving.payload import Bodies, Limits, Payload, RequestError, reasons

LIMITS = Limits(body=1000, items=3, all_bodies=1500)

pytestmark = pytest.mark.usefixtures("loopback")  # a loop has sockets of its own


def read(body: bytes | Sequence[bytes], kind: str, *, stated: str | None = None, limits: Limits = LIMITS) -> Payload:
    chunks = [body] if isinstance(body, bytes) else list(body)
    messages = [{"type": "http.request", "body": one, "more_body": True} for one in chunks]
    messages[-1]["more_body"] = False

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    headers = {"content-type": kind} | ({} if stated is None else {"content-length": stated})
    return asyncio.run(Bodies(limits).payload(receive, headers))


def refused(*arguments: Any, **options: Any) -> tuple[int, str]:
    with pytest.raises(RequestError) as error:
        read(*arguments, **options)
    return error.value.status, error.value.reason


def test_a_form_in_any_pieces() -> None:
    body = part(b"\xff\xd8one") + part(b"some text", 'form-data; name="text"') + part(b"m", 'form-data; name="model"')
    body += part(b"true", 'form-data; name="every_class"') + b"--b--\r\n"
    for size in (1, 7, len(body)):
        found = read([body[at : at + size] for at in range(0, len(body), size)], FORM)
        assert found == Payload([("a.jpg", b"\xff\xd8one"), ("item 1", "some text")], "m", every_class=True)


def test_json_and_bytes_alone() -> None:
    items = [{"data": base64.b64encode(b"\0\xff").decode(), "name": "x"}, {"text": "y"}]
    body = json.dumps({"items": items, "model": "m", "every_class": True}).encode()
    assert read(body, "application/json; charset=utf-8").items == [("x", b"\0\xff"), ("item 1", "y")]
    assert read(b"\xff\xd8", "image/jpeg").items == [("item 0", b"\xff\xd8")] and read(b"a", "text/plain").model is None


def test_what_is_too_much_is_refused_before_it_is_held__SRV_01__SRV_02() -> None:
    assert refused(b"x", "image/png", stated="1001") == (413, "a body may hold 1,000 bytes: send less in one request")
    assert refused([b"x" * 600, b"x" * 600], "image/png")[0] == 413
    assert refused(b"x", "image/png", stated="1" + "0" * 30)[0] == 413
    assert refused(part(b"x", 'form-data; name="text"') * 4 + b"--b--\r\n", FORM)[0] == 413
    assert refused(json.dumps({"items": [{"text": "x"}] * 4}).encode(), "application/json")[0] == 413
    assert refused(b"x" * 900, "image/png", limits=Limits(1000, 3, 800))[0] == 503


def test_no_address_and_no_path_is_read__SRV_10() -> None:
    for name in ("url", "path"):
        status, reason = refused(json.dumps({"items": [{name: "file:///etc/passwd"}]}).encode(), "application/json")
        assert status == 400 and "send the bytes themselves" in reason
    assert refused(part(b"http://x/", 'form-data; name="url"') + b"--b--\r\n", FORM)[0] == 400
    assert "did you mean 'file'" in refused(part(b"x", 'form-data; name="fiel"') + b"--b--\r\n", FORM)[1]


def test_a_body_that_comes_too_slowly_is_refused() -> None:
    async def never() -> Any:
        await asyncio.sleep(60)

    with pytest.raises(RequestError, match="too slowly: 0 bytes") as error:
        asyncio.run(Bodies(Limits(1000, 3, 1500, patience=0.05)).payload(never, {"content-type": "image/png"}))
    assert error.value.status == 408


def test_a_reason_names_the_first_items() -> None:
    assert reasons([("a", "empty"), ("b", "truncated")]) == "a: empty; b: truncated"

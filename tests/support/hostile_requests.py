"""Requests that no good client sends, as the bytes that go over the wire, by what is wrong with them."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib

FORM = "multipart/form-data; boundary=b"


def raw(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return one request."""
    every = {"Host": "localhost", "Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def part(content: bytes, disposition: str = 'form-data; name="file"; filename="a.jpg"', more: str = "") -> bytes:
    """Return one part of a form, without its end."""
    return f"--b\r\nContent-Disposition: {disposition}\r\n{more}\r\n".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """Return a request with a form of such parts."""
    return raw("POST", "/v1/predict", {"Content-Type": FORM}, b"".join(parts) + b"--b--\r\n")


def as_json(body: object) -> bytes:
    """Return a request with JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return raw("POST", "/v1/predict", {"Content-Type": "application/json"}, data)


def picture(data: bytes) -> bytes:
    """Return a request whose body is a picture, or says so."""
    return raw("POST", "/v1/predict", {"Content-Type": "image/jpeg"}, data)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of a size by its header, of such chunks."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in every
    )


def archive() -> bytes:
    """Return a ZIP."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("../../x", "x")
    return file.getvalue()


def pictures(good: bytes) -> dict[str, bytes]:
    """Return hostile pictures by name."""
    bitmap = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)
    text = zlib.compress(b"\0" * (64 << 20), 9)
    return {
        "cut in half": good[: len(good) // 2],
        "header alone": good[:20],
        "empty": b"",
        "one byte": b"\xff",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "HTML": b"<!doctype html><script>alert(1)</script>",
        "PDF": b"%PDF-1.7\n",
        "ZIP": archive(),
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n(w) file\n",
        "PSD": b"8BPS" + bytes(40),
        "pickle": b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
        "gzip": b"\x1f\x8b\x08" + bytes(20),
        "BMP of 2^62 pixels": bitmap,
        "PNG of 10^10 pixels": png(100_000, 100_000, (b"IDAT", zlib.compress(b"\0"))),
        "PNG without pixels": png(0, 0),
        "PNG with a text bomb": png(8, 8, (b"zTXt", b"a\0\0" + text), (b"IDAT", zlib.compress(bytes(8 * 25)))),
        "PNG with bad pixels": png(64, 64, (b"IDAT", b"\xff" * 100)),
        "GIF of 65535 x 65535": b"GIF89a\xff\xff\xff\xff\x80\0\0"
        + bytes(20)
        + b",\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0\0;",
        "TIFF that points into itself": b"II*\0\x08\0\0\0\x01\0\0\x01\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
        "JPEG of many scans": good[:-2] + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" * 20_000 + b"\xff\xd9",
        "WAV": b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0data\0\0\0\0",
        "random": bytes(range(256)) * 40,
        "text": b"http://169.254.169.254/latest/meta-data",
    }


def bodies(good: bytes) -> dict[str, bytes]:
    """Return requests whose body is none that is read, by name."""
    data = base64.b64encode(good).decode()
    deep = b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    named = 'form-data; name="file"; filename="../../../etc/x%00"'
    return {
        "no content type": raw("POST", "/v1/predict", {}, b"x"),
        "another content type": raw("POST", "/v1/predict", {"Content-Type": "text/html"}, good),
        "no boundary": raw("POST", "/v1/predict", {"Content-Type": "multipart/form-data"}, good),
        "a long boundary": raw("POST", "/v1/predict", {"Content-Type": FORM + "b" * 9000}, good),
        "another boundary": raw("POST", "/v1/predict", {"Content-Type": "multipart/form-data; boundary=c"}, part(good)),
        "a form that ends early": raw("POST", "/v1/predict", {"Content-Type": FORM}, part(good)[:-9]),
        "an empty form": form(),
        "10,000 parts": form(*[part(b"x")] * 10_000),
        "a name of 1 MB": form(part(good, 'form-data; name="' + "n" * (1 << 20) + '"')),
        "10,000 headers": form(part(good, more="X-A: b\r\n" * 10_000)),
        "a part without a disposition": form(b"--b\r\n\r\nx\r\n"),
        "a field that is unknown": form(part(b"x", 'form-data; name="fiel"')),
        "an address in a form": form(part(b"http://169.254.169.254/", 'form-data; name="url"')),
        "a text that is no UTF-8": form(part(b"\xff\xfe\xfa", 'form-data; name="text"')),
        "an unknown model": form(part(b"x"), part(b"../other", 'form-data; name="model"')),
        "a file name that climbs": form(part(b"x", named)),
        "a file name of 10 kB": form(part(b"x", f'form-data; name="file"; filename="{"n" * 10_000}"')),
        "no JSON": as_json(b"{"),
        "deep JSON": as_json(deep),
        "a million values": as_json(b'{"items":[' + b"{}," * 1_000_000 + b"{}]}"),
        "a list": as_json([]),
        "items that are no list": as_json({"items": data}),
        "an item that is no object": as_json({"items": [1]}),
        "an address": as_json({"items": [{"url": "http://169.254.169.254/"}]}),
        "a path": as_json({"items": [{"path": "/etc/passwd"}]}),
        "an address as data": as_json({"items": [{"data": "file:///etc/passwd"}]}),
        "no base64": as_json({"items": [{"data": "%%%%"}]}),
        "both": as_json({"items": [{"data": data, "text": "x"}]}),
        "a text of half a letter": as_json(b'{"items":[{"text":"\\ud800"}]}'),
        "1,000 items": as_json({"items": [{"text": "x"}] * 1000}),
        "an unknown key": as_json({"itmes": []}),
        "NaN": as_json(b'{"items":NaN}'),
    }


def lines(good: bytes) -> dict[str, bytes]:
    """Return requests whose first lines are odd, by name."""
    post = {"Content-Type": "image/jpeg"}
    return {
        "a foreign host": raw("GET", "/v1/models", {"Host": "evil.example"}),
        "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
        "a page of another site": raw("POST", "/v1/predict", post | {"Origin": "https://evil.example"}, good),
        "an origin of null": raw("POST", "/v1/predict", post | {"Origin": "null"}, good),
        "a path that climbs": raw("GET", "/../../etc/passwd", {}),
        "an encoded path that climbs": raw("GET", "/..%2f..%2fetc/passwd", {}),
        "a twice encoded one": raw("GET", "/%252e%252e%252fetc/passwd", {}),
        "a folder of files": raw("GET", "/static//etc/passwd", {}),
        "a path of 60 kB": raw("GET", "/" + "a" * 60_000, {}),
        "a header of 1 MB": raw("GET", "/", {"X-Long": "a" * (1 << 20)}),
        "another method": raw("DELETE", "/v1/predict", {}),
        "a length that is no number": raw("POST", "/v1/predict", post | {"Content-Length": "ten"}, good),
        "a length of 10^30": raw("POST", "/v1/predict", post | {"Content-Length": "1" + "0" * 30}),
        "a length below zero": raw("POST", "/v1/predict", post | {"Content-Length": "-1"}),
        "two lengths": raw("POST", "/v1/predict", post | {"content-length": "5"}, good),
        "no HTTP": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(200),
        "a bad chunk": raw("POST", "/v1/predict", post | {"Transfer-Encoding": "chunked"}, b"zz\r\nx"),
    }


def hostile_requests(good: bytes) -> dict[str, bytes]:
    """Return all of them by name; `good` is a JPEG."""
    as_pictures = {f"picture: {name}": picture(data) for name, data in pictures(good).items()}
    return {**as_pictures, **bodies(good), **lines(good)}

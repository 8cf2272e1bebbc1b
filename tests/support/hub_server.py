"""A Hugging Face hub on loopback: its file protocol, for tests, with every fault that a test asks for.

It takes uploads of one commit. It answers HEAD and GET of /ORG/NAME/resolve/REVISION/FILE as the hub does: settings
directly, under git's name for their bytes; weights through a redirect to another path, under their sha256. What it
cannot catch: the hub's own CDN, Xet storage, and rate limits as they really fall.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

LARGE = (".safetensors", ".bin", ".onnx")


@dataclass
class Fault:
    """What goes wrong, how often, and where.

    Attributes:
        act: answers in the hub's place, given the bytes that were asked for.
        method: HEAD, GET or None for both.
        file: end of the path; empty for every one.
        times: how often it happens.
    """

    act: Callable[[Any, bytes], None]
    method: str | None = None
    file: str = ""
    times: int = 10**6


@dataclass
class Hub:
    """What the server holds, what it must do wrong, and what it was asked."""

    url: str = ""
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    commits: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def add(self, name: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Put `files` on a branch, and return the commit."""
        told = hashlib.sha1(name.encode())
        for file, data in sorted(files.items()):
            told.update(file.encode() + hashlib.sha256(data).digest())
        commit = told.hexdigest()
        self.commits[name, commit] = dict(files)
        self.branches[name, branch] = commit
        return commit

    def fail(self, act: Callable[[Any, bytes], None], **where: Any) -> None:
        """Let `act` answer from now on, where `where` says."""
        self.faults.append(Fault(act, **where))

    def requests(self, method: str = "", file: str = "") -> list[tuple[str, str, dict[str, str]]]:
        """Return what was asked, by method and end of path."""
        return [one for one in self.asked if one[0].startswith(method) and one[1].endswith(file)]


def status(code: int, **headers: str) -> Callable[[Any, bytes], None]:
    """Answer with a status and headers (`X_Error_Code` is written with hyphens)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, data: handler.reply(code, named)


def redirect(url: str) -> Callable[[Any, bytes], None]:
    """Send the asker elsewhere."""
    return lambda handler, data: handler.reply(302, {"Location": url})


def wrong_bytes(handler: Any, data: bytes) -> None:
    """Send as many bytes as there are, and others."""
    handler.reply(200, {}, bytes(byte ^ 1 for byte in data))


def half(*, silence: float = 0.0, part: float = 0.5) -> Callable[[Any, bytes], None]:
    """Send a part of what is asked for, then close; or keep the line open, silent, for so many seconds."""

    def act(handler: Any, data: bytes) -> None:
        start, code, span = handler.span(len(data))
        rest = data[start:]
        handler.send_response(code)
        for name, value in {**span, "Content-Length": str(len(rest))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(rest[: int(len(rest) * part)])
        handler.wfile.flush()
        time.sleep(silence)
        handler.close_connection = True

    return act


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub on a free port of loopback for as long as the block lasts."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._do()

    def do_GET(self) -> None:
        self._do()

    def do_POST(self) -> None:
        """Take an upload: who asks is known by a token, and every file comes in the commit itself."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append((self.command, self.path, dict(self.headers)))
        parts = unquote(self.path).strip("/").split("/")
        said: dict[str, Any] = {}
        if parts[1:] == ["repos", "create"]:
            asked = json.loads(body)
            said = {"url": f"{self.hub.url}/{asked['organization']}/{asked['name']}"}
        elif parts[1:] == ["validate-yaml"]:
            said = {"errors": [], "warnings": []}
        elif parts[4:5] == ["preupload"]:
            asked = json.loads(body)["files"]
            said = {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]}
        elif parts[4:5] == ["commit"]:
            lines = [json.loads(line) for line in body.splitlines()]
            files = {one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in lines[1:]}
            name = "/".join(parts[2:4])
            said = {"commitUrl": f"{self.hub.url}/{name}/commit/x", "commitOid": self.hub.add(name, files)}
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(said).encode())

    def log_message(self, *given: object) -> None:
        pass

    def reply(self, code: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def span(self, size: int) -> tuple[int, int, dict[str, str]]:
        """Return the first byte asked for, the status and the header that belong to it."""
        asked = self.headers.get("Range")
        if not asked:
            return 0, 200, {}
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        return start, 206, {"Content-Range": f"bytes {start}-{size - 1}/{size}"}

    def _do(self) -> None:
        self.hub.asked.append((self.command, self.path, dict(self.headers)))
        path = unquote(self.path)
        code, headers, data = self._held(path)
        for fault in self.hub.faults:
            if fault.times and fault.method in (None, self.command) and path.endswith(fault.file):
                fault.times -= 1
                fault.act(self, data)
                return
        if code != 200:
            self.reply(code, headers)
            return
        start, code, span = self.span(len(data))
        self.reply(code, {**headers, **span, "Content-Length": str(len(data) - start)}, data[start:])

    def _held(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and bytes of what lies at `path`."""
        if path == "/api/whoami-v2":
            known = "Authorization" in self.headers
            return 200 if known else 401, {}, b'{"name": "somebody", "type": "user"}'
        if path.startswith("/cdn/"):
            _, _, org, name, commit, file = path.split("/", 5)
            return 200, {}, self.hub.commits[f"{org}/{name}", commit][file]
        if path.count("/") < 4 or path.split("/")[3] != "resolve":
            return 404, {}, b""
        org, name, _, rest = path.removeprefix("/").split("/", 3)
        repo = f"{org}/{name}"
        known = {commit: commit for held, commit in self.hub.commits if held == repo}
        known |= {branch: commit for (held, branch), commit in self.hub.branches.items() if held == repo}
        if not known:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        revision = next((one for one in sorted(known, key=len, reverse=True) if rest.startswith(f"{one}/")), None)
        if revision is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        commit, file = known[revision], rest.removeprefix(f"{revision}/")
        files = self.hub.commits[repo, commit]
        if file not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        data, told = files[file], {"X-Repo-Commit": commit}
        if file.endswith(LARGE):
            told |= {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
            return 302, {**told, "Location": f"{self.hub.url}/cdn/{repo}/{commit}/{file}"}, data
        return 200, {**told, "ETag": f'"{hashlib.sha1(b"blob %d" % len(data) + bytes(1) + data).hexdigest()}"'}, data

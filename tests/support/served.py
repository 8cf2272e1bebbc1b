"""A small bundle behind HTTP, in a thread of the test."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import headstart as hs
from headstart.base.config import cache_dir
from headstart.serving.app import make_app
from headstart.serving.connections import Server, listen
from headstart.serving.guard import JsonLog
from headstart.serving.metrics import Metrics
from headstart.serving.open_model import Engines
from headstart.serving.page import Page
from headstart.serving.payload import Limits
from headstart.serving.serve import config_of
from headstart.serving.site import Served, Site
from headstart.testing import toy_photos

LIMITS = Limits(body=1 << 20, items=8, all_bodies=4 << 20)


def small_run(folder: Path, *, seed: int = 0, classes: int = 2) -> Path:
    """Fit raw pixels on toy photos, and return the folder of the run, which has `photos` beside it."""
    photos = toy_photos(folder / f"photos{seed}", classes=classes, per_class=12, seed=seed)
    hs.fit(photos, source="simple:pixels", out=folder / f"run{seed}")
    return folder / f"run{seed}"


class Client:
    """Asks the server of a test."""

    def __init__(self, port: int, log: io.StringIO, site: Site, server: Server) -> None:
        self.port, self.log, self.site, self.server = port, log, site, server

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Return status, content (JSON as values) and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            data, found = response.read(), {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()
        return response.status, json.loads(data) if "json" in found.get("content-type", "") else data.decode(), found

    def send(self, data: bytes, *, seconds: float = 20.0) -> bytes:
        """Send bytes as they are, and return what comes back until the server ends the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(data)
            parts = []
            with suppress(ConnectionResetError):
                while part := connection.recv(1 << 16):
                    parts.append(part)
        return b"".join(parts)

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@contextmanager
def serving(
    bundles: Mapping[str, Path],
    *,
    limits: Limits = LIMITS,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    page: Page | None = None,
    **more: Any,
) -> Iterator[Client]:
    """Serve bundles by their names while the block runs."""
    log, metrics, engines = io.StringIO(), Metrics(), Engines(cache_dir())
    report = JsonLog(log)
    models = {
        name: Served(name, str(path), engines, report=report, on_group=metrics.on_group)
        for name, path in bundles.items()
    }
    site = Site(models, engines)
    app = make_app(site, limits=limits, metrics=metrics, log=report, token=token, hosts=hosts, page=page)
    listener = listen("127.0.0.1", 0)
    server = Server(config_of(app), listener, **more)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield Client(listener.getsockname()[1], log, site, server)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()

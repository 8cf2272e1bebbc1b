"""`serve` as a list of steps: check the options, open the bundles, listen, answer until a signal comes."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.base.config import cache_dir
from headstart.base.errors import HeadstartError, UsageError
from headstart.base.extras import require
from headstart.base.processes import python_command, python_environment
from headstart.base.progress import Progress
from headstart.serving.options import ServeOptions

USAGE = 2
"""The exit code of a process that cannot serve."""
STOP = (signal.SIGTERM, signal.SIGINT)
LOOKED_AT = 0.2  # seconds between two looks at the processes of a server of several
MOST_TOKEN, LEAST_TOKEN = 4096, 16  # characters
ALL_BODIES = 8  # bodies of the largest size that may be in memory at once
GRACE = 30  # seconds in which what was accepted is answered
SWITCH = 0.001  # seconds that one thread of Python keeps others from running
IDLE = 5  # seconds for which an idle connection is kept


def check_options(options: ServeOptions) -> str | None:
    """Return the token that requests must carry, or None.

    UsageError: a library is missing, the token cannot be used, or others may reach the server without one.
    """
    require("headstart serve", "fastapi", "uvicorn", "python_multipart", "prometheus_client")
    token = None if options.token is None else read_token(options.token)
    if token is None and not is_loopback(options.host):
        raise UsageError(
            "a server that other machines reach must have a token",
            f"--host {options.host} without --token",
            "write a secret into a file, chmod 600 it and add --token FILE; or leave out --host",
        )
    return token


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(path: Path) -> str:
    """Return the token in a file. UsageError: there is none, it is too short, or others may read the file."""
    do = f"write a secret of {LEAST_TOKEN} or more letters and digits into it: openssl rand -hex 32 > {path}"
    try:
        with path.open("rb") as file:
            status, data = os.fstat(file.fileno()), file.read(MOST_TOKEN + 1)
    except OSError as error:
        raise UsageError(f"the token file {path} must be readable", error.strerror or error, do) from error
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        mode = f"mode {stat.S_IMODE(status.st_mode):03o}"
        raise UsageError(f"the token file {path} must be readable by you alone", mode, f"run: chmod 600 {path}")
    token = data.decode("ascii", "replace").strip()
    if not LEAST_TOKEN <= len(token) <= MOST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"the token in {path} must be {LEAST_TOKEN} or more letters and digits", f"{len(token)}", do)
    return token


def run_serve(bundles: Sequence[str], options: ServeOptions, progress: Progress) -> int:
    """Serve bundles until SIGTERM or Ctrl-C, and return the number of that signal.

    UsageError: an option or a bundle cannot be used, or the port is taken.
    """
    token = check_options(options)
    from headstart.serving.connections import allow_many_files, listen
    from headstart.serving.site import named_bundles

    names = named_bundles(bundles)
    listener = listen(options.host, options.port)
    try:
        allow_many_files()
        if options.workers > 1:
            return _run_several(names, options, listener)
        app = _open_app(names, options, token, progress)
        show_address(listener, list(names))
        return _run(app, listener)
    finally:
        listener.close()


def show_address(listener: socket.socket, names: Sequence[str]) -> None:
    """Log where the server listens: its line says that it is ready."""
    from headstart.serving.guard import JsonLog

    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    JsonLog()("listening", address=f"http://{shown}:{port}/", models=list(names), process=os.getpid())


def _open_app(names: dict[str, str], options: ServeOptions, token: str | None, progress: Progress) -> Any:
    """Open every bundle, and return the application that answers for them."""
    from headstart.serving.app import make_app
    from headstart.serving.guard import LOOPBACK, JsonLog
    from headstart.serving.metrics import Metrics
    from headstart.serving.open_model import Engines
    from headstart.serving.payload import Limits
    from headstart.serving.site import Served, Site

    metrics, log = Metrics(), JsonLog()
    engines = Engines(cache_dir(), engine=options.engine, progress=progress)
    models = {
        name: Served(name, bundle, engines, report=log, on_group=metrics.on_group) for name, bundle in names.items()
    }
    body = options.max_megabytes << 20
    limits = Limits(body=body, items=options.max_items, all_bodies=ALL_BODIES * body)
    hosts = (*LOOPBACK, options.host.lower()) if token is None else ()
    return make_app(Site(models, engines), limits=limits, metrics=metrics, log=log, token=token, hosts=hosts)


def config_of(app: Any) -> Any:
    """Return the settings of uvicorn for an application."""
    import uvicorn

    return uvicorn.Config(
        app,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=GRACE,
    )


def _run(app: Any, listener: socket.socket) -> int:
    """Answer until a signal comes, and return its number."""
    from headstart.serving.connections import Server
    from headstart.serving.guard import JsonHandler, JsonLog

    sys.setswitchinterval(SWITCH)
    logging.getLogger("uvicorn").handlers = [JsonHandler()]
    server = Server(config_of(app), listener)
    server.run()
    JsonLog()("stopped", signal=server.stopped_by, process=os.getpid())
    return server.stopped_by


def _run_several(names: dict[str, str], options: ServeOptions, listener: socket.socket) -> int:
    """Serve from several processes, each started anew where it dies, whose counts are added up.

    UsageError: one ended before it could answer; it has said why.
    """
    from headstart.serving.metrics import SHARED

    chosen = {name: str(value) if isinstance(value, Path) else value for name, value in dict(options).items()}
    task = json.dumps({"bundles": names, "options": chosen, "listener": listener.fileno()})
    stopped_by: list[int] = []
    before = {number: signal.signal(number, lambda got, _: stopped_by.append(got)) for number in STOP}
    with tempfile.TemporaryDirectory(prefix="headstart-metrics-") as shared:
        environment = {**python_environment(), SHARED: shared}
        command = python_command(__name__, task)

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()])

        processes = [start() for _ in range(options.workers)]
        show_address(listener, list(names))
        try:
            while not stopped_by:
                time.sleep(LOOKED_AT)
                for place, process in enumerate(processes):
                    if process.poll() == USAGE:
                        raise UsageError("each process must be able to serve", "one that is not", "see its own message")
                    if process.poll() is not None and not stopped_by:
                        processes[place] = start()
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
    return stopped_by[0]


def main(task: dict[str, Any]) -> None:
    """Serve as one process of several."""
    from headstart.serving.connections import allow_many_files

    options = ServeOptions(**task["options"])
    allow_many_files()
    try:
        app = _open_app(task["bundles"], options, check_options(options), Progress())
    except HeadstartError as error:
        print(f"headstart: {error}", file=sys.stderr)
        sys.exit(USAGE)
    _run(app, socket.socket(fileno=task["listener"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

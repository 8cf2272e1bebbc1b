"""Pages as Chromium has them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
ABSENT = "no chromium is on the path: apt-get install chromium"
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]


def dom(folder: Path, address: str, *options: str) -> str:
    """Return a page once its script has run; `folder` is where the browser keeps its own files."""
    command = [BROWSER, *OPTIONS, *options, f"--user-data-dir={folder / 'profile'}", address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout


def measured(page: Path) -> Any:
    """Return the JSON that the script of a page leaves as its body."""
    body = re.search("<body>(.*)</body>", dom(page.parent, page.as_uri()), re.DOTALL)
    assert body is not None
    return json.loads(html.unescape(body[1]))


AROUND = (Path(__file__).parent / "around.html").read_text(encoding="utf-8")


def used(folder: Path, profile: Path, script: str, files: Mapping[str, bytes] = {}, *options: str) -> Any:
    """Serve a folder as a plain server of files does, open its index.html in Chromium, and return what a script saw.

    The script has `async function use(page, at)`, of the window and of what finds an element by its id, and stands in a
    page around it, so that the page itself is as it was written. `files` are served beside those of the folder.
    """
    every = {"/around.html": AROUND.replace("SCRIPT", script).encode(), **{f"/{name}": files[name] for name in files}}
    seen: list[bytes] = []
    done = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            if self.path not in every:
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", self.guess_type(self.path))
            self.end_headers()
            self.wfile.write(every[self.path])

        def do_POST(self) -> None:
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/around.html"
        command = [
            BROWSER,
            *OPTIONS[:-1],
            *options,
            "--remote-debugging-port=0",
            f"--user-data-dir={profile / 'profile'}",
        ]
        chromium = subprocess.Popen([*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert done.wait(240), "the page never said what it saw"
        finally:
            chromium.terminate()
            chromium.wait(30)
            server.shutdown()
    return json.loads(seen[0])

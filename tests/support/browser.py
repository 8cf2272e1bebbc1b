"""Pages as Chromium has them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
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

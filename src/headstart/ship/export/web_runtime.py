"""ONNX Runtime for browsers, of one version, as npm has it: what a page with a model needs beside it."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from headstart.base.config import offline
from headstart.base.disk import temporary_folder
from headstart.base.errors import UsageError, one_line
from headstart.base.hashing import sha256

PACKAGE = "onnxruntime-web@1.30.0"
FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""Its files, with the sha256 of each (MIT licence)."""
WAIT = 600  # seconds


def web_runtime(files: Mapping[str, str] = FILES) -> dict[str, bytes]:
    """Return the files of onnxruntime-web: those in `node_modules` here, or what npm fetches or has in its cache.

    `files` are their names, each with its sha256. UsageError: neither has them, or they are not those of this version.
    """
    try:
        return _checked(files, {name: Path("node_modules/onnxruntime-web/dist", name).read_bytes() for name in files})
    except (OSError, UsageError):
        return _checked(files, _packed(files))


def _packed(files: Mapping[str, str]) -> dict[str, bytes]:
    npm = shutil.which("npm")
    if npm is None:
        raise _absent("npm is not on the path", "install Node.js, whose npm fetches it")
    with temporary_folder() as place:
        command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", str(place), *["--offline"] * offline()]
        try:
            made = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
        except subprocess.TimeoutExpired:
            raise _absent(f"npm took more than {WAIT} s", _remedy()) from None
        if made.returncode:
            reason = next((line for line in made.stderr.splitlines() if line.strip()), "no reason")
            raise _absent(f"npm: {one_line(reason, 120)}", _remedy())
        with suppress(KeyError), tarfile.open(next(place.glob("*.tgz"))) as package:
            inside = {name: package.extractfile(f"package/dist/{name}") for name in files}
            return {name: file.read() for name, file in inside.items() if file}
    return {}


def _checked(files: Mapping[str, str], contents: dict[str, bytes]) -> dict[str, bytes]:
    for name, expected in files.items():
        if sha256(contents.get(name, b"")) != expected:
            raise _absent(f"a file {name} that is not the one of this version", _remedy())
    return contents


def _remedy() -> str:
    return f"run npm install {PACKAGE} in this folder where there is a network, then export"


def _absent(cause: str, remedy: str) -> UsageError:
    return UsageError(f"--to browser needs {PACKAGE} from npm", cause, remedy)

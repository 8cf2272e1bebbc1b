"""The runtime of a page is of one version, by its sha256, or there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headstart.base.errors import UsageError
from headstart.base.hashing import sha256
from headstart.ship.export.web_runtime import FILES, PACKAGE, web_runtime

WANTED = {"a.wasm": sha256(b"right")}
PACKS = """#!{python} -IS
import io, pathlib, sys, tarfile
pathlib.Path(__file__).with_name("arguments").write_text(" ".join(sys.argv[1:]))
with tarfile.open(pathlib.Path(sys.argv[sys.argv.index("--pack-destination") + 1], "x.tgz"), "w:gz") as package:
    entry = tarfile.TarInfo("package/dist/a.wasm")
    entry.size = len({content!r})
    package.addfile(entry, io.BytesIO({content!r}))
"""


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a program named npm may be written, the only one of that name on the path."""
    (tmp_path / "path").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path / "path" / "npm"


def written(npm: Path, program: str) -> None:
    npm.write_text(program)
    npm.chmod(0o700)


def test_what_lies_in_node_modules_is_taken(npm: Path) -> None:
    folder = Path("node_modules/onnxruntime-web/dist")
    folder.mkdir(parents=True)
    (folder / "a.wasm").write_bytes(b"right")
    assert web_runtime(WANTED) == {"a.wasm": b"right"}


@pytest.mark.parametrize("stale", [False, True])
def test_npm_is_asked_for_this_version_where_there_is_none_or_another(
    npm: Path, stale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stale:
        Path("node_modules/onnxruntime-web/dist").mkdir(parents=True)
        Path("node_modules/onnxruntime-web/dist/a.wasm").write_bytes(b"old")
    monkeypatch.setenv("HEADSTART_OFFLINE", "1" if stale else "0")
    written(npm, PACKS.format(python=sys.executable, content=b"right"))
    assert web_runtime(WANTED) == {"a.wasm": b"right"}
    arguments = (npm.parent / "arguments").read_text()
    assert f"pack {PACKAGE}" in arguments and ("--offline" in arguments) is stale


def test_what_cannot_be_had_is_said_in_a_line_with_a_remedy(npm: Path) -> None:
    with pytest.raises(UsageError, match=f"needs {PACKAGE} from npm; found npm is not on the path; install Node"):
        web_runtime()
    written(npm, "#!/bin/sh\necho no network >&2; exit 1\n")
    with pytest.raises(UsageError, match=f"found npm: no network; run npm install {PACKAGE}"):
        web_runtime()
    written(npm, PACKS.format(python=sys.executable, content=b"wrong"))
    with pytest.raises(UsageError, match=r"found a file a\.wasm that is not the one of this version"):
        web_runtime(WANTED)
    with pytest.raises(UsageError, match="is not the one of this version"):
        web_runtime(FILES)

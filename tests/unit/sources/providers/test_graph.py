"""Where graphs are looked for: files, folders and handles; what is not there is named with what to do."""

from __future__ import annotations

import tempfile
from hashlib import sha1
from pathlib import Path

import pytest

from headstart.base.errors import SourceError
from headstart.sources.providers.graph import HUB_IMAGES, IMAGENET, open_named
from headstart.sources.registry import open_source
from headstart.sources.uri import Spec

HANDLE = "google/imagenet/tiny/5"
PROGRAM = b"\x12\x0c\x12\x0a\x0a\x08\x12\x06PyFunc"
"""A SavedModel of one node, which runs Python: reading it as far as that shows that it was found."""


def saved_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(PROGRAM)
    return folder


def refused(provider: str, name: str | Path) -> str:
    with pytest.raises(SourceError) as caught:
        open_named(Spec(provider, str(name)), weights="pretrained", seed=0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no cache of this machine be looked into."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "tfhub"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))


@pytest.mark.parametrize("provider", ["onnx", "tfhub"])
def test_random_weights_are_refused_before_anything_is_looked_for(provider: str) -> None:
    with pytest.raises(SourceError, match=rf"^{provider}:nowhere/net comes with its weights and cannot have others"):
        open_source(f"{provider}:nowhere/net", weights="none")


def test_a_file_that_is_not_there_is_named_with_the_closest(tmp_path: Path) -> None:
    (tmp_path / "resnet.onnx").write_bytes(b"x")
    (tmp_path / "resnot.txt").write_bytes(b"x")
    assert refused("onnx", tmp_path / "resnot.onnx").endswith(
        "found no such file; check the path, did you mean 'resnet.onnx'?"
    )
    assert refused("onnx", tmp_path / "gone" / "a.onnx").endswith("found no such file; check the path")


def test_a_folder_is_no_onnx_file_and_the_one_inside_is_named(tmp_path: Path) -> None:
    assert refused("onnx", tmp_path).endswith("must name an ONNX file; found a folder; name the file itself")
    for name in ("b.onnx", "a.onnx", "0.bin"):
        (tmp_path / name).write_bytes(b"x")
    assert refused("onnx", tmp_path).endswith(f"found a folder; name the file: {tmp_path / 'a.onnx'}")


def test_a_file_at_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.onnx").write_bytes(b"")
    assert "a.onnx must be a sound ONNX file; found an empty file" in refused("onnx", "~/a.onnx")


def test_a_file_is_no_saved_model_and_its_folder_is_named(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    said = refused("tfhub", folder / "saved_model.pb")
    assert said.endswith(f"must name the folder of a SavedModel; found a file; name the folder: {folder}")
    assert "the operator PyFunc" in refused("tfhub", folder)
    (tmp_path / "empty").mkdir()
    assert "empty must be the folder of a SavedModel; found no saved_model.pb" in refused("tfhub", tmp_path / "empty")


def test_a_handle_that_is_not_here_names_where_it_would_be(tmp_path: Path) -> None:
    said = refused("tfhub", HANDLE)
    address = sha1(f"https://tfhub.dev/{HANDLE}".encode(), usedforsecurity=False).hexdigest()
    assert f"unpack it to {tmp_path / 'tfhub' / address} or {tmp_path / 'kaggle' / 'models' / HANDLE}, or" in said
    assert "a handle that is on this machine; found no such folder, and no copy of such a handle" in said


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (HANDLE, f"tfhub/{sha1(f'https://tfhub.dev/{HANDLE}'.encode(), usedforsecurity=False).hexdigest()}"),
        (
            f"https://tfhub.dev/{HANDLE}",
            f"tfhub/{sha1(f'https://tfhub.dev/{HANDLE}'.encode(), usedforsecurity=False).hexdigest()}",
        ),
        (HANDLE, f"kaggle/models/{HANDLE}"),
    ],
)
def test_what_the_libraries_fetched_is_found_under_its_handle(tmp_path: Path, name: str, place: str) -> None:
    folder = saved_model(tmp_path / place)
    assert refused("tfhub", name).startswith(f"{folder} must be a network and no program")


def test_without_settings_the_libraries_own_places_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.delenv("KAGGLEHUB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    said = refused("tfhub", HANDLE)
    assert str(Path(tempfile.gettempdir()) / "tfhub_modules") in said
    assert str(tmp_path / ".cache" / "kagglehub" / "models" / HANDLE) in said


def test_a_handle_leads_out_of_no_cache(tmp_path: Path) -> None:
    saved_model(tmp_path / "outside")
    (tmp_path / "kaggle" / "models").mkdir(parents=True)
    said = refused("tfhub", "a/../../../outside")
    assert "no copy of such a handle" in said and "kaggle/" not in said


def test_the_conventions_of_the_formats() -> None:
    plain, hub = (kind.preprocessing((64, 96), 3, whole=False) for kind in (IMAGENET, HUB_IMAGES))
    assert (plain.size, plain.resize, plain.mean) == ((64, 96), 73, (0.485, 0.456, 0.406))
    assert (hub.size, hub.resize, hub.mean, hub.std) == ((64, 96), 64, (0, 0, 0), (1, 1, 1))
    assert IMAGENET.preprocessing(None, 3, whole=False).size == (224, 224)

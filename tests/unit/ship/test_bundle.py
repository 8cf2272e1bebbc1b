"""A bundle is refused when anything in it is not as it was written, and never replaced by half of another."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forged import resign, small_bundle
from safetensors.numpy import save as to_safetensors

from headstart.base.errors import BundleError, UsageError, one_line
from headstart.ship import bundle
from headstart.ship.bundle import (
    Bundle,
)

MEMBERS = ("manifest.json", "head.safetensors", "report.json", "README.md")


@pytest.fixture
def made() -> Bundle:
    return small_bundle()


@pytest.fixture
def folder(made: Bundle, tmp_path: Path) -> Path:
    bundle.save(tmp_path / "bundle", made)
    return tmp_path / "bundle"


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        bundle.load(folder)
    text = str(caught.value)
    assert one_line(text) == text
    for word in words:
        assert word in text


def test_round_trip(made: Bundle, folder: Path) -> None:
    found = bundle.load(folder)
    assert found.manifest == made.manifest
    assert found.report == made.report
    assert found.card == made.card
    np.testing.assert_array_equal(found.head.weight, made.head.weight)
    np.testing.assert_array_equal(found.head.bias, made.head.bias)
    assert (found.head.kind, found.head.penalty, found.head.temperature) == ("ridge", 0.5, 1.25)
    assert sorted(path.name for path in folder.iterdir()) == sorted(MEMBERS)


def test_arrays_that_lie_otherwise_in_memory_are_written_in_order(made: Bundle, folder: Path) -> None:
    other = replace(made.head, weight=np.asfortranarray(made.head.weight))
    bundle.save(folder, replace(made, head=other))
    np.testing.assert_array_equal(bundle.load(folder).head.weight, made.head.weight)


def test_same_content_same_bytes(made: Bundle, folder: Path, tmp_path: Path) -> None:
    bundle.save(tmp_path / "other", made)
    for name in MEMBERS:
        assert (folder / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("member", MEMBERS)
def test_one_byte_flipped_anywhere__CKP_12(folder: Path, member: str) -> None:
    path = folder / member
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    positions = {0, len(data) - 1, *rng.integers(len(data), size=120).tolist()}
    for position in positions:
        for mask in (0x01, 0x2A, 0x80):
            path.write_bytes(data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :])
            refused(folder, member)
    path.write_bytes(data)
    bundle.load(folder)


def test_space_for_newline_in_the_manifest__CKP_12(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b" ", 1))
    refused(folder, "manifest.json", "bytes that headstart did not write")


def test_key_given_twice(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"{", b'{\n "layer": "other",', 1))
    refused(folder, "manifest.json")


@pytest.mark.parametrize("schema", [2, 0, "1", None, 1.5, [1], True, 1.0])
def test_version_from_the_future__CKP_12(folder: Path, schema: object) -> None:
    resign(folder, lambda manifest: manifest.update(schema=schema))
    refused(folder, "manifest.json", "schema 1", "upgrade headstart")


@pytest.mark.parametrize("name", ["model.pkl", "weights.bin", "evil.py", "sub", ".hidden"])
def test_extra_file__CKP_12(folder: Path, name: str) -> None:
    (folder / name).write_bytes(pickle.dumps({"a": 1}))
    refused(folder, name, "do not trust that file")


def test_what_git_and_the_hub_leave_is_tolerated(folder: Path) -> None:
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (folder / ".cache").mkdir()
    bundle.load(folder)


@pytest.mark.parametrize("member", MEMBERS)
def test_missing_and_linked_members(folder: Path, member: str, tmp_path: Path) -> None:
    data = (folder / member).read_bytes()
    (folder / member).unlink()
    refused(folder, member, "no such file")
    (tmp_path / "elsewhere").write_bytes(data)
    (folder / member).symlink_to(tmp_path / "elsewhere")
    refused(folder, member, "a link")


@pytest.mark.parametrize("name", ["../evil.json", "/etc/passwd", "a/b.json", "model.pkl", ""])
def test_path_tricks_in_member_names(folder: Path, name: str) -> None:
    resign(folder, lambda manifest: manifest["members"].update({name: "0" * 64}))
    refused(folder, "manifest.json", "members")


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("surprise", 1, "surprise"),
        ("classes", "ants", "classes"),
        ("classes", ["ants"], "shape"),
        ("classes", ["a", "a", "b"], "all different"),
        ("layer", 3, "layer"),
        ("data", {"name": "a", "fingerprint": "b", "value_ranges": {"16-bit": [1.0]}}, "two numbers"),
        ("data", {"name": "a", "fingerprint": "b", "value_ranges": {"16-bit": [2.0, 1.0]}}, "two numbers"),
        ("calibration", {"temperature": 0.0}, "temperature"),
        ("calibration", {"temperature": -1.0}, "temperature"),
        ("calibration", {"temperature": 1e-320}, "temperature"),
        ("blocks", [{"name": "pool", "width": 9}, {"name": "stage4", "width": -2}], "a width of 1 or more"),
        ("calibration", {"temperature": 1.0, "bias": 2.0}, "calibration.bias"),
        ("source", {"uri": "packaged:toy"}, "source.revision"),
        ("blocks", [{"name": "pool", "width": 4}], "shape"),
        ("members", [], "members"),
    ],
)
def test_manifest_that_does_not_fit(folder: Path, key: str, value: object, word: str) -> None:
    resign(folder, lambda manifest: manifest.update({key: value}))
    refused(folder, word)


@pytest.mark.parametrize("opened", [{"seed": True}, {"size": 1e9}, {"arch": None}, {"layer": "pool"}])
def test_arguments_of_a_source_that_are_none(folder: Path, opened: dict[str, Any]) -> None:
    resign(folder, lambda manifest: manifest["source"].update(opened=opened))
    refused(folder, "how a bundle's source is opened", *opened)


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"weight": np.zeros((7, 2), np.float32), "bias": np.zeros(3, np.float32)}, "float32 of shape (7, 3)"),
        ({"weight": np.zeros((7, 3), np.float64), "bias": np.zeros(3, np.float32)}, "float64"),
        ({"weight": np.full((7, 3), np.nan, np.float32), "bias": np.zeros(3, np.float32)}, "NaN"),
        ({"weight": np.zeros((7, 3), np.float32), "bias": np.full(3, np.inf, np.float32)}, "infinity"),
        ({"weight": np.zeros((7, 3), np.float32)}, "weight and bias"),
        (
            {"weight": np.zeros((7, 3), np.float32), "bias": np.zeros(3, np.float32), "x": np.zeros(1)},
            "weight and bias",
        ),
    ],
)
def test_weights_that_do_not_fit(folder: Path, arrays: dict[str, Any], word: str) -> None:
    (folder / "head.safetensors").write_bytes(to_safetensors(arrays))
    resign(folder)
    refused(folder, "head.safetensors", word)


def test_no_safetensors_and_no_json(folder: Path) -> None:
    (folder / "head.safetensors").write_bytes(b"\xff" * 64)
    resign(folder)
    refused(folder, "head.safetensors", "no safetensors")


@pytest.mark.parametrize("text", [b"[" * 100_000, b"[]", b"\xff", b"NaN"])
def test_report_that_is_none(folder: Path, text: bytes) -> None:
    (folder / "report.json").write_bytes(text)
    resign(folder)
    refused(folder, "report.json")


@pytest.mark.parametrize("text", [b"[" * 100_000, b"[]", b"\xff", b"", b"null"])
def test_manifest_that_is_none(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    refused(folder, "manifest.json")


@pytest.mark.parametrize("member", MEMBERS)
def test_huge_members_are_not_read__CKP_12(folder: Path, member: str) -> None:
    with (folder / member).open("r+b") as file:
        file.truncate(1 << 34)
    refused(folder, member, "17,179,869,184 bytes")


def test_a_card_that_is_no_utf_8(folder: Path) -> None:
    (folder / "README.md").write_bytes(b"\xff\xfe")
    resign(folder)
    refused(folder, "README.md", "no UTF-8")


@pytest.mark.parametrize("text", [b'{"a":[' + b"{}," * 700_000 + b"{}]}", b"[" * 900_000])
def test_json_that_would_fill_memory_is_not_parsed(folder: Path, text: bytes) -> None:
    (folder / "report.json").write_bytes(text)
    resign(folder)
    refused(folder, "report.json", "no JSON")


def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no such folder")


def test_the_folder_of_a_run_leads_to_its_bundle(folder: Path) -> None:
    refused(folder.parent, f"name {folder}")


def test_other_folders_are_not_replaced(made: Bundle, folder: Path, tmp_path: Path) -> None:
    bundle.save(folder, made)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt"):
        bundle.save(folder, made)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("mine")
    with pytest.raises(BundleError, match="name another folder"):
        bundle.save(tmp_path / "other", made)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BundleError, match="a file"):
        bundle.save(tmp_path / "file", made)
    assert (tmp_path / "other" / "README.md").read_text() == "mine"


def test_a_damaged_bundle_of_ours_is_replaced(made: Bundle, folder: Path) -> None:
    (folder / "head.safetensors").write_bytes(b"")
    bundle.save(folder, made)
    bundle.load(folder)


def test_full_disk_keeps_the_old_bundle__DSK_02(made: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: (folder / name).read_bytes() for name in MEMBERS}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UsageError, match="free bytes"):
            bundle.save(folder, replace(made, card="# new"))
    assert {name: (folder / name).read_bytes() for name in MEMBERS} == before
    bundle.load(folder)


def test_a_head_that_does_not_fit_is_not_saved(made: Bundle, tmp_path: Path) -> None:
    head = replace(made.head, bias=np.full(3, np.nan, np.float32))
    with pytest.raises(BundleError, match="finite"):
        bundle.save(tmp_path / "bad", replace(made, head=head))
    assert not (tmp_path / "bad").exists()


def test_a_bundle_of_version_0_1_still_loads() -> None:
    """The folder was written by `headstart.ship.bundle.save` of version 0.1, before the package was rearranged."""
    found = bundle.load(Path(__file__).parent / "bundles" / "version_0_1")
    assert found.manifest.classes == ["ants", "<bees>", "\udc80"]
    assert found.manifest.source.opened == {"seed": 3}
    assert found.manifest.tuning is not None and found.manifest.tuning.sha256 == "2" * 64
    assert [(block.name, block.width) for block in found.manifest.blocks] == [("pool", 4), ("layer2", 3)]
    np.testing.assert_array_equal(found.head.weight, np.arange(21).reshape(7, 3) / 8)
    np.testing.assert_array_equal(found.head.bias, [0.5, -1, 0.25])
    assert (found.head.kind, found.head.penalty, found.head.temperature) == ("ridge + words", 0.5, 1.25)
    np.testing.assert_array_equal(found.tuned["encoder.weight"], [1, 2, 3])
    assert found.terms is not None
    np.testing.assert_array_equal(found.terms.weight, np.arange(6).reshape(2, 3) / 4)
    np.testing.assert_array_equal(found.terms.bias, [0, 1, 2])
    assert (found.report, found.card) == ({"schema": 1, "classes": ["ants"]}, "# card\n")

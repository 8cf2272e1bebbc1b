"""Files are photos or recordings by what they hold where nobody knows their suffix; what is not used is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from encoded_images import ENCODED

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audit import check_bad, scan
from headstart.data.dataset import Dataset
from headstart.data.readers.folders.file_kinds import group_by_suffix
from headstart.data.readers.open import open_dataset, open_inputs

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)
DICOM = bytes(128) + b"DICM" + bytes(400)
PHOTO = ENCODED["jpeg"]


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for number, (name, data) in enumerate(files.items()):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data + bytes([number]))
    return path


def scanned(path: Path) -> Dataset:
    return scan(open_dataset(path), progress=Progress()).dataset


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("IMG_{}.HEIC", HEIC, "HEIC"),
        ("IMG{}", DICOM, "DICOM"),
        ("{}.psd", b"8BPS\x00\x01" + bytes(400), "PSD"),
        ("{}.nii", b"\x5c\x01\x00\x00" + bytes(340) + b"n+1\x00", "NIfTI"),
        ("{}.jpg", HEIC, "HEIC"),
        ("{}.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
def test_photos_of_other_formats_count_as_lost_whatever_they_are_called__f16(
    name: str, data: bytes, reason: str, tmp_path: Path
) -> None:
    read = {f"{label}/{n}.jpeg": PHOTO for label in "ab" for n in range(5)}
    dataset = scanned(folder(tmp_path, read | {f"{label}/{name.format(n)}": data for label in "ab" for n in range(4)}))
    assert (len(dataset), len(dataset.skipped), dataset.ignored) == (10, 8, 0)
    assert all(reason in loss.reason and loss.label in "ab" for loss in dataset.skipped)
    with pytest.raises(DataError, match=rf"8 of 18 \(44%\) unusable \(8 × .*{reason}.*--allow-broken"):
        check_bad(dataset, allow_broken=False)


def test_a_whole_class_of_another_format_is_an_error_that_names_it__f16(tmp_path: Path) -> None:
    files = {f"a/{n}.jpg": PHOTO for n in range(5)} | {f"b/IMG_{n}.HEIC": HEIC for n in range(5)}
    with pytest.raises(DataError, match=r"0 of 5 usable in 'b' \(5 × format not accepted \(HEIC\): convert it to JPEG"):
        check_bad(scanned(folder(tmp_path, files)), allow_broken=True)


def test_photos_without_a_known_suffix_are_used_and_said(tmp_path: Path) -> None:
    files = {f"{label}/subject{n}.{mood}": PHOTO for label in "ab" for n in range(3) for mood in ("happy", "sad")}
    dataset = open_dataset(folder(tmp_path, files | {"a/notes.doc": b"\xd0\xcf\x11\xe0", "b/Thumbs.db": b""}))
    assert len(dataset) == 12 and dataset.ignored == 2
    assert "12 files are photos by content alone: 6 × .happy, such as a/subject0.happy" in " ".join(dataset.notes)
    assert "1 file is no photo and is not used: 1 × .doc, such as a/notes.doc." in dataset.notes
    assert "1 hidden or system file is not used: b/Thumbs.db." in dataset.notes


def test_few_photos_among_other_files_of_a_suffix_do_not_make_them_photos(tmp_path: Path) -> None:
    files = {f"{label}/{n}.jpg": PHOTO for label in "ab" for n in range(2)}
    others = {f"a/{n}.dat": PHOTO if n == 0 else b"\0\0\0" for n in range(9)}
    assert open_dataset(folder(tmp_path, files | others)).ignored == 9


def test_inputs_of_predict_are_told_by_content_too(tmp_path: Path) -> None:
    dataset = open_inputs([folder(tmp_path, {"one": PHOTO, "two": DICOM, "three.jpg": PHOTO, "x.csv": b"a,b"})])
    assert [Path(example.id).name for example in dataset.examples] == ["one", "three.jpg", "two"]
    assert dataset.ignored == 1


def test_files_that_are_not_used_are_named_by_suffix() -> None:
    paths = ["a/1.txt", "a/2.txt", "README", *[f"b/{n}.x{n}" for n in range(9)]]
    assert group_by_suffix(paths, 3) == (
        "2 × .txt, such as a/1.txt; 1 × no suffix, such as README; 1 × .x0, such as b/0.x0; 8 more suffixes"
    )


def test_a_name_that_would_drive_a_terminal_is_escaped__IMG_18() -> None:
    assert group_by_suffix(["a\x1b.x\x1fy"]) == "1 × .x\\x1fy, such as a\\x1b.x\\x1fy"

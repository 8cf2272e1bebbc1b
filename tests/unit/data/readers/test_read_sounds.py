"""Data sets of recordings, in every form that pictures have."""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from recordings import recording, tone, tones

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audio.decoding import samples
from headstart.data.audit import check_bad, scan
from headstart.data.file_tree import MAX_BYTES
from headstart.data.readers.open import open_dataset, open_inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tones(tmp_path / "tones", count=3)


def test_class_folders(folder: Path) -> None:
    (folder / "low" / "cover.jpg").write_bytes(b"\xff\xd8\xff")
    found = open_dataset(folder)
    assert (found.kind, found.items, len(found), found.ignored) == ("sound", "recordings", 9, 1)
    assert found.classes == ("high", "low", "middle")
    assert samples(found.read(0), rate=8_000, seconds=1).any()


def test_parts_above_class_folders(tmp_path: Path) -> None:
    for part in ("train", "test"):
        tones(tmp_path / part, count=2)
    found = open_dataset(tmp_path)
    assert found.kind == "sound" and [one.split for one in found.examples].count("test") == 6


@pytest.mark.parametrize("packed", ["tar", "zip"])
def test_archives_are_read_in_place(folder: Path, tmp_path: Path, packed: str) -> None:
    path = tmp_path / f"tones.{packed}"
    if packed == "tar":
        with tarfile.open(path, "w") as tar:
            tar.add(folder, "tones")
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*.wav")):
                archive.write(file, f"tones/{file.relative_to(folder)}")
    found = open_dataset(path)
    assert found.kind == "sound" and len(found) == 9
    assert found.read(4) == open_dataset(folder).read(4)


@pytest.mark.parametrize("packed", ["tar", "zip"])
def test_of_a_large_member_the_beginning_is_read__AUD_08(tmp_path: Path, packed: str) -> None:
    large = recording(tone(seconds=1.0)) + bytes(MAX_BYTES)
    path = tmp_path / f"tones.{packed}"
    small = recording(tone())
    if packed == "tar":
        with tarfile.open(path, "w") as tar:
            for name, data in (("a/x.wav", large), ("b/y.wav", small)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("a/x.wav", large)
            archive.writestr("b/y.wav", small)
    found = open_dataset(path)
    assert len(found.read(0)) == MAX_BYTES + 1
    assert len(samples(found.read(0), rate=16_000, seconds=0.5)) == 8_000


@pytest.mark.parametrize("column", ["path", "audio"])
def test_tables_of_paths(folder: Path, column: str) -> None:
    rows = [(str(file.relative_to(folder)), file.parent.name) for file in sorted(folder.rglob("*.wav"))]
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([(column, "label"), *rows, ("gone.wav", "low")])
    found = open_dataset(folder / "all.csv")
    assert found.kind == "sound" and len(found) == 10
    scanned = scan(found, progress=Progress())
    assert [(one.id, one.reason) for one in scanned.dataset.skipped] == [("gone.wav", "missing")]


def test_a_table_of_recordings_and_one_of_pictures_are_not_alike(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("audio,label\na.wav,x\nb.wav,y\n")
    (tmp_path / "test.csv").write_text("image,label\na.jpg,x\nb.jpg,y\n")
    with pytest.raises(DataError, match="photos in some and recordings in others"):
        open_dataset(tmp_path)


def test_parquet_of_paths_and_the_hugging_face_layout(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.rglob("*.wav"))
    labels = [file.parent.name for file in files]
    pq.write_table(
        pa.table({"audio": [str(f.relative_to(folder)) for f in files], "label": labels}), folder / "p.parquet"
    )
    held = pa.array([{"bytes": f.read_bytes(), "path": f.name} for f in files])
    pq.write_table(pa.table({"audio": held, "label": labels}), folder / "h.parquet")
    for name in ("p", "h"):
        found = open_dataset(folder / f"{name}.parquet")
        assert found.kind == "sound" and found.read(3) == files[3].read_bytes()


def test_pairs_in_python(folder: Path) -> None:
    files = sorted(folder.rglob("*.wav"))
    labels = [file.parent.name for file in files]
    for items in (files, [str(file) for file in files], [(tone().astype(np.float32), 16_000) for _ in files]):
        found = open_dataset((items, labels))
        assert found.kind == "sound" and len(samples(found.read(0), rate=8_000, seconds=0.1)) == 800


def test_inputs_without_labels(folder: Path) -> None:
    found = open_inputs([folder, folder / "low" / "low_0.wav"], kind="sound")
    assert found.kind == "sound" and len(found) == 10
    with pytest.raises(DataError, match="must hold photos"):
        open_inputs([folder], kind="image")


def test_the_scan_skips_counts_and_notes__AUD_04_AUD_05_AUD_09(folder: Path) -> None:
    low = folder / "low"
    whole = recording(tone(), coding="PCM_16")
    (low / "cut.wav").write_bytes(whole[:3_000])
    (low / "none.wav").write_bytes(b"")
    (low / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0")
    (low / "quiet.wav").write_bytes(recording(np.zeros(900)))
    (low / "wide.wav").write_bytes(recording(np.stack([tone(), tone()], axis=1)))
    scanned = scan(open_dataset(folder), progress=Progress())
    reasons = {one.id: one.reason for one in scanned.dataset.skipped}
    assert set(reasons) == {"low/cut.wav", "low/none.wav", "low/phone.m4a"}
    assert "1,478 are there" in reasons["low/cut.wav"]
    notes = " ".join(scanned.notes)
    assert "Sampled at 8,000 Hz" in notes and "2 channels, mixed down to one: 1" in notes and "Silent" in notes
    check_bad(scanned.dataset, allow_broken=True)


@pytest.mark.shared
def test_the_spoken_digits(shared: Path) -> None:
    found = open_dataset(shared / "spoken_digits.tar")
    assert (found.kind, len(found), len(found.classes)) == ("sound", 1_500, 10)
    assert sum(one.split == "test" for one in found.examples) == 300

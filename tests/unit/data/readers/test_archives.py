"""Archives read in place: the same as the unpacked folder, bounded, and refused whole when they reach outside."""

from __future__ import annotations

import gc
import gzip
import io
import os
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.dataset import BadExample
from headstart.data.readers.archives import gunzip, open_archive
from headstart.data.readers.open import open_dataset, open_inputs
from headstart.data.split import split


def make_tar(path: Path, folder: Path, *, style: int = tarfile.GNU_FORMAT, top: str = "data") -> Path:
    with tarfile.open(path, "w", format=style, errors="surrogateescape") as tar:
        tar.add(folder, top)
    return path


def make_zip(path: Path, folder: Path, *, top: str = "data/", how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{top}{file.relative_to(folder)}")
    return path


def add(tar: tarfile.TarFile, name: str, data: bytes = b"\xff\xd8\xff", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [make_tar, make_zip])
def test_an_archive_is_its_folder(tmp_path, fill, pack):
    folder = fill(tmp_path / "data", {"train/a": 3, "train/b": 2, "test/a": 1, "test/b": 1, "__MACOSX": 1})
    (folder / "notes.txt").write_text("x")
    (folder / "train/a/bad.jpg").write_bytes(b"")
    plain = scan(open_dataset(folder), progress=Progress())
    packed = scan(open_dataset(pack(tmp_path / f"data.{pack.__name__[-3:]}", folder)), progress=Progress())
    assert packed.dataset.examples == plain.dataset.examples
    assert packed.dataset.skipped == plain.dataset.skipped
    assert packed.dataset.ignored == plain.dataset.ignored == 2
    assert (packed.hashes, packed.fingerprint) == (plain.hashes, plain.fingerprint)


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_in_every_tar_format(tmp_path, fill, style):
    long = "sub" * 20 + "/" + "x" * 90
    folder = fill(tmp_path / "data", {"é🦆": 1, f"b/{long}": 1} if style != tarfile.USTAR_FORMAT else {"a": 1, "b": 2})
    data = open_dataset(make_tar(tmp_path / "data.tar", folder, style=style))
    assert data.examples == open_dataset(folder).examples
    assert [data.read(at) for at in range(len(data))] == [(folder / e.id).read_bytes() for e in data.examples]


@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_are_not_utf8_are_equal_in_tar_and_folder__IMG_18(tmp_path, fill, style):
    folder = fill(tmp_path / "data", {"a": 1, "b": 1})
    Path(os.fsdecode(os.fsencode(folder / "a") + b"/\xff\xe4.jpg")).write_bytes(b"\xff\xd8\xffodd")
    data = open_dataset(make_tar(tmp_path / "data.tar", folder, style=style))
    assert data.examples == open_dataset(folder).examples


def test_a_zip_whose_names_lack_the_unicode_flag(tmp_path):
    path = tmp_path / "old.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("xx/1.jpg", "b/1.jpg"):
            archive.writestr(name, b"\xff\xd8\xff")
    path.write_bytes(path.read_bytes().replace(b"xx/1.jpg", "é/1.jpg".encode()))
    assert open_dataset(path).classes == ("b", "é")


def test_a_zip_with_the_slashes_of_windows(tmp_path):
    path = tmp_path / "windows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a\\", r"a\1.jpg", r"b\1.jpg"):
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = name, 0
            archive.writestr(info, b"\xff\xd8\xff")
    assert [example.id for example in open_dataset(path).examples] == ["a/1.jpg", "b/1.jpg"]


def test_no_wrapping_folder_and_dot_names(tmp_path, fill):
    folder = fill(tmp_path / "data", {"a": 2, "b": 2})
    data = open_dataset(make_tar(tmp_path / "dot.tar", folder, top="."))
    assert data.examples == open_dataset(folder).examples


def test_the_last_of_equal_names_counts(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, data in (("a/1.jpg", b"old"), ("b/1.jpg", b"b"), ("./a//1.jpg", b"new")):
            add(tar, name, data)
    data = open_dataset(tmp_path / "x.tar")
    assert len(data) == 2
    assert data.read(0) == b"new"


@pytest.mark.parametrize("pack", [make_tar, make_zip])
def test_members_are_read_from_many_threads(tmp_path, fill, pack):
    folder = fill(tmp_path / "data", {"a": 40, "b": 40})
    data = open_dataset(pack(tmp_path / f"x.{pack.__name__[-3:]}", folder))
    gate = threading.Barrier(8)

    def read(start: int) -> list[bytes]:
        gate.wait()
        return [data.read((start * 7 + at) % 80) for at in range(80)]

    with ThreadPoolExecutor(8) as pool:
        for start, got in enumerate(pool.map(read, range(8))):
            wanted = [(folder / data.examples[(start * 7 + at) % 80].id).read_bytes() for at in range(80)]
            assert got == wanted


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("../../evil.jpg", {}, "leads out"),
        ("a/../../evil.jpg", {}, "leads out"),
        (r"a\..\..\evil.jpg", {}, "leads out"),
        ("/etc/evil.jpg", {}, "absolute"),
        ("C:\\evil.jpg", {}, "absolute"),
        ("a/l.jpg", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}, "a link"),
        ("a/h.jpg", {"type": tarfile.LNKTYPE, "linkname": "../x", "size": 0}, "a link"),
        ("a/d.jpg", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5, "size": 0}, "a device or pipe"),
        ("a/f.jpg", {"type": tarfile.FIFOTYPE, "size": 0}, "a device or pipe"),
    ],
)
def test_a_tar_that_reaches_outside_is_refused_by_member__CKP_10(tmp_path, name, fields, says):
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        add(tar, "a/1.jpg")
        add(tar, name, b"", **fields)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=says) as error:
        open_dataset(tmp_path / "evil.tar")
    assert name in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../../evil.jpg", "/etc/evil.jpg", r"..\evil.jpg", "C:/evil.jpg", "link"])
def test_a_zip_that_reaches_outside_is_refused_by_member__CKP_10(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("a/1.jpg", b"\xff\xd8\xff")
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = (0o120777 if name == "link" else 0o100644) << 16
        archive.writestr(info, b"/etc/passwd")
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path / "evil.zip")
    assert name in str(error.value)
    assert "nothing was unpacked" in str(error.value)


def test_a_refusal_has_one_frame_and_one_remedy__CKP_10(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        add(tar, "../../evil.jpg")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../evil.jpg", b"\xff\xd8\xff")
    for name in ("evil.tar", "evil.zip"):
        with pytest.raises(DataError) as error:
            open_dataset(tmp_path / name)
        must, received, remedy = str(error.value).split("; found ")[0], error.value.received, error.value.remedy
        assert must == f"{tmp_path / name} must hold plain files and folders with names inside it"
        assert received == "../../evil.jpg (a name that leads out of the archive); nothing was unpacked"
        assert str(error.value) == f"{must}; found {received}; {remedy}"


@pytest.mark.parametrize("whole", [True, False])
def test_a_zip_with_overlapping_members_is_refused_before_reading__CKP_10(tmp_path, whole):
    path = tmp_path / "overlap.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.jpg", b"\xff\xd8\xff" + os.urandom(5_000))
        archive.writestr("b/1.jpg", bytes(9_000))
        first, second = archive.infolist()
        if whole:
            second.header_offset = first.header_offset
        else:
            first.compress_size += 40
    with pytest.raises(DataError, match=r"b/1.jpg, which overlaps a/1.jpg") as error:
        open_dataset(path)
    assert str(error.value).count("; found ") == 1


def test_a_zip_that_unpacks_to_more_than_a_hundred_times_its_size_is_refused__CKP_10(tmp_path):
    path = tmp_path / "grown.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.jpg", b"\xff\xd8\xff")
        archive.writestr("b/1.jpg", bytes(2**20))
        archive.infolist()[1].file_size = 2**30
    with peak_memory() as peak, pytest.raises(DataError, match="must unpack to at most 100 times its size"):
        open_dataset(path)
    assert peak[0] < 2**20


def test_ten_gigabytes_of_zeros_are_never_read__CKP_10(tmp_path, fill):
    with tarfile.open(tmp_path / "big.tar", "w") as tar:
        for name in ("a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg"):
            add(tar, name, b"\xff\xd8\xff" + name.encode())
        huge = tarfile.TarInfo("b/huge.jpg")
        huge.size = 10 * 2**30
        tar.fileobj.write(huge.tobuf(tarfile.GNU_FORMAT))
        end = tar.fileobj.tell() + huge.size
    with (tmp_path / "big.tar").open("r+b") as file:
        file.truncate(end + 1024)
    with peak_memory() as peak:
        data = scan(open_dataset(tmp_path / "big.tar"), progress=Progress()).dataset
    assert {(item.id, item.reason) for item in data.skipped} == {("b/huge.jpg", "too large")}
    assert peak[0] < 10 * 2**20


def test_a_zip_bomb_is_not_unpacked__CKP_10(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.jpg", b"\xff\xd8\xff" + os.urandom(700_000))
        archive.writestr("b/1.jpg", bytes(65 * 2**20))
        archive.writestr("b/2.jpg", bytes(40 * 2**20))
    honest = (40 * 2**20).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(honest, (1000).to_bytes(4, "little")))  # claims 1,000 bytes
    data = open_dataset(path)
    for position, reason in ((1, "too large"), (2, "damaged in the archive")):
        with peak_memory() as peak, pytest.raises(BadExample, match=reason):
            data.read(position)
        assert peak[0] < 2**20


def test_a_sparse_member_is_skipped__CKP_10(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "a/1.jpg")
        add(tar, "b/1.jpg")
        add(
            tar,
            "b/holes.jpg",
            b"",
            pax_headers={"GNU.sparse.major": "0", "GNU.sparse.size": "9", "GNU.sparse.map": "0,0"},
        )
    data = open_dataset(tmp_path / "x.tar")
    assert [(item.id, item.reason) for item in data.skipped] == [("b/holes.jpg", "stored with holes")]


@pytest.mark.parametrize("pack", [make_tar, make_zip])
@pytest.mark.parametrize("cut", [0.0, 0.001, 0.3, 0.5, 0.8])
def test_a_truncated_archive_is_named(tmp_path, fill, pack, cut):
    folder = fill(tmp_path / "data", {"a": 20, "b": 20})
    path = pack(tmp_path / f"cut.{pack.__name__[-3:]}", folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(DataError, match=f"{path.name} must be a whole archive"):
        open_dataset(path)


def test_a_tar_cut_between_members_or_with_a_bad_header_is_named(tmp_path, fill):
    folder = fill(tmp_path / "data", {"a": 20, "b": 20})
    path = make_tar(tmp_path / "cut.tar", folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: 512 * 22])
    with pytest.raises(DataError, match="no end of archive"):
        open_dataset(path)
    at = whole.index(b"data/b/3.jpg")
    path.write_bytes(whole[:at] + b"X" + whole[at + 1 :])
    with pytest.raises(DataError, match="damaged"):
        open_dataset(path)


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_what_is_no_archive_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(os.urandom(4096))
    with pytest.raises(DataError, match="must be a whole archive"):
        open_dataset(tmp_path / name)


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar.xz", "x.TAR.BZ2", "x.tar.zst", "x.tar"])
def test_a_compressed_tar_is_refused_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(bytes(2048)))
    for opening in (open_dataset, lambda path: open_inputs([path])):
        with pytest.raises(DataError, match="decompress it first"):
            opening(tmp_path / name)


def test_an_encrypted_zip_is_refused(tmp_path, fill):
    path = make_zip(tmp_path / "x.zip", fill(tmp_path / "data", {"a": 1, "b": 1}))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        open_dataset(path)


def test_other_zip_methods_and_flipped_bytes_are_skipped(tmp_path, fill):
    folder = fill(tmp_path / "data", {"a": 2, "b": 2})
    data = open_dataset(make_zip(tmp_path / "lzma.zip", folder, how=zipfile.ZIP_LZMA))
    assert {item.reason for item in data.skipped} == {"packed by zip method 14"}
    path = make_zip(tmp_path / "stored.zip", folder, how=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"\xff\xd8\xffa/1", b"\xff\xd8\xffa/7"))
    with pytest.raises(BadExample, match="damaged in the archive"):
        open_dataset(path).read(1)


def test_an_archive_cut_after_listing_is_truncated(tmp_path, fill):
    path = make_tar(tmp_path / "x.tar", fill(tmp_path / "data", {"a": 1, "b": 1}))
    data = open_dataset(path)
    os.truncate(path, 600)
    with pytest.raises(BadExample, match="truncated"):
        data.read(1)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_descriptors_are_closed_with_the_archive(tmp_path, fill):
    path = make_tar(tmp_path / "x.tar", fill(tmp_path / "data", {"a": 1, "b": 1}))
    gc.collect()  # what other tests left open
    before = open_descriptors()
    trees = [open_archive(path) for _ in range(20)]
    assert open_descriptors() == before + 20
    del trees
    assert open_descriptors() == before


def test_inputs_from_an_archive(tmp_path, fill):
    path = make_tar(tmp_path / "x.tar", fill(tmp_path / "data", {"a": 1, "b": 1}), top="up")
    assert [example.id for example in open_inputs([path]).examples] == [f"{path}/up/a/0.jpg", f"{path}/up/b/0.jpg"]


@pytest.mark.shared
def test_ants_bees_is_the_same_packed_and_unpacked(tmp_path, shared):
    with tarfile.open(shared / "ants_bees.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    packed, plain = (
        scan(open_dataset(path), progress=Progress()) for path in (shared / "ants_bees.tar", tmp_path / "ants_bees")
    )
    assert packed.dataset.examples == plain.dataset.examples
    assert packed.dataset.total == plain.dataset.total == 397
    assert (packed.hashes, packed.fingerprint) == (plain.hashes, plain.fingerprint)
    parts = [split(found.dataset, found.hashes, seed=3, labels_per_class=10) for found in (packed, plain)]
    assert parts[0] == parts[1]
    assert (len(parts[0].train), len(parts[0].test)) == (20, 153)


def test_gzip_is_unpacked_piece_by_piece_within_its_bound__CKP_10():
    parts = [bytes(100_000), b"", os.urandom(40_000)]
    packed = b"".join(gzip.compress(part, mtime=0) for part in parts)
    assert gunzip(packed + bytes(99), "x") == b"".join(parts)
    for broken in (packed[:-1], packed + b"\0x"):
        with pytest.raises(DataError, match="x must be a whole archive"):
            gunzip(broken, "x")
    bomb = gzip.compress(bytes(100 << 20), mtime=0)
    with peak_memory() as peak, pytest.raises(DataError, match="must unpack to at most 9 MiB"):
        gunzip(bomb, "x", least_grown=1 << 20)
    assert peak[0] < 40 << 20

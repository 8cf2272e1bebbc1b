"""Class folders on disk: what counts, what is passed over, and what is never opened."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from encoded_images import ENCODED

from headstart.base.errors import DataError, one_line
from headstart.base.progress import Progress
from headstart.data.audit import check_bad, scan
from headstart.data.dataset import BadExample, Dataset
from headstart.data.readers.open import open_dataset, open_inputs


def reasons(dataset: Dataset) -> dict[str, str]:
    return {skipped.id: skipped.reason for skipped in scan(dataset, progress=Progress()).dataset.skipped}


def test_labels_are_folder_names_and_order_is_sorted(tmp_path, fill):
    data = open_dataset(fill(tmp_path / "pets", {"dogs": 2, "cats": 3}))
    assert (data.name, data.kind, data.classes) == ("pets", "image", ("cats", "dogs"))
    assert [example.id for example in data.examples] == [
        "cats/0.jpg",
        "cats/1.jpg",
        "cats/2.jpg",
        "dogs/0.jpg",
        "dogs/1.jpg",
    ]
    assert {example.split for example in data.examples} == {None}
    assert data.read(4) == b"\xff\xd8\xffdogs/1"
    assert data.total == 5


@pytest.mark.parametrize("validation", ["validation", "val", "dev", "Valid"])
def test_split_folders_give_the_split(tmp_path, fill, validation):
    data = open_dataset(
        fill(tmp_path, {f"{part}/{name}": 2 for part in ("train", validation, "test") for name in "ab"})
    )
    splits = {example.id.split("/")[0]: example.split for example in data.examples}
    assert splits == {"train": "train", validation: "validation", "test": "test"}
    assert data.classes == ("a", "b")


def test_a_class_may_be_called_train(tmp_path, fill):
    assert open_dataset(fill(tmp_path, {"train": 2, "bus": 2, "car": 2})).classes == ("bus", "car", "train")


def test_suffixes_in_capitals_are_pictures(tmp_path, fill):
    fill(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "IMG.JPG").write_bytes(b"\xff\xd8\xffx")
    (tmp_path / "a" / "scan.TiFF").write_bytes(b"II*\0x")
    assert len(open_dataset(tmp_path)) == 4


def test_one_wrapping_folder_is_stepped_into(tmp_path, fill):
    fill(tmp_path / "wrap", {"a": 2, "b": 2})
    (tmp_path / "README.txt").write_text("read me")
    data = open_dataset(tmp_path)
    assert data.examples[0].id == "a/0.jpg"
    assert (data.ignored, data.total) == (1, 5)


def test_system_litter_is_ignored_and_counted__IMG_19(tmp_path, fill):
    fill(tmp_path, {"a": 2, "b": 2, "__MACOSX/a": 1, ".git": 1, "@eaDir": 1})
    for name in ("Thumbs.db", ".DS_Store", "._x.jpg", "desktop.ini", "notes.txt", "logo.svg"):
        (tmp_path / "a" / name).write_bytes(b"litter")
    data = open_dataset(tmp_path)
    assert data.classes == ("a", "b")
    assert (len(data), data.ignored, data.total) == (4, 9, 13)


def test_nested_folders_belong_to_the_class_above__IMG_23(tmp_path, fill):
    data = open_dataset(fill(tmp_path, {"a": 1, "a/deep/deeper": 2, "b": 1}))
    assert [example.label for example in data.examples] == ["a", "a", "a", "b"]


def test_files_beside_class_folders_are_ignored_and_said__IMG_23(tmp_path, fill):
    fill(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "stray.jpg").write_bytes(b"\xff\xd8\xff")
    data = open_dataset(tmp_path)
    assert (data.ignored, data.total) == (1, 3)
    assert "stray.jpg" in data.notes[0]
    assert "beside the class folders" in data.notes[0]


def test_an_empty_class_folder_is_named__IMG_23(tmp_path, fill):
    fill(tmp_path, {"a": 1, "b": 1, "hollow": 0})
    with pytest.raises(DataError, match="none in hollow; put photos there or remove the folder"):
        open_dataset(tmp_path)


def test_a_class_folder_of_other_files_is_empty__IMG_23(tmp_path, fill):
    fill(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 0})
    (tmp_path / "test/b/readme.txt").write_text("x")
    with pytest.raises(DataError, match="test/b"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("folders", [{"only": 3}, {"train/only": 3, "test/only": 2}])
def test_one_class_is_an_error__IMG_23_TAB_04(tmp_path, fill, folders):
    with pytest.raises(DataError, match="at least two classes; found only one, 'only'"):
        open_dataset(fill(tmp_path, folders))


def test_no_class_folders_states_the_rule__IMG_23(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match="1 photos, in no class folder; make one folder per class"):
        open_dataset(tmp_path)


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(DataError, match="nothing, it is empty"):
        open_dataset(tmp_path)


def test_a_folder_with_a_table_of_another_name_points_to_it(tmp_path):
    for name in ("labels.csv", "sizes.csv"):
        (tmp_path / name).write_text("path,label\n")
    with pytest.raises(DataError, match=r"labels\.csv: name that file"):
        open_dataset(tmp_path)


def test_no_such_path_names_the_nearest_folder(tmp_path):
    with pytest.raises(DataError, match=f"the nearest folder there is {tmp_path}"):
        open_dataset(tmp_path / "no" / "such")


@pytest.mark.parametrize("name", ["notes.txt", "photo.jpg", "data"])
def test_a_file_of_unknown_kind_lists_what_is_accepted(tmp_path, name):
    (tmp_path / name).write_bytes(b"x\0")
    with pytest.raises(DataError, match="a folder of class folders"):
        open_dataset(tmp_path / name)


@pytest.mark.parametrize("data", ["a\0b", "x" * 300, "http://example.org/photos.zip"])
def test_paths_that_cannot_be_are_one_line(data):
    with pytest.raises(DataError):
        open_dataset(data)


def test_data_that_is_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "data.csv")
    with pytest.raises(DataError, match="pipe"):
        open_dataset(tmp_path / "data.csv")


def test_a_file_without_permission_is_skipped__IMG_16(tmp_path, fill, monkeypatch):
    data = open_dataset(fill(tmp_path, {"a": 3, "b": 3}))
    real = os.open

    def refuse(path, *rest, **named):
        if str(path).endswith("a/1.jpg"):  # root, who runs these tests in a container, may read mode 000
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert reasons(data) == {"a/1.jpg": "permission"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads files of mode 000")
def test_a_file_of_mode_000_is_skipped__IMG_16(tmp_path, fill):
    fill(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a/1.jpg").chmod(0)
    assert reasons(open_dataset(tmp_path)) == {"a/1.jpg": "permission"}


def test_a_file_that_goes_between_listing_and_reading_is_skipped__IMG_16(tmp_path, fill):
    data = open_dataset(fill(tmp_path, {"a": 3, "b": 3}))
    (tmp_path / "a/1.jpg").unlink()
    shutil.rmtree(tmp_path / "b")
    assert reasons(data) == dict.fromkeys(("a/1.jpg", "b/0.jpg", "b/1.jpg", "b/2.jpg"), "vanished")


def test_a_folder_that_cannot_be_listed_is_skipped__IMG_16(tmp_path, fill, monkeypatch):
    fill(tmp_path, {"a": 3, "b": 3, "b/locked": 2})
    real = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert reasons(open_dataset(tmp_path)) == {"b/locked": "permission"}


def test_links_and_devices_are_skipped_and_never_opened__IMG_17(tmp_path, fill, monkeypatch):
    outside = fill(tmp_path / "outside", {"x": 2})
    root = fill(tmp_path / "data", {"a": 5, "b": 5})
    (root / "a/loop.jpg").symlink_to("loop.jpg")
    (root / "a/out.jpg").symlink_to(outside / "x/0.jpg")
    (root / "a/zero.jpg").symlink_to("/dev/zero")
    (root / "a/gone.jpg").symlink_to("nowhere.jpg")
    (root / "b/around").symlink_to(root)
    (root / "b/folder").symlink_to(outside)
    (root / "b/inner.jpg").symlink_to("../b/0.jpg")
    os.mkfifo(root / "b/pipe.jpg")
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **named: opened.append(path) or real(path, *rest, **named))
    data = open_dataset(root)
    found = reasons(data)
    assert found == {
        "a/loop.jpg": "link in a circle",
        "a/out.jpg": "link to outside",
        "a/zero.jpg": "not a regular file",
        "a/gone.jpg": "link to nothing",
        "b/around": "link in a circle",
        "b/folder": "link to a folder",
        "b/pipe.jpg": "not a regular file",
    }
    assert all(str(path).startswith(str(root)) and "pipe" not in str(path) for path in opened)
    inner = [example.id for example in data.examples].index("b/inner.jpg")
    assert data.read(inner) == (root / "b/0.jpg").read_bytes()


def test_a_file_replaced_by_a_pipe_after_listing_does_not_hang__IMG_17(tmp_path, fill):
    data = open_dataset(fill(tmp_path, {"a": 1, "b": 1}))
    (tmp_path / "a/0.jpg").unlink()
    os.mkfifo(tmp_path / "a/0.jpg")
    with pytest.raises(BadExample, match="not a regular file"):
        data.read(0)


def test_a_pipe_in_the_place_of_the_checked_file_does_not_hang__IMG_17(tmp_path, fill, monkeypatch):
    data = open_dataset(fill(tmp_path, {"a": 1, "b": 1}))
    real = os.lstat
    regular = real(tmp_path / "b/0.jpg")
    (tmp_path / "a/0.jpg").unlink()
    os.mkfifo(tmp_path / "a/0.jpg")
    monkeypatch.setattr("headstart.data.file_tree.os.lstat", lambda path: regular)
    with pytest.raises(BadExample, match="not a regular file"):
        data.read(0)


ODD = [b"new\nline", b"\xff\xfe\xe4", "🦆".encode(), b"x" * 251, b"-rf", b"a..b", b" ends ", b"tab\there", b"\x1b[31m"]


def test_odd_names_are_used_and_shown_on_one_line__IMG_18(tmp_path, fill):
    fill(tmp_path, {"a": 1, "b": 1})
    odd_class = tmp_path / os.fsdecode(b"cl\xe4ss\n")
    odd_class.mkdir()
    (odd_class / "0.jpg").write_bytes(b"\xff\xd8\xffclass")
    for number, name in enumerate(ODD):
        (tmp_path / "a" / f"{os.fsdecode(name)}.jpg").write_bytes(b"\xff\xd8\xff%d" % number)
    data = open_dataset(tmp_path)
    ids = {example.id for example in data.examples}
    assert {f"a/{os.fsdecode(name)}.jpg" for name in ODD} <= ids
    assert "cl\udce4ss\n" in data.classes
    scanned = scan(data, progress=Progress())
    assert len(scanned.dataset) == len(ODD) + 3
    assert all(one_line(name).isprintable() for name in ids)
    one_line("".join(ids)).encode("utf-8")


def test_a_file_beyond_the_limit_is_skipped_unread(tmp_path, fill):
    fill(tmp_path, {"a": 3, "b": 3})
    with (tmp_path / "a/1.jpg").open("r+b") as file:
        file.truncate(10 * 2**30)  # a hole: takes no room on the disk
    assert reasons(open_dataset(tmp_path)) == {"a/1.jpg": "too large"}


def test_wrong_contents_are_skipped_with_a_reason__IMG_02_04_14(tmp_path, fill):
    fill(tmp_path, {"a": 5, "b": 1})
    for number, content in enumerate([b"", b"<svg xmlns='x'/>", b"<!DOCTYPE html><p>", b"%!PS-Adobe-3.0 EPSF"]):
        (tmp_path / f"a/{number}.jpg").write_bytes(content)
    found = reasons(open_dataset(tmp_path))
    assert found["a/0.jpg"] == "empty"
    assert found["a/1.jpg"].startswith("not an accepted image")
    assert found["a/2.jpg"].startswith("not an accepted image")
    assert found["a/3.jpg"].startswith("format not accepted")


def test_data_may_be_a_link_and_begin_with_a_tilde(tmp_path, fill, monkeypatch):
    fill(tmp_path / "home/data", {"a": 2, "b": 2})
    (tmp_path / "home/link").symlink_to("data")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_dataset("~/link").read(0) == b"\xff\xd8\xffa/0"
    monkeypatch.chdir(tmp_path / "home/data/a")
    Path("~x.jpg").write_bytes(b"\xff\xd8\xff")
    assert open_inputs(["~x.jpg"]).read(0) == b"\xff\xd8\xff"


def test_inputs_of_every_form_keep_their_paths(tmp_path, fill, monkeypatch):
    fill(tmp_path, {"photos/a": 2, "photos/a/deep": 1, "more": 2})
    (tmp_path / "photos/note.txt").write_text("x")
    (tmp_path / "list.csv").write_text("path\nmore/0.jpg\n")
    monkeypatch.chdir(tmp_path)
    data = open_inputs(["more/1.jpg", "photos/", Path("list.csv")])
    ids = ["more/1.jpg", "photos/a/0.jpg", "photos/a/1.jpg", "photos/a/deep/0.jpg", "more/0.jpg"]
    assert [example.id for example in data.examples] == ids
    assert [data.read(at) for at in range(5)] == [Path(name).read_bytes() for name in ids]
    assert {example.label for example in data.examples} == {""}
    assert (data.classes, data.ignored, data.total) == ((), 1, 6)


def test_an_input_given_twice_has_two_ids(tmp_path, fill):
    folder = fill(tmp_path, {"a": 1}) / "a"
    data = open_inputs([folder, folder, folder / "0.jpg", folder / "0.jpg"])
    assert len({example.id for example in data.examples}) == 4


@pytest.mark.parametrize("given", [[], ["missing.jpg"], ["."]])
def test_inputs_without_a_picture_are_an_error(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        open_inputs(given)


def test_an_input_of_any_name_is_told_by_its_content(tmp_path):
    (tmp_path / "photo.dat").write_bytes(b"\xff\xd8\xff")
    assert len(open_inputs([tmp_path / "photo.dat"])) == 1


def test_everything_found_adds_up(tmp_path, fill):
    fill(tmp_path, {"a": 5, "b": 5, ".cache": 2})
    (tmp_path / "a/0.jpg").write_bytes(b"")
    (tmp_path / "a/readme.md").write_text("x")
    (tmp_path / "b/l.jpg").symlink_to("/etc/hostname")
    data = scan(open_dataset(tmp_path), progress=Progress()).dataset
    assert (len(data), len(data.skipped), data.ignored, data.total) == (9, 2, 3, 14)
    check_bad(data, allow_broken=False)


def test_no_path_is_not_the_working_folder() -> None:
    with pytest.raises(DataError, match="DATA must be a path; found ''; give one"):
        open_dataset("")


def test_folders_called_unlabelled_are_set_aside(tmp_path, fill):
    fill(tmp_path, {"train/pos": 3, "train/neg": 3, "train/unsup": 4, "test/pos": 2, "test/neg": 2})
    data = open_dataset(tmp_path)
    assert (data.classes, len(data), data.ignored, data.entries) == (("neg", "pos"), 10, 4, 14)
    assert "4 photos in folders called unsup are set aside." in data.notes


def test_noise_to_mix_into_speech_commands_is_no_class(tmp_path, fill):
    fill(tmp_path, {"yes": 4, "no": 4, "_background_noise_": 2})
    data = open_dataset(tmp_path)
    assert (data.classes, len(data), data.ignored) == (("no", "yes"), 8, 2)
    assert "2 photos in folders called _background_noise_ are set aside." in data.notes


def test_class_folders_may_lie_deep_and_beside_a_part_without_labels(tmp_path, fill):
    fill(tmp_path, {"set/Data/CLS/train/n01": 3, "set/Data/CLS/train/n02": 3, "set/Data/CLS/val": 2})
    (tmp_path / "solution.csv").write_text("a,b\n1,2\n")
    data = open_dataset(tmp_path)
    assert (data.classes, len(data), data.ignored) == (("n01", "n02"), 6, 3)
    assert any(f"headstart predict OUT {tmp_path}/set/Data/CLS/val" in note for note in data.notes)


def test_texts_without_a_suffix_are_told_by_content(tmp_path):
    for part in ("by-date-train", "by-date-test"):
        for name in ("alt.atheism", "sci.med"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                (tmp_path / part / name / str(5000 + number)).write_text(f"From: me\n\nabout {name} {number}")
    data = open_dataset(tmp_path)
    assert (data.kind, len(data), data.classes) == ("text", 12, ("alt.atheism", "sci.med"))


@pytest.mark.parametrize(
    ("form", "name", "content"),
    [("YOLO", "labels/{}.txt", "0 0.5 0.5 0.25 0.3\n"), ("Pascal VOC", "notes/{}.xml", "<annotation></annotation>")],
)
def test_boxes_of_objects_are_called_so(tmp_path, fill, form, name, content):
    fill(tmp_path, {"images": 4})
    for number in range(4):
        path = tmp_path / name.format(number)
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    with pytest.raises(DataError, match=rf"a label for each whole picture; found boxes .* form of {form}"):
        open_dataset(tmp_path)


def test_a_list_with_several_values_behind_each_name_is_named(tmp_path, fill):
    fill(tmp_path, {"img": 6})
    (tmp_path / "attributes.txt").write_text("".join(f"{at}.jpg -1 1 1\n" for at in range(6)))
    with pytest.raises(DataError, match=r"attributes\.txt in .* one label behind each name; .*; write it as CSV"):
        open_dataset(tmp_path)


def test_a_column_that_an_option_names_counts_before_folders(tmp_path, fill):
    fill(tmp_path, {"photos_part_1": 4, "photos_part_2": 4})
    paths = [f"photos_part_{part}/{at}.jpg" for part in (1, 2) for at in range(4)]
    rows = "".join(f"{path},{'xy'[at % 2]},{'fm'[at // 4]}\n" for at, path in enumerate(paths))
    (tmp_path / "meta.csv").write_text(f"image,dx,sex\n{rows}")
    assert open_dataset(tmp_path, columns={"label": "dx"}).classes == ("x", "y")
    fill(tmp_path, {"c": 4, "d": 4})
    with pytest.raises(DataError, match=r"one column of .* must be the label"):
        open_dataset(tmp_path / "meta.csv")


def test_no_pattern_is_suggested_that_gives_parts(tmp_path, fill):
    fill(tmp_path, {"images/train": 0})
    for number in range(12):
        name = f"train{number}" if number % 2 else f"val{number}"
        (tmp_path / "images" / "train" / f"{name}.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path)
    assert "--label-from" not in str(error.value)


def test_a_member_without_a_name_is_beside_the_classes(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", ""):
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, ENCODED["jpeg"])
    found = open_dataset(tmp_path / "x.zip")
    assert (len(found), found.classes) == (4, ("a", "b"))
    assert found.ignored + len(found.skipped) == 1

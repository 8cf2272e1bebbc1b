"""Tables of paths as text: what is accepted, and the line that is named when something is not."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from headstart.base.errors import DataError, UsageError
from headstart.base.progress import Progress
from headstart.data.audit import check_bad, scan
from headstart.data.readers.open import open_dataset, open_inputs
from headstart.data.readers.tables.table import safe_cell
from headstart.data.split import split


@pytest.fixture
def table(tmp_path, fill):
    """Return a function that writes a table beside the folders a and b, of 6 pictures each."""
    fill(tmp_path, {"a": 6, "b": 6})

    def write(content: str | bytes, name: str = "labels.csv") -> Path:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def rows(count: int = 6) -> str:
    return "".join(f"{name}/{number}.jpg,{name}\n" for name in "ab" for number in range(count))


def test_paths_are_relative_to_the_table(table):
    path = table("path,label\n" + rows())
    data = open_dataset(path)
    assert (data.name, len(data), data.classes, data.total) == ("labels.csv", 12, ("a", "b"), 12)
    assert data.examples[7].id == "b/1.jpg"
    assert data.read(7) == (path.parent / "b/1.jpg").read_bytes()


@pytest.mark.parametrize("header", ["path,label", "image,label", "Path,LABEL", " path , label "])
def test_column_names(table, header):
    assert len(open_dataset(table(f"{header}\n" + rows()))) == 12


def test_group_and_split_columns(table):
    lines = [
        "label,split,group,path",
        "a,Train,g1,a/0.jpg",
        "b,train,,b/0.jpg",
        "a,val,g2,a/1.jpg",
        "b,dev,nan,b/1.jpg",
    ]
    lines += ["a,test,g3,a/2.jpg", "b,validation,g3,b/2.jpg"]
    data = open_dataset(table("\n".join(lines)))
    assert [example.split for example in data.examples] == ["train", "train", *["validation"] * 2, "test", "validation"]
    assert [example.group for example in data.examples] == ["g1", None, "g2", None, "g3", "g3"]


def test_columns_of_other_names_are_mapped(table):
    path = table("file;kind\n" + rows().replace(",", ";"))
    assert len(open_dataset(path)) == 12
    assert len(open_dataset(path, columns={"path": "file", "label": "kind"})) == 12
    with pytest.raises(UsageError, match="did you mean 'label'"):
        open_dataset(path, columns={"lable": "kind"})
    with pytest.raises(DataError, match="the column 'sort'; found the columns file, kind"):
        open_dataset(path, columns={"label": "sort"})


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("code,label\n" + "".join(f"x{n}7,{'ab'[n % 2]}\n" for n in range(20)), "a column of the examples"),
        ("path,when\n" + "".join(f"a/0.jpg,19{n}\n" for n in range(80)), "labels"),
        ("path\n" + "a/0.jpg\n" * 4, "their labels"),
        ("path,size,shape\n" + "".join(f"a/0.jpg,{'sml'[n % 3]},{'ox'[n % 2]}\n" for n in range(12)), "the label"),
    ],
)
def test_a_missing_column_lists_those_found__TAB_01(table, content, wanted):
    with pytest.raises(DataError) as error:
        open_dataset(table(content))
    assert wanted in str(error.value)
    assert (
        "found the columns" in str(error.value)
        or "that could be" in str(error.value)
        or "a quantity" in str(error.value)
    )


def test_a_column_that_is_there_twice(table):
    with pytest.raises(DataError, match="one column 'label'"):
        open_dataset(table("path,label,Label\na/0.jpg,a,b\n"))


@pytest.mark.parametrize("missing", ["", "  ", "nan", "NaN", "<NA>"])
def test_missing_labels_are_skipped_and_stop_above_a_fifth__TAB_02(table, missing):
    few = open_dataset(table("path,label\n" + rows() + f"a/0.jpg,{missing}\n" * 3))
    assert [item.reason for item in few.skipped] == ["no label"] * 3
    assert few.classes == ("a", "b")
    check_bad(few, allow_broken=False)
    many = open_dataset(table("path,label\n" + rows() + f"a/0.jpg,{missing}\n" * 4))
    with pytest.raises(DataError, match=r"4 of 16 \(25%\) unusable .*no label"):
        check_bad(many, allow_broken=False)
    check_bad(many, allow_broken=True)


def test_none_and_na_are_classes__TAB_02(table):
    lines = "path,label\n" + "".join(f"a/{n}.jpg,{label}\n" for n, label in enumerate(["none", "NA", "null", "N/A"]))
    assert open_dataset(table(lines)).classes == ("N/A", "NA", "none", "null")


def test_numbers_are_classes_as_spelled_and_said_once__TAB_03(table):
    labels = ["1", "01", "1.0", "2", "10", "-1"]
    data = open_dataset(table("path,label\n" + "".join(f"a/{n}.jpg,{label}\n" for n, label in enumerate(labels))))
    assert data.classes == tuple(sorted(labels))
    assert sum("numbers" in note for note in data.notes) == 1
    assert any("'01', '1', '1.0'" in note for note in data.notes)


def test_one_class_is_an_error__TAB_04(table):
    with pytest.raises(DataError, match="at least two classes; found only one, 'a'"):
        open_dataset(table("path,label\n" + rows().replace(",b", ",a")))


def test_a_class_of_one_example_names_the_class__TAB_05(table):
    data = scan(open_dataset(table("path,label\n" + rows(5) + "a/5.jpg,rare\n")), progress=Progress())
    with pytest.raises(DataError, match="a single one of 'rare'"):
        split(data.dataset, data.hashes, seed=0)


def test_a_label_only_in_the_test_part_is_named__TAB_06(table):
    lines = "path,label,split\na/0.jpg,a,train\nb/0.jpg,b,train\na/1.jpg,new,test\n"
    data = scan(open_dataset(table(lines)), progress=Progress())
    with pytest.raises(DataError, match="'new'"):
        split(data.dataset, data.hashes, seed=0)


def test_nearly_equal_labels_are_listed__TAB_07(table):
    labels = ["Cat", "cat ", "cat", "dog", "cafe\u0301", "caf\u00e9"]
    data = open_dataset(table("path,label\n" + "".join(f"a/{n}.jpg,{label}\n" for n, label in enumerate(labels))))
    assert set(data.classes) == set(labels)
    (note,) = data.notes
    assert "'Cat', 'cat', 'cat '" in note
    assert "dog" not in note


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "a/../../x.jpg",
        "/etc/passwd",
        "..",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "HTTPS://example.org/a.jpg",
        "s3://bucket/a.jpg",
        "//server/share/a.jpg",
        r"\\server\share\a.jpg",
        r"C:\a.jpg",
        "C:/a.jpg",
        r"..\..\a.jpg",
    ],
)
def test_paths_that_lead_out_are_refused_by_line__TAB_08(table, path):
    for opening in (open_dataset, lambda data: open_inputs([data])):
        with pytest.raises(DataError, match="line 14 must hold a path inside the table's folder"):
            opening(table("path,label\n" + rows() + f"{path},a\n"))


def test_a_tidy_path_inside_is_used__TAB_08(table):
    data = open_dataset(table("path,label\n./a//0.jpg,a\na/../b/0.jpg,b\n"))
    assert [example.id for example in data.examples] == ["a/0.jpg", "b/0.jpg"]


def test_root_allows_paths_below_it_only__TAB_08(tmp_path, fill):
    fill(tmp_path / "photos", {"a": 2, "b": 2})
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables/t.csv"
    path.write_text(f"path,label\n../photos/a/0.jpg,a\n{tmp_path}/photos/b/0.jpg,b\n")
    data = open_dataset(path, root=tmp_path / "photos")
    assert [data.read(at) for at in range(2)] == [(tmp_path / f"photos/{name}/0.jpg").read_bytes() for name in "ab"]
    for bad in ("../secret.jpg", "../photos/../x.jpg", f"{tmp_path}/photos2/x.jpg"):
        path.write_text(f"path,label\n{bad},a\n")
        with pytest.raises(DataError, match="or under"):
            open_dataset(path, root=tmp_path / "photos")


def test_a_link_to_outside_is_not_followed__TAB_08(table, tmp_path_factory):
    secret = tmp_path_factory.mktemp("secret") / "x.jpg"
    secret.write_bytes(b"\xff\xd8\xff")
    path = table("path,label\n" + rows() + "a/l.jpg,a\nup/x.jpg,a\n")
    (path.parent / "a/l.jpg").symlink_to(secret)
    (path.parent / "up").symlink_to(secret.parent)
    data = scan(open_dataset(path), progress=Progress()).dataset
    assert {item.id: item.reason for item in data.skipped} == dict.fromkeys(("a/l.jpg", "up/x.jpg"), "link to outside")


def test_missing_files_are_skipped_and_stop_above_a_fifth__TAB_09(table):
    lines = "path,label\n" + rows() + "a/no.jpg,a\nb/no.jpg,b\nno/0.jpg,a\n"
    few = scan(open_dataset(table(lines)), progress=Progress()).dataset
    assert [item.reason for item in few.skipped] == ["missing"] * 3
    check_bad(few, allow_broken=False)
    many = scan(open_dataset(table(lines + "no/1.jpg,a\n")), progress=Progress()).dataset
    with pytest.raises(DataError, match="4 of 16"):
        check_bad(many, allow_broken=False)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_dialects_are_told__TAB_10(table, mark, end, bom):
    text = "path,label\n" + rows(2) + 'a/4.jpg,"two\nlines, and ""quotes"""\n\n'
    text = text.replace(",", mark).replace(f"lines{mark}", "lines,").replace("\n", end)
    data = open_dataset(table(bom + text.encode()))
    assert data.classes == ("a", "b", f'two{end}lines, and "quotes"')


def test_tsv_and_commas_in_other_columns__TAB_10(table):
    data = open_dataset(table("path\tlabel\ta, b, c\n" + rows().replace(",", "\t").replace("\n", "\tx\n"), "x.TSV"))
    assert len(data) == 12


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("a/0.jpg,a\nb/0.jpg,b,extra\n", 3),
        ("a/0.jpg,a\nb/0.jpg\n", 3),
        ('a/0.jpg,"a\n\n\nb"\nb/0.jpg\n', 6),
        ('a/0.jpg,a\nb/0.jpg,"never, closed\n', 3),
        ('a/0.jpg,"a" b, c\n', 2),
    ],
)
def test_a_ragged_or_broken_row_is_named_by_line__TAB_10(table, body, line):
    with pytest.raises(DataError, match=f"line {line}"):
        open_dataset(table("path,label\n" + body))


def test_a_table_that_is_no_utf8_is_read_and_its_encoding_said__TAB_10(table):
    dataset = open_dataset(table(b"path,label\na/0.jpg,a\nk\xe4se.jpg,b\n"))
    assert [example.id for example in dataset.examples] == ["a/0.jpg", "k\xe4se.jpg"]
    assert "not in UTF-8: it was read as Windows-1252" in dataset.notes[0]


def test_bytes_that_are_no_text_are_named_by_line__TAB_10(table):
    with pytest.raises(DataError, match="byte 0xe4 at 22, line 3"):
        open_dataset(table(b"path,label\na/0.jpg,a\nk\xe4s\x81e.jpg,b\n"))


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_table_in_utf16_is_read_and_that_is_said__TAB_10(table, codec):
    dataset = open_dataset(table("path,label\na/0.jpg,a\na/1.jpg,b\n".encode(codec)))
    assert len(dataset) == 2 and "UTF-16" in dataset.notes[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "nothing, it is empty"),
        (b" \n\r\n", "nothing, it is empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"path,label\n", "a header only"),
        (b"path,label", "a header only"),
        (b"PK\x03\x04\x14\x00rest", "an Excel workbook"),
        (b"\x89PNG\r\n\x1a\n", "byte 0x89 at 0"),
    ],
)
def test_what_is_no_table_says_so__TAB_11(table, content, says):
    with pytest.raises(DataError, match=says):
        open_dataset(table(content))


def test_formulas_are_labels_as_they_are_and_escaped_when_written__TAB_12(table):
    labels = ["=cmd|' /C calc'!A0", "@SUM(1)", "+1", "plain"]
    data = open_dataset(table("path,label\n" + "".join(f"a/{n}.jpg,{label}\n" for n, label in enumerate(labels))))
    assert set(data.classes) == set(labels)
    assert [safe_cell(label) for label in labels] == [f"'{label}" for label in labels[:3]] + ["plain"]
    assert safe_cell("\tx") == "'\tx"
    assert safe_cell("a\x1b[31m\x9b\u202e\r\nb") == r"a\x1b[31m\x9b\u202e\r\nb"


def test_a_cell_without_a_path_is_skipped(table):
    data = open_dataset(table("path,label\n" + rows() + " ,a\n"))
    assert [(item.id, item.reason) for item in data.skipped] == [("labels.csv#14", "no path")]


def test_a_path_listed_twice_keeps_ids_apart(table):
    data = open_dataset(table("path,label\n" + rows() + "a/0.jpg,a\n"))
    assert data.examples[-1].id == "a/0.jpg#labels.csv, line 14"
    assert data.read(12) == data.read(0)


def test_backslashes_are_slashes_and_said(table):
    data = open_dataset(table("path,label\na\\0.jpg,a\nb\\0.jpg,b\n"))
    assert [example.id for example in data.examples] == ["a/0.jpg", "b/0.jpg"]
    assert "backslashes" in data.notes[0]


@pytest.mark.parametrize("cell", ["mystery", "", "trainers", "0"])
def test_an_unknown_split_is_named_by_line(table, cell):
    with pytest.raises(DataError, match="line 3 must be one of train"):
        open_dataset(table(f"path,label,split\na/0.jpg,a,train\nb/0.jpg,b,{cell}\n"))


def test_only_the_table_is_listed_not_its_folder(table, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("os.scandir", lambda path: pytest.fail("the table's folder may be a home folder"))
        assert len(open_dataset(table("path,label\n" + rows()))) == 12


@pytest.mark.parametrize("validation", ["dev", "val", "validation"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_or_archive_of_tables_gives_the_split(tmp_path, fill, validation, packed):
    folder = fill(tmp_path / "set", {"img": 12})
    for part, start in (("train", 0), (validation, 4), ("test", 8)):
        lines = [f"img/{start + n}.jpg,{'ab'[n % 2]}" for n in range(4)]
        (folder / f"{part}.csv").write_text("\n".join(["path,label", *lines]))
    data = folder
    if packed:
        data = tmp_path / "set.zip"
        with zipfile.ZipFile(data, "w") as archive:
            for file in folder.rglob("*.*"):
                archive.write(file, f"set/{file.relative_to(folder)}")
    found = open_dataset(data)
    by_id = {example.id: example.split for example in found.examples}
    assert [by_id[f"img/{n}.jpg"] for n in range(12)] == [*["train"] * 4, *["validation"] * 4, *["test"] * 4]
    at = [example.id for example in found.examples].index("img/9.jpg")
    assert found.read(at) == (folder / "img/9.jpg").read_bytes()


def test_one_table_all_has_no_split(tmp_path, fill):
    fill(tmp_path, {"a": 6, "b": 6})
    (tmp_path / "all.csv").write_text("path,label\n" + rows())
    assert {example.split for example in open_dataset(tmp_path).examples} == {None}
    (tmp_path / "train.csv").write_text("path,label\n" + rows())
    with pytest.raises(DataError, match=r"all\.csv, train\.csv"):
        open_dataset(tmp_path)


def test_a_file_and_its_split_column_must_agree(tmp_path, fill):
    fill(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "train.csv").write_text("path,label,split\na/0.jpg,a,train\nb/0.jpg,b,test\n")
    with pytest.raises(DataError, match=r"train\.csv, line 3 must belong to the part of its file"):
        open_dataset(tmp_path)


def test_paths_in_an_archive_stay_in_it__TAB_08(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("all.csv", "path,label\na.jpg,a\n../b.jpg,b\n")
    with pytest.raises(DataError, match="line 3"):
        open_dataset(tmp_path / "x.zip", root=None)


def test_a_table_without_labels_gives_inputs(table):
    data = open_inputs([table("path\na/0.jpg\nb/0.jpg\n")])
    assert {example.label for example in data.examples} == {""}
    assert data.read(1) == Path(data.examples[1].id).read_bytes()


@pytest.mark.slow
def test_a_packed_table_that_grows_without_measure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"text,label\n" + b"a,b\n" * (1 << 26) + b"c,d\n" * (1 << 12), 1))
    with pytest.raises(DataError, match=r"must unpack to at most [\d,]+ MiB; found more, .*; unpack it"):
        open_dataset(tmp_path / "x.csv.gz")

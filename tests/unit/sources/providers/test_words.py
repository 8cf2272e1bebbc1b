"""`words:PATH` opens the file, or the member of an archive, that its name says, with its vectors or random ones."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import SourceError
from headstart.sources.providers.words import open_named
from headstart.sources.text.word_source import WordSource
from headstart.sources.uri import Spec


def opened(name: Path | str, weights: str = "pretrained", seed: int = 0) -> WordSource:
    return open_named(Spec("words", str(name)), weights=weights, seed=seed)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a#1.txt").write_text("salt 1 2 3\nboat 4 5 6\n")
    return tmp_path / "a#1.txt"


def test_a_file_gives_its_own_vectors_whatever_the_seed(file: Path) -> None:
    for seed in (0, 7):
        source = opened(file, seed=seed)
        assert source.seed is None and source.info.uri == f"words:{file}"
        np.testing.assert_allclose(source.at("pool").encode(["Boat", "salt boat"]), [[4, 5, 6], [2.5, 3.5, 4.5]])


def test_random_vectors_follow_from_the_seed(file: Path) -> None:
    one, again, other = (opened(file, "none", seed).at("pool").encode(["salt"]) for seed in (0, 0, 7))
    np.testing.assert_array_equal(one, again)
    assert (one != other).all()
    assert opened(file, "none", 7).info.trained_on == "nothing (random vectors, seed 7)"


def test_a_member_of_an_archive_is_named_behind_a_hash(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("d/a.txt", "salt 1 2 3\n")
        archive.writestr("d/b.txt", "salt 7 8 9\n")
    for member, expected in (("d/a.txt", [1, 2, 3]), ("b.txt", [7, 8, 9])):
        source = opened(f"{tmp_path / 'two.zip'}#{member}")
        np.testing.assert_array_equal(source.at("pool").encode(["salt"])[0], expected)
    with pytest.raises(
        SourceError, match=r"must hold one file of word vectors; found d/a\.txt, d/b\.txt; write words:"
    ):
        opened(tmp_path / "two.zip")


def test_a_file_at_home_is_found_and_an_absent_one_named(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert opened("~/a#1.txt").info.parameters == 6
    with pytest.raises(SourceError, match=rf"must be a file of word vectors; found no file {tmp_path / 'gone'}"):
        opened("~/gone")

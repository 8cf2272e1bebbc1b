"""Vectors of words: found by spelling, read when asked for, drawn by the seed, or learned; broken ones are named."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import SourceError
from headstart.sources.text.word_index import WordIndex, hash_of, open_index
from headstart.sources.text.word_vectors import LearnedVectors, Vectors

WORDS = ("the", "The", "do", "n't", "it", "'s", "salt", "ÄRGER", "ärger", "n'te")
WIDTH = 3
NUMBERS = np.arange(len(WORDS) * WIDTH, dtype=np.float32).reshape(len(WORDS), WIDTH) / 8
NOTHING = LearnedVectors(np.empty(0, np.int32), np.empty((0, WIDTH), np.float32), ())


def index_of(path: Path, words: tuple[str, ...] = WORDS, *, binary: bool = False) -> WordIndex:
    rows = [word.encode() + b" " for word in words]
    if binary:
        records = [row + struct.pack("<3f", *numbers) for row, numbers in zip(rows, NUMBERS, strict=False)]
        path.write_bytes(f"{len(words)} {WIDTH}\n".encode() + b"\n".join(records))
    else:
        lines = [row + " ".join(map(str, numbers)).encode() for row, numbers in zip(rows, NUMBERS, strict=False)]
        path.write_bytes(b"\n".join(lines))
    return open_index(path)


def vectors(path: Path, *, seed: int | None = None, learned: LearnedVectors = NOTHING, binary: bool = False) -> Vectors:
    return Vectors(index_of(path / "a.vec", binary=binary), seed, learned)


def ids(places: list[int]) -> np.ndarray:
    return np.array(places, dtype=np.int32)


def rank(held: Vectors, word: str, index: WordIndex) -> list[int]:
    """Return the places in the file, from 0, of what a word is found as."""
    return [int(index.ranks[place]) for place in held.find(word)]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("the", [0]),
        ("The", [1]),  # as it is, before its lower case
        ("THE", [0]),
        ("SALT", [6]),
        ("ÄRGER", [7]),
        ("Ärger", [8]),
        ("don't", [2, 3]),
        ("DON'T", [2, 3]),
        ("don’t", [2, 3]),
        ("dodn't", [3]),
        ("do", [2]),
        ("it's", [4, 5]),
        ("IT’S", [4, 5]),
        ("he's", [5]),  # the half that is known
        ("don", []),
        ("'s", [5]),
        ("zebra", []),
        ("", []),
        ("sal", []),  # a beginning is no word
        ("salt 0.5", []),
    ],
)
def test_a_word_is_found_as_it_is_in_lower_case_or_in_two_parts(tmp_path: Path, word: str, found: list[int]) -> None:
    index = index_of(tmp_path / "a.vec")
    held = Vectors(index, None, NOTHING)
    assert rank(held, word, index) == found
    assert rank(held, word, index) == found, "and again from memory"


def test_a_part_that_stands_first_in_the_index_is_found_too(tmp_path: Path) -> None:
    held = Vectors(index_of(tmp_path / "a.vec", ("do", "n't")), None, NOTHING)
    assert sorted(held.find("don't")) == [0, 1]


@pytest.mark.parametrize("binary", [False, True])
def test_vectors_are_those_of_the_file_in_any_order(tmp_path: Path, binary: bool) -> None:
    index = index_of(tmp_path / "a.vec", binary=binary)
    held = Vectors(index, None, NOTHING)
    asked = ids([4, 0, 4, 9])
    x = held.at(asked)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, NUMBERS[index.ranks[asked]])
    assert held.at(ids([])).shape == (0, WIDTH)


def test_words_of_one_hash_are_told_apart_by_their_letters(tmp_path: Path) -> None:
    index = index_of(tmp_path / "a.vec")
    same = replace(index, hashes=np.full(len(WORDS), hash_of(b"salt"), np.uint64))
    held = Vectors(same, None, NOTHING)
    (place,) = held.find("salt")
    np.testing.assert_array_equal(held.at(ids([place]))[0], NUMBERS[6])
    assert held.find("the") == [], "its own hash is not in this index"


def test_of_a_word_that_comes_twice_the_first_counts(tmp_path: Path) -> None:
    index = index_of(tmp_path / "a.vec", ("the", "salt", "of", "salt", "salt"))
    held = Vectors(index, None, NOTHING)
    np.testing.assert_array_equal(held.at(ids(held.find("salt")))[0], NUMBERS[1])


def test_a_seed_draws_each_word_by_its_place_alone(tmp_path: Path) -> None:
    one, again, other = (vectors(tmp_path, seed=seed) for seed in (0, 0, 1))
    every = ids(list(range(len(WORDS))))
    drawn = one.at(every)
    np.testing.assert_array_equal(again.at(every[::-1]), drawn[::-1])
    assert len(np.unique(drawn, axis=0)) == len(WORDS)
    assert (other.at(every) != drawn).all()
    assert one.find("Don't") == vectors(tmp_path).find("Don't"), "the same words are known"
    many = index_of(tmp_path / "b.vec", tuple(f"w{number}" for number in range(10)))
    far = Vectors(replace(many, ranks=np.arange(2_000, dtype=np.int32)), 3, NOTHING)
    cloud = np.stack([far.original(ids([place]))[0] for place in range(2_000)])
    assert abs(float(cloud.mean())) < 0.05 and abs(float(cloud.std()) - 1) < 0.05


def test_the_frequency_of_a_word_falls_with_its_place_and_all_sum_to_one(tmp_path: Path) -> None:
    many = tuple(f"w{number}" for number in range(10))
    index = index_of(tmp_path / "a.vec", many)
    large = replace(index.about, words=5_000)
    held = Vectors(replace(index, about=large, ranks=np.arange(5_000, dtype=np.int32)), None, NOTHING)
    frequency = held.frequency(np.arange(5_000, dtype=np.int32))
    assert frequency.dtype == np.float64 and frequency.sum() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(frequency[[1, 3, 4_999]], frequency[0] / [2, 4, 5_000])  # Zipf's law
    new = held.frequency(ids([5_000, 5_017]))
    assert new[0] == new[1] == pytest.approx(frequency[0] / 5_001), "new words are the rarest"


def test_learned_vectors_stand_in_and_new_words_follow(tmp_path: Path) -> None:
    plain = vectors(tmp_path)
    (salt,), (the,) = plain.find("salt"), plain.find("the")
    places = ids([*sorted([salt, the]), len(WORDS), len(WORDS) + 1])
    changed = -np.arange(1, 13, dtype=np.float32).reshape(4, WIDTH)
    held = Vectors(index_of(tmp_path / "a.vec"), None, LearnedVectors(places, changed, ("yak", "zebra")))
    assert held.find("yak") == [len(WORDS)] and held.find("ZEBRA") == [len(WORDS) + 1]
    untouched = plain.find("it")[0]
    x = held.at(ids([untouched, len(WORDS) + 1, places[0], places[1], untouched]))
    np.testing.assert_array_equal(x[[0, 4]], plain.at(ids([untouched, untouched])))
    np.testing.assert_array_equal(x[1:4], changed[[3, 0, 1]])
    np.testing.assert_array_equal(held.original(ids([salt])), plain.at(ids([salt])))
    drawn = Vectors(index_of(tmp_path / "a.vec"), 5, LearnedVectors(places, changed, ("yak", "zebra")))
    np.testing.assert_array_equal(drawn.at(places), changed)


@pytest.mark.parametrize("place", [0, 4, len(WORDS) - 1])
def test_one_learned_vector_changes_that_word_alone(tmp_path: Path, place: int) -> None:
    every, learned = ids(list(range(len(WORDS)))), LearnedVectors(ids([place]), np.full((1, WIDTH), 9, np.float32), ())
    changed = (vectors(tmp_path, learned=learned).at(every) != vectors(tmp_path).at(every)).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [place]


def test_a_word_that_the_file_knows_is_never_a_new_one(tmp_path: Path) -> None:
    learned = LearnedVectors(ids([len(WORDS)]), np.ones((1, WIDTH), np.float32), ("salt",))
    held = vectors(tmp_path, learned=learned)
    assert held.find("Salt") == vectors(tmp_path).find("salt") != [len(WORDS)]


@pytest.mark.parametrize("broken", ["nan 1 2", "1 inf 2", "1 2 1e99", "1 2 -1e39", "1 2e 3", "1  2"])
def test_numbers_that_are_none_are_named_by_word_and_line(tmp_path: Path, broken: str) -> None:
    index = index_of(tmp_path / "a.vec")
    text = (tmp_path / "a.vec").read_bytes()
    line = text.splitlines()[6]
    start = text.index(line)
    longer = (tmp_path / "b.vec").write_bytes(text[:start] + b"salt " + broken.encode())
    ends = np.where(index.ranks == 6, longer, index.ends)
    held = Vectors(replace(index, path=tmp_path / "b.vec", ends=ends), None, NOTHING)
    np.testing.assert_array_equal(held.at(ids(held.find("the")))[0], NUMBERS[0])
    with pytest.raises(SourceError, match=r"b\.vec must be 3 finite numbers; found word 7, 'salt', is not; fetch"):
        held.at(ids(held.find("salt")))

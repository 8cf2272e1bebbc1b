"""Texts that repeat each other but for case, marks, slips of the pen, or words more or fewer: found and confirmed.

Candidates share rare shingles, runs of one or two words (Broder 1997), or stand beside each other in the order of their
first or last words, as in the sorted neighbourhood method (Hernández & Stolfo 1995): the time grows with the number of
texts, not with its square. Their words are then laid beside each other. What sets a repeat apart from another text of
one template ("What is the capital of ...") is that nothing takes the place of what is left out, and that what both
share is seldom written: each word counts by its surprise after the word before it.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_CHARACTERS = 4_000  # of a text: those behind are not compared
MAX_TEXTS_WITH = 48  # texts that share a shingle: beyond, it tells little and costs much
MAX_SHINGLES = 32  # of a text that are looked up, the rarest
NEIGHBOURS = 4  # of each text that share most of them, and two before and behind it in either order
MIN_SHARED = 0.4  # of the lighter one's shingles, among those that were looked up
BLOCK = 1_024  # texts that are compared with all others at once
WORDS_A_SLIP = 10  # one more slip is let pass for so many words
MAX_EXCHANGED = 0.1  # of the words, by number and by weight
LEAST_WITHIN, LEAST_AT_AN_END = 0.75, 0.44  # share of surprise in the heavier text, wherever words are missing
PRIOR = 1  # texts with a word from which on half of what follows it is believed, three quarters at most
KINDS_OF_LETTERS = 32  # that are told apart where letters are counted
MIN_LETTERS = 4  # of a word in which one letter may be other, missing or more

Pairs = NDArray[np.intp]


class _Letters(dict[int, str | None]):
    """What stands for each letter: itself, a space for what parts words, nothing for apostrophes, often left out."""

    def __missing__(self, code: int) -> str | None:
        letter = chr(code)
        self[code] = letter if letter.isalnum() or letter == "_" else None if letter in "'\u2019" else " "
        return self[code]


LETTERS = _Letters()
ASCII = bytes(ord(LETTERS[code] or " ") for code in range(128)) + bytes(128)


def normal_form(text: str) -> str:
    """Return the words of a text in one spelling: without case, punctuation, and what sets them apart."""
    text = text[:MAX_CHARACTERS]
    if text.isascii():  # as most are: by bytes, which costs half
        return b" ".join(text.lower().encode().translate(ASCII, b"'").split()).decode()
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(LETTERS).split())


class Wordings:
    """The words of n texts, which are given in normal form; a word weighs the more, the fewer texts have it."""

    def __init__(self, texts: Sequence[str]) -> None:
        from scipy.sparse import csr_array

        numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)
        words = " ".join(texts).split()
        flat = np.fromiter(map(numbers.__getitem__, words), np.int64, len(words))
        self._texts, self._flat, self._names = texts, flat, list(numbers)
        self._lengths = np.array([text.count(" ") + bool(text) for text in texts], np.int64)
        self._ends = np.concatenate([[0], np.cumsum(self._lengths)])
        ones, shape = np.ones(len(flat), np.float32), (len(texts), len(numbers))
        counts = csr_array((ones, flat, self._ends), shape=shape, copy=True)  # whose rows are sorted below
        counts.sum_duplicates()
        self._counts = counts
        texts_with = np.bincount(counts.indices, minlength=len(numbers))
        self._weights = np.log((len(texts) + 1) / np.maximum(texts_with, 1))
        self._masses = counts @ self._weights
        letters = np.frombuffer("".join(numbers).encode("utf-32-le"), np.uint32) % KINDS_OF_LETTERS
        of_word = np.repeat(np.arange(len(numbers)), [len(word) for word in numbers])
        counted = np.bincount(of_word * KINDS_OF_LETTERS + letters, minlength=len(numbers) * KINDS_OF_LETTERS)
        self._letters = counted.reshape(-1, KINDS_OF_LETTERS).astype(np.int16)  # of each word, how often each comes
        bits = np.uint64(1) << (flat % 64).astype(np.uint64)
        self._bits = np.bitwise_or.reduceat(np.append(bits, np.uint64(0)), self._ends[:-1]) if len(texts) else bits
        self._bits[self._lengths == 0] = 0
        self._count_shingles()

    def repeats(self) -> Pairs:
        """Return the pairs of rows that repeat each other, of shape (p, 2); not each pair of many that all do."""
        if not len(self._flat):
            return np.empty((0, 2), np.intp)
        n = len(self._texts)
        numbers = _distinct(np.concatenate([pairs @ (n, 1) for pairs in (self._sharing(), *self._beside())]))
        pairs = np.stack([numbers // n, numbers % n], axis=1)
        return pairs[self.related(pairs)]

    def related(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return whether the texts of each pair, of shape (p, 2), repeat each other: bool of shape (p,)."""
        some = np.arange(len(pairs))
        for may_be in (self._may_share_words, self._may_be_related):
            some = some[_in_blocks(may_be, pairs[some])]
        beside = _in_blocks(self._may_be_laid_beside, pairs[some])
        some = some[beside | np.array([self._is_cut(a, b) for a, b in pairs[some].tolist()], np.bool_)]
        surprises = self._surprises(np.unique(pairs[some]))
        related = np.zeros(len(pairs), np.bool_)
        related[some] = [self._are_related(a, b, surprises) for a, b in pairs[some].tolist()]
        return related

    def _sharing(self) -> Pairs:
        """Return the pairs of a text with those that share most of its rare shingles."""
        from scipy.sparse import csr_array

        n = len(self._texts)
        shingles, rows = self._rare_shingles()
        texts_with = np.bincount(shingles, minlength=1)
        weights = np.sqrt(np.log((n + 1) / texts_with[shingles])).astype(np.float32)
        matrix = csr_array((weights, (rows, shingles)), shape=(n, len(texts_with)))
        least = (MIN_SHARED * np.bincount(rows, np.square(weights), n)).astype(np.float32)
        parts: list[tuple[NDArray[Any], ...]] = []
        for start in range(0, n, BLOCK):  # each with those behind it
            shared = (matrix[start : start + BLOCK] @ matrix[start:].T.tocsr()).tocoo()
            left, right = shared.row + np.intp(start), shared.col + np.intp(start)
            near = (left < right) & (shared.data >= np.minimum(least[left], least[right]))
            parts.append((left[near], right[near], shared.data[near]))
        left, right, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        pairs = np.stack([np.concatenate([left, right]), np.concatenate([right, left])], axis=1)
        pairs = pairs[np.lexsort((pairs[:, 1], -np.tile(values, 2), pairs[:, 0]))]
        nearest = _places(pairs[:, 0]) < NEIGHBOURS
        return np.sort(pairs[nearest], axis=1)

    def _count_shingles(self) -> None:
        """Count the texts that hold each word and each two that stand beside each other."""
        n, row = len(self._texts), np.repeat(np.arange(len(self._texts)), self._lengths)
        within, twos = self._twos(self._flat, row)
        both = _distinct(np.concatenate([self._flat, twos]) * n + np.concatenate([row, row[within + 1]]))
        shingles, self._texts_of = np.divmod(both, max(n, 1))
        new = np.diff(shingles, prepend=-1) != 0
        self._shingles, self._numbers = np.cumsum(new) - 1, shingles[new]
        self._texts_with = np.bincount(self._shingles)

    def _twos(self, words: NDArray[np.int64], row: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return the places of words that the next one follows in the same text, and a number for both together."""
        n, kinds = len(self._texts), len(self._names)
        within = np.flatnonzero(row[1:] == row[:-1])
        most = max(1, np.iinfo(np.int64).max // max(n, 1) - kinds)  # two pairs of words that meet are rare
        return within, kinds + (words[within] * kinds + words[within + 1]) % most

    def _surprises(self, rows: NDArray[np.intp]) -> dict[int, NDArray[np.float64]]:
        """Return the surprise of each word of some texts, by row.

        It is -log of a word's probability after the word before it, mixed with that of the word alone (Jelinek & Mercer
        1980) by how often the word before it was met (Witten & Bell 1991). Two texts that hold them are not counted, so
        that a repeat does not make itself likely.
        """
        lengths = self._lengths[rows]
        row = np.repeat(rows, lengths)
        words = self._flat[self._ends[row] + _places(row)]
        within, twos = self._twos(words, row)
        alone = np.maximum(self._texts_with[words] - 2.0, 0.5)
        likely = alone / len(self._texts)
        together = np.maximum(self._texts_with[np.searchsorted(self._numbers, twos)] - 2.0, 0)
        before = np.maximum(alone[within], together)
        share = 0.75 * before / (before + PRIOR)
        likely[within + 1] = share * together / before + (1 - share) * likely[within + 1]
        return dict(zip(rows.tolist(), np.split(-np.log(likely), np.cumsum(lengths)[:-1]), strict=False))

    def _rare_shingles(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the numbers of the rarest shingles of each text that stand in others, and the text of each."""
        texts_with = self._texts_with
        kept = ((texts_with > 1) & (texts_with <= MAX_TEXTS_WITH))[self._shingles]
        shingles, rows = self._shingles[kept], self._texts_of[kept]
        order = np.argsort(rows * np.int64(MAX_TEXTS_WITH) + texts_with[shingles] - 1, kind="stable")
        shingles, rows = shingles[order], rows[order]
        rarest = _places(rows) < MAX_SHINGLES
        return shingles[rarest], rows[rarest]

    def _beside(self) -> list[Pairs]:
        keys = (self._texts, [text[::-1] for text in self._texts])
        orders = [sorted(range(len(self._texts)), key=key.__getitem__) for key in keys]
        return [
            np.sort(np.stack([order[:-step], order[step:]], axis=1), axis=1)
            for order in map(np.array, orders)
            for step in (1, 2)
        ]

    def _may_share_words(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return what `_may_be_related` cannot deny by one bit a word, of 64: it costs far less, of shape (p,)."""
        first, second = self._bits[pairs.T]
        fewest = np.minimum(np.bitwise_count(first & ~second), np.bitwise_count(second & ~first))
        fewer, more = np.sort(self._lengths[pairs], axis=1).T
        words = 2 * (1 + fewer // WORDS_A_SLIP)
        alike = fewest <= words + fewer * MAX_EXCHANGED / (1 - MAX_EXCHANGED)
        return np.asarray((alike & (fewer - fewest + words >= LEAST_WITHIN * more)) | (fewest <= 1))

    def _may_be_related(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return whether enough words are shared, in whatever order."""
        both = self._counts[pairs[:, 0]].minimum(self._counts[pairs[:, 1]])
        number, mass = np.asarray(both.sum(axis=1)).ravel(), both @ self._weights
        fewest, heaviest = self._lengths[pairs].min(axis=1) - number, self._masses[pairs].max(axis=1)
        words = 2 * (1 + number // WORDS_A_SLIP)  # of slips: two each, where a space was exchanged
        alike = (fewest > 0) & (fewest <= words + number * MAX_EXCHANGED / (1 - MAX_EXCHANGED))
        within = number + words >= LEAST_WITHIN * self._lengths[pairs].max(axis=1)
        return np.asarray((alike & within) | ((fewest <= 1) & (mass >= LEAST_AT_AN_END * heaviest)))

    def _is_cut(self, first: int, second: int) -> bool:
        """Return whether the shorter text begins or ends the longer one, maybe within a word."""
        short, long = sorted((self._texts[first], self._texts[second]), key=len)
        return long.startswith(short) or long.endswith(short)

    def _are_related(self, first: int, second: int, surprises: Mapping[int, NDArray[np.float64]]) -> bool:
        """Return whether one text is a repeat of the other, by the surprise of their words.

        What they share must be so rare that, as words follow each other here, less than one of n texts had it by
        chance.
        """
        short, long = (first, second) if len(self._texts[first]) <= len(self._texts[second]) else (second, first)
        text, longer = self._texts[short], self._texts[long]
        if text.replace(" ", "") == longer.replace(" ", ""):
            return True
        surprise, rarest = surprises[long], np.log(len(self._texts))
        own, theirs = (self._flat[self._ends[row] : self._ends[row + 1]].tolist() for row in (short, long))
        if self._is_cut(first, second):
            count = len(own)
            mass = surprise[: count - (own[-1] != theirs[count - 1])] if longer.startswith(text) else surprise[-count:]
            return bool(mass.sum() >= max(LEAST_AT_AN_END * surprise.sum(), rarest))
        shared, slips, *alone = self._laid_beside(own, theirs)
        mass, less, more = (
            surprise[shared].sum(),
            *sorted(surprises[row][some].sum() for row, some in zip((short, long), alone, strict=True)),
        )
        exchanged = min(len(some) for some in alone)
        return bool(
            mass >= max(LEAST_WITHIN * (mass + more), rarest)
            and slips <= 1 + len(shared) // WORDS_A_SLIP
            and less <= MAX_EXCHANGED * (mass + less)
            and exchanged <= max(0, MAX_EXCHANGED * (len(shared) + exchanged - WORDS_A_SLIP))
        )

    def _may_be_laid_beside(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return whether the words that either text has alone may be slips, or few enough, of shape (p,).

        It costs far less than to lay them beside each other: slips are told by how often each letter comes.
        """
        texts = [self._counts[rows] for rows in pairs.T]
        both = texts[0].minimum(texts[1])
        alone = [(text - both).tocsr() for text in texts]
        letters = [words @ self._letters for words in alone]
        fewest = np.minimum(*(words.sum(axis=1) for words in alone))
        masses = np.sort(self._masses[pairs], axis=1)
        few = np.where(
            fewest == 0,
            masses[:, 0] >= LEAST_WITHIN * masses[:, 1],
            fewest <= MAX_EXCHANGED * self._lengths[pairs].min(axis=1),
        )
        spaced = (letters[0] == letters[1]).all(axis=1)
        return np.asarray(few | spaced | self._have_slips(alone, np.flatnonzero((fewest > 0) & ~few), len(pairs)))

    def _have_slips(self, alone: Sequence[Any], rows: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
        """Return of which of `count` pairs one of the words alone may be a slip of another, among some rows of them."""
        lengths = [np.diff(words.indptr)[rows] for words in alone]
        of_row = np.repeat(rows, lengths[0] * lengths[1])
        first = np.arange(len(of_row)) - np.repeat(
            np.cumsum(lengths[0] * lengths[1]) - lengths[0] * lengths[1], lengths[0] * lengths[1]
        )
        second = first % np.repeat(lengths[1], lengths[0] * lengths[1])
        first = first // np.repeat(lengths[1], lengths[0] * lengths[1])
        words = [own.indices[own.indptr[of_row] + place] for own, place in zip(alone, (first, second), strict=True)]
        near = np.abs(self._letters[words[0]] - self._letters[words[1]]).sum(axis=1) <= 2
        slips = [
            _is_slip(self._names[a], self._names[b])
            for a, b in zip(*(some[near].tolist() for some in words), strict=True)
        ]
        return np.isin(np.arange(count), of_row[near][np.array(slips, np.bool_)])

    def _laid_beside(self, first: list[int], second: list[int]) -> tuple[list[int], int, list[int], list[int]]:
        """Return the places of words of the second that both share, the slips among them, and what either has alone."""
        shared, slips, alone = list[int](), 0, (list[int](), list[int]())
        for tag, *(a, b, c, d) in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
            slip = tag == "replace" and _is_slip(self._joined(first[a:b]), self._joined(second[c:d]))
            if slip or tag == "equal":
                shared.extend(range(c, d))
                slips += slip
            else:
                alone[0].extend(range(a, b))
                alone[1].extend(range(c, d))
        return shared, slips, *alone

    def _joined(self, words: Sequence[int]) -> str:
        return "".join(self._names[word] for word in words)


def _distinct(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the numbers, each once, ascending: by sorting, which costs half of what `np.unique` does here."""
    numbers = np.sort(numbers)
    return np.asarray(numbers[np.diff(numbers, prepend=-1) != 0])


def _in_blocks(test: Callable[[Pairs], NDArray[np.bool_]], pairs: Pairs) -> NDArray[np.bool_]:
    """Return what a test says of pairs, of shape (p,), where it looks at some of them at once."""
    starts = range(0, max(len(pairs), 1), BLOCK * NEIGHBOURS)
    return np.concatenate([test(pairs[start : start + BLOCK * NEIGHBOURS]) for start in starts])


def _places(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return of each of sorted numbers how many equal ones stand before it."""
    first = np.flatnonzero(np.diff(numbers, prepend=-1))
    return np.arange(len(numbers)) - np.repeat(first, np.diff(first, append=len(numbers)))


def _is_slip(first: str, second: str) -> bool:
    """Return whether two words are one but for two letters exchanged, or for one other, missing or more; no digits."""
    if abs(len(first) - len(second)) > 1:
        return False
    start = _same_letters(first, second)
    end = _same_letters(first[start:][::-1], second[start:][::-1])
    own, theirs = (word[start : len(word) - end] for word in (first, second))
    if any(letter.isdigit() for letter in own + theirs):
        return False
    one_letter = max(len(own), len(theirs)) <= 1 and min(len(first), len(second)) >= MIN_LETTERS
    return first == second or one_letter or (len(own) == 2 and own == theirs[::-1])


def _same_letters(first: str, second: str) -> int:
    """Return how many letters two words begin with alike."""
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )

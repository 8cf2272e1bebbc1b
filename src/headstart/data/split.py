"""Which examples learn and which ones test: a given split as it is, else a stratified one that content decides.

A drawn split depends on the seed and on the bytes of the examples alone, never on names or on their order: the same
photos split the same way from a folder, an archive or a table, and one photo more moves at most a few others.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import DataError, UsageError, check_at_least, counted, did_you_mean, list_some
from headstart.data.dataset import Dataset, Example


@dataclass(frozen=True)
class Parts:
    """Positions of a dataset's examples by what they are for, each ascending."""

    train: tuple[int, ...]  # what is learned from
    validation: tuple[int, ...]  # given by the data for choices; empty where the split was drawn
    test: tuple[int, ...]  # what the result is measured on
    notes: tuple[str, ...]  # what was noticed or decided, one sentence each
    related: tuple[int, ...] = ()  # of the test part, those that have a copy or near copy in the train part


def split(
    dataset: Dataset,
    hashes: Sequence[str],
    *,
    seed: int,
    labels_per_class: int | None = None,
    test_share: float = 0.3,
    drop_test_duplicates: bool = False,
) -> Parts:
    """Return the parts that the data gives, or draw a test part that every class shares alike.

    Copies of one example (equal hashes), its relatives and examples of one group never stand on both sides of a drawn
    split, unless a class is made up of relatives.

    Args:
        hashes: sha256 of the bytes of each, as `audit.scan` returns them.
        labels_per_class: keep only this many examples per class to learn from; those of 5 are among those of 10.
        test_share: share of each class in a drawn test part, in 0..1.
        drop_test_duplicates: leave out training examples whose copies or relatives stand in a given validation or test
            part.

    Raises:
        DataError: a class cannot stand on both sides, the given test part has a label that train lacks, or there
            is no train part.
        UsageError: an argument is out of range.
    """
    if not 0 < test_share < 1:
        raise UsageError("test_share must lie between 0 and 1", test_share, "give a share such as 0.3")
    keys = _keys(seed, "split", hashes)
    if any(example.split for example in dataset.examples):
        parts = _given(dataset, keys, hashes, test_share, drop_test_duplicates)
    else:
        train, test = _draw(dataset.examples, range(len(dataset)), keys, hashes, test_share)
        parts = Parts(train, (), test, ())
    parts = _with_notes(dataset.examples, parts)
    if labels_per_class is not None:
        return fewer_labels(dataset, hashes, parts, seed=seed, labels_per_class=labels_per_class)
    return replace(parts, related=related(dataset.examples, hashes, parts.train, parts.test))


def fewer_labels(dataset: Dataset, hashes: Sequence[str], parts: Parts, *, seed: int, labels_per_class: int) -> Parts:
    """Return parts with `labels_per_class` examples of each class at most to learn from; arguments as of `split`.

    Raises:
        UsageError: fewer than one is asked for.
    """
    check_at_least("labels_per_class", labels_per_class, 1)
    by_label: dict[str, list[int]] = defaultdict(list)
    for position in parts.train:
        by_label[dataset.examples[position].label].append(position)
    keys, examples = _keys(seed, "labels", hashes), dataset.examples
    kept: list[int] = []
    for positions in by_label.values():
        kept += heapq.nsmallest(labels_per_class, positions, key=lambda at: (keys[at], examples[at].id))
    short = [
        f"{label!r} {len(by_label[label])}" for label in sorted(by_label) if len(by_label[label]) < labels_per_class
    ]
    notes = (
        (f"Fewer than {labels_per_class} train examples, all of them used: {list_some(short, 5)}.",) if short else ()
    )
    train = tuple(sorted(kept))
    return replace(parts, train=train, notes=parts.notes + notes, related=related(examples, hashes, train, parts.test))


def hold_out(
    dataset: Dataset, hashes: Sequence[str], positions: Sequence[int], *, share: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what is left of `positions`, and the share (0..1) of each class that is held out of them, both ascending.

    Copies of one example, relatives and examples of one group stay on one side. A class that cannot stand on both sides
    is not held out; of any other, one example at least.
    """
    keys = _keys(seed, "held out", hashes)
    units = _units(dataset.examples, positions, hashes)
    sides = Counter(label for unit in units for label in {dataset.examples[at].label for at in unit})
    whole = [unit for unit in units if all(sides[dataset.examples[at].label] > 1 for at in unit)]
    divisible = sorted(position for unit in whole for position in unit)
    if not divisible:
        return tuple(sorted(positions)), ()
    _, held_out = _draw(dataset.examples, divisible, keys, hashes, share)
    return tuple(sorted(set(positions) - set(held_out))), held_out


def related(
    examples: Sequence[Example], hashes: Sequence[str], train: Iterable[int], others: Sequence[int]
) -> tuple[int, ...]:
    """Return those of `others` that are copies or relatives of an example of `train`."""
    learned = {tie for position in train for tie in _copy_ties(examples[position], hashes[position])}
    return tuple(at for at in others if not learned.isdisjoint(_copy_ties(examples[at], hashes[at])))


def unit_names(examples: Sequence[Example], positions: Sequence[int], hashes: Sequence[str]) -> list[str] | None:
    """Return for each position the name of what must stay on its side; None where there are but exact copies."""
    if all(examples[position].group is None and examples[position].relatives is None for position in positions):
        return None
    name_of = {at: str(number) for number, unit in enumerate(_units(examples, positions, hashes)) for at in unit}
    return [name_of[position] for position in positions]


def clusters(examples: Sequence[Example], positions: Sequence[int], hashes: Sequence[str]) -> NDArray[np.intp]:
    """Return for each position the first of those in its cluster (copies, relatives, one group): of shape (n,)."""
    first_of = {at: unit[0] for unit in _units(examples, positions, hashes) for at in unit}
    return np.array([first_of[position] for position in positions], np.intp)


def _copy_ties(example: Example, digest: str) -> set[tuple[str, str]]:
    return {("hash", digest)} | ({("relatives", example.relatives)} if example.relatives is not None else set())


def _key(seed: int, what: str, digest: str) -> bytes:
    return hashlib.sha256(f"{seed}:{what}:{digest}".encode()).digest()


def _keys(seed: int, what: str, hashes: Sequence[str]) -> list[bytes]:
    key_of = {digest: _key(seed, what, digest) for digest in set(hashes)}
    return [key_of[digest] for digest in hashes]


def _given(
    dataset: Dataset, keys: Sequence[bytes], hashes: Sequence[str], test_share: float, drop_test_duplicates: bool
) -> Parts:
    examples = dataset.examples
    by_part: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for position, example in enumerate(examples):
        if example.split is None:
            raise DataError(
                "every example must belong to a part, or none", f"{example.id} without one", "name its part"
            )
        by_part[example.split].append(position)
    train, validation, test = (tuple(by_part[name]) for name in ("train", "validation", "test"))
    if not train:
        raise DataError(f"{dataset.name} must have a train part", "none with a usable example", "add one")
    dropped: tuple[str, ...] = ()
    if drop_test_duplicates:
        train, dropped = _without_leaks(examples, hashes, train, (*validation, *test))
    _check_known(examples, train, (*validation, *test))
    if test:
        notes = dropped + _leaks(examples, hashes, train, (*validation, *test))
        return Parts(train, validation, test, notes)
    if validation:
        note = "The data has no test part: its validation part is the test part."
        return Parts(train, (), validation, (note, *dropped, *_leaks(examples, hashes, train, validation)))
    train, test = _draw(examples, train, keys, hashes, test_share)
    return Parts(train, (), test, (f"The data has a train part only: {test_share:.0%} of it were drawn as test part.",))


def _without_leaks(
    examples: Sequence[Example], hashes: Sequence[str], train: Sequence[int], others: Sequence[int]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the train part without relatives of what stands in the other parts, and a note on how many those were."""
    elsewhere = {hashes[position] for position in others}
    leaking = set(related(examples, hashes, others, train))
    copies = sum(hashes[position] in elsewhere for position in leaking)
    if lost := {examples[at].label for at in train} - {examples[at].label for at in train if at not in leaking}:
        raise DataError(
            "examples of every class must be left to train on without the copies of the other parts",
            f"none of {list_some([repr(label) for label in sorted(lost)], 5)}",
            "leave --drop-test-duplicates out, or give all examples in one part, of which a test part is drawn",
        )
    counts = ((copies, "exact copies"), (len(leaking) - copies, "near copies"))
    notes = tuple(
        f"{count} training examples are {what} of some in the other given parts and were left out."
        for count, what in counts
        if count
    )
    return tuple(position for position in train if position not in leaking), notes


def _check_known(examples: Sequence[Example], train: Iterable[int], others: Iterable[int]) -> None:
    known = {examples[at].label for at in train}
    unknown = sorted({examples[position].label for position in others} - known)
    if unknown:
        counts = Counter(examples[position].label for position in others)
        alike = next((hint for label in unknown if (hint := did_you_mean(label, sorted(known)))), "")
        raise DataError(
            "every label of the validation and test parts must be in the train part",
            list_some([f"{label!r} ({counts[label]:,} examples)" for label in unknown], 5),
            f"add examples of it to train, or take it out of the other parts{alike}",
        )


def _leaks(
    examples: Sequence[Example], hashes: Sequence[str], train: Sequence[int], others: Sequence[int]
) -> tuple[str, ...]:
    seen = {hashes[position] for position in train}
    groups = {examples[position].group for position in train} - {None}
    copies = sum(hashes[position] in seen for position in others)
    near = [at for at in related(examples, hashes, train, others) if hashes[at] not in seen]
    members = sum(examples[position].group in groups for position in others)
    notes = []
    if copies:
        what = counted(copies, "example of other parts is an exact copy", "examples of other parts are exact copies")
        notes.append(
            f"{what} of training examples, so the measured accuracy may be too high; --drop-test-duplicates leaves "
            "those training examples out."
        )
    if near:
        what = counted(len(near), "example of other parts is a near copy", "examples of other parts are near copies")
        remedy = _remedy(examples, train, set(related(examples, hashes, others, train)))
        shown = list_some([examples[position].id for position in near], 3)
        notes.append(f"{what} of training examples ({shown}), so the measured accuracy may be too high; {remedy}.")
    if members:
        what = counted(members, "example of other parts shares", "examples of other parts share")
        notes.append(f"{what} a group with training examples, so the measured accuracy may be too high.")
    return tuple(notes)


def _remedy(examples: Sequence[Example], train: Sequence[int], leaking: Container[int]) -> str:
    """Return what to do about training examples that have copies in other parts."""
    if {examples[at].label for at in train} == {examples[at].label for at in train if at not in leaking}:
        return "--drop-test-duplicates leaves those training examples out"
    return "given in one part, of which a test part is drawn, they stay on one side"


def _draw(
    examples: Sequence[Example],
    positions: Sequence[int],
    keys: Sequence[bytes],
    hashes: Sequence[str],
    test_share: float,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return train and test positions: units in the order of their keys fill each class's share of the test part.

    Relatives of a class that would not be divisible otherwise may stand on both sides.
    """
    units = _units(examples, positions, hashes)
    sides = Counter(label for unit in units for label in {examples[position].label for position in unit})
    if whole := {label for label, count in sides.items() if count == 1}:
        units = _units(examples, positions, hashes, untied=whole)
    units = sorted(units, key=lambda unit: min(keys[position] for position in unit))
    counts = _label_counts(examples, units)
    totals = Counter(examples[position].label for position in positions)
    _check_divisible(totals, counts)
    targets = {label: min(max(round(total * test_share), 1), total - 1) for label, total in totals.items()}
    filled: Counter[str] = Counter()
    chosen: set[int] = set()
    for index, count in enumerate(counts):
        if all(filled[label] + number <= targets[label] for label, number in count.items()):
            chosen.add(index)
            filled.update(count)
    _top_up(counts, targets, totals, filled, chosen)
    test = {position for index in chosen for position in units[index]}
    return tuple(sorted(set(positions) - test)), tuple(sorted(test))


def _units(
    examples: Sequence[Example], positions: Sequence[int], hashes: Sequence[str], untied: Container[str] = ()
) -> list[list[int]]:
    """Return positions in sets that must stay together: joined by hashes, groups or relatives, however indirectly.

    Relatives do not tie examples whose label is in `untied`.
    """
    parent: dict[str, str] = {}  # of those alone that are tied to others

    def find(digest: str) -> str:
        while (above := parent.get(digest, digest)) != digest:
            parent[digest] = digest = parent.get(above, above)
        return digest

    first: dict[tuple[str, str], str] = {}
    for position in positions:
        example, digest = examples[position], hashes[position]
        ties = [] if example.group is None else [("group", example.group)]
        if example.relatives is not None and example.label not in untied:
            ties.append(("relatives", example.relatives))
        for tie in ties:
            parent[find(digest)] = find(first.setdefault(tie, digest))
    units: dict[str, list[int]] = defaultdict(list)
    for position in positions:
        units[find(hashes[position])].append(position)
    return list(units.values())


def _label_counts(examples: Sequence[Example], units: Sequence[Sequence[int]]) -> list[Counter[str]]:
    """Return how many examples of each label every unit holds; units that hold the same share one count."""
    shared: dict[tuple[str, ...], Counter[str]] = {}
    labels = (tuple(examples[position].label for position in unit) for unit in units)
    return [shared[some] if some in shared else shared.setdefault(some, Counter(some)) for some in labels]


def _check_divisible(totals: Counter[str], counts: Sequence[Counter[str]]) -> None:
    units = Counter(label for count in counts for label in count)
    for label in sorted(totals):
        if totals[label] == 1:
            raise DataError(
                "every class must have at least 2 examples, one to learn from and one to test",
                f"a single one of {label!r}",
                "add examples of it or remove it",
            )
        if units[label] == 1:
            raise DataError(
                "every class must have examples that may stand on two sides of a split",
                f"{totals[label]} of {label!r}, all copies of one or of one group",
                "add others or remove it",
            )


def _top_up(
    counts: Sequence[Counter[str]],
    targets: dict[str, int],
    totals: Counter[str],
    filled: Counter[str],
    chosen: set[int],
) -> None:
    """Give each class that is short of test examples a unit, smallest first, where that brings it nearer its share."""
    for label in sorted(targets):
        if filled[label] == targets[label]:
            continue
        rest = sorted(
            (index for index in range(len(counts)) if index not in chosen and counts[index][label]),
            key=lambda index: counts[index][label],
        )
        for index in rest:
            spare = all(filled[name] + number < totals[name] for name, number in counts[index].items())
            missing = targets[label] - filled[label]
            nearer = abs(counts[index][label] - missing) < missing
            if spare and (nearer or not filled[label]):
                chosen.add(index)
                filled.update(counts[index])
                break


def _with_notes(examples: Sequence[Example], parts: Parts) -> Parts:
    train = Counter(examples[position].label for position in parts.train)
    tested = {examples[position].label for position in parts.test}
    notes = []
    single = [repr(label) for label in sorted(train) if train[label] == 1]
    if single:
        notes.append(f"Classes with a single train example, which teach little: {list_some(single, 5)}.")
    untested = [repr(label) for label in sorted(train) if label not in tested]
    if untested:
        notes.append(f"Classes that the test part does not hold: {list_some(untested, 5)}.")
    return replace(parts, notes=parts.notes + tuple(notes))

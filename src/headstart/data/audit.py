"""One pass over every example before anything is learned: what can be read, what comes twice, what contradicts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from headstart.base.errors import DataError, counted, list_some, one_line
from headstart.base.hashing import sha256, sha256_json_rows
from headstart.base.prefetch import Prefetcher
from headstart.base.progress import Progress
from headstart.data import text as texts
from headstart.data.audio import decoding as sounds
from headstart.data.dataset import MAX_BAD, BadExample, Dataset, Skipped
from headstart.data.images import pillow

MAX_CONFLICTING = 0.05
MAX_BAD_IN_CLASS = 0.5

_CHUNK = 32  # examples per task: enough to hide the cost of a task, few enough to keep memory flat


@dataclass(frozen=True, slots=True)
class Examined:
    """What reading one example showed."""

    digest: str = ""  # sha256 of its bytes; empty where they could not be read
    remarks: tuple[str, ...] = ()  # what is odd about it
    reason: str = ""  # why it cannot be used; empty where it can


@dataclass(frozen=True)
class LabelConflict:
    """The same bytes under several labels: the ids of the examples, and the label of each."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Scan:
    """A dataset whose every example was read once."""

    dataset: Dataset  # the readable examples; the others are in its `skipped`
    hashes: tuple[str, ...]  # sha256 of the bytes of each example
    fingerprint: str  # sha256 over the sorted ids, hashes, labels and splits: equal for equal data
    duplicates: int  # how many examples are exact copies of an earlier one of the same class
    conflicts: tuple[LabelConflict, ...]  # same bytes under several labels
    notes: tuple[str, ...]  # what was noticed, one sentence each


def scan(dataset: Dataset, *, progress: Progress, workers: int = 2) -> Scan:
    """Read every example once and return the readable ones, with their hashes.

    Bytes that are no accepted picture, recording or text are skipped here, so that they never reach a decoder.

    Raises:
        DataError: as `check_conflicts` does.
    """

    def examine(positions: range) -> list[Examined]:
        return [_examined(dataset, position) for position in positions]

    chunks = [range(start, min(start + _CHUNK, len(dataset))) for start in range(0, len(dataset), _CHUNK)]
    examined: list[Examined] = []
    with (
        Prefetcher(examine, chunks, workers=workers, window=2 * workers) as ahead,
        progress.step("Reading", len(dataset), dataset.items) as step,
    ):
        for chunk in ahead:
            examined += chunk
            step.advance(len(chunk))
    scanned = summarize(dataset, examined)
    check_conflicts(scanned)
    return scanned


def summarize(dataset: Dataset, examined: Sequence[Examined]) -> Scan:
    """Return the usable examples of a data set, and what all of them together show, examined in their order."""
    usable = [position for position, one in enumerate(examined) if not one.reason]
    skipped = tuple(
        Skipped(example.id, example.label, one.reason)
        for example, one in zip(dataset.examples, examined, strict=True)
        if one.reason
    )
    readable = dataset.keep(usable, skipped) if skipped else dataset
    hashes = tuple(examined[position].digest for position in usable)
    remarked: dict[str, list[str]] = {}
    for position in usable:
        for remark in examined[position].remarks:
            remarked.setdefault(remark, []).append(dataset.examples[position].id)
    conflicts = _conflicts(readable, hashes)
    duplicates = len(hashes) - len({(one.label, digest) for one, digest in zip(readable.examples, hashes, strict=True)})
    notes = [f"{remark[0].upper()}{remark[1:]}: {len(ids)} ({list_some(ids, 5)})." for remark, ids in remarked.items()]
    if duplicates:
        copies = counted(duplicates, "example is an exact copy", "examples are exact copies")
        notes.append(f"{copies} of others in their class; copies stay on one side.")
    if conflicts:
        notes.append(f"{len(conflicts)} {dataset.items} stand under several labels ({_shown(conflicts)}).")
    rows = zip(readable.examples, hashes, strict=True)
    fingerprint = sha256_json_rows(sorted([one.id, digest, one.label, one.split or ""] for one, digest in rows))
    return Scan(readable, hashes, fingerprint, duplicates, conflicts, tuple(notes))


def check_conflicts(scanned: Scan) -> None:
    """Raise DataError where more than 5 % of the examples have copies under another label."""
    count, total = sum(len(conflict.ids) for conflict in scanned.conflicts), len(scanned.hashes)
    if count > MAX_CONFLICTING * total:
        raise DataError(
            f"at most {MAX_CONFLICTING:.0%} of {scanned.dataset.name} may have copies under another label",
            f"{count} of {total} ({count / total:.0%}): {_shown(scanned.conflicts)}",
            "leave each of them in one class only",
        )


def check_bad(dataset: Dataset, *, allow_broken: bool) -> None:
    """Raise DataError where no example, or none of a class, is usable, or too few are and `allow_broken` is False."""
    bad, total = len(dataset.skipped), len(dataset) + len(dataset.skipped)
    if not len(dataset):
        received = f"0 of {total} usable{_reasons(dataset)}"
        raise DataError(f"{dataset.name} must hold usable examples", received, "convert, mend or replace them")
    good_in, bad_in = (Counter(one.label for one in some) for some in (dataset.examples, dataset.skipped))
    for label in dataset.classes:
        if not good_in[label]:
            received = f"0 of {bad_in[label]} usable in {label!r}{_reasons(dataset, label)}"
            raise DataError(
                "every class must hold usable examples", received, "convert or mend them, or remove the class"
            )
    if allow_broken:
        return
    do = "convert, mend or remove them, or go on without them: --allow-broken"
    if bad > MAX_BAD * total:
        received = f"{bad} of {total} ({bad / total:.0%}) unusable{_reasons(dataset)}"
        raise DataError(f"at most {MAX_BAD:.0%} of {dataset.name} may be unusable", received, do)
    for label in dataset.classes:
        count = good_in[label] + bad_in[label]
        if bad_in[label] >= MAX_BAD_IN_CLASS * count:
            share = f"{bad_in[label]} of {count} ({bad_in[label] / count:.0%}) unusable in {label!r}"
            raise DataError("less than half of a class may be unusable", f"{share}{_reasons(dataset, label)}", do)


def _examined(dataset: Dataset, position: int) -> Examined:
    try:
        data = dataset.read(position)
        return Examined(sha256(data), remarks_on(dataset, position, data))
    except BadExample as error:
        return Examined(reason=error.reason)


def remarks_on(dataset: Dataset, position: int, data: bytes) -> tuple[str, ...]:
    """Return what is odd about an example whose bytes are `data`; raises BadExample where it is no such kind."""
    if dataset.kind == "text":
        return texts.remarks(data)
    remarks = sounds.remarks if dataset.kind == "sound" else pillow.remarks
    return remarks(data, dataset.examples[position].id)


def _conflicts(dataset: Dataset, hashes: Sequence[str]) -> tuple[LabelConflict, ...]:
    """Return the examples with several labels."""
    copies: dict[str, list[int]] = defaultdict(list)
    for position, digest in enumerate(hashes):
        copies[digest].append(position)
    examples = dataset.examples
    return tuple(
        LabelConflict(tuple(examples[at].id for at in same), tuple(examples[at].label for at in same))
        for same in copies.values()
        if len(same) > 1 and len({examples[at].label for at in same}) > 1
    )


def _shown(conflicts: Sequence[LabelConflict]) -> str:
    return list_some([" = ".join(conflict.ids) for conflict in conflicts], separator="; ")


def _reasons(dataset: Dataset, label: str | None = None) -> str:
    """Return the reasons why examples are unusable, the commonest first, with how many and which have each."""
    ids: dict[str, list[str]] = defaultdict(list)
    for item in dataset.skipped:
        if label is None or item.label == label:
            ids[item.reason].append(one_line(item.id.rpartition("/")[2], 60))
    ordered = sorted(ids.items(), key=lambda each: (-len(each[1]), each[0]))
    reasons = [f"{len(names)} × {reason}: {list_some(names, 2)}" for reason, names in ordered]
    return f" ({list_some(reasons, separator='; ')})" if reasons else ""

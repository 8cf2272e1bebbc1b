"""The books of a run: every example that was met is used, left out on purpose, or lost for a reason that is listed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from headstart.base.errors import counted
from headstart.data.dataset import Dataset, Skipped
from headstart.data.split import Parts

if TYPE_CHECKING:
    from headstart.tune.from_scratch import PretrainSplits

LOSSES = "losses.jsonl"
"""The file beside `result.json` with all losses, one JSON object a line, where `result.json` does not list them all."""
MOST_LISTED = 1 << 20
"""Characters of ids, labels and reasons that `result.json` lists: those of some 10,000 losses."""


def account(dataset: Dataset, parts: Parts | PretrainSplits) -> dict[str, Any]:
    """Return what `result.json` says of what became of every example.

    `examples` counts them: what the reader met = train + validation + test + unused + skipped + ignored. `losses` lists
    each skipped one with its label and the reason, in the order of the reader, and where that gets long, `losses_file`
    names the file that lists all. `unused` counts what could be used and was left out on purpose: labels beyond
    `--labels-per-class`, and copies of test examples.

    Raises:
        RuntimeError: a part holds an example that is none, or that another one holds: a bug of ours.
    """
    counts = {name: len(getattr(parts, name)) for name in ("train", "validation", "test")}
    used = {*parts.train, *parts.validation, *parts.test}
    if len(used) != sum(counts.values()) or not used <= set(range(len(dataset))):
        raise RuntimeError(f"the parts of {dataset.name} must hold each of its {len(dataset)} examples at most once")
    listed = _as_listed(dataset.skipped)
    return {
        "examples": {**counts, "skipped": len(dataset.skipped), "ignored": dataset.ignored},
        "unused": len(dataset) - len(used),
        "losses": listed,
        **({"losses_file": LOSSES} if len(listed) < len(dataset.skipped) else {}),
    }


def _as_listed(skipped: Iterable[Skipped]) -> list[dict[str, str]]:
    """Return as many losses as `result.json` lists."""
    listed, size = [], 0
    for loss in skipped:
        size += len(loss.id) + len(loss.label) + len(loss.reason)
        if size > MOST_LISTED:
            break
        listed.append(asdict(loss))
    return listed


def losses_note(dataset: Dataset) -> list[str]:
    """Return the sentence that counts what was skipped; nothing where nothing was."""
    count = len(dataset.skipped)
    were = counted(count, "broken example was skipped", "broken examples were skipped")
    return [f"{were}; result.json lists {'it' if count == 1 else 'them'}."] if count else []


def losses_file(result: dict[str, Any], skipped: Iterable[Skipped]) -> dict[str, bytes]:
    """Return the name and the content of the file with all losses; {} where `result.json` lists them itself."""
    if "losses_file" not in result:
        return {}
    return {LOSSES: b"".join(json.dumps(asdict(loss)).encode() + b"\n" for loss in skipped)}

"""The result of a comparison in words that a person can act on, and as a table of text."""

from __future__ import annotations

from typing import Any

from headstart.judge.benefit.gains import FROZEN, SCRATCH, SIMPLE, TUNED, Gains, LabelsSaved
from headstart.judge.benefit.results import ArmResults, ComparisonMeta, accuracies, is_flat
from headstart.judge.crossed import Estimate
from headstart.judge.metrics import BENEFITS

SHOWN_OFTEN = "80 times in 100"  # `judge.crossed.POWER`
AGAINST_SCRATCH = "compared with the same network trained from scratch"


def sentence(
    verdict: str,
    gains: Gains,
    results: ArmResults,
    meta: ComparisonMeta,
    *,
    saved: LabelsSaved | None,
    last_step: Estimate | None,
) -> str:
    """Return the verdict in one sentence or two."""
    writers = {"benefit": _benefit, "harm": _harm, "none": _none, "baseline": _baseline, "unanswered": _unanswered}
    write = writers[verdict]
    text = write(gains, results, meta)
    if verdict == "benefit" and saved is not None and saved.needed is not None and saved.count.low > 0:
        bound = "at most " if saved.at_least else "about "
        text += f" With {bound}{saved.needed:,.0f} labels it is as accurate as scratch with {gains.labels:,.0f}."
    if last_step is not None and last_step.sign > 0:
        text += (
            f" Label about {gains.labels:,.0f} more: accuracy still rises with the number of labels, by "
            f"{_signed(last_step)} over the last step."
        )
    return text


def format_points(difference: float) -> str:
    """Return a difference of two shares as points (hundredths), without a sign."""
    size = abs(100 * difference)
    text = f"{size:.0f}" if size >= 10 else f"{size:.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def _signed(difference: Estimate) -> str:
    """Return a difference in points with its sign and its interval."""
    return f"{100 * difference.value:+.1f} points [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def _benefit(gains: Gains, results: ArmResults, meta: ComparisonMeta) -> str:
    parts = [part for part in (_start(gains), _threshold(gains), _end(gains, results, meta)) if part]
    tuned = ", tuned" if gains.transfer == TUNED else ""
    joined = f"{', '.join(parts[:-1])}{', and ' if len(parts) > 1 else ''}{parts[-1]}"
    return f"Use the source{tuned}: {AGAINST_SCRATCH}, its accuracy {joined}."


def _start(gains: Gains) -> str:
    return f"starts at {_signed(gains.start)}" if gains.start is not None and gains.start.sign else ""


def _threshold(gains: Gains) -> str:
    reached = gains.threshold
    if reached is None or reached.epoch is None or not reached.scratch_epochs:
        return ""
    when = "before any training" if reached.epoch == 0 else f"after {_epochs(reached.epoch)}"
    return f"reaches {when} the level at which scratch ends after {_epochs(reached.scratch_epochs)}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _end(gains: Gains, results: ArmResults, meta: ComparisonMeta) -> str:
    end = gains.asymptote
    assert end is not None
    if not end.sign:
        tested = int(results.tested.sum(axis=1).mean())
        return f"ends with no difference that {tested:,} test {meta.items} can show ({_signed(end)})"
    return f"ends at {_signed(end)}{_still_rising(gains, results)}"


def _still_rising(gains: Gains, results: ArmResults) -> str:
    """Return which of the two curves has not reached its level, as a clause with what that is at least."""
    names = {gains.transfer: "the source", gains.control: "scratch"}
    rising = [arm for arm in names if arm in results.arms and not is_flat(results.arms[arm], results.tested)]
    levels = [
        f"{names[arm]}, still rising, ends at {accuracies(results.arms[arm], results.tested)[-1]:.1%} at least"
        for arm in rising
    ]
    return f" ({' and '.join(levels)})" if levels else ""


def _unanswered(gains: Gains, results: ArmResults, meta: ComparisonMeta) -> str:
    end = gains.asymptote
    assert end is not None
    simple = f"better than {meta.simple} by {_signed(end)}"
    return f"Not answered: scratch was not trained; {simple}.{' ' * bool(meta.remedy)}{meta.remedy}"


def _harm(gains: Gains, results: ArmResults, meta: ComparisonMeta) -> str:
    parts = [part for part in (_start(gains), _end(gains, results, meta)) if part]
    return f"Do not use this source: {AGAINST_SCRATCH}, its accuracy {' and '.join(parts)}."


def _none(gains: Gains, results: ArmResults, meta: ComparisonMeta) -> str:
    measured = {name: gap for name, gap in (("start", gains.start), ("end", gains.asymptote)) if gap is not None}
    parts = [f"{_signed(gap)} at the {name}" for name, gap in measured.items()]
    smallest = min(gap.detectable for gap in measured.values())
    return (
        f"No difference is shown: {AGAINST_SCRATCH}, the source differs in accuracy by {' and '.join(parts)}; "
        f"{_detectable(smallest)}."
    )


def _baseline(gains: Gains, results: ArmResults, meta: ComparisonMeta) -> str:
    name, gap = max(gains.over_simple.items(), key=lambda item: item[1].value)
    turned = Estimate(-gap.value, -gap.high, -gap.low, gap.detectable)
    network = {FROZEN: "the frozen source", TUNED: "the tuned source", SCRATCH: "the same network from scratch"}[name]
    if turned.sign > 0:
        return f"Do not use this source: the accuracy of {meta.simple} exceeds that of {network} by {_signed(turned)}."
    accuracy = accuracies(results.arms[SIMPLE], results.tested)[-1]
    return (
        f"Do not count on this source: no network is shown to be more accurate than {meta.simple} ({accuracy:.1%}); "
        f"the best of them, {network}, differs by {_signed(gap)}, and {_detectable(gap.detectable)}."
    )


def _detectable(difference: float) -> str:
    return f"an experiment of this size shows a true difference of {format_points(difference)} {SHOWN_OFTEN}"


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of a table of the arms and of the benefits, from what `Benefit.as_dict` returns."""
    rows: list[tuple[str, ...]] = [("arm", "accuracy", "95 % interval", "log loss", "epochs", "seconds")]
    for name, arm in result["arms"].items():
        title = "simple baseline" if name == "baseline" else name
        if arm.get("error"):
            rows.append((title, "failed", "", "", "", ""))
        elif "accuracy" in arm:
            accuracy = arm["accuracy"]
            rows.append(
                (
                    title,
                    f"{'' if arm['reached'] else '>='}{accuracy['value']:.1%}",
                    f"{accuracy['low']:.1%} to {accuracy['high']:.1%}",
                    f"{arm['log_loss']['value']:.3f}",
                    str(arm["epochs"]) if arm["epochs"] else "-",
                    f"{arm['seconds_a_run']:.1f}",
                )
            )
    return [*_aligned(rows), "", *_aligned(_benefits(result))]


def _benefits(result: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("benefit", "points", "95 % interval")]
    for name, title in BENEFITS.items():
        gap = result[name]
        if gap["value"] is not None:
            rising = "" if gap.get("reached", True) else ", still rising"
            low, value, high = (f"{100 * gap[end]:+.1f}" for end in ("low", "value", "high"))
            rows.append((title + rising, value, f"{low} to {high}"))
    saved = result["labels_saved"]
    if saved["value"] is not None:
        bound = ">=" if saved["at_least"] else ""
        rows.append(("labels saved", f"{bound}{saved['value']:,.0f}", f"{saved['low']:,.0f} to {saved['high']:,.0f}"))
    return rows if len(rows) > 1 else []


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]) for first, *rest in rows]

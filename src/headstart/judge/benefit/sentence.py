"""What a comparison comes to, in words that a person can act on."""

from __future__ import annotations

from typing import Any

from headstart.judge.benefit.gains import FROZEN, SCRATCH, SIMPLE, TUNED, Gains, LabelsSaved
from headstart.judge.benefit.results import ArmResults, ComparisonMeta, accuracies
from headstart.judge.intervals import Difference

NAMES = {SIMPLE: "simple baseline", SCRATCH: "scratch", FROZEN: "frozen", TUNED: "tuned"}


def sentence(
    verdict: str,
    gains: Gains,
    field: ArmResults,
    about: ComparisonMeta,
    *,
    saved: LabelsSaved | None,
    rising: Difference | None,
) -> str:
    """Return the verdict in one sentence or two.

    Args:
        verdict: `benefit`, `harm`, `none` or `baseline`.
        gains: at the most labels.
        field: the results there.
        about: what was compared.
        saved: what labels the source saves.
        rising: what the last step in labels gained.
    """
    said = {"benefit": _use, "harm": _leave, "none": _unclear, "baseline": _baseline}[verdict](gains, field, about)
    if verdict == "benefit" and saved is not None and saved.enough is not None and saved.saved.low > 0:
        fewer = "at most " if saved.at_least else "about "
        said += f" With {fewer}{saved.enough:,.0f} labels it is as good as scratch with {gains.labels:,.0f}."
    if rising is not None and rising.sign > 0:
        said += (
            f" Label about {gains.labels:,.0f} more: the curve is still rising, by {points(rising.value)} "
            f"{between(rising)} over the last step."
        )
    return said


def points(value: float) -> str:
    """Return a difference of shares as points, without a sign."""
    size = abs(100 * value)
    said = f"{size:.0f}" if size >= 10 else f"{size:.1f}"
    return f"{said} point" if said == "1.0" else f"{said} points"


def between(one: Difference) -> str:
    """Return an interval in points, as it reads in the direction of its value."""
    low, high = (one.low, one.high) if one.value >= 0 else (-one.high, -one.low)
    return f"[{100 * low:.0f}, {100 * high:.0f}]" if abs(one.value) >= 0.1 else f"[{100 * low:.1f}, {100 * high:.1f}]"


def _use(gains: Gains, field: ArmResults, about: ComparisonMeta) -> str:
    if gains.control == SIMPLE and gains.asymptote is not None:
        gap = gains.asymptote
        return f"Use the source: it is {points(gap.value)} {between(gap)} better than {about.simple}."
    parts = [part for part in (_starts(gains), _reaches(gains), _ends(gains, field, about)) if part]
    how = " (tuned)" if gains.carried == TUNED else ""
    return f"Use the source{how}: it {', '.join(parts[:-1])}{', and ' if len(parts) > 1 else ''}{parts[-1]}."


def _starts(gains: Gains) -> str:
    one = gains.start
    if one is None or not one.sign:
        return ""
    return f"starts {points(one.value)} {between(one)} {'higher' if one.sign > 0 else 'lower'}"


def _reaches(gains: Gains) -> str:
    reach = gains.reach
    if reach is None or reach.epoch is None or not reach.epochs:
        return ""
    if reach.epoch == 0:
        return f"reaches before it learns at all what scratch reaches in {reach.epochs} epochs"
    return f"reaches after {reach.epoch} epoch{'' if reach.epoch == 1 else 's'} what scratch reaches in {reach.epochs}"


def _ends(gains: Gains, field: ArmResults, about: ComparisonMeta) -> str:
    one = gains.asymptote
    assert one is not None
    if not one.sign:
        tested = int(field.tested.sum(axis=1).mean())
        return f"ends no different as far as {tested:,} test {about.items} show ({100 * one.value:+.1f} {_plain(one)})"
    least = "" if gains.reached else " as far as they were trained"
    return f"ends {points(one.value)} {between(one)} {'higher' if one.sign > 0 else 'lower'}{least}"


def _leave(gains: Gains, field: ArmResults, about: ComparisonMeta) -> str:
    parts = [part for part in (_starts(gains), _ends(gains, field, about)) if part]
    return f"Do not use this source: against the same network trained from scratch it {' and '.join(parts)}."


def _unclear(gains: Gains, field: ArmResults, about: ComparisonMeta) -> str:
    parts = []
    for name, one in (("starts", gains.start), ("ends", gains.asymptote)):
        if one is not None:
            parts.append(f"{name} {100 * one.value:+.1f} points {_plain(one)}")
    least = min(one.detectable for one in (gains.start, gains.asymptote) if one is not None)
    return (
        f"No difference shown: against scratch the source {' and '.join(parts)}; at this size a difference of "
        f"{points(least)} would have been."
    )


def _baseline(gains: Gains, field: ArmResults, about: ComparisonMeta) -> str:
    name, gap = max(gains.over_simple.items(), key=lambda item: item[1].value)
    turned = Difference(-gap.value, -gap.high, -gap.low, gap.detectable)
    best = {FROZEN: "the source, frozen", TUNED: "the source, tuned", SCRATCH: "the same network from scratch"}[name]
    if turned.sign > 0:
        return f"Do not use this source: {about.simple} is {points(turned.value)} {between(turned)} better than {best}."
    reached = accuracies(field.arms[SIMPLE], field.tested)[-1]
    return (
        f"Do not count on this source: no network is shown to beat {about.simple} ({reached:.1%}); the best of them, "
        f"{best}, differs by {100 * gap.value:+.1f} points {_plain(gap)}, and a difference of "
        f"{points(gap.detectable)} would have been shown."
    )


def _plain(one: Difference) -> str:
    return f"[{100 * one.low:+.1f}, {100 * one.high:+.1f}]"


def table(said: dict[str, Any]) -> list[str]:
    """Return the lines of a table of the arms and of the benefits.

    Args:
        said: a comparison in plain values.
    """
    rows: list[tuple[str, ...]] = [("arm", "accuracy", "95 % interval", "log loss", "epochs", "seconds")]
    for name, arm in said["arms"].items():
        title = "simple baseline" if name == "baseline" else name
        if arm.get("error"):
            rows.append((title, "failed", "", "", "", ""))
        elif "accuracy" in arm:
            one = arm["accuracy"]
            least = "" if arm["reached"] else ">="
            rows.append(
                (
                    title,
                    f"{least}{one['value']:.1%}",
                    f"{one['low']:.1%} to {one['high']:.1%}",
                    f"{arm['log_loss']['value']:.3f}",
                    str(arm["epochs"]) if arm["epochs"] else "-",
                    f"{arm['seconds_a_run']:.1f}",
                )
            )
    return [*_aligned(rows), "", *_aligned(_benefits(said))]


def _benefits(said: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("benefit", "points", "95 % interval")]
    for name, title in (("start", "start"), ("slope", "slope, per epoch"), ("asymptote", "asymptote")):
        one = said[name]
        if one["value"] is not None:
            rising = "" if one.get("reached", True) else " (curves not flat)"
            rows.append(
                (title + rising, f"{100 * one['value']:+.1f}", f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}")
            )
    saved = said["labels_saved"]
    if saved["value"] is not None:
        least = ">=" if saved["at_least"] else ""
        rows.append(("labels saved", f"{least}{saved['value']:,.0f}", f"{saved['low']:,.0f} to {saved['high']:,.0f}"))
    return rows if len(rows) > 1 else []


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))] if rows else []
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(wide) for cell, wide in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]

"""Every page in Chromium, at three widths, light and dark: nothing is too wide, overlaps or is too pale to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import ABSENT, BROWSER, measured
from page_samples import TWO, compared, comparison, jpeg, many, ranking, report_of, result_of

from headstart.data.audio.preview import SoundPreview
from headstart.data.dataset import Skipped
from headstart.judge.metrics import CalibrationBin
from headstart.judge.report.comparison_page import render_comparison
from headstart.judge.report.fit_page import CandidateRow, ClassWords, Note, Report, ShownExample, render
from headstart.judge.report.ranking_page import render_ranking

WIDTHS = (1280, 820, 390)
LONG = "a-name-without-any-place-to-break-it-that-goes-on-and-on-and-on"

MEASURE = (Path(__file__).parents[3] / "support" / "page_faults.js").read_text(encoding="utf-8")


def samples() -> dict[str, str]:
    """Return the pages of all commands by name, with much on them."""
    names = [f"{LONG} {number}" if number == 3 else f"class {number}" for number in range(81)]
    training = {
        "history": [{"loss": 0.7}, {"loss": 0.4}], "epochs": 1, "planned": 1, "best": 1, "images": 80,
        "images_per_second": 9.0,
    }  # fmt: skip
    developed = {"training": training, "arch": "arch:lenet5", "size": [32, 32], "task": "audio-classification"}
    developed["command"] = f"headstart pretrain {LONG} --arch arch:lenet5 --out {LONG}"
    gap = {"value": 0.25, "low": 0.125, "high": 0.375}
    measured = {"accuracy": gap, "log_loss": 0.5}
    trial = {"name": "last:1", "history": [{"loss": 0.6}, {"loss": 0.4}], "log_loss": 0.4, "gain": gap, "accuracy": 0.9}
    tuning = {
        "kept": True, "way": "last:1", "frozen": {"log_loss": 0.5, "accuracy": 0.8}, "confirmed": None,
        "tried": [trial | {"alpha": 1.0, "images_per_second": 40.0, "kept": True}],
        "test": {"tuned": measured, "frozen": measured, "difference": gap},
    }  # fmt: skip
    figure = result_of(["ants", "bees"], TWO)["test"]
    evaluated = {"bundle": f"runs/{LONG}", "when_fitted": {"data": "old", "accuracy": figure["accuracy"]}}
    evaluated["against"] = {"bundle": "runs/before", "test": figure, "difference": gap}
    two = ["ants", "bees"]
    pages = {
        "photos": full(report_of(two, TWO), thumbnail=jpeg()),
        "tuned": changed(full(report_of(two, TWO)), tuning=tuning),
        "texts": full(report_of([LONG, "short"], TWO), text=f"Some words and {LONG} <b>in</b> a text. " * 4),
        "recordings": full(report_of(two, TWO), sound=sound()),
        "12 classes": full(report_of([LONG, *(f"class {number}" for number in range(11))], many(12))),
        "81 classes": full(report_of(names, many(81))),
        "evaluate": changed(full(report_of(two, TWO)), **evaluated),
        "pretrain": changed(full(report_of(two, TWO)), **developed, gate={"passed": True}),
        "pretrain, failed": changed(full(report_of(two, TWO)), **developed, gate={"passed": False}),
    }
    shown = {name: render(page) for name, page in pages.items()}
    shown["compare"] = render_comparison(LONG, comparison(compared(frozen="out of memory")))
    return shown | {"rank": render_ranking("flowers", ranking())}


def full(report: Report, **more: Any) -> Report:
    """Return a report with every section that it may have; `more` is what its examples show."""
    examples = tuple(
        ShownExample(f"test/{LONG}/{place}.jpg", "ants", "bees" if place % 2 else "ants", 0.5, **more)
        for place in range(5)
    )
    candidates = [CandidateRow(kind, "pool", 0.1, 0.1 * place + 0.1, 0.02) for place, kind in enumerate("dcba")]
    return replace(
        report,
        reliability=tuple(CalibrationBin(0.1 * place, 0.1 * place, 3**place) for place in range(3, 10)),
        mistakes=examples,
        unsure=examples,
        skipped=(Skipped(f"{LONG}.jpg", "ants", "truncated"),),
        notes=(Note(f"A note that names {LONG}.", (LONG, "b")),),
        candidates=(*candidates, CandidateRow("mean", "pool,joined", chosen=True, note="a remark")),
        words=(ClassWords("TF-IDF", (("ants", ("one", "two", LONG)), ("bees", ("three",)))),),
        provenance=(("Fingerprint of the data", "0123456789abcdef" * 4), ("Seed", "0")),
        bundle=f"runs/{LONG}/bundle",
    )


def changed(report: Report, **more: Any) -> Report:
    return replace(report, result=report.result | more)


def sound() -> SoundPreview:
    return SoundPreview(picture=jpeg(), ticks=(("0 Hz", 0.0), ("4 kHz", 0.9)), shown=2.0, seconds=3.0, player=b"")


def look(folder: Path, pages: dict[str, str], windows: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
    """Return what Chromium says of every page in every window, of so many pixels and light or dark."""
    if not BROWSER:
        pytest.skip(ABSENT)
    frames = []
    for place, (name, page) in enumerate(pages.items()):
        (folder / f"{place}.html").write_text(page)
        frames += [
            f'<iframe src="{place}.html" title="{name}, {width}, {scheme}" '
            f'style="width:{width}px;height:900px;border:0;color-scheme:{scheme}"></iframe>'
            for width, scheme in windows
        ]
    (folder / "all.html").write_text(f"<body>{''.join(frames)}<script>{MEASURE}</script></body>")
    found: list[dict[str, Any]] = measured(folder / "all.html")
    assert len(found) == len(frames)
    return found


@pytest.mark.thorough
def test_nothing_is_wider_than_a_phone_and_buttons_copy_and_sort(tmp_path: Path) -> None:
    """By the page with the most on it, dark; and a page with planted faults, which are found."""
    page = samples()["81 classes"]
    spoilt = '<div style="width:2000px">w</div><p style="color:#333">pale</p><p style="margin-top:-1.5rem">over it</p>'
    spoilt += '<div style="width:40px;overflow:hidden;white-space:nowrap">cut words</div>'
    whole, broken = look(tmp_path, {"": page, "spoilt": page.replace("</main>", spoilt)}, [(390, "dark")])
    assert "is wider than its window" in broken["faults"][0] and "too wide: DIV. w" in broken["faults"][1]
    assert "overlap: P. pale | P. over it" in broken["faults"] and "too pale, 1.4" in " ".join(broken["faults"])
    assert "cut: DIV. cut words" in broken["faults"]
    assert whole["faults"] == []
    assert whole["used"]["copy"] == 2 and whole["used"]["hinted"] > 0
    before, after = ([float(text[:-2]) for text in whole["used"][when]] for when in ("before", "after"))
    assert before != after and after == sorted(after) and after[0] == min(before), "both tables are sorted as one"


@pytest.mark.slow
def test_no_page_has_a_fault_in_any_window(tmp_path: Path) -> None:
    windows = [(width, scheme) for width in WIDTHS for scheme in ("light", "dark")]
    seen = look(tmp_path, samples(), windows)
    assert {page["name"]: page["faults"] for page in seen if page["faults"]} == {}
    assert all(page["used"]["copy"] for page in seen)


def test_a_page_is_whole_without_its_script() -> None:
    page = render(report_of(["ants", "bees"], TWO))
    assert "<button" not in page.partition("<script>")[0]
    assert page.index('href="#use"') < page.index("headstart predict") < page.index("<script>")

"""The page stands alone, says what is true, and shows whatever users name as text."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from page_samples import TWO, jpeg, many, report_of, result_of

from headstart.base.errors import one_line
from headstart.data.dataset import Skipped
from headstart.judge.intervals import Interval
from headstart.judge.metrics import CalibrationBin
from headstart.judge.report.fit_page import CandidateRow, Note, Report, ShownExample, render, verdict

VOID = {"meta", "img", "br"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}{% include '/etc/passwd' %}",
    "\x1b[31mred\x07",
    "line\nbreak\r\n\u2028end",
    "\u202egnp.exe",
    "lone \udc80 surrogate",
    "javascript:alert(1)",
    "-leading dash, trailing space ",
    "🐝 ünï 蜂",
    "</style><script>1</script>",
]


class Page(HTMLParser):
    """Collects tags and texts, and proves that the tags are balanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text.append(data.replace("\N{NO-BREAK SPACE}", " "))


def test_verdict_against_both_baselines() -> None:
    said = verdict(result_of(["ants", "bees"], TWO), Interval(0.275, 0.181, 0.369), commonest="bees")
    assert said == (
        "72 of 80 test photos are classified correctly: an accuracy of 90.0 % [85.0, 94.0], +40.0 points compared "
        "with always predicting 'bees' and +27.5 points [+18.1, +36.9] compared with raw pixels with logistic "
        "regression."
    )


def test_verdict_says_plainly_when_nothing_is_shown() -> None:
    result = result_of(["ants", "bees"], TWO)
    said = verdict(result, Interval(0.01, -0.02, 0.04), commonest="bees")
    assert "the source is not shown to be better than raw pixels with logistic regression" in said
    assert "the difference in accuracy is +1.0 points [-2.0, +4.0]." in said
    said = verdict(result, Interval(-0.1, -0.2, -0.02), commonest="bees")
    assert "this is -10.0 points [-20.0, -2.0] compared with raw pixels" in said
    assert said.endswith("which `--source simple:pixels` gives.")
    said = verdict(result | {"task": "text-classification"}, Interval(0.1, 0.0, 0.2))
    assert "not shown to be better than TF-IDF with logistic regression" in said
    assert "test texts" in said


def test_verdict_is_one_line_of_bounded_length__TXT_07() -> None:
    said = verdict(result_of(["a", "b"], TWO), Interval(0.3, 0.2, 0.4), commonest="x\n\x1b[31m" * 200)
    assert said == one_line(said)
    assert len(said) < 400


@pytest.mark.parametrize("c", [2, 12, 13, 200])
def test_page_is_whole_and_stands_alone(c: int) -> None:
    shown = (ShownExample("test/a.jpg", "class 0", "class 1", 0.99, jpeg()),)
    page = render(
        report_of(
            [f"class {n}" for n in range(c)],
            many(c),
            reliability=(CalibrationBin(0.6, 0.5, 4), CalibrationBin(0.9, 0.95, 60)),
            mistakes=shown,
            unsure=shown,
            skipped=(Skipped("x.jpg", "class 0", "truncated"),),
            notes=(Note("3 are copies.", ("a", "b")),),
            candidates=(CandidateRow("ridge", "pool", 1.0, 0.2, 0.01, chosen=True), CandidateRow("centroid", "pool")),
            provenance=(("Seed", "0"),),
        )
    )
    parsed = Page(page)
    tags = [tag for tag, _ in parsed.tags]
    assert not set(tags) & {"link", "iframe", "object", "base", "form"}
    assert tags.count("script") == 1
    digest = base64.b64encode(hashlib.sha256(page.split("<script>")[1].split("</script>")[0].encode()).digest())
    (policy,) = (attributes["content"] for tag, attributes in parsed.tags if "http-equiv" in attributes)
    assert policy is not None and policy.endswith(f"; script-src 'sha256-{digest.decode()}'")
    places = [attributes["id"] for tag, attributes in parsed.tags if tag == "h2"]
    assert [attributes["href"] for tag, attributes in parsed.tags if tag == "a"] == [f"#{place}" for place in places]
    for tag, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name == "src":
                assert tag == "img"
                assert (value or "").startswith("data:image/jpeg;base64,")
    assert "url(" not in page
    assert "@import" not in page
    assert ("Heat map" in page) == (c > 12)
    assert ("<details>" in page) == (c > 20)
    assert f"{c}</b> classes" in page


def test_what_a_reader_looks_for_is_there() -> None:
    page = render(
        report_of(
            ["ants", "bees"],
            TWO,
            reliability=(CalibrationBin(0.55, 0.5, 4), CalibrationBin(0.9, 0.95, 76)),
            mistakes=(ShownExample("test/ants/m.jpg", "ants", "bees", 0.987, jpeg()),),
            skipped=(
                Skipped("b.jpg", "bees", "truncated"),
                Skipped("a.jpg", "ants", "truncated"),
                Skipped("z.png", "ants", "zero bytes"),
            ),
            candidates=(CandidateRow("ridge", "joined", 0.5, 0.181, 0.02, chosen=True),),
            bundle="my runs/bundle",
        )
    )
    text = " ".join(" ".join(Page(page).text).split())
    for words in (
        "Of 4 photos with a mean confidence of 55.0 %, 50.0 % are classified correctly.",
        "bees ants 3 of 40",
        "ants 92.1 % 87.5 % 89.7 % 40",
        "98.7 %",
        "labelled ants",
        "truncated 2 b.jpg, a.jpg",
        "0.181 ± 0.020",
        "3.5 s in all, on openvino-bf16",
        "everything else 1.0 s",
        "headstart predict 'my runs/bundle' photo.jpg",
        "model = hs.load('my runs/bundle')",
    ):
        assert words in text, words
    assert text.count("The given split is used.") == 1
    assert "NaN" not in page
    assert "None" not in page


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text__IMG_18_TXT_07(name: str) -> None:
    result = result_of([name, "other"], TWO, warnings=[name], engine=name, source=name)
    page = render(
        Report(
            title=name,
            result=result,
            verdict=verdict(result, Interval(0.3, 0.2, 0.4), commonest=name),
            confusion=TWO,
            mistakes=(ShownExample(name, name, "other", 0.9, jpeg()),),
            unsure=(ShownExample(name, "other", name, 0.5),),
            skipped=(Skipped(name, name, name),),
            notes=(Note(name, (name, name)),),
            candidates=(CandidateRow(name, name, 1.0, 0.2, 0.01, chosen=True, note=name),),
            provenance=((name, name),),
            bundle=name,
        )
    )
    page.encode("utf-8")
    assert "\x1b" not in page
    assert "\u202e" not in page
    parsed = Page(page)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert len([tag for tag, _ in parsed.tags if tag == "img"]) == 1
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    texts = [text.strip() for text in parsed.text]
    assert texts.count(one_line(name).strip()) >= 8
    assert "49" not in "".join(texts) or "49" in name


def test_the_sources_that_were_tried_stand_there_with_why_one_was_not() -> None:
    tried = [
        {"source": "packaged:speech", "layer": "pool", "head": "svm", "log_loss": 0.4125, "chosen": False},
        {"source": "spectrogram:x", "reason": "no <such> package", "chosen": False},
        {"source": "simple:mfcc", "layer": "pool", "head": "logistic", "log_loss": 0.2, "chosen": True},
    ]
    report = report_of(["ants", "bees"], TWO)
    assert "Choice of the source" not in render(report)
    page = render(replace(report, result=report.result | {"sources_tried": tried}))
    section = page.split("Choice of the source</h2>")[1].split("</section>")[0]
    assert "0.412" in section and "not tried: no &lt;such&gt; package" in section
    assert section.count("<b>chosen</b>") == 1 and "chosen" in section[section.index("simple:mfcc") - 60 :]


def test_many_skipped_are_grouped_and_cut() -> None:
    skipped = tuple(Skipped(f"{n:04}-{'x' * 200}.jpg", "ants", "truncated") for n in range(1000))
    page = render(report_of(["ants", "bees"], TWO, skipped=skipped))
    assert "and 992 more" in page
    assert "0007-" in page
    assert "0008-" not in page


def test_perfect_and_absent_classes() -> None:
    confusion = np.array([[40, 0, 0], [0, 40, 0], [0, 0, 0]])
    page = render(report_of(["a", "b", "c"], confusion))
    assert "There are no errors: every test example is classified correctly." in page
    assert not re.search(r"\bnan\b", page)


def test_same_report_same_page() -> None:
    one = report_of(["ants", "bees"], TWO, reliability=(CalibrationBin(0.9, 0.9, 80),))
    assert render(one) == render(one)


def test_jinja_is_not_imported_before_it_is_needed() -> None:
    heavy = ["jinja2", "PIL", "scipy", "torch"]
    code = f"import headstart.judge.report.fit_page, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("right", "passed"), [(36, True), (20, False)])
def test_the_page_of_a_training_names_its_steps_and_what_may_be_done(right: int, passed: bool) -> None:
    training = {
        "history": [{"loss": 0.7}, {"loss": 0.4}], "epochs": 1, "planned": 1, "best": 1, "why": "epochs",
        "images": 80, "images_per_second": 9.0,
    }  # fmt: skip
    confusion = np.array([[right, 40 - right], [40 - right, right]])
    more = {"seconds": {"total": 9.0, "read": 1.0, "extract": 1.0, "head": 2.0, "tune": 5.0}, "training": training}
    more |= {
        "arch": "arch:lenet5",
        "size": [32, 32],
        "gate": {"passed": passed},
        "command": "headstart pretrain DATA --arch arch:lenet5 --out ears",
        "task": "audio-classification",
    }
    page = render(
        replace(
            report_of(["a", "b"], confusion),
            result=result_of(["a", "b"], confusion, **more),
            verdict="-6.3 points, 9 %",
        )
    )
    assert page.count('class="track scratch"') == 1 and page.count('class="track baseline"') == 2
    assert ('class="line scratch"' in page and "--out ears --force" in page) or passed
    assert ("headstart fit YOUR_RECORDINGS --source" in page) == passed
    for step in ("training the network", "testing the network", "fitting the simple baseline"):
        assert f"</span>{step} <b>" in page
    assert "\N{MINUS SIGN}6.3" not in page.replace("\N{MINUS SIGN}6.3 points, 9\N{NO-BREAK SPACE}%", "")
    assert "photo" not in page and "tuning <b>" not in page

"""Words beside a tuned source: texts that tuning must help, and texts whose words leave it nothing to gain."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_texts import write_csv

import headstart as hs
from headstart.fitting.words import TunedStackedHead, stack_after_tuning
from headstart.heads.linear import LinearHead
from headstart.heads.select import choose_head, refit
from headstart.heads.stacking import Stacking
from headstart.heads.tfidf import choose_tfidf
from headstart.run.baseline import TextBaseline
from headstart.run.prepare import DistinctExamples

N = 60
Y = np.arange(N) % 2
TEXTS = tuple(f"{'yes' if label else 'no'} {'abcdefg'[row % 7]}" for row, label in enumerate(Y))
FROZEN = Stacking((1.0, 1.0), log_loss=0.1, standard_error=0.01, source_log_loss=0.7, improves=True)


def vectors_file(path: Path, words: list[str], width: int) -> str:
    rng = np.random.default_rng(0)
    lines = [f"{word} {' '.join(map(str, rng.standard_normal(width).round(3)))}\n" for word in words]
    path.write_text("".join(lines))
    return f"words:{path}"


@pytest.mark.thorough
def test_tuning_that_learns_what_words_and_vectors_cannot_is_kept(tmp_path: Path, cache: Path) -> None:
    rng = np.random.default_rng(0)
    words = [f"w{first}{second}" for first in "ab" for second in "cdefghijklmn"]
    source = vectors_file(tmp_path / "vectors.txt", words, 12)
    drawn = rng.integers(0, len(words), size=(240, 9))  # a text is of the class that most of its words belong to
    rows = [(" ".join(words[word] for word in text), str(int((text % 2).sum() > 4))) for text in drawn]
    table = write_csv(tmp_path / "a.csv", rows)
    options: dict[str, Any] = {"source": source, "tune": "all", "layer": "pool", "epochs": 30, "learning_rate": 0.03}
    model = hs.fit(table, out=tmp_path / "out", **options)
    tuning = model.report["tuning"]
    words_report = tuning["words"]
    assert tuning["kept"] and model.head.kind.startswith("ridge, tuned")
    assert words_report["joined"] == (model.terms is not None)
    assert words_report["log_loss"]["joined" if words_report["joined"] else "source"] < words_report["frozen"]
    assert tuning["test"]["tuned"]["accuracy"]["value"] > model.report["words"]["source_alone"]
    texts = [text for text, _ in rows[:6]]
    np.testing.assert_array_equal(hs.load(tmp_path / "out" / "bundle").predict_proba(texts), model.predict_proba(texts))


def test_what_is_kept_is_what_has_the_lower_log_loss_beside_words(tmp_path: Path, cache: Path) -> None:
    rng = np.random.default_rng(0)
    source = vectors_file(tmp_path / "vectors.txt", list("abcdefgh"), 6)
    mark = ("zq", "qz")  # only words tell the classes apart, and the file of vectors does not know them
    rows = [(f"{mark[row % 2]} " + " ".join(rng.choice(list("abcdefgh"), 6)), str(row % 2)) for row in range(160)]
    options: dict[str, Any] = {"source": source, "tune": "all", "layer": "pool", "epochs": 6, "learning_rate": 0.1}
    model = hs.fit(write_csv(tmp_path / "a.csv", rows), out=tmp_path / "out", **options)
    tuning = model.report["tuning"]
    assert set(tuning["words"]) == {"joined", "log_loss", "frozen"} and tuning["words"]["frozen"] < 0.1
    words = tuning["words"]
    assert tuning["kept"] == (words["log_loss"]["joined" if words["joined"] else "source"] < words["frozen"])
    assert tuning["kept"] == ("tuned" in model.head.kind)
    assert tuning["kept"] != any("beside words its log loss is" in note for note in model.report["warnings"])
    assert model.report["test"]["accuracy"]["value"] > 0.95
    texts = [text for text, _ in rows[:6]]
    np.testing.assert_array_equal(hs.load(tmp_path / "out" / "bundle").predict_proba(texts), model.predict_proba(texts))


def stacked(
    tuned_strength: float, frozen_strength: float = 0, *, held_out: bool, texts: tuple[str, ...] = TEXTS
) -> TunedStackedHead:
    """Return what is stacked on a tuned source; it and the frozen one say the class with some strength."""
    rng = np.random.default_rng(0)
    frozen_x = (frozen_strength * np.eye(2, 4)[Y] + rng.normal(size=(N, 4))).astype(np.float32)
    frozen = choose_head(frozen_x, Y, ["no", "yes"], seed=0).head
    learn, evaluate = np.arange(N) < 40, np.arange(N) >= 40
    problem: Any = SimpleNamespace(
        held_out=held_out,
        validation_positions=tuple(np.flatnonzero(evaluate)),
        y_validation=Y[evaluate],
        refitted=lambda: refit(frozen_x[learn], Y[learn], 2, like=frozen),
        validation_scores=lambda head: head.scores(frozen_x[evaluate]),
    )
    prepared: Any = SimpleNamespace(
        parts=SimpleNamespace(train=tuple(range(N))),
        distinct=lambda part: DistinctExamples(part, np.ones(len(part), np.int64), np.arange(len(part))),
        scan=SimpleNamespace(dataset=SimpleNamespace(read=lambda position: texts[position].encode())),
    )
    train = texts if held_out else texts[:40]
    choice = choose_tfidf(train, Y[: len(train)], 2, seed=0)
    baseline = TextBaseline(choice, train, (), np.empty((0, 2), np.float32))
    tuned = LinearHead("tuned", 1.0, np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    x = (tuned_strength * np.eye(2)[Y[evaluate]] + rng.normal(size=(20, 2))).astype(np.float32)
    return stack_after_tuning(prepared, problem, baseline, FROZEN, (tuned, tuned.predict_proba(x)))


@pytest.mark.parametrize("held_out", [True, False])
def test_words_that_say_all_are_stacked_on_a_tuned_source_that_says_nothing(held_out: bool) -> None:
    tuned = stacked(0, held_out=held_out)
    assert tuned.text_head is not None and tuned.log_loss < 0.3
    assert tuned.as_dict()["joined"] and tuned.as_dict()["frozen"] == tuned.frozen_log_loss


NONSENSE = tuple(" ".join(np.random.default_rng(row).choice(list("abcdefgh"), 5)) for row in range(N))


@pytest.mark.parametrize("held_out", [True, False])
def test_a_tuned_source_that_says_all_is_better_than_a_frozen_one_whose_words_say_nothing(held_out: bool) -> None:
    tuned = stacked(8, held_out=held_out, texts=NONSENSE)
    assert tuned.improves and tuned.frozen_log_loss > 0.5 > tuned.log_loss


@pytest.mark.parametrize("held_out", [True, False])
def test_a_tuned_source_that_says_nothing_is_no_better_than_a_frozen_one_that_says_all(held_out: bool) -> None:
    tuned = stacked(0, frozen_strength=8, held_out=held_out, texts=NONSENSE)
    assert not tuned.improves and tuned.frozen_log_loss < 0.5 < tuned.log_loss
    assert f"log loss is {tuned.log_loss:.3f}" in tuned.note and f"{tuned.frozen_log_loss:.3f}" in tuned.note

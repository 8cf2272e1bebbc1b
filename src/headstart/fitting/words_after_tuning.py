"""Words beside a tuned source: where the frozen one leaned on them, so does the tuned one, or it is not kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.text import texts_at
from headstart.fitting.findings import FittedPredictor
from headstart.fitting.words import TextBaseline
from headstart.heads.linear import LinearHead
from headstart.heads.select import refit
from headstart.heads.stacking import Joined, join, joined_loss, try_joined
from headstart.heads.tfidf import TfidfHead, TfidfTrial
from headstart.run.prepared import PreparedData

if TYPE_CHECKING:
    from headstart.tune.problem import TuningProblem


@dataclass(frozen=True)
class StackedHead:
    """A tuned source with words beside it.

    Attributes:
        head: on its features, with its share folded in where words are joined.
        terms: the head on words; None where they add nothing to the tuned source.
        joined: log loss of both together and of the source alone, on the examples that judged.
        frozen: log loss of the frozen source with its words, on the same examples.
    """

    head: LinearHead
    terms: TfidfHead | None
    joined: Joined
    frozen: float

    @property
    def log_loss(self) -> float:
        """The log loss of what is left: both together, or the tuned source alone."""
        return self.joined.log_loss if self.terms is not None else self.joined.alone

    @property
    def note(self) -> str:
        """Why the frozen source stands, where its words make it the better one."""
        return (
            f"Tuning was not kept: beside words its log loss is {self.log_loss:.3f} where that of the frozen source is "
            f"{self.frozen:.3f}; the model is the frozen one."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        tuned = {"joined": self.joined.log_loss, "source": self.joined.alone}
        return {"joined": self.terms is not None, "log_loss": tuned, "frozen": self.frozen}


def stack_with_words(
    prepared: PreparedData,
    ground: TuningProblem,
    words: TextBaseline,
    frozen: FittedPredictor,
    tuned: tuple[LinearHead, NDArray[np.float32]],
) -> StackedHead | None:
    """Return what joining words with a tuned source comes to; None where the frozen one does without them.

    Both were fitted without the examples that judged tuning, so the shares are fitted on these.

    Args:
        prepared: the data.
        ground: what tuning stood on.
        words: what words alone say.
        frozen: what the source as it was answers.
        tuned: the tuned head, and its probabilities of the examples that judged, of shape (m, c).
    """
    if frozen.terms is None or frozen.joined is None:
        return None
    trial = _trial(prepared, ground, words)
    head, said = tuned
    joined = try_joined(said, trial, ground.y_judge)
    before = refit(ground.x, ground.y_learn, ground.c, like=ground.head).predict_proba(ground.x_judge)
    loss = joined_loss(frozen.joined.shares, (before, trial.out_of_fold), ground.y_judge, trial.counted)
    if not joined.better:
        return StackedHead(head, None, joined, loss)
    own, terms = join(head, words.trial.head, joined)
    return StackedHead(own, terms, joined, loss)


def _trial(prepared: PreparedData, ground: TuningProblem, words: TextBaseline) -> TfidfTrial:
    """Return what heads on words say of the examples that judge, each fitted without the text that it names."""
    trial = words.trial
    if not ground.held_out:
        said = trial.head.predict_proba(texts_at(prepared.scan.dataset, ground.judge))
        return replace(trial, out_of_fold=said, counted=np.ones(len(said)), losses=np.zeros(len(said)))
    row = {position: row for row, position in enumerate(prepared.parts.train)}
    rows = np.array([row[position] for position in ground.judge], dtype=np.intp)
    counted = trial.counted[rows]
    counted = counted if counted.any() else np.ones(len(rows))
    return replace(trial, out_of_fold=trial.out_of_fold[rows], counted=counted, losses=trial.losses[rows])

"""The text baseline beside a tuned source: where it was stacked on the frozen one, the two are compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.text import texts_at
from headstart.fitting.words import StackedHead, TextBaseline, stacked_if_better
from headstart.heads.linear import LinearHead
from headstart.heads.select import refit
from headstart.heads.stacking import Stacking, fit_stacking, stacked_log_loss
from headstart.run.prepared import PreparedData

if TYPE_CHECKING:
    from headstart.tune.problem import TuningProblem


@dataclass(frozen=True)
class TunedStackedHead(StackedHead):
    """A tuned source's head with the text baseline's stacked on it, beside the frozen source's.

    Attributes:
        frozen_log_loss: of the frozen source with its words, on the examples that evaluated tuning.
    """

    frozen_log_loss: float

    @property
    def improves(self) -> bool:
        """Whether the tuned source is the better one when both have the words beside them."""
        return self.log_loss < self.frozen_log_loss

    @property
    def note(self) -> str:
        """Why the frozen source stands, where its words make it the better one."""
        return (
            f"Tuning was not kept: beside words its log loss is {self.log_loss:.3f} where that of the frozen source is "
            f"{self.frozen_log_loss:.3f}; the model is the frozen one."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what `result.json` says of it."""
        return {
            "joined": self.text_head is not None,
            "log_loss": {"joined": self.stacking.log_loss, "source": self.stacking.source_log_loss},
            "frozen": self.frozen_log_loss,
        }


def stack_after_tuning(
    prepared: PreparedData,
    problem: TuningProblem,
    text_baseline: TextBaseline,
    frozen: Stacking,
    tuned: tuple[LinearHead, NDArray[np.float32]],
) -> TunedStackedHead:
    """Return a tuned head with the text baseline stacked on it, and the log loss that the frozen one has with it.

    Both sources were fitted without the examples that evaluated tuning, so the shares are fitted on these.

    Args:
        tuned: the tuned head, and its probabilities of the examples that evaluated tuning, of shape (m, c).
    """
    head, probabilities = tuned
    words, weights = _unseen_probabilities(prepared, problem, text_baseline)
    stacked = stacked_if_better(
        head, text_baseline.choice.head, fit_stacking(probabilities, words, problem.y_validation, weights)
    )
    frozen_head = refit(problem.x_train, problem.y_train, problem.c, like=problem.head)
    source = frozen_head.predict_proba(problem.x_validation)
    frozen_loss = stacked_log_loss(frozen.shares, source, words, problem.y_validation, weights)
    return TunedStackedHead(stacked.head, stacked.text_head, stacked.stacking, frozen_loss)


def _unseen_probabilities(
    prepared: PreparedData, problem: TuningProblem, text_baseline: TextBaseline
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the text baseline's probabilities (m, c) of the examples that evaluate tuning, and their weights (m,).

    Each is by a head that was fitted without that text.
    """
    choice = text_baseline.choice
    if not problem.held_out:
        probabilities = choice.head.predict_proba(texts_at(prepared.scan.dataset, problem.validation_positions))
        return probabilities, np.ones(len(probabilities))
    row_of = {position: row for row, position in enumerate(prepared.parts.train)}
    rows = np.array([row_of[position] for position in problem.validation_positions], dtype=np.intp)
    weights = choice.test_weights[rows]
    return choice.out_of_fold[rows], weights if weights.any() else np.ones(len(rows))

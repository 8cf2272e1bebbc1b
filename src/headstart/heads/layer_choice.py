"""The choice of a layer and the head on it together, by the error on examples that no head had seen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.heads.cross_validation import (
    CrossValidationTask,
    HeadTrial,
    choose_ridge_penalty,
    cross_validate_ridge,
    cross_validation_task,
    evaluate_scores,
    gain_over,
    mean_trial,
)
from headstart.heads.folds import class_weights, label_folds
from headstart.heads.linear import mean_head, mean_scores, probabilities_of_all_classes
from headstart.heads.select import (
    FOLDS,
    MAX_OPERATIONS,
    HeadChoice,
    OnCandidate,
    TriedHeads,
    affordable_kinds,
    candidate_of,
    fit_on_all_rows,
    ignore,
    try_kinds,
)

MEAN_GAIN = 2.58  # standard errors that a mean of two heads must gain over one: beyond the interval of 99 %


@dataclass(frozen=True)
class JudgedLayer:
    """A layer, judged by ridge regression: each example by the head that was fitted without it alone."""

    layer: str  # its name
    task: CrossValidationTask  # its rows
    error: float  # squared error, for targets +1 and -1
    trial: HeadTrial  # at the penalty with the least squared error


def judge_layers(
    layers: Iterable[tuple[str, NDArray[np.floating]]],
    y: NDArray[np.int64],
    c: int,
    *,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
) -> list[JudgedLayer]:
    """Return each layer with the log loss of examples that a head in closed form had not seen; the best comes first.

    Where the best log loss is not better by more than one standard error of the paired difference, the layer with the
    least squared error comes first: of few examples the log loss rests on the one that is predicted worst.

    Args:
        layers: names and features of shape (n, d).
        groups: as in `choose_head`; so are `counts`.

    Raises:
        UsageError: as `choose_head` does, and where there is no layer.
    """
    judged = []
    for layer, x in layers:
        task = cross_validation_task(x, y, c, seed=0, folds=2, groups=groups, counts=counts)
        penalty, error = choose_ridge_penalty(task)
        judged.append(JudgedLayer(layer, task, error, cross_validate_ridge(task, [penalty], by_fold=False)))
    if not judged:
        raise UsageError("a layer must be given to choose from", "none", "name at least one")
    by_error = sorted(judged, key=lambda each: each.error)
    by_loss = sorted(judged, key=lambda each: each.trial.log_loss)
    gain, standard_error = gain_over(by_loss[0].task, by_loss[0].trial, by_error[0].trial)
    return by_loss if gain > standard_error else by_error


def choose_layer_and_head(
    layers: Iterable[tuple[str, NDArray[np.floating]]],
    y: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int,
    folds: int = FOLDS,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
    max_operations: float = MAX_OPERATIONS,
    on_candidate: OnCandidate = ignore,
) -> HeadChoice:
    """Return the layer and the calibrated head on it that have the least log loss on unseen examples.

    Layers are compared in closed form (`judge_layers`); on the best, every kind of head is tried (`choose_head`). The
    mean of the calibrated scores of that head and of ridge on another layer is chosen where it gains more than
    MEAN_GAIN standard errors of the paired difference, on the same folds.

    Layers are names and features of shape (n, d); whatever else is as in `choose_head`. `on_candidate` is called with
    each candidate once it was tried.

    Raises:
        UsageError: as `choose_head` does, and where there is no layer.
    """
    judged = judge_layers(layers, y, len(classes), groups=groups, counts=counts)

    def tried_on(layer: JudgedLayer) -> TriedHeads:
        principal = layer.task.principal
        return try_kinds(
            principal.x,
            y,
            classes,
            seed=seed,
            folds=folds,
            groups=groups,
            principal=principal,
            counts=counts,
            limit=max_operations,
            layer=layer.layer,
            ridge_penalty=layer.trial.penalty,
            on_candidate=on_candidate,
        )

    best, tried = judged[0], tried_on(judged[0])
    for layer in judged[1:]:
        # The wider layer may leave time for fewer kinds of head: a narrower one may then end up better.
        shape, present = layer.task.principal.x.shape, tried.task.c
        if len(affordable_kinds(len(y), min(shape), present, folds, max_operations)[0]) > len(tried.trials):
            narrow = tried_on(layer)
            if narrow.chosen.log_loss < tried.chosen.log_loss:
                best, tried = layer, narrow
    others = [layer for layer in judged if layer is not best]
    return _with_means(tried.choice(len(classes)), tried, others, on_candidate)


def choose_mean_of_members(
    members: Sequence[Iterable[tuple[str, NDArray[np.floating]]]],
    y: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
    on_candidate: OnCandidate = ignore,
) -> HeadChoice:
    """Return the mean of the calibrated scores of the layer and head chosen for each of m sources: one linear head.

    `members` are the layers of each source; the rest, and what is raised, is as in `choose_layer_and_head`.
    """
    start = time.perf_counter()
    own = partial(
        choose_layer_and_head,
        y=y,
        classes=classes,
        seed=seed,
        groups=groups,
        counts=counts,
        on_candidate=on_candidate,
    )
    choices = [own(each) for each in members]
    present, positions = np.unique(y, return_inverse=True)
    weights = class_weights(positions, len(present), counts)[positions] * (1 if counts is None else counts)
    unseen = [choice.out_of_fold[:, present] for choice in choices]
    labelled = label_folds(unseen[0], y, weights, folds=FOLDS, seed=seed, groups=groups, counts=counts)
    head = mean_head([choice.head for choice in choices], 1.0)
    trial = evaluate_scores(labelled, head.kind, head.penalty, mean_scores(unseen))
    head = replace(head, temperature=trial.temperature)
    layer = ",".join(choice.layer for choice in choices)
    return HeadChoice(
        head,
        (
            *(candidate for choice in choices for candidate in choice.candidates),
            candidate_of(labelled, trial, layer, time.perf_counter() - start),
        ),
        probabilities_of_all_classes(trial.scores, trial.temperature, present, len(classes)),
        tuple(dict.fromkeys(note for choice in choices for note in choice.notes)),
        layer,
    )


def _with_means(
    choice: HeadChoice, tried: TriedHeads, others: Sequence[JudgedLayer], on_candidate: OnCandidate
) -> HeadChoice:
    """Return the choice with ridge on every other layer beside it, and with the best mean where that gains enough."""
    task, c = tried.task, choice.out_of_fold.shape[1]
    candidates, best = list(choice.candidates), None
    for layer in others:
        start = time.perf_counter()
        of_layer = replace(task, principal=layer.task.principal)
        trial = cross_validate_ridge(of_layer, [layer.trial.penalty])
        candidates.append(candidate_of(of_layer, trial, layer.layer, time.perf_counter() - start))
        both = mean_trial(task, [tried.chosen, trial])
        name = f"{choice.layer},{layer.layer}"
        candidates.append(candidate_of(task, both, name, time.perf_counter() - start))
        for candidate in candidates[-2:]:
            on_candidate(candidate)
        gain, standard_error = gain_over(task, both, tried.chosen)
        if gain > MEAN_GAIN * standard_error and (best is None or both.log_loss < best[0].log_loss):
            best = both, name, (of_layer, trial)
    choice = replace(choice, candidates=tuple(candidates))
    if best is None:
        return choice
    both, name, second = best
    return replace(
        choice,
        head=mean_head([choice.head, fit_on_all_rows(*second, c)], both.temperature),
        out_of_fold=probabilities_of_all_classes(both.scores, both.temperature, task.present, c),
        layer=name,
        first=(choice.layer, choice.head),
    )

"""From features to a predictor: the layer, the head and the baseline that are chosen, and what names the classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays
from headstart.base.mapped import beside
from headstart.base.progress import Step
from headstart.engines.base import LOOKUP, Block
from headstart.fitting.words import stack_text_baseline
from headstart.heads.folds import weighted_mean
from headstart.heads.layer_choice import choose_layer_and_head, choose_mean_of_members
from headstart.heads.linear import LinearHead, side_by_side, softmax
from headstart.heads.select import HeadChoice, OnCandidate, advancing
from headstart.heads.stacking import Stacking, best_share, fit_stacking, unseen_losses
from headstart.heads.tfidf import TfidfHead
from headstart.judge.baselines import plain_numbers
from headstart.judge.intervals import Z
from headstart.run.baseline import BaselineResult, Numbers, TextBaseline, groups_entry, remembered_choice
from headstart.run.prepare import DistinctExamples, PreparedData
from headstart.sources.base import Source
from headstart.sources.layers import AUTO, MEMBER, POOL, member_of, select, stages_of
from headstart.sources.providers.simple import NAMES, SimpleSource
from headstart.sources.registry import open_mean, opens_by_uri
from headstart.sources.uri import MOST_MEMBERS, SIMPLE


@dataclass(frozen=True)
class FittedPredictor:
    """What names the classes of the test examples: a source, frozen or tuned, and a head on its features."""

    source: Source
    head: LinearHead
    layer: str
    blocks: tuple[Block, ...]
    engine: str  # name and precision of the engine that made them
    probabilities: NDArray[np.float32]  # float32 of shape (n, c), of the test examples
    tuning: dict[str, Any] | None = None  # what came of tuning, in plain values; None where nothing was tuned
    notes: tuple[str, ...] = ()
    # the head on words whose scores are added to those of `head`; None where there is none; of pixels and MFCC the head
    # is one with that of the source, on the features of both
    text_head: TfidfHead | None = None
    stacking: Stacking | None = None  # what stacking the two was worth; None where it was not tried


@dataclass(frozen=True)
class Fitted:
    """Everything that a fit chose and fitted."""

    prepared: PreparedData
    choice: HeadChoice
    baseline: BaselineResult
    predictor: FittedPredictor
    tried: tuple[dict[str, Any], ...] = ()  # the default sources, where there were several; see `best_default`


def select_layer_and_head(prepared: PreparedData, *, seed: int, step: Step | None = None) -> HeadChoice:
    """Choose the head, and with it the layer where that is left open, by the log loss of unseen examples.

    What was chosen before for the same features, labels and seed is remembered, and not chosen again; otherwise `step`
    advances by candidate.
    """
    train = prepared.distinct(prepared.parts.train)
    layer, layers = prepared.source.layer, prepared.source.info.layers
    names = [name for name in prepared.source.auto_layers if name in layers] if layer == AUTO else [layer]
    rows = prepared.extraction.row_of[np.array(train.positions)]
    numbers: list[Numbers] = [(prepared.extraction.x, rows), prepared.labels(train.positions), train.counts]
    inputs = {
        "classes": list(prepared.scan.dataset.classes),
        "blocks": [[block.name, block.width] for block in prepared.extraction.blocks],
        "layer": layer,
        "tried": names,
        "seed": seed,
        **groups_entry(prepared, train),
    }

    def choose() -> tuple[dict[str, Any], Arrays]:
        return _choose(prepared, train, names, seed, advancing(step or Step())).to_parts()

    return HeadChoice.from_parts(*remembered_choice("choice", numbers, inputs, choose))


def _choose(
    prepared: PreparedData, distinct: DistinctExamples, names: Sequence[str], seed: int, on_candidate: OnCandidate
) -> HeadChoice:
    train = distinct.positions
    members = [list(own) for _, own in groupby(names, key=member_of)]
    y, classes = prepared.labels(train), prepared.scan.dataset.classes
    options: dict[str, Any] = {"seed": seed, "groups": prepared.groups(train), "counts": distinct.counts}
    options["on_candidate"] = on_candidate
    layers = [((name, prepared.features(name, train).x) for name in own) for own in members]
    if len(layers) > 1:
        return choose_mean_of_members(layers, y, classes, **options)
    return choose_layer_and_head(layers[0], y, classes, **options)


def frozen_predictor(prepared: PreparedData, choice: HeadChoice) -> FittedPredictor:
    """Return the predictor of the source as it was, with the chosen head."""
    probabilities = prepared.predict_proba(choice.head, choice.layer, prepared.parts.test)
    blocks = prepared.features(choice.layer, ()).blocks
    return FittedPredictor(
        prepared.source, choice.head, choice.layer, blocks, prepared.extraction.engine, probabilities
    )


def stacked_predictor(
    prepared: PreparedData, frozen: FittedPredictor, choice: HeadChoice, text_baseline: TextBaseline
) -> FittedPredictor:
    """Return the frozen predictor with the text baseline stacked on it where that helps; it says what that is worth."""
    stacked = stack_text_baseline(
        choice, text_baseline, prepared.labels(prepared.distinct(prepared.parts.train).positions)
    )
    if stacked.text_head is None:
        return replace(frozen, stacking=stacked.stacking)
    tested = prepared.distinct(prepared.parts.test)
    x = prepared.features(frozen.layer, tested.positions).x
    probabilities = softmax(stacked.head.scores(x) + stacked.text_head.scores(text_baseline.test))[tested.row_of]
    return replace(
        frozen, head=stacked.head, text_head=stacked.text_head, stacking=stacked.stacking, probabilities=probabilities
    )


def source_predictor(prepared: PreparedData, choice: HeadChoice, baseline: BaselineResult) -> FittedPredictor:
    """Return the predictor of the source as it was; of texts with their words beside it, where these help."""
    frozen = frozen_predictor(prepared, choice)
    words = baseline.text_baseline
    return frozen if words is None else stacked_predictor(prepared, frozen, choice, words)


def shipped_predictor(fitted: Fitted, *, named: bool) -> FittedPredictor:
    """Return the predictor of the source, alone or with the simple baseline stacked on it, or that baseline alone.

    The baseline needs no network: it is shipped alone where the source gains no more than one standard error of the
    paired difference. A source that was `named` is given up only where it is worse beyond the 95 % interval.
    """
    prepared, baseline, best = fitted.prepared, fitted.baseline, with_simple_baseline(fitted)
    y = prepared.labels(prepared.distinct(prepared.parts.train).positions)[baseline.rows]
    heads, shares, own = [fitted.choice.out_of_fold[baseline.rows]], [1.0], 1.0
    if best.stacking is not None and best.stacking.improves:
        heads, shares = [*heads, baseline.out_of_fold], list(best.stacking.shares)
        own = best_share(baseline.out_of_fold, y, baseline.test_weights)  # as free as that of both
    simple = unseen_losses([baseline.out_of_fold], [own], y)
    gain, error = weighted_mean(simple - unseen_losses(heads, shares, y), baseline.test_weights)
    if gain > (-Z * error if named else error):
        return best
    loss, uri = weighted_mean(simple, baseline.test_weights)[0], prepared.source.info.uri
    note = (
        f"The model is the simple baseline, {prepared.scan.dataset.modality.baseline}, and needs no network: on unseen "
        f"training examples its log loss is {loss:.3f}, that of {uri} {loss - gain:.3f}, and the standard error of the "
        f"difference {error:.3f}."
    )
    return replace(_baseline_predictor(prepared, baseline), tuning=best.tuning, notes=(*best.notes, note))


def with_simple_baseline(fitted: Fitted) -> FittedPredictor:
    """Return the predictor of a source of photos or recordings with the simple baseline stacked on it where that helps.

    It helps where it gains on unseen training examples beyond the 95 % interval of the paired difference. The two are
    then one linear head on the features of `mean:SOURCE+simple:NAME`. It is not tried where no such URI can be opened.
    """
    prepared, baseline, alone, choice = fitted.prepared, fitted.baseline, fitted.predictor, fitted.choice
    source = _beside_simple(prepared, choice.layer)
    if baseline.head is None or source is None:
        return alone
    y = prepared.labels(prepared.distinct(prepared.parts.train).positions)[baseline.rows]
    out_of_fold = choice.out_of_fold[baseline.rows], baseline.out_of_fold
    stacking = fit_stacking(*out_of_fold, y, baseline.test_weights, errors=Z)
    if not stacking.improves:
        return replace(alone, stacking=stacking)
    kind = f"{choice.head.kind} + {NAMES[prepared.scan.dataset.kind]}"
    head = side_by_side([choice.head, baseline.head], stacking.shares, kind)
    tested = prepared.distinct(prepared.parts.test)
    numbers = plain_numbers(prepared.baseline_inputs(tested.positions))
    x = beside(prepared.features(choice.layer, tested.positions).x, numbers)
    every = [tap.block for tap in source.taps]
    blocks = select(np.empty((0, sum(block.width for block in every)), np.float32), every, source.layer)[1]
    return replace(
        alone,
        source=source,
        head=head,
        layer=source.layer,
        blocks=blocks,
        engine=f"{alone.engine} and {LOOKUP}",
        probabilities=head.predict_proba(x)[tested.row_of],
        stacking=stacking,
    )


def _beside_simple(prepared: PreparedData, layer: str) -> Source | None:
    """Return source and simple baseline side by side, at a `layer` of the first; None where no URI opens the two."""
    source, opened = prepared.source, prepared.source.opened or {}
    uris = [(member.opened or {})["uri"] for member in source.members] or [opened.get("uri", "")]
    blocks, simple = [tap.name for tap in source.taps], f"{SIMPLE}:{NAMES[prepared.scan.dataset.kind]}"
    if (
        not opens_by_uri(source)
        or simple in uris
        or source.any_preprocessing
        or source.base is not None
        or len(uris) == MOST_MEMBERS
        or set(stages_of(layer, blocks)) - set(blocks)
    ):
        return None
    both = open_mean([*uris, simple], opened)
    first = layer if source.members else re.sub(r"[^,+]+", rf"1{MEMBER}\g<0>", layer)
    return both.at(f"{first},{len(uris) + 1}{MEMBER}{POOL}")


def _baseline_predictor(prepared: PreparedData, baseline: BaselineResult) -> FittedPredictor:
    """Return the simple baseline as a predictor, on a source that is no network."""
    kind = prepared.scan.dataset.kind
    source = SimpleSource(NAMES[kind], baseline.preprocessing if kind != "text" else None).at(POOL)
    head, words = baseline.head, None
    if baseline.text_baseline is not None:
        words = baseline.text_baseline.choice.head
        c = len(words.bias)
        head = LinearHead(
            "logistic", words.penalty, np.zeros((1, c), np.float32), np.zeros(c, np.float32), words.temperature
        )
    assert head is not None
    blocks = source.network().blocks
    return FittedPredictor(source, head, POOL, blocks, LOOKUP, baseline.probabilities, text_head=words)

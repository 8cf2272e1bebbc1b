"""An arm: one way of tuning a source, from its start to what it has learned, in as many runs as it is given."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from headstart.base.progress import Progress
from headstart.heads.select import refit
from headstart.sources.base import Source
from headstart.sources.layers import select
from headstart.tune.inputs.base import BATCH, ActivationCache, DecodedCache, InputPipeline
from headstart.tune.inputs.by_modality import MEDIA
from headstart.tune.inputs.contrastive import Paired, contrast
from headstart.tune.inputs.row_store import place_for
from headstart.tune.network import lora
from headstart.tune.network.classifier import Classifier, joined_blocks
from headstart.tune.network.frozen_prefix import Prefix
from headstart.tune.network.fused_batchnorm import find_pairs, fused
from headstart.tune.network.param_groups import choose_groups, set_modes, stages_of, statistics_of, used_weights
from headstart.tune.network.readers import Given
from headstart.tune.network.trace import Span, spans
from headstart.tune.problem import TuningProblem
from headstart.tune.settings import LORA
from headstart.tune.training.loop import train
from headstart.tune.training.task import Aim, Examples, Nothing, Task, Trained, Weight, evaluate, precision
from headstart.tune.training.trackers import Tracker
from headstart.tune.trial_config import TrialConfig

HEAD = 300.0
"""The head's learning rate as a share of that of the topmost stage, over the number of features.

AdamW moves every weight alike, and all the weights of a class move its score: the more there are, the less each may.
"""
SHARE_KEPT = 0.4
"""Of a budget, what computing the activations to keep may take."""

Each = Callable[[int, bool, Callable[[], NDArray[np.float32]]], None]
"""Is told the number of an epoch, whether it is the last, and how to ask for the class scores of what judges."""


class Point(NamedTuple):
    """A point between the start and the end of a run, as in WiSE-FT (Wortsman et al. 2022).

    Attributes:
        alpha: how far body and head are from the start (0) towards the end (1).
        settled: whether the head is fitted anew on what the body says there, in the way that was chosen for the frozen
            source, instead.
    """

    alpha: float
    settled: bool


class TuningTrial:
    """One way of tuning, ready to run; each run goes on from where the last one ended.

    Args:
        ground: what it stands on.
        way: how it tunes.
        shelf: examples that are read already, shared between arms.
        device: where it computes.
        progress: where to show progress.

    Raises:
        DataError: an example cannot be read any more.
        UsageError: the source has no such stages, or nothing that could learn; peft is needed and absent.
    """

    def __init__(
        self,
        ground: TuningProblem,
        way: TrialConfig,
        *,
        decoded_cache: DecodedCache,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.ground, self.way, self.device, self.progress = ground, way, device, progress
        self._shelf = decoded_cache
        self.medium = self._medium()
        body = copy.deepcopy(ground.source.module()).to(device)
        self.body = body.to(memory_format=torch.channels_last).eval()
        self.original = {name: tensor.detach().clone() for name, tensor in self.body.state_dict().items()}
        self.notes: list[str] = []
        self.prefix: Prefix | None = None
        self._kept: tuple[ActivationCache, ActivationCache] | None = None
        self.reader = self.medium.reader(self.body).to(device)
        self.classifier = self._classifier()
        self.begin = {name: weight.detach().clone() for name, weight in self.classifier.linear.state_dict().items()}
        blank = self._moved(self.medium.blank())
        one = tuple(part[:1] for part in blank)
        with torch.no_grad():
            ran = spans(self.body, lambda: self.classifier.features(*one))
        self.used = used_weights(self.body, lambda: self.classifier.features(*one))
        stages = stages_of(ground.stages, ran)
        self.groups = choose_groups(
            self.body, way.mode, stages=stages, ran=ran, used=self.used, batchnorm=way.batchnorm, decay=way.decay
        )
        self.pairs = () if way.batchnorm else find_pairs(self.body, lambda: self.classifier(*blank))
        self.prefix = self._prefix(ran, blank)

    def run(
        self,
        *,
        budget: float | None,
        folder: Path | None,
        identity: Mapping[str, Any],
        watchers: Sequence[Tracker] = (),
        each: Each | None = None,
        name: str = "",
    ) -> Trained:
        """Learn for as long as the recipe or the budget, in seconds, allows; the best weights stay in place.

        With `each`, the examples that judge make no choice: their scores are computed where `each` asks for them. The
        run is called `name`, by default after its way.
        """
        start = time.monotonic()
        own = {"way": self.way.name, "threads": torch.get_num_threads()}
        with fused(self.body, () if self.way.mode == LORA else self.pairs):
            if self.prefix is not None and self._kept is None:
                self._kept = self._keep(self.prefix, budget)
            adapters = lora.adapt(self.body, self.used, seed=self.way.recipe.seed) if self.way.mode == LORA else ()
            try:
                trained = train(
                    self._watched(each) if each else self._task(),
                    self.way.recipe,
                    name=name or f"Tuning {self.way.name}",
                    budget=None if budget is None else max(0.0, budget - (time.monotonic() - start)),
                    folder=folder,
                    identity={**identity, **own},
                    watchers=watchers,
                    progress=self.progress,
                )
            finally:
                lora.merge(self.body, adapters)
        return trained

    @property
    def kept(self) -> bool:
        """Whether epochs run from kept activations."""
        return self._kept is not None

    def _medium(self) -> InputPipeline:
        return MEDIA[self.ground.dataset.kind](self.ground, self.way, decoded_cache=self._shelf, progress=self.progress)

    def _moved(self, given: Given) -> Given:
        return tuple(part.to(self.device) for part in given)

    def _classifier(self) -> Classifier:
        """Return the classifier on the head that it starts from."""
        ground = self.ground
        x, y = (ground.x, ground.y_learn) if self.medium.own else self._features()
        head = refit(x, y, ground.c, like=ground.head)
        return Classifier(self.reader, head, x).to(self.device)

    def _features(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return features, as the body gives them now, of what is learned from, seen as it is; and its class ids."""
        self.body.eval()
        kept = self._kept if self.medium.plain else None
        examples, _ = kept or self.medium.examples(plain=True)
        blocks = tuple(tap.block for tap in self.reader.taps)
        found = np.empty((len(examples.y), sum(block.width for block in blocks)), dtype=np.float32)
        turns, _ = self.medium.turns()
        with torch.inference_mode(), precision(self.device):
            for rows in turns:
                given = self._moved(examples.inputs(rows, epoch=0))
                said = self._blocks(*given) if kept else self.reader.blocks(given, {})
                found[rows] = torch.cat([block.float() for block in said], 1).cpu().numpy()
        return select(found, blocks, "+".join(block.name for block in blocks))[0], examples.y

    def _prefix(self, ran: Mapping[str, Span], blank: Given) -> Prefix | None:
        """Return the frozen prefix, or None where nothing is frozen, or activations cannot be kept."""
        if not self.groups.boundary or not self.way.keep:
            return None
        prefix = Prefix(self.classifier, self.groups.boundary, ran, blank)
        size = self.medium.size(prefix.shapes)
        if not prefix.agrees(blank):
            why = "this network does more than its stages tell"
        elif not size:
            why = "long texts are read in pieces"
        elif place_for(size, self.ground.cache) == "nowhere":
            why = "neither memory nor disk has room for them"
        else:
            return prefix
        self.notes.append(f"{self.way.name}: activations were not kept, for {why}; every epoch ran the whole network.")
        return None

    def _task(self) -> Task:
        """Return what is to be learned; everything else is frozen."""
        ground, way = self.ground, self.way
        weights = []
        for name, weight in self.body.named_parameters():
            share = 1.0 if ".lora_" in name else self.groups.shares.get(name, 0.0)
            weight.requires_grad_(share > 0)
            if share:
                table = isinstance(self.body.get_submodule(name.rpartition(".")[0]), torch.nn.Embedding)
                weights.append(Weight(f"body.{name}", weight, share, decays=not table))
        linear = self.classifier.linear
        head = {f"head.{name}": one for name, one in linear.named_parameters()}
        statistics = statistics_of(self.body, self.groups.training) if way.batchnorm else {}
        if way.contrast:
            statistics |= {name: one.detach() for name, one in head.items()}
        else:
            weights += [Weight(name, one, HEAD / linear.in_features) for name, one in head.items()]
        given: tuple[Examples, Examples] = self._kept or self.medium.examples()
        learn, judge = given
        return Task(
            weights,
            self._scores,
            self._mode,
            Paired(learn) if way.contrast else learn,
            judge,
            ground.c,
            statistics=statistics,
            device=self.device,
            turns=self.medium.turns()[1],
            aim=Aim(self._unit, contrast, self._settle) if way.contrast else None,
        )

    def _watched(self, each: Each) -> Task:
        """Return the task without examples that judge; `each` is told how to ask for their scores."""
        task = self._task()

        def tell(epoch: int, last: bool) -> None:
            each(epoch, last, lambda: evaluate(task))

        return replace(task, validation=Nothing(), turns=(), each=tell)

    def _blocks(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return the blocks of the layer, from what was kept where something was."""
        if self.prefix is not None and self._kept is not None:
            return self.prefix.features(given)
        return self.reader.blocks(given, {})

    def _scores(self, *given: Tensor) -> Tensor:
        return self.classifier.scored(self._blocks(*given))

    def _unit(self, *given: Tensor) -> Tensor:
        """Return the features of the layer, of unit length."""
        return normalize(joined_blocks([block.float() for block in self._blocks(*given)]), dim=1)

    def _settle(self) -> None:
        """Fit the head anew on the features as the body gives them now."""
        ground = self.ground
        self.classifier.take(refit(*self._features(), ground.c, like=ground.head))

    def _mode(self, *, training: bool) -> None:
        if training:
            set_modes(self.body, self.groups)
        else:
            self.body.eval()

    def _keep(self, prefix: Prefix, budget: float | None) -> tuple[ActivationCache, ActivationCache]:
        """Return the activations at the boundary, of every view of the examples that the budget affords."""
        if budget is not None:
            self._afford(prefix, budget)
        size = self.medium.size(prefix.shapes)
        folder = None if place_for(size, self.ground.cache) == "memory" else self.ground.cache / "tuning"
        where = "in memory" if folder is None else f"in {folder}"
        found = self.medium.kept(prefix.shapes, folder)
        count = sum(len(kept.y) * kept.views for kept in found)
        self.progress.say(f"Keeping {count:,} activations ({size / 1e6:,.0f} MB) {where}: epochs run only what learns")
        with self.progress.step("Computing what never learns", count, f"{self.ground.dataset.kind}s") as step:
            for examples, kept in zip(self.medium.examples(), found, strict=True):
                for view in range(kept.views):
                    for rows in kept.turns:
                        with torch.inference_mode(), precision(self.device):
                            said = prefix.keep(self._moved(examples.inputs(rows, epoch=view)))
                        kept.fill(rows, said, view=view)
                        step.advance(len(rows))
        return found

    def _afford(self, prefix: Prefix, budget: float) -> None:
        """Keep fewer views where computing them would take more than its share of the budget, and say so."""
        if self.medium.views == 1:
            return
        some = tuple(part.repeat(BATCH // 2, *[1] * (part.ndim - 1)) for part in self._moved(self.medium.blank()))
        with torch.inference_mode(), precision(self.device):
            for _ in range(2):  # the first one warms up
                start = time.monotonic()
                prefix.keep(some)
                each = (time.monotonic() - start) / BATCH
        most = max(1, int(SHARE_KEPT * budget / each / max(1, len(self.ground.learn))))
        if most < self.medium.views:
            self.way = replace(self.way, views=most)
            self.medium = self._medium()
            self.notes.append(f"{self.way.name}: the budget affords {most} views of each example.")

    def changed(self) -> dict[str, Tensor]:
        """Return the weights and statistics of the body that are not what they were, by name."""
        return {
            name: tensor.detach()
            for name, tensor in self.body.state_dict().items()
            if not torch.equal(tensor, self.original[name])
        }

    def tuned(self) -> Source:
        """Return the source with what has changed."""
        return self.medium.tuned({name: tensor.float().cpu().numpy() for name, tensor in self.changed().items()})

    def end(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return copies of what has changed of the body, and of the head, by name: what `at` goes towards."""
        head = self.classifier.linear.state_dict()
        return (
            {name: tensor.clone() for name, tensor in self.changed().items()},
            {name: tensor.detach().clone() for name, tensor in head.items()},
        )

    def at(self, point: Point, end: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> None:
        """Set body and head to a point between start and end."""
        held = self.body.state_dict()
        with torch.no_grad():
            for name, tensor in end.items():
                first = self.original[name]
                held[name].copy_(torch.lerp(first, tensor, point.alpha))
            for name, tensor in self.classifier.linear.state_dict().items():
                tensor.copy_(torch.lerp(self.begin[name], head[name], point.alpha))
        if point.settled:
            self._settle()

    def judged(self) -> NDArray[np.float32]:
        """Return the class scores of the examples that judge, float32 of shape (n, c)."""
        with fused(self.body, self.pairs):
            return evaluate(self._task())

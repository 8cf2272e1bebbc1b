"""A tuning trial: one configuration, from the frozen source to what it has learned, in as many runs as it is given."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from headstart.base.progress import Progress
from headstart.heads.folds import distinct_pairs
from headstart.heads.select import refit
from headstart.sources.base import Source
from headstart.sources.layers import select
from headstart.sources.networks.tapped import Span, spans
from headstart.tune.inputs.base import (
    BATCH,
    ActivationCache,
    DecodedCache,
    InputPipeline,
    KnownActivations,
    known_activations,
    whole_cache,
)
from headstart.tune.inputs.by_modality import PIPELINES
from headstart.tune.inputs.contrastive import Paired, contrastive_loss
from headstart.tune.inputs.row_store import place_for
from headstart.tune.network import lora
from headstart.tune.network.classifier import Classifier, joined_blocks
from headstart.tune.network.frozen_prefix import FrozenPrefix
from headstart.tune.network.fused_batchnorm import find_pairs, fused
from headstart.tune.network.param_groups import choose_groups, set_modes, statistics_of, used_weights
from headstart.tune.network.readers import Inputs
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.settings import LORA
from headstart.tune.training.loop import train
from headstart.tune.training.task import (
    EpochCallback,
    Examples,
    Objective,
    Task,
    TrainResult,
    Weight,
    precision,
    validation_scores,
)
from headstart.tune.training.trackers import Tracker

HEAD_LR_SCALE = 300.0
"""The head's learning rate as a share of that of the topmost stage, over the number of features.

AdamW moves every weight alike, and all the weights of a class move its score: the more there are, the less each may.
"""
CACHING_SHARE = 0.4
"""Of a budget, what computing the cached activations may take."""


class Interpolation(NamedTuple):
    """A point between the start and the end of training, as in WiSE-FT (Wortsman et al. 2022)."""

    alpha: float  # how far body and head are from the start (0) towards the end (1)
    refit_head: bool  # whether the head, instead, is fitted again on the features there, with its kind and penalty


class TuningTrial:
    """One configuration of tuning, ready to run; each run goes on from where the last one ended.

    Raises:
        DataError: an example cannot be read any more.
        UsageError: the source has no such stages, or nothing that could learn; peft is needed and absent.
    """

    def __init__(
        self,
        problem: TuningProblem,
        config: TrialConfig,
        *,
        decoded_cache: DecodedCache,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.problem, self.config, self.device, self.progress = problem, config, device, progress
        self._decoded_cache = decoded_cache
        self.pipeline = self._open_pipeline()
        body = copy.deepcopy(problem.source.module()).to(device)
        self.body = body.to(memory_format=torch.channels_last).eval()
        self.original = {name: tensor.detach().clone() for name, tensor in self.body.state_dict().items()}
        self.notes: list[str] = []
        self.prefix: FrozenPrefix | None = None
        self._activations: tuple[ActivationCache, ActivationCache] | None = None
        self.caching_seconds = 0.0  # that computing the cached activations took
        self.reader = self.pipeline.reader(self.body).to(device)
        self.classifier = self._build_classifier()
        self.initial_head = {name: part.detach().clone() for name, part in self.classifier.linear.state_dict().items()}
        blank = self._to_device(self.pipeline.blank())
        first = tuple(part[:1] for part in blank)
        with torch.no_grad():
            ran = spans(self.body, lambda: self.classifier.features(*first))
        self.used = used_weights(self.body, lambda: self.classifier.features(*first))
        self.groups = choose_groups(
            self.body,
            config.mode,
            ends=problem.source.stages,
            ran=ran,
            used=self.used,
            train_batchnorm=config.train_batchnorm,
            layer_decay=config.layer_decay,
            cached_at=config.cached_at,
        )
        self.pairs = () if config.train_batchnorm else find_pairs(self.body, lambda: self.classifier(*blank))
        self.prefix = self._find_prefix(ran, blank)

    def run(
        self,
        *,
        budget: float | None,
        folder: Path | None,
        identity: Mapping[str, Any],
        trackers: Sequence[Tracker] = (),
        on_epoch: EpochCallback | None = None,
        name: str = "",
        caching: float | None = None,
    ) -> TrainResult:
        """Learn for as long as the recipe or the budget, in seconds, allows; the best weights stay in place.

        With `on_epoch`, the validation examples choose nothing: their scores are computed where `on_epoch` calls for
        them. The run is called `name`, by default after its configuration. Computing cached activations may take
        `caching` seconds beside the budget, by default a share of it.
        """
        start = time.monotonic()
        own_identity = {"way": self.config.name, "threads": torch.get_num_threads()}
        uses_lora = self.config.mode == LORA
        with fused(self.body, () if uses_lora else self.pairs):
            if self.prefix is not None and self._activations is None:
                limit = caching if caching is not None or budget is None else CACHING_SHARE * budget
                self._activations = self._cache_activations(self.prefix, limit)
                self.caching_seconds = time.monotonic() - start
                start += self.caching_seconds if caching is not None else 0.0
            adapters = lora.adapt(self.body, self.used, seed=self.config.recipe.seed) if uses_lora else ()
            try:
                return train(
                    replace(self.task(), on_epoch=on_epoch, validates=False) if on_epoch else self.task(),
                    self.config.recipe,
                    name=name or f"Tuning {self.config.name}",
                    budget=None if budget is None else max(0.0, budget - (time.monotonic() - start)),
                    folder=folder,
                    identity={**identity, **own_identity},
                    trackers=trackers,
                    progress=self.progress,
                )
            finally:
                lora.merge(self.body, adapters)

    @property
    def cached(self) -> bool:
        """Whether epochs run from cached activations."""
        return self._activations is not None

    def _open_pipeline(self) -> InputPipeline:
        pipeline = PIPELINES[self.problem.dataset.kind]
        return pipeline(self.problem.visited(), self.config, decoded_cache=self._decoded_cache, progress=self.progress)

    def _to_device(self, inputs: Inputs) -> Inputs:
        return tuple(part.to(self.device) for part in inputs)

    def _build_classifier(self) -> Classifier:
        """Return the classifier with the head that it starts from."""
        problem = self.problem
        x, y, counts = problem.distinct_train() if self.pipeline.has_own_size else self.train_features()
        head = refit(x, y, problem.c, like=problem.head, counts=counts)
        return Classifier(self.reader, head, x, counts).to(self.device)

    def train_features(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        """Return features, as the body gives them now, of the training examples without augmentation; and class ids.

        Each distinct pair of both stands once; the third array says how many examples it stands for.
        """
        self.body.eval()
        activations = self._activations if self.pipeline.plain else None
        examples, _ = activations or self.pipeline.examples(plain=True)
        layer = tuple(tap.block for tap in self.reader.taps)
        contents, content_of = np.unique(self.pipeline.first_of[0], return_inverse=True)
        features = np.empty((len(contents), sum(block.width for block in layer)), dtype=np.float32)
        batches, _ = self.pipeline.batches()
        with torch.inference_mode(), precision(self.device):
            for rows in batches:
                inputs = self._to_device(examples.inputs(rows, epoch=0))
                blocks = self._blocks(*inputs) if activations else self.reader.blocks(inputs, {})
                features[content_of[rows]] = torch.cat([block.float() for block in blocks], 1).cpu().numpy()
        x, _ = select(features, layer, "+".join(block.name for block in layer))
        first, pair_of, counts = distinct_pairs(content_of, examples.y, self.problem.c)
        if self.pipeline.train_counts is not None:
            counts = np.rint(np.bincount(pair_of, self.pipeline.train_counts)).astype(np.int64)
        return x[content_of[first]], examples.y[first], counts

    def _find_prefix(self, ran: Mapping[str, Span], blank: Inputs) -> FrozenPrefix | None:
        """Return the frozen prefix, or None where nothing is frozen, or its activations cannot be cached."""
        if not self.groups.boundary or not self.config.cache_activations:
            return None
        prefix = FrozenPrefix(self.classifier, self.groups.boundary, ran, blank)
        size = self.pipeline.cache_size(prefix.shapes)
        if not prefix.agrees(blank):
            reason = "this network does more than its stages tell"
        elif not size:
            reason = "long texts are read in pieces"
        elif place_for(size, self.problem.cache) == "nowhere":
            reason = "neither memory nor disk has room for them"
        else:
            return prefix
        self.notes.append(
            f"{self.config.name}: activations were not kept, for {reason}; every epoch ran the whole network."
        )
        return None

    def task(self) -> Task:
        """Return the task of the training loop; every other weight is frozen."""
        config = self.config
        weights = []
        for name, tensor in self.body.named_parameters():
            scale = 1.0 if ".lora_" in name else self.groups.lr_scales.get(name, 0.0)
            tensor.requires_grad_(scale > 0)
            if scale:
                table = isinstance(self.body.get_submodule(name.rpartition(".")[0]), torch.nn.Embedding)
                weights.append(Weight(f"body.{name}", tensor, scale, decays=not table))
        linear = self.classifier.linear
        head = {f"head.{name}": tensor for name, tensor in linear.named_parameters()}
        statistics = statistics_of(self.body, self.groups.training) if config.train_batchnorm else {}
        if config.contrastive:
            statistics |= {name: tensor.detach() for name, tensor in head.items()}
        else:
            weights += [Weight(name, tensor, HEAD_LR_SCALE / linear.in_features) for name, tensor in head.items()]
        examples: tuple[Examples, Examples] = self._activations or self.pipeline.examples()
        return Task(
            weights,
            self._scores,
            self.set_training,
            Paired(examples[0]) if config.contrastive else examples[0],
            examples[1],
            self.problem.c,
            statistics=statistics,
            train_counts=self.pipeline.train_counts,
            device=self.device,
            validation_batches=self.pipeline.batches()[1],
            validation_first_of=self.pipeline.first_of[1],
            objective=(
                Objective(self._unit_features, contrastive_loss, self.refit_head) if config.contrastive else None
            ),
        )

    def _blocks(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the blocks of the layer, from cached activations where there are some."""
        if self.prefix is not None and self._activations is not None:
            return self.prefix.features(inputs)
        return self.reader.blocks(inputs, {})

    def _scores(self, *inputs: Tensor) -> Tensor:
        return self.classifier.scored(self._blocks(*inputs))

    def _unit_features(self, *inputs: Tensor) -> Tensor:
        return normalize(joined_blocks([block.float() for block in self._blocks(*inputs)]), dim=1)

    def refit_head(self) -> None:
        """Fit the head again on the features as the body gives them now."""
        x, y, counts = self.train_features()
        self.classifier.set_head(refit(x, y, self.problem.c, like=self.problem.head, counts=counts))

    def set_training(self, *, training: bool) -> None:
        """Put the modules that learn in training mode, or all of them in inference mode."""
        if training:
            set_modes(self.body, self.groups)
        else:
            self.body.eval()

    def _cache_activations(self, prefix: FrozenPrefix, limit: float | None) -> tuple[ActivationCache, ActivationCache]:
        """Return the activations at the boundary, of as many augmented views as `limit` seconds allow."""
        if limit is not None:
            self._limit_views(prefix, limit)
        config = self.config
        names = self.groups.boundary, config.size, config.horizontal_flip, config.recipe.seed
        known = known_activations(self._decoded_cache, *names)
        strengths = "none" if self.pipeline.plain else self.config.augment, "none"
        if (shared := self._shared_activations(known, strengths)) is not None:
            return shared
        size = self.pipeline.cache_size(prefix.shapes)
        folder = None if place_for(size, self.problem.cache) == "memory" else self.problem.cache / "tuning"
        place = "in memory" if folder is None else f"in {folder}"
        caches = self.pipeline.activation_caches(prefix.shapes, folder)
        count = sum(len(cache.firsts) * cache.views for cache in caches)
        self.progress.say(f"Keeping {count:,} activations ({size / 1e6:,.0f} MB) {place}: epochs run only what learns")
        with self.progress.step("Computing what never learns", count, f"{self.problem.dataset.kind}s") as step:
            for examples, cache, keys, strength in zip(
                self.pipeline.examples(), caches, self.pipeline.keys, strengths, strict=True
            ):
                for view in range(cache.views):
                    due = cache.adopt(known, keys, strength, view)
                    step.advance(len(cache.firsts) - int(due[cache.firsts].sum()))
                    for rows in (batch[due[batch]] for batch in cache.batches if due[batch].any()):
                        with torch.inference_mode(), precision(self.device):
                            activations = prefix.compute(self._to_device(examples.inputs(rows, epoch=view)))
                        cache.fill(rows, activations, view=view)
                        step.advance(len(rows))
        return caches

    def _shared_activations(
        self, known: KnownActivations, strengths: Sequence[str]
    ) -> tuple[ActivationCache, ActivationCache] | None:
        """Return the caches of another trial on the same examples; None where there are none."""
        pipeline = self.pipeline
        train, validation = (
            whole_cache(known, examples, keys, strength, firsts=np.unique(first_of), views=views)
            for examples, keys, strength, first_of, views in zip(
                pipeline.examples(), pipeline.keys, strengths, pipeline.first_of, (pipeline.views, 1), strict=True
            )
        )
        return None if train is None or validation is None else (train, validation)

    def _limit_views(self, prefix: FrozenPrefix, limit: float) -> None:
        """Cache fewer views where computing them would take more than its share of the budget, and note it."""
        if self.pipeline.views == 1:
            return
        blank = self._to_device(self.pipeline.blank())
        batch = tuple(part.repeat(BATCH // 2, *[1] * (part.ndim - 1)) for part in blank)
        with torch.inference_mode(), precision(self.device):
            for _ in range(2):  # the first pass warms up
                start = time.monotonic()
                prefix.compute(batch)
                seconds = (time.monotonic() - start) / BATCH
        affordable = max(1, int(limit / seconds / max(1, len(self.pipeline.problem.train_positions))))
        if affordable < self.pipeline.views:
            self.config = replace(self.config, augmented_views=affordable)
            self.pipeline = self._open_pipeline()
            self.notes.append(f"{self.config.name}: the budget affords {affordable} views of each example.")

    def changed_weights(self) -> dict[str, Tensor]:
        """Return the weights and statistics of the body that are not what they were, by name."""
        return {
            name: tensor.detach()
            for name, tensor in self.body.state_dict().items()
            if not torch.equal(tensor, self.original[name])
        }

    def tuned_source(self) -> Source:
        """Return the source with the weights that have changed."""
        changed = {name: tensor.float().cpu().numpy() for name, tensor in self.changed_weights().items()}
        return self.problem.source.with_weights(changed, self.pipeline.preprocessing)

    def final_state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return copies of the changed weights of the body, and of the head, by name: the end of `interpolate`."""
        head = self.classifier.linear.state_dict()
        return (
            {name: tensor.clone() for name, tensor in self.changed_weights().items()},
            {name: tensor.detach().clone() for name, tensor in head.items()},
        )

    def interpolate(self, point: Interpolation, body: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> None:
        """Set body and head to a point between the start and the final state that `body` and `head` hold."""
        state = self.body.state_dict()
        with torch.no_grad():
            for name, tensor in body.items():
                state[name].copy_(torch.lerp(self.original[name], tensor, point.alpha))
            for name, tensor in self.classifier.linear.state_dict().items():
                tensor.copy_(torch.lerp(self.initial_head[name], head[name], point.alpha))
        if point.refit_head:
            self.refit_head()

    def validation_scores(self) -> NDArray[np.float32]:
        """Return the class scores of the validation examples, float32 of shape (n, c)."""
        with fused(self.body, self.pairs):
            return validation_scores(self.task())

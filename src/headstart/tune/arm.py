"""An arm: one way of tuning a source, from its start to what it has learned, in as many runs as it is given."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.base.progress import Progress
from headstart.engines.base import Block
from headstart.heads.linear import LinearHead
from headstart.heads.select import refit
from headstart.sources.layers import select
from headstart.tune import lora
from headstart.tune.augment import Views
from headstart.tune.fuse import find_pairs, fused
from headstart.tune.ground import Ground
from headstart.tune.groups import choose_groups, set_modes, stages_of, statistics_of, used_weights
from headstart.tune.loop import train
from headstart.tune.network import Classifier
from headstart.tune.order import Span, spans
from headstart.tune.pictures import Kept, Pictures, decoded, resized, wide
from headstart.tune.prefix import Prefix
from headstart.tune.rows import Rows, place_for
from headstart.tune.settings import LAST, LORA
from headstart.tune.task import Recipe, Task, Trained, Weight, evaluate, precision
from headstart.tune.watch import Watcher

HEAD = 300.0
"""The head's learning rate as a share of that of the topmost stage, over the number of features.

AdamW moves every weight alike, and all the weights of a class move its score: the more there are, the less each may.
"""
BATCH = 32
SHARE_KEPT = 0.4
"""Of a budget, what computing the activations to keep may take."""


@dataclass(frozen=True)
class Way:
    """How an arm tunes.

    Attributes:
        mode: `norm`, `lora`, `last:N` or `all`.
        size: of the network's input, in pixels; 0 for the source's own.
        augment: strength of the views.
        mirror: whether a mirrored picture keeps its label.
        views: of each example, where activations are kept.
        batchnorm: whether BatchNorm of what learns runs in training mode.
        keep: whether activations may be kept at all.
        recipe: of the loop.
    """

    mode: str
    size: int = 0
    augment: str = "light"
    mirror: bool = False
    views: int = 4
    batchnorm: bool = False
    keep: bool = True
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.mode} at {self.size} px" if self.size else self.mode


class Arm:
    """One way of tuning, ready to run; each run goes on from where the last one ended.

    Args:
        ground: what it stands on.
        way: how it tunes.
        shelf: decoded pictures by size, shared between arms.
        device: where it computes.
        progress: where to show progress.

    Raises:
        DataError: a picture cannot be read any more.
        UsageError: the source has no such stages, or nothing that could learn; peft is needed and absent.
    """

    def __init__(
        self,
        ground: Ground,
        way: Way,
        *,
        shelf: dict[tuple[int, int], tuple[Rows, Rows]],
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.ground, self.way, self.device, self.progress = ground, way, device, progress
        own = ground.source.preprocessing
        self.preprocessing = resized(own, way.size) if way.size else own
        body = copy.deepcopy(ground.source.module()).to(device)
        self.body = body.to(memory_format=torch.channels_last).eval()
        self.original = {name: tensor.detach().clone() for name, tensor in self.body.state_dict().items()}
        if self.preprocessing.size not in shelf:
            shelf[self.preprocessing.size] = self._decoded()
        self._learn, self._judge = shelf[self.preprocessing.size]
        self.notes: list[str] = []
        self.classifier = self._classifier()
        self.begin = {name: weight.detach().clone() for name, weight in self.classifier.linear.state_dict().items()}
        blank = self._blank()
        with torch.no_grad():
            ran = spans(self.body, lambda: self.classifier.features(blank[:1]))
        self.used = used_weights(self.body, lambda: self.classifier.features(blank[:1]))
        stages = stages_of((*ground.source.taps, *ground.source.more), ran)
        self.groups = choose_groups(
            self.body, way.mode, stages=stages, ran=ran, used=self.used, batchnorm=way.batchnorm
        )
        self.pairs = () if way.batchnorm else find_pairs(self.body, lambda: self.classifier(blank))
        self.prefix = self._prefix(ran, blank)
        self._kept: tuple[Kept, Kept] | None = None

    def run(
        self,
        *,
        budget: float | None,
        folder: Path | None,
        identity: Mapping[str, Any],
        watchers: Sequence[Watcher] = (),
    ) -> Trained:
        """Learn for as long as the recipe or the budget, in seconds, allows; the best weights stay in place."""
        start = time.monotonic()
        own = {"mode": self.way.mode, "size": self.way.size, "threads": torch.get_num_threads()}
        with fused(self.body, () if self.way.mode == LORA else self.pairs):
            if self.prefix is not None and self._kept is None:
                self._kept = self._keep(self.prefix, budget)
            adapters = lora.adapt(self.body, self.used, seed=self.way.recipe.seed) if self.way.mode == LORA else ()
            try:
                trained = train(
                    self._task(),
                    self.way.recipe,
                    name=f"Tuning {self.way.name}",
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

    def _decoded(self) -> tuple[Rows, Rows]:
        ground, how = self.ground, wide(self.preprocessing)
        parts = (ground.learn, ground.judge)
        learn, judge = (
            decoded(ground.dataset, part, how, cache=ground.cache, progress=self.progress) for part in parts
        )
        return learn, judge

    def _blank(self) -> Tensor:
        """Return two pictures to try the network on."""
        shape = (*self.preprocessing.size, 1 if self.preprocessing.channels == "grey" else 3)
        noise = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
        return torch.from_numpy(noise).to(self.device)

    def _classifier(self) -> Classifier:
        """Return the classifier on the head that it starts from."""
        ground = self.ground
        x = self._features() if self.way.size else ground.x
        head = refit(x, ground.y_learn, ground.c, like=ground.head)
        return Classifier(self.body, self.preprocessing, ground.taps, head, x).to(self.device)

    def _features(self) -> NDArray[np.float32]:
        """Return features of the examples to learn from at the arm's own size."""
        taps, c = self.ground.taps, self.ground.c
        width = sum(tap.width for tap in taps)
        none = LinearHead("none", 0.0, np.zeros((width, c), np.float32), np.zeros(c, np.float32))
        bare = Classifier(self.body, self.preprocessing, taps, none, np.zeros((1, width), np.float32)).to(self.device)
        examples = self._pictures(self._learn, self.ground.y_learn, self.ground.learn, "none")
        found = []
        with torch.inference_mode(), precision(self.device):
            for rows in _in_turn(len(examples.y)):
                (pictures,) = examples.inputs(rows, epoch=0)
                found.append(torch.cat([block.float().cpu() for block in bare.features(pictures.to(self.device))], 1))
        blocks = tuple(Block(tap.name, tap.width) for tap in taps)
        return select(torch.cat(found).numpy(), blocks, "+".join(block.name for block in blocks))[0]

    def _prefix(self, ran: Mapping[str, Span], blank: Tensor) -> Prefix | None:
        """Return the frozen prefix, or None where nothing is frozen, or activations cannot be kept."""
        if not self.groups.boundary or not self.way.keep:
            return None
        prefix = Prefix(self.classifier, self.groups.boundary, ran, blank)
        a_row = sum(4 * int(np.prod(shape)) for shape in prefix.shapes)
        if not prefix.agrees(blank):
            why = "this network does more than its stages tell"
        elif (
            place_for(a_row * (len(self.ground.learn) * self._views + len(self.ground.judge)), self.ground.cache)
            == "nowhere"
        ):
            why = "neither memory nor disk has room for them"
        else:
            return prefix
        self.notes.append(f"{self.way.name}: activations were not kept, for {why}; every epoch ran the whole network.")
        return None

    @property
    def _count(self) -> int:
        return len(self.ground.learn) * self._views + len(self.ground.judge)

    @property
    def _views(self) -> int:
        return 1 if self.way.augment == "none" else self.way.views

    def _task(self) -> Task:
        """Return what is to be learned; everything else is frozen."""
        ground, way = self.ground, self.way
        weights = []
        for name, weight in self.body.named_parameters():
            share = 1.0 if ".lora_" in name else self.groups.shares.get(name, 0.0)
            weight.requires_grad_(share > 0)
            if share:
                weights.append(Weight(f"body.{name}", weight, share))
        linear = self.classifier.linear
        weights += [Weight(f"head.{name}", one, HEAD / linear.in_features) for name, one in linear.named_parameters()]
        learn, judge = self._kept or self._examples()
        return Task(
            weights,
            self._from_kept if self._kept else self.classifier,
            self._mode,
            learn,
            judge,
            ground.c,
            statistics=statistics_of(self.body, self.groups.training) if way.batchnorm else {},
            device=self.device,
        )

    def _from_kept(self, *kept: Tensor) -> Tensor:
        assert self.prefix is not None
        return self.prefix.scores(kept)

    def _examples(self) -> tuple[Pictures, Pictures]:
        ground = self.ground
        learn = self._pictures(self._learn, ground.y_learn, ground.learn, self.way.augment)
        return learn, self._pictures(self._judge, ground.y_judge, ground.judge, "none")

    def _mode(self, *, training: bool) -> None:
        if training:
            set_modes(self.body, self.groups)
        else:
            self.body.eval()

    def _pictures(self, rows: Rows, y: NDArray[np.int64], positions: Sequence[int], strength: str) -> Pictures:
        way = self.way
        views = Views(strength, mirror=way.mirror, size=self.preprocessing.size, seed=way.recipe.seed)
        cycle = way.views if LAST.fullmatch(way.mode) else 0
        return Pictures(rows, y, [self.ground.keys[at] for at in positions], views, cycle=cycle)

    def _keep(self, prefix: Prefix, budget: float | None) -> tuple[Kept, Kept]:
        """Return the activations at the boundary, of every view of the examples that the budget affords."""
        if budget is not None:
            self._afford(prefix, budget)
        learn, judge = self._examples()
        count = self._count
        size = count * sum(4 * int(np.prod(shape)) for shape in prefix.shapes)
        folder = None if place_for(size, self.ground.cache) == "memory" else self.ground.cache / "tuning"
        where = "in memory" if folder is None else f"in {folder}"
        self.progress.say(f"Keeping {count:,} activations ({size / 1e6:,.0f} MB) {where}: epochs run only what learns")
        with self.progress.step("Computing what never learns", count, f"{self.ground.dataset.kind}s") as step:
            found = []
            for examples, views in ((learn, self._views), (judge, 1)):
                parts = [Rows(len(examples.y) * views, shape, np.float32, folder) for shape in prefix.shapes]
                for view in range(views):
                    for rows in _in_turn(len(examples.y)):
                        self._fill(prefix, examples, rows, view, parts)
                        step.advance(len(rows))
                found.append(Kept(parts, examples.y, views=views))
        return found[0], found[1]

    def _afford(self, prefix: Prefix, budget: float) -> None:
        """Keep fewer views where computing them would take more than its share of the budget, and say so."""
        pictures = self._blank()
        with torch.inference_mode(), precision(self.device):
            for _ in range(2):  # the first one warms up
                start = time.monotonic()
                prefix.keep(pictures.repeat(BATCH // 2, 1, 1, 1))
                each = (time.monotonic() - start) / BATCH
        most = int(SHARE_KEPT * budget / each / max(1, len(self.ground.learn)))
        if most < self._views and self._views > 1:
            self.way = replace(self.way, views=max(1, most))
            self.notes.append(f"{self.way.name}: the budget affords {self._views} views of each example.")

    def _fill(
        self, prefix: Prefix, examples: Pictures, rows: NDArray[np.intp], view: int, parts: Sequence[Rows]
    ) -> None:
        (pictures,) = examples.inputs(rows, epoch=view)
        with torch.inference_mode(), precision(self.device):
            said = prefix.keep(pictures.to(self.device))
        for part, tensor in zip(parts, said, strict=True):
            for row, value in zip(rows, tensor.float().cpu().numpy(), strict=True):
                part[int(row) + view * len(examples.y)] = value

    def changed(self) -> dict[str, Tensor]:
        """Return the weights and statistics of the body that are not what they were, by name."""
        return {
            name: tensor.detach()
            for name, tensor in self.body.state_dict().items()
            if not torch.equal(tensor, self.original[name])
        }

    def at(self, alpha: float, end: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> None:
        """Set body and head between start (0) and end (1), as WiSE-FT does (Wortsman et al. 2022)."""
        held = self.body.state_dict()
        with torch.no_grad():
            for name, tensor in end.items():
                first = self.original[name]
                held[name].copy_(torch.lerp(first, tensor, alpha))
            for name, tensor in self.classifier.linear.state_dict().items():
                tensor.copy_(torch.lerp(self.begin[name], head[name], alpha))

    def judged(self) -> NDArray[np.float32]:
        """Return the class scores of the examples that judge, float32 of shape (n, c)."""
        with fused(self.body, self.pairs):
            return evaluate(self._task())


def _in_turn(count: int, size: int = BATCH) -> list[NDArray[np.intp]]:
    return np.split(np.arange(count), range(size, count, size)) if count else []

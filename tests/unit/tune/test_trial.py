"""Arms on real architectures: what is frozen stays to the last bit, and kept activations change nothing but time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from tuning_problem import tuning_problem

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.engines.torch import TorchEngine
from headstart.heads.select import refit
from headstart.sources.layers import select
from headstart.sources.networks.source import TorchSource
from headstart.sources.networks.tapped import Tapped
from headstart.sources.registry import open_source
from headstart.testing import ToySource
from headstart.tune.inputs import row_store
from headstart.tune.network.param_groups import has_statistics, is_norm
from headstart.tune.problem import TrialConfig
from headstart.tune.training import task
from headstart.tune.training.task import Recipe
from headstart.tune.trial import Interpolation, TuningTrial

BATCHNORM, LAYERNORM = "timm:test_resnet", "timm:test_vit"
QUICK = Recipe(epochs=2, learning_rate=1e-2, batch_size=8)
CPU = torch.device("cpu")


def lively(uri: str, **how: Any) -> TorchSource:
    """Return a random network whose BatchNorm knows its own maps: those of some libraries vanish otherwise."""
    source = open_source(uri, weights="none", seed=0, **how)
    assert isinstance(source, TorchSource)
    norms = [module for module in source.module().modules() if has_statistics(module)]
    height, width = source.preprocessing.size
    noise = np.random.default_rng(0).integers(0, 256, (4, height, width, 1 if "lenet" in uri else 3), dtype=np.uint8)
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        Tapped(source.module(), source.preprocessing, source.taps)(torch.from_numpy(noise))
    source.module().eval()
    return source


def trial_of(folder: Path, uri: str, config: TrialConfig, *, layer: str = "pool", **how: Any) -> TuningTrial:
    return TuningTrial(
        tuning_problem(folder, lively(uri, **how), per_class=4, layer=layer),
        config,
        decoded_cache={},
        device=CPU,
        progress=Progress(),
    )


def ran(trial: TuningTrial) -> set[str]:
    """Run the arm and return the names of the weights and statistics that have changed."""
    trial.run(budget=None, folder=None, identity={})
    return set(trial.changed_weights())


@pytest.mark.parametrize(
    ("uri", "how"),
    [(BATCHNORM, {}), (LAYERNORM, {}), pytest.param("keras:MobileNet", {"size": 32}, marks=pytest.mark.slow)],
    ids=["timm-bn", "vit", "keras"],
)
@pytest.mark.parametrize("mode", ["last:1", "norm", "all", "lora"])
def test_what_is_frozen_stays_to_the_last_bit(tmp_path: Path, uri: str, how: dict[str, Any], mode: str) -> None:
    trial = trial_of(
        tmp_path, uri, TrialConfig(mode, recipe=replace(QUICK, epochs=1, learning_rate=1e-4, keep_last=True)), **how
    )
    named = {name for name, _ in trial.body.named_parameters()}
    statistics = {name for name, _ in trial.body.named_buffers()}
    changed = ran(trial)
    assert changed, "something has learned"
    assert not changed & statistics, "running statistics stand still"
    if mode == "lora":
        assert {name.rpartition(".")[2] for name in changed} == {"weight"}
        assert not any(is_norm(trial.body.get_submodule(name.rpartition(".")[0])) for name in changed)
    else:
        assert changed <= set(trial.groups.lr_scales)
    if mode == "norm":
        assert all(is_norm(trial.body.get_submodule(name.rpartition(".")[0])) for name in changed)
    if mode == "all":
        assert changed >= trial.used & {name for name in named if name.endswith("weight")}
    assert set(trial.body.state_dict()) == set(trial.original), "adapters are merged and gone"


def moved_while_learning(trial: TuningTrial) -> set[str]:
    """Run a trial and return the names of the weights and statistics that had changed at the end of any epoch."""
    names: set[str] = set()
    trial.run(budget=None, folder=None, identity={}, on_epoch=lambda *_: names.update(trial.changed_weights()))
    return names


def test_batchnorm_can_be_trained_when_asked(tmp_path: Path) -> None:
    config = TrialConfig("all", train_batchnorm=True, recipe=replace(QUICK, epochs=1))
    trial = trial_of(tmp_path, BATCHNORM, config)
    assert any(name.endswith("running_mean") for name in moved_while_learning(trial))
    partial = trial_of(tmp_path / "b", BATCHNORM, replace(config, mode="last:1"))
    moved = {name.rpartition(".")[0] for name in moved_while_learning(partial) if name.endswith("running_mean")}
    frozen = {name for name, module in partial.body.named_modules() if has_statistics(module)} - partial.groups.training
    assert moved
    assert not moved & frozen


@pytest.mark.parametrize(
    "uri", [BATCHNORM, LAYERNORM, pytest.param("torchvision:mobilenet_v3_small", marks=pytest.mark.slow)]
)
def test_dropout_follows_the_part_it_belongs_to(tmp_path: Path, uri: str) -> None:
    trial = trial_of(tmp_path, uri, TrialConfig("last:1", recipe=QUICK))
    trial.set_training(training=True)
    modules = dict(trial.body.named_modules())
    assert any(modules[name].training for name in trial.groups.training)
    for name, module in modules.items():
        assert module.training == (name in trial.groups.training)
        assert not (has_statistics(module) and module.training)
    trial.set_training(training=False)
    assert not any(module.training for module in modules.values())


def test_dropout_of_the_frozen_part_does_not_drop(tmp_path: Path) -> None:
    class Dropping(ToySource):
        def module(self) -> nn.Module:
            body: Any = super().module()
            body.stages[0][1] = nn.Sequential(nn.ReLU(), nn.Dropout(0.9))
            body.stages[2][1] = nn.Sequential(nn.ReLU(), nn.Dropout(0.9))
            return body

    config = TrialConfig("last:1", augment="none", recipe=replace(QUICK, epochs=1, learning_rate=1e-4, keep_last=True))
    trial = TuningTrial(tuning_problem(tmp_path, Dropping()), config, decoded_cache={}, device=CPU, progress=Progress())
    trial.set_training(training=True)
    dropping = [
        name for name, module in trial.body.named_modules() if isinstance(module, nn.Dropout) and module.training
    ]
    assert dropping == ["stages.2.1.1"]


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    "uri",
    [
        BATCHNORM,
        LAYERNORM,
        "arch:lenet5",
        pytest.param("torchvision:shufflenet_v2_x0_5", marks=pytest.mark.slow),
        pytest.param("keras:MobileNet", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("layer", ["pool", "joined"])
def test_kept_activations_give_the_losses_of_the_plain_loop(tmp_path: Path, uri: str, layer: str) -> None:
    how = {"size": 64} if uri.startswith("keras") else {}
    place = tuning_problem(tmp_path, lively(uri, **how), per_class=4, layer=layer)
    config = TrialConfig("last:1", augmented_views=2, recipe=replace(QUICK, learning_rate=1e-4))
    trained = []
    for keep in (True, False):
        trial = TuningTrial(
            place, replace(config, cache_activations=keep), decoded_cache={}, device=CPU, progress=Progress()
        )
        trained.append(trial.run(budget=None, folder=None, identity={}))
        assert trial.cached == keep
    for short, plain in zip(trained[0].history, trained[1].history, strict=True):
        assert short.loss == pytest.approx(plain.loss, rel=2e-3)
        assert short.accuracy == plain.accuracy
        if short.epoch:
            assert short.train_loss == pytest.approx(plain.train_loss, rel=2e-3)


def test_activations_that_do_not_fit_in_memory_lie_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrialConfig("last:1", augmented_views=2, recipe=QUICK)
    place = tuning_problem(tmp_path, ToySource())
    first = TuningTrial(place, config, decoded_cache={}, device=CPU, progress=Progress()).run(
        budget=None, folder=None, identity={}
    )
    monkeypatch.setattr(row_store, "free_memory", lambda: 0)
    second = TuningTrial(place, config, decoded_cache={}, device=CPU, progress=Progress()).run(
        budget=None, folder=None, identity={}
    )
    assert [epoch.loss for epoch in second.history] == [epoch.loss for epoch in first.history]
    assert list((place.cache / "tuning").iterdir()) == [], "the file has no name, and is gone with the process"


def test_where_there_is_no_room_the_whole_network_runs_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_store, "free_memory", lambda: 0)
    monkeypatch.setattr(row_store, "free_bytes", lambda folder: 0)
    place = tuning_problem(tmp_path, ToySource())
    trial = TuningTrial(place, TrialConfig("last:1", recipe=QUICK), decoded_cache={}, device=CPU, progress=Progress())
    trial.run(budget=None, folder=None, identity={})
    assert not trial.cached
    assert "neither memory nor disk" in trial.notes[0]


@pytest.mark.parametrize("mode", ["last:99", "last:0"])
def test_stages_that_are_not_there_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(UsageError, match=r"must be last:1 to last:\d+; found 'last:"):
        trial_of(tmp_path, BATCHNORM, TrialConfig(mode))


def test_a_network_without_scales_has_no_norm_to_tune(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="something that learns"):
        TuningTrial(
            tuning_problem(tmp_path, ToySource()),
            TrialConfig("norm"),
            decoded_cache={},
            device=CPU,
            progress=Progress(),
        )


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    place = tuning_problem(tmp_path, ToySource())
    found = []
    for _ in range(2):
        trial = TuningTrial(place, TrialConfig("all", recipe=QUICK), decoded_cache={}, device=CPU, progress=Progress())
        trial.run(budget=None, folder=None, identity={})
        found.append(trial.changed_weights())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_one_cuda_device_is_used(tmp_path: Path) -> None:
    recipe = replace(QUICK, learning_rate=1e-4, keep_last=True)  # the best of the epochs may be the start
    trial = TuningTrial(
        tuning_problem(tmp_path, ToySource()),
        TrialConfig("all", recipe=recipe),
        decoded_cache={},
        device=torch.device("cuda"),
        progress=Progress(),
    )
    trial.run(budget=None, folder=None, identity={})
    assert trial.changed_weights()


@pytest.mark.parametrize("mode", ["all", "last:1"])
def test_what_judges_is_scored_as_the_network_stands_and_chooses_nothing(tmp_path: Path, mode: str) -> None:
    where = tuning_problem(tmp_path, ToySource())
    config = TrialConfig(mode=mode, recipe=replace(QUICK, learning_rate=1e-4, keep_last=True))
    trial = TuningTrial(where, config, decoded_cache={}, device=CPU, progress=Progress())
    told: list[Any] = []
    trial.run(
        budget=None, folder=None, identity={}, on_epoch=lambda epoch, last, scores: told.append((epoch, last, scores()))
    )
    assert [(epoch, last) for epoch, last, _ in told] == [(0, False), (1, False), (2, True)]
    assert trial.cached == (mode == "last:1")
    np.testing.assert_allclose(told[0][2].argmax(axis=1), where.validation_scores(where.head).argmax(axis=1))
    assert not np.allclose(told[0][2], told[2][2])


@pytest.mark.usefixtures("float32")
def test_a_settled_head_is_fitted_on_the_examples_as_they_are(tmp_path: Path) -> None:
    place = tuning_problem(tmp_path, ToySource())
    trial = TuningTrial(place, TrialConfig("last:1", recipe=QUICK), decoded_cache={}, device=CPU, progress=Progress())
    trial.run(budget=None, folder=None, identity={})
    assert trial.cached and not trial.pipeline.plain, "what is kept are views"
    trial.interpolate(Interpolation(1.0, refit_head=True), *trial.final_state())
    network = trial.tuned_source().network()
    prepared = np.stack([place.source.prepare(place.dataset.read(at)) for at in place.train_positions])
    x, _ = select(TorchEngine(network.module()).run(prepared), network.blocks, place.layer)
    wanted = refit(x, place.y_train, place.c, like=place.head)
    np.testing.assert_allclose(
        trial.classifier.head().scores(x), wanted.scores(x) / wanted.temperature, rtol=1e-2, atol=1e-2
    )


@pytest.mark.thorough
def test_where_the_processor_has_bfloat16_it_is_used_and_agrees_to_its_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tuning_problem(tmp_path, lively(BATCHNORM), per_class=4)
    losses = []
    for able in (False, True):
        monkeypatch.setattr(task, "has_bfloat16", lambda device, able=able: able)
        trial = TuningTrial(
            place,
            TrialConfig("all", recipe=replace(QUICK, epochs=1, learning_rate=1e-4)),
            decoded_cache={},
            device=CPU,
            progress=Progress(),
        )
        losses.append([epoch.loss for epoch in trial.run(budget=None, folder=None, identity={}).history])
        assert all(weight.dtype == torch.float32 for weight in trial.body.parameters())
    assert losses[0] != losses[1], "bfloat16 was used"
    assert losses[1][0] == pytest.approx(losses[0][0], rel=0.1), "before anything has learned"
    assert np.isfinite(losses[1]).all()

"""Each kind of examples has its pipeline, and each mode of tuning its learning rate."""

from __future__ import annotations

import pytest

from headstart.data.modality import MODALITIES, Kind
from headstart.testing import ToySource
from headstart.tune.inputs.base import InputPipeline
from headstart.tune.inputs.by_modality import PIPELINES, learning_rate_of


def test_every_kind_has_a_pipeline_of_its_own() -> None:
    assert PIPELINES.keys() == MODALITIES.keys()
    assert len(set(PIPELINES.values())) == len(PIPELINES)
    for pipeline in PIPELINES.values():
        assert issubclass(pipeline, InputPipeline) and not pipeline.__abstractmethods__


@pytest.mark.parametrize("kind", PIPELINES)
def test_every_mode_has_a_rate_and_random_weights_learn_no_slower(kind: Kind) -> None:
    rates = PIPELINES[kind].learning_rates
    assert {"all", "scratch", "last"} <= rates.keys()
    assert all(0 < rate < 0.1 for rate in rates.values())
    assert rates["scratch"] >= rates["all"], "what knows nothing has further to go"
    assert rates["last"] >= rates["all"], "and so has what stands on frozen layers"


def test_the_rate_is_that_of_the_mode() -> None:
    toy, rates = ToySource(), PIPELINES["image"].learning_rates
    assert learning_rate_of(toy, "norm") == rates["norm"]
    assert learning_rate_of(toy, "last:1") == learning_rate_of(toy, "last:7") == rates["last"]
    assert learning_rate_of(toy, "last:2", contrastive=True) == rates["pairs"]
    assert learning_rate_of(toy, "scratch") == rates["scratch"]
    assert learning_rate_of(toy, "unheard of") == rates["all"]


def test_a_source_may_have_rates_of_its_own() -> None:
    toy = ToySource()
    toy.rates = {"all": 7.0, "norm": 3.0}
    assert [learning_rate_of(toy, mode) for mode in ("norm", "all", "last:1", "lora")] == [3.0, 7.0, 7.0, 7.0]
    assert learning_rate_of(toy, "all", contrastive=True) == 7.0

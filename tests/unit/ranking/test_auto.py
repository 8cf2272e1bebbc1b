"""`--source auto`: the source of a fit is what a ranking recommends, and the rule for it asks no clock."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from worded import write_texts, write_vectors

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.comparison.compare import compare
from headstart.fitting.fit import fit
from headstart.ranking import candidates
from headstart.ranking.auto import affordable, prepare_by_best_source, rank_options
from headstart.ranking.rank import within_work
from headstart.run.clock import Clock
from headstart.run.options import FitOptions


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Let three files of vectors be all the sources on this machine."""
    uris = {
        "narrow": write_vectors(tmp_path / "narrow.txt", width=4, apart=2.0),
        "wide": write_vectors(tmp_path / "wide.txt", width=12, apart=2.0),
        "decoy": write_vectors(tmp_path / "decoy.txt", width=2, apart=0.0),
    }
    monkeypatch.setattr(candidates, "usable_here", lambda dataset: list(uris.values()))
    return uris


def test_a_fit_takes_the_source_that_is_recommended_and_says_why(here: dict[str, str], tmp_path: Path) -> None:
    model = fit(write_texts(tmp_path / "texts.csv"), source="auto", layer="pool")
    assert model.report["source"] == here["narrow"] and model.layer == "pool"
    assert {Path(row["source"]).stem for row in model.report["ranking"]["candidates"]} == set(here)
    assert model.report["warnings"][1] == model.report["ranking"]["target"]["sentence"]
    assert model.report["warnings"][0].startswith(f"The source was chosen by measuring: Use {here['narrow']} at layer")


def test_the_default_is_auto_with_a_budget_alone(here: dict[str, str], tmp_path: Path) -> None:
    data, default = write_texts(tmp_path / "texts.csv", 40), "packaged:wordllama"
    for options, chosen in (
        ({"budget": "10m"}, here["narrow"]),
        ({"budget": "10m", "source": here["wide"]}, here["wide"]),
        ({"source": default}, default),
    ):
        prepared, ranking = prepare_by_best_source(
            data, FitOptions(layer="pool", **options), Progress(), Clock(), trainable=False
        )
        assert prepared.source.info.uri == chosen and (ranking is not None) == ("source" not in options)


@pytest.mark.parametrize(
    ("examples", "costs", "budget", "enough"),
    [
        (100, [1e6], 600, False),
        (100, [1e6, 1e6], 600, True),
        (6000, [1e6, 1e6], 600, True),
        (6001, [1e6, 1e6], 600, False),
    ],
)
def test_the_rule_asks_for_examples_and_stated_costs(
    examples: int, costs: list[float], budget: float, enough: bool
) -> None:
    sources: Any = [SimpleNamespace(cost=cost, variants=list) for cost in costs]
    assert affordable(examples, sources, budget) == enough


@pytest.mark.parametrize(
    ("labelled", "most", "kept"),
    [(100, None, [2.0, 2.0]), (100, 4.0, []), (40, 4.0, [2.0, 2.0]), (40, 3.1, [2.0]), (1, 1.1, [2.0, 2.0])],
)
def test_variants_before_a_fit_are_those_for_which_the_stated_work_is_enough(
    labelled: int, most: float | None, kept: list[float]
) -> None:
    candidates: Any = [SimpleNamespace(cost=cost) for cost in (1.0, 1.4, 1.6)]
    variants: Any = [SimpleNamespace(cost=2.0), SimpleNamespace(cost=2.0)]
    prepared: Any = SimpleNamespace(scan=SimpleNamespace(dataset=range(100)))
    learned: Any = SimpleNamespace(positions=range(labelled))
    assert [each.cost for each in within_work(variants, candidates, prepared, learned, most)] == kept


def test_what_belongs_to_one_source_is_refused_with_auto(tmp_path: Path) -> None:
    data = write_texts(tmp_path / "texts.csv")
    for options in ({"weights": "none"}, {"arch": "timm:resnet18"}, {"size": 64}):
        with pytest.raises(UsageError, match=r"belong to one source; found source=.auto."):
            fit(data, source="auto", **options)


def test_the_ranking_before_a_fit_has_no_budget_of_its_own() -> None:
    ranked = rank_options(FitOptions(budget="10m", layer="joined", seed=3, labels_per_class=5))
    assert (ranked.budget, ranked.layer, ranked.seed, ranked.labels_per_class) == (None, ("joined",), 3, 5)
    assert rank_options(FitOptions()).layer is None


@pytest.mark.slow
def test_compare_takes_a_source_that_can_be_trained(here: dict[str, str], tmp_path: Path) -> None:
    result = compare(
        write_texts(tmp_path / "texts.csv"), source="auto", layer="pool", budget=20, seeds=1, out=tmp_path / "out"
    )
    assert result.meta.source == here["narrow"]

"""Means of sources as candidates: where each knows half of the truth they win, where one knows nothing they do not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from worded import write_halves, write_texts, write_vectors

from headstart.base.errors import SourceError
from headstart.base.progress import Progress
from headstart.fitting.fit import fit
from headstart.judge.intervals import Interval, Z
from headstart.model import load
from headstart.ranking import candidates
from headstart.ranking.candidates import CandidateSource
from headstart.ranking.combining import with_variants
from headstart.ranking.measuring import CandidateResult, Learned, Ranking
from headstart.ranking.options import RankOptions
from headstart.ranking.probe import Difference, Unseen, mean_unseen, standard_error
from headstart.ranking.rank import rank, rank_dataset
from headstart.run.clock import Clock
from headstart.run.prepare import read_dataset
from headstart.sources.registry import open_source

LITE0 = "packaged:efficientnet-lite0"


@pytest.mark.thorough
def test_the_mean_of_two_that_know_half_each_is_recommended_with_its_cost(tmp_path: Path) -> None:
    data, uris = write_halves(tmp_path)
    result = rank(data, sources=uris, scores=True, out=tmp_path / "out")
    rows = {row["source"]: row for row in result.candidates}
    means = [uri for uri in rows if uri.startswith("mean:")]
    assert len(means) == 1 and set(means[0].removeprefix("mean:").split("+")) == set(uris[:2])
    mean, alone = rows[means[0]], [rows[uri] for uri in uris[:2]]
    assert result.recommended == means[0] == result.candidates[0]["source"]
    assert mean["log_loss"] < min(row["log_loss"] for row in alone) - 0.1
    assert mean["cost"] == sum(row["cost"] for row in alone) and mean["features"] > alone[0]["features"]
    assert mean["parameters"] == sum(row["parameters"] for row in alone) and set(mean["scores"].values()) == {None}
    assert all(row["log_loss_difference"]["low"] > 0 for row in alone), "it gains beyond the interval"
    assert result.result["curves"][0]["source"] == means[0]
    assert result.result["curves"][0]["labels"][-1]["accuracy"] == mean["accuracy"]
    assert max(len(line) for line in result.verdict.splitlines()[:-3]) <= 80 and (tmp_path / "out").is_dir()


@pytest.mark.parametrize("seed", range(3))
def test_where_the_second_knows_nothing_the_single_is_kept(tmp_path: Path, seed: int) -> None:
    data, uris = write_halves(tmp_path, seed=seed)
    result = rank(data, sources=[uris[0], uris[2]])
    assert result.recommended == uris[0] and not [row for row in result.candidates if "mean:" in row["source"]]


def test_two_that_nothing_tells_apart_are_averaged_and_the_cheaper_is_recommended_within_one_error(
    tmp_path: Path,
) -> None:
    uris = [write_vectors(tmp_path / f"{number}.txt", width=8, apart=0.5, seed=number) for number in range(2)]
    result = rank(write_texts(tmp_path / "texts.csv", 40), sources=uris)
    mean, *alone = (row for row in result.candidates)
    assert mean["source"].startswith("mean:") and mean["tied"]
    assert any(row["tied"] and row["log_loss"] > mean["log_loss"] for row in alone), "no gain beyond its interval"
    assert result.recommended in uris


def test_a_mean_costs_at_most_what_it_may(tmp_path: Path) -> None:
    data, uris = write_halves(tmp_path)
    dataset, options = read_dataset(data, RankOptions(), Clock()), RankOptions(sources=uris[:2])
    for most_work, means in ((None, 1), (2.0, 1), (1.9, 0)):
        _, ranking = rank_dataset(dataset, options, Progress(), Clock(), most_work=most_work)
        assert sum(bool(row.members) for row in ranking.rows) == means


def test_a_named_layer_and_a_source_to_train_leave_no_mean(tmp_path: Path) -> None:
    data, uris = write_halves(tmp_path)
    assert not [row for row in rank(data, sources=uris, layer="pool").candidates if "mean:" in row["source"]]


@pytest.mark.thorough
def test_fit_takes_the_mean_and_its_bundle_opens_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, uris = write_halves(tmp_path)
    monkeypatch.setattr(candidates, "usable_here", lambda dataset: uris)
    model = fit(data, source="auto")
    assert model.report["source"].startswith("mean:") and {side[:2] for side in model.layer.split(",")} == {"1/", "2/"}
    model.save(tmp_path / "bundle")
    texts = ["aaaaa abaab", "bbaac"]
    np.testing.assert_allclose(load(tmp_path / "bundle").predict_proba(texts), model.predict_proba(texts), atol=1e-6)


def test_a_mean_costs_what_its_members_cost(tmp_path: Path) -> None:
    _, uris = write_halves(tmp_path)
    costs = [CandidateSource(open_source(uri), ("pool",)).cost for uri in (*uris[:2], f"mean:{uris[0]}+{uris[1]}")]
    assert costs[2] == costs[0] + costs[1] > 0


def test_the_mean_of_unseen_probabilities_is_that_of_their_logarithms() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(30) % 3
    members: list[Any] = [
        Unseen(rng.dirichlet(np.ones(4), (2, 30)).astype(np.float32), y, np.ones(30, np.bool_)) for _ in range(2)
    ]
    mean = mean_unseen(members, np.ones(30, np.int64))
    assert mean.probabilities.shape == (2, 30, 4) and (mean.probabilities[..., 3] == 0).all(), (
        "no example is of class 3"
    )
    logs = np.log(np.stack([member.probabilities[..., :3] for member in members])).mean(axis=0)
    np.testing.assert_array_equal(mean.probabilities[..., :3].argmax(axis=2), logs.argmax(axis=2))
    np.testing.assert_allclose(mean.probabilities.sum(axis=2), 1, atol=1e-6)


@pytest.mark.parametrize(("loss", "close"), [(0.0, True), (0.009, True), (0.011, False)])
def test_close_is_within_one_standard_error_and_tied_within_the_interval(loss: float, close: bool) -> None:
    level, log_loss = Interval(0.0, -0.1, 0.1), Interval(loss, loss - 0.01 * Z, loss + 0.01 * Z)
    assert standard_error(log_loss) == pytest.approx(0.01)
    assert Difference(level, log_loss).tied and Difference(level, log_loss).close == close
    assert not Difference(Interval(-0.2, -0.3, -0.1), log_loss).close


def test_a_source_that_no_uri_opens_is_no_member() -> None:
    opened = {"uri": "a:b", "weights": "pretrained", "arch": None}
    for changed, member in (({}, True), ({"weights": "none"}, False), ({"arch": "c:d"}, False), ({"size": 9}, False)):
        source: Any = SimpleNamespace(opened=opened | changed, layer="auto", members=(), base=None)
        assert CandidateSource(source, ()).has_uri == member
    changed_weights: Any = SimpleNamespace(opened=opened, layer="auto", members=(), base=source)
    assert not CandidateSource(changed_weights, ()).has_uri, "its URI opens the weights that it began with"
    by_hand: Any = SimpleNamespace(opened=None, layer="auto", members=(), base=None)
    assert not CandidateSource(by_hand, ()).has_uri


def test_a_network_of_photos_is_tried_larger_and_from_both_sides() -> None:
    uris = {}
    for uri in ("efficientnet-lite0", "efficientnet-lite2", "efficientnet-lite0@320px", "wordllama"):
        plain = CandidateSource(open_source(f"packaged:{uri}"), ("pool",))
        uris[uri] = [(each.uri, round(each.cost / plain.cost, 2), each.layers) for each in plain.variants()]
    layers = ("pool", "joined")
    assert uris["efficientnet-lite0"] == [
        (f"{LITE0}@320px", 2.04, layers),
        (f"mirrored:{LITE0}", 2.0, layers),
    ]
    assert [uri for uri, _, _ in uris["efficientnet-lite2"]] == [
        "packaged:efficientnet-lite2@320px",
        "mirrored:packaged:efficientnet-lite2",
    ]
    assert [uri for uri, _, _ in uris["efficientnet-lite0@320px"]] == ["mirrored:packaged:efficientnet-lite0@320px"]
    assert not uris["wordllama"]
    for source in (
        open_source(f"mirrored:{LITE0}"),
        open_source(LITE0, layer="pool"),
    ):
        assert not CandidateSource(source, ("pool",)).variants()


def measured_row(uri: str, share: float) -> CandidateResult:
    """Return a row of 60 examples of two classes, of which `share` are known for sure and the rest by chance."""
    y = np.arange(60) % 2
    sure = np.where(np.arange(60) < 60 * share, 0.9, 0.5)
    probabilities = np.where(y[:, None] == np.arange(2), sure[:, None], 1 - sure[:, None]).astype(np.float32)
    rows = np.arange(60)
    learned = Learned(tuple(rows.tolist()), y, np.ones(60, np.int64), None, rows, None, None)
    candidate = CandidateSource(open_source(uri), ("pool",))
    return CandidateResult(candidate, "pool", Unseen(probabilities[None], y, np.ones(60, np.bool_)), learned, 8, 1.0)


@pytest.mark.parametrize(("share", "chosen"), [(0.9, f"{LITE0}@320px"), (0.6, LITE0)])
def test_a_variant_is_recommended_where_it_gains_and_else_the_cheaper_source(share: float, chosen: str) -> None:
    ranking = Ranking(((measured_row(LITE0, 0.6),),), (), ())
    variants = ranking.best.candidate.variants()
    known = {f"{LITE0}@320px": share, f"mirrored:{LITE0}": 0.3}
    tried = with_variants(ranking, variants, lambda each: [measured_row(each.uri, known[each.uri])], lambda: False)
    assert {row.candidate.uri for row in tried.rows} == {*known, LITE0}
    assert tried.recommended.candidate.uri == chosen and not tried.failures


def test_a_variant_that_fails_or_for_which_no_time_is_left_is_told() -> None:
    def failing(candidate: CandidateSource) -> list[CandidateResult]:
        raise SourceError("the network must compute", "nothing", "name another")

    ranking = Ranking(((measured_row(LITE0, 0.6),),), (), ())
    variants = ranking.best.candidate.variants()
    assert [each.uri for each in with_variants(ranking, variants, failing, lambda: False).failures] == [
        f"{LITE0}@320px",
        f"mirrored:{LITE0}",
    ]
    late = with_variants(ranking, variants, failing, lambda: True)
    assert len(late.unmeasured) == 2 and late.rows == ranking.rows

"""`rank` on planted texts: what knows something wins, the cheaper of equals is recommended, and bad input is listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worded import write_texts, write_vectors

from headstart.base.config import cache_dir
from headstart.base.errors import SourceError, UsageError
from headstart.base.progress import Progress
from headstart.data.modality import MODALITIES
from headstart.ranking import rank as ranking
from headstart.ranking.candidates import open_candidates, usable_here
from headstart.ranking.measuring import learned_of, measure_candidates
from headstart.ranking.options import RankOptions
from headstart.ranking.rank import rank
from headstart.run.clock import Clock
from headstart.run.prepare import prepare_dataset, read_dataset


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Return a table, and vectors: good ones in a narrow and in a wide file, and a decoy."""
    uris = {
        "narrow": write_vectors(tmp_path / "narrow.txt", width=4, apart=2.0),
        "wide": write_vectors(tmp_path / "wide.txt", width=12, apart=2.0),
        "decoy": write_vectors(tmp_path / "decoy.txt", width=2, apart=0.0),
    }
    return write_texts(tmp_path / "texts.csv"), uris


def rows_of(result: Any) -> dict[str, Any]:
    return {Path(row["source"]).stem: row for row in result.candidates}


def test_the_cheapest_of_those_that_know_something_is_recommended(
    planted: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    data, uris = planted
    result = rank(data, sources=list(uris.values()), layer="pool", out=tmp_path / "out", scores=True)
    rows = rows_of(result)
    assert result.recommended == uris["narrow"] and rows["narrow"]["tied"]
    assert not rows["decoy"]["tied"] and rows["decoy"]["difference"]["high"] < 0
    assert rows["narrow"]["cost"] < rows["wide"]["cost"] and rows["narrow"]["ms_per_example"] > 0
    assert rows["narrow"]["scores"]["logme"] > rows["decoy"]["scores"]["logme"]
    assert rows["narrow"]["scores"]["leep"] is None, "a file of vectors has no classes of its own"
    plain = json.loads((tmp_path / "out" / "result.json").read_text())
    assert plain["schema"] == 1 and plain["recommended"] == uris["narrow"] and plain["task"] == "text-classification"
    assert {"value", "low", "high"} <= plain["candidates"][0]["accuracy"].keys() and plain["curves"]
    assert plain["examples"]["train"] + plain["examples"]["validation"] + plain["examples"]["test"] == 80
    assert plain["baseline"]["accuracy"]["value"] < rows["narrow"]["accuracy"]["value"]
    assert plain["target"]["size"] == "small" and plain["target"]["likeness"] is None
    assert "no source that was measured has classes of its own" in plain["target"]["sentence"]
    assert result.result["sentence"].startswith(f"Use {uris['narrow']} at layer pool: it classifies ")
    assert "<html" in (tmp_path / "out" / "report.html").read_text()


def test_the_table_fits_eighty_columns_and_the_verdict_ends_with_the_sentence(
    planted: tuple[Path, dict[str, str]],
) -> None:
    data, uris = planted
    result = rank(data, sources=list(uris.values()), layer="pool")
    table, _, sentences = result.verdict.rpartition("\n\n")
    assert sentences == f"{result.result['sentence']}\n{result.result['target']['sentence']}"
    assert max(len(line) for line in table.splitlines()) <= 80
    assert [line[0] for line in table.splitlines() if "words:" in line].count("=") >= 1


def test_the_same_ranking_again_extracts_nothing_and_gives_the_same_figures(
    planted: tuple[Path, dict[str, str]],
) -> None:
    data, uris = planted
    first = rank(data, sources=list(uris.values()), layer="pool").result
    stored = (cache_dir() / "features.sqlite").stat().st_size
    again = rank(data, sources=list(uris.values())[::-1], layer="pool").result
    assert (cache_dir() / "features.sqlite").stat().st_size == stored
    for plain in (first, again):
        del plain["seconds"]
    assert first == again


def test_a_source_that_cannot_be_ranked_is_listed_with_its_reason(planted: tuple[Path, dict[str, str]]) -> None:
    data, uris = planted
    named = [uris["narrow"], "packaged:nothing", "words:/no/such/file", "packaged:efficientnet-lite0"]
    result = rank(data, sources=named, layer="pool")
    failed = {row["source"]: row["error"] for row in result.candidates if row["error"]}
    assert result.recommended == uris["narrow"] and set(failed) == set(named[1:])
    assert "reads photos" in failed["packaged:efficientnet-lite0"]
    assert "not ranked: packaged:nothing" in result.verdict.replace("\n", " ")
    assert any("3 of the sources" in note for note in result.result["warnings"])
    with pytest.raises(SourceError, match=r"a source to rank must read texts.*packaged: sources are"):
        rank(data, sources=named[1:])
    with pytest.raises(SourceError, match=r"^words:PATH must be a file of word vectors"):
        rank(data, sources=named[2])


def test_one_candidate_alone_is_recommended(planted: tuple[Path, dict[str, str]]) -> None:
    data, uris = planted
    result = rank(data, sources=uris["decoy"], layer="pool")
    assert result.recommended == uris["decoy"]
    assert "the only candidate" in result.result["sentence"] and "No source is shown to be better" in result.verdict


def test_few_labels_are_said_to_make_intervals_wide(planted: tuple[Path, dict[str, str]]) -> None:
    data, uris = planted
    few, many = (rank(data, sources=uris["narrow"], layer="pool", labels_per_class=number).result for number in (3, 20))
    widths = [one["candidates"][0]["accuracy"]["high"] - one["candidates"][0]["accuracy"]["low"] for one in (few, many)]
    assert widths[0] > 0.3 > widths[1]
    assert any("fewer than 5 labels make the intervals wide: calm (3), wild (3)" in note for note in few["warnings"])


def test_layers_are_candidates_and_one_that_is_not_there_is_a_reason(planted: tuple[Path, dict[str, str]]) -> None:
    data, uris = planted
    result = rank(data, sources=[uris["narrow"]], layer="pool")
    assert [row["layer"] for row in result.candidates] == ["pool"]
    with pytest.raises(UsageError, match="layer must be one of"):
        rank(data, sources=[uris["narrow"]], layer=["stage9"])


@pytest.mark.parametrize(("asked", "measured"), [(0, ["decoy"]), (1, ["decoy"]), (2, ["decoy", "narrow"])])
def test_what_the_budget_leaves_out_is_unmeasured(
    planted: tuple[Path, dict[str, str]], asked: int, measured: list[str]
) -> None:
    data, uris = planted
    options = RankOptions(sources=list(uris.values()), layer="pool", budget=1.0)
    dataset = read_dataset(data, options, Clock())
    candidates, _ = open_candidates(dataset, options)
    prepared = prepare_dataset(dataset, candidates[0].source, options.fitting, Progress(), Clock())
    answers = iter([False] * asked + [True] * 9)
    found = measure_candidates(
        prepared,
        candidates,
        learned_of(prepared, None, 0),
        seed=0,
        out_of_time=lambda: next(answers),
        progress=Progress(),
    )
    assert sorted(Path(row.candidate.uri).stem for row in found.rows) == measured
    assert {Path(each.uri).stem for each in found.unmeasured} == set(uris) - set(measured)


def test_a_rung_that_is_cut_short_leaves_the_rung_before(tmp_path: Path) -> None:
    uris = [
        write_vectors(tmp_path / f"v{at}.txt", width=3 + at, apart=apart) for at, apart in enumerate((2, 2, 0, 0, 0, 0))
    ]
    data, options = write_texts(tmp_path / "texts.csv", 400), RankOptions(sources=uris, layer="pool")
    dataset = read_dataset(data, options, Clock())
    candidates, _ = open_candidates(dataset, options)
    prepared = prepare_dataset(dataset, candidates[0].source, options.fitting, Progress(), Clock())
    learned = learned_of(prepared, None, 0)

    def measured(answers: list[bool]) -> Any:
        asked = iter(answers)
        return measure_candidates(
            prepared,
            candidates,
            learned,
            seed=0,
            out_of_time=lambda: next(asked, False),
            progress=Progress(),
            first=50,
        )

    whole, cut = measured([]), measured([False] * 7 + [True])
    assert [len(rung) for rung in whole.rungs] == [6, 3], "the better half goes on to all examples"
    assert [len(rung[0].learned.y) for rung in whole.rungs] == [len(learned.y) // 4, len(learned.y)]
    assert len(whole.rows) == 6 and not whole.difference(whole.rows[-1]).tied
    assert [len(rung) for rung in cut.rungs] == [6] and not cut.unmeasured
    assert whole.recommended.candidate.uri in uris[:2] and cut.recommended.candidate.uri in uris[:2]


def test_a_source_that_fails_while_it_computes_is_passed_over(
    planted: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, uris = planted
    real = ranking.prepare_dataset

    def failing(dataset: Any, source: Any, *rest: Any) -> Any:
        if "decoy" in source.info.uri:
            raise SourceError("the weights must be there", "half of them", "fetch them again")
        return real(dataset, source, *rest)

    monkeypatch.setattr(ranking, "prepare_dataset", failing)
    rows = rows_of(rank(data, sources=list(uris.values()), layer="pool"))
    assert "half of them" in rows["decoy"]["error"] and rows["narrow"]["accuracy"]
    with pytest.raises(SourceError, match="must give features"):
        rank(data, sources=uris["decoy"])


def test_by_default_every_source_here_that_reads_such_data_is_a_candidate(tmp_path: Path) -> None:
    dataset = read_dataset(write_texts(tmp_path / "texts.csv"), RankOptions(), Clock())
    here = usable_here(dataset)
    assert MODALITIES["text"].default_source in here and not any("efficientnet" in uri for uri in here)


def test_options_are_refused_with_what_they_must_be() -> None:
    assert RankOptions(sources="a:b").sources == ("a:b",)
    assert RankOptions(sources=["a:b", "c:d", "a:b"]).sources == ("a:b", "c:d") and RankOptions().sources is None
    assert RankOptions(budget="2m").budget == 120 and np.isnan(float("nan"))
    for wrong in ({"budget": 0.5}, {"labels_per_class": 1}, {"source": "a:b"}):
        with pytest.raises(UsageError):
            RankOptions(**wrong)

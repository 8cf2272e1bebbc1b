"""The page of a ranking shows what `result.json` holds, and draws accuracy against cost where the figures say."""

from __future__ import annotations

from page_samples import ranking, row

from headstart.judge.report import charts
from headstart.judge.report.ranking_page import render_ranking


def test_the_page_names_every_candidate_and_escapes_what_it_is_called() -> None:
    page = render_ranking("flowers", ranking())
    for text in (
        "Use packaged:a at layer pool.",
        "packaged:a&lt;b&gt;",
        "no such file",
        "90.0 [85.0, 95.0]",
        "raw pixels",
        "120 photos are few.",
        "is 0.25 of what tells its class",
    ):
        assert text in page
    assert (
        "\N{MINUS SIGN}20.0 [\N{MINUS SIGN}25.0, \N{MINUS SIGN}15.0]" in page
        and page.count("<figure>") == 2
        and "http" not in page.partition("</style>")[2]
        and "headstart fit YOUR_PHOTOS --source" in page
    )


def test_scores_have_a_column_each_and_none_a_dash() -> None:
    plain = ranking()
    for place, candidate in enumerate(plain["candidates"][:2]):
        candidate["scores"] = {"logme": 0.25, "leep": None if place else -1.0}
    page = render_ranking("flowers", plain)
    assert '<th scope="col">logme</th>' in page and "<td>0.250</td><td>–</td>" in page and "decide nothing" in page


def test_size_and_likeness_stand_on_the_page_with_how_they_were_measured() -> None:
    page = render_ranking("flowers", ranking(target={"sentence": "It is small.", "likeness": {"information": 0.7}}))
    assert "It is small." in page and "is 0.70 of what tells its class" in page
    unknown = render_ranking("flowers", ranking(target={"sentence": "It is large.", "likeness": None}))
    assert "It is large." in unknown and "tells its class" not in unknown


def test_the_next_commands_compare_a_source_that_can_be_trained() -> None:
    for recommended, compared in (("a:b", "a:b"), ("mean:a:b+c:d", "auto"), ("mirrored:a:b", "auto")):
        page = render_ranking("flowers", {**ranking(), "recommended": recommended})
        assert f"fit YOUR_PHOTOS --source {recommended}" in page
        assert f"compare YOUR_PHOTOS --source {compared}" in page


def test_without_curves_there_is_one_picture() -> None:
    assert render_ranking("flowers", ranking(curves=[])).count("<figure>") == 1


def test_accuracy_is_drawn_against_cost_on_a_logarithmic_scale() -> None:
    candidates = [*ranking()["candidates"][:2], row("packaged:e", 0.88, 10.0, tied=True)]
    chart = charts.accuracy_over_cost(candidates, 0.4)
    assert chart is not None and charts.accuracy_over_cost([], 0.4) is None
    level, first, second, third = chart.lines
    assert [line.style for line in chart.lines] == ["level baseline", "gain", "unclear", "gain"]
    assert [line.title for line in chart.lines][1:] == ["tied with the best", "behind the best", ""]
    assert [line.label for line in chart.lines] == ["", "1", "2", "3"]
    (left, top), (right, low), (middle, _) = (line.dots[0] for line in (first, second, third))
    assert left < middle < right and abs((left + right) / 2 - middle) < 0.5 and top < low
    assert level.points.split()[0].split(",")[1] == "150.0" and low == 75


def test_curves_are_named_by_candidate() -> None:
    chart = charts.curves_of_candidates(ranking()["curves"])
    assert chart is not None and chart.lines[0].title == "packaged:a<b>, pool" and len(chart.lines[0].dots) == 3
    assert charts.curves_of_candidates([]) is None

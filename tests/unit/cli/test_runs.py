"""The commands that write a folder: which work each begins with which options, and several sources of compare."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.base.errors import UsageError
from headstart.cli.command import DisplayOptions, PageOptions
from headstart.cli.compare import compare
from headstart.cli.evaluate import evaluate
from headstart.cli.fit import fit
from headstart.cli.pretrain import pretrain
from headstart.cli.rank import rank

QUIET = DisplayOptions(quiet=True)
Begun = list[tuple[str, Any, Any, Any]]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    """Note what is begun, and how, in the place of the long work itself."""
    noted: Begun = []

    def note(name: str, *, sources: bool = False) -> Any:
        def work(data: Any, *more: Any, **named: Any) -> Any:
            noted.append((name, data, more[0] if sources else None, more[-2]))
            return SimpleNamespace(result={"warnings": ["a note"]}, verdict="the verdict")

        return work

    for place, name in (
        ("fitting.fit", "run_fit"),
        ("comparison.compare", "run_compare"),
        ("pretraining.pretrain", "run_pretrain"),
        ("evaluating.evaluate", "run_evaluate"),
        ("ranking.rank", "run_rank"),
    ):
        monkeypatch.setattr(f"headstart.{place}.{name}", note(name))
    monkeypatch.setattr("headstart.comparison.compare.run_several", note("run_several", sources=True))
    for writer in (
        "fitting.result.write_out",
        "evaluating.evaluate.write_evaluation",
        "comparison.compare.write_several",
        "comparison.result.write_comparison",
        "pretraining.pretrain.write_source",
        "ranking.result.write_ranking",
    ):
        monkeypatch.setattr(f"headstart.{writer}", lambda out, run: [f"{out} is written"])
    return noted


@pytest.mark.parametrize(("command", "name"), [(fit, "run_fit"), (compare, "run_compare")])
def test_a_command_begins_its_work_with_the_data_and_the_chosen_options(
    tmp_path: Path, begun: Begun, capsys: pytest.CaptureFixture[str], command: Any, name: str
) -> None:
    source = ["packaged:minilm"] if command is compare else "packaged:minilm"
    command("photos", {"out": tmp_path / "out", "source": source, "seed": 4}, QUIET)
    work, data, _, options = begun[0]
    assert (work, data, options.source, options.seed) == (name, "photos", "packaged:minilm", 4)
    shown = capsys.readouterr()
    assert shown.out == f"the verdict\n{tmp_path / 'out'} is written\n" and shown.err == "Note: a note\n"


def test_pretrain_begins_with_its_architecture(tmp_path: Path, begun: Begun) -> None:
    pretrain("big", {"out": tmp_path / "out", "arch": "arch:resnet9", "epochs": 2}, QUIET)
    assert (begun[0][0], begun[0][3].arch, begun[0][3].epochs) == ("run_pretrain", "arch:resnet9", 2)


def test_rank_begins_with_its_sources(tmp_path: Path, begun: Begun) -> None:
    rank("photos", {"out": tmp_path / "out", "sources": ["a:1", "b:2"], "budget": "2m", "scores": True}, QUIET)
    name, data, _, options = begun[0]
    assert (name, data, options.sources, options.budget) == ("run_rank", "photos", ("a:1", "b:2"), 120)


@pytest.mark.parametrize(
    ("given", "work", "sources", "source"),
    [
        ([], "run_compare", None, None),
        (["packaged:minilm"], "run_compare", None, "packaged:minilm"),
        (["a:1", "a:1"], "run_compare", None, "a:1"),
        (["b:2", "a:1", "b:2"], "run_several", ["b:2", "a:1"], None),
    ],
)
def test_a_source_that_is_named_twice_is_one_and_several_keep_their_order(
    tmp_path: Path, begun: Begun, given: list[str], work: str, sources: Any, source: Any
) -> None:
    compare("photos", {"out": tmp_path / "out", "source": given}, QUIET)
    assert [(name, several, options.source) for name, _, several, options in begun] == [(work, sources, source)]


def test_a_folder_of_other_things_is_refused_before_any_work(tmp_path: Path, begun: Begun) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError):
        fit("photos", {"out": tmp_path}, QUIET)
    assert begun == [] and (tmp_path / "mine.txt").read_text() == "mine"


def test_json_is_the_result_alone(tmp_path: Path, begun: Begun, capsys: pytest.CaptureFixture[str]) -> None:
    fit("photos", {"out": tmp_path / "out"}, DisplayOptions(quiet=True, as_json=True))
    shown = capsys.readouterr()
    assert shown.out.strip().startswith("{") and "the verdict" not in shown.out and begun[0][0] == "run_fit"


def test_evaluate_begins_with_the_bundle_the_data_and_the_bundle_beside_it(tmp_path: Path, begun: Begun) -> None:
    chosen = {"out": tmp_path / "out", "against": Path("older")}
    evaluate(Path("runs/flowers"), "photos", chosen, QUIET)
    work, bundle, *_ = begun[0]
    assert (work, bundle) == ("run_evaluate", Path("runs/flowers")) and begun[0][3].against == Path("older")


def test_the_page_is_opened_where_that_is_asked_and_said_where_nothing_opens_it(
    tmp_path: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) == 1)
    for _ in range(2):
        fit("photos", {"out": tmp_path / "out"}, PageOptions(quiet=True, open_page=True))
    fit("photos", {"out": tmp_path / "out"}, PageOptions(quiet=True))
    page = tmp_path / "out" / "report.html"
    assert opened == [page.as_uri()] * 2 and begun
    assert capsys.readouterr().err.count(f"no browser is known here: open {page}") == 1


def test_what_a_run_says_is_logged_in_its_folder_also_where_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, refusal = tmp_path / "out", UsageError("it must be good", "bad", "mend it")

    def work(data: Any, options: Any, progress: Any) -> Any:
        with progress.step("Working"):
            progress.say("a secret: hf_abcdefghijklmnop")
        return SimpleNamespace(result={"warnings": ["a note"]}, verdict="the verdict", refusal=refusal)

    def write(folder: Path, run: Any) -> list[str]:
        folder.mkdir()
        (folder / "result.json").write_text('{"schema": 1}')
        return ["it is written"]

    monkeypatch.setattr("headstart.fitting.fit.run_fit", work)
    monkeypatch.setattr("headstart.fitting.result.write_out", write)
    with pytest.raises(UsageError, match="mend it"):
        fit("photos", {"out": out}, QUIET)
    assert capsys.readouterr().out == "the verdict\nit is written\n", "all is shown before it is refused"
    said = [line.split(" ", 2)[2] for line in (out / "log.txt").read_text().splitlines()]
    assert said[0].startswith("headstart") and said[1] == "a secret: …" and said[2].startswith("Working: ")
    assert said[-4:-1] == ["Note: a note", "the verdict", "it is written"] and said[-1].endswith("mend it")

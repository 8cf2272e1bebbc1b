"""What a notebook shows of a result: whole without anything else, and nothing in it can be markup."""

from __future__ import annotations

from headstart.judge.report.notebook import head_of_report, metric_figures, points


def test_the_head_is_self_contained_and_escaped() -> None:
    page = head_of_report("<script>x</script>", "Gain of -3.1 points <b>.\x1b[31m", [("Accuracy", "91.0 %", "1 to 2")])
    assert "<script" not in page and "<b>" not in page and "\x1b" not in page
    assert "http" not in page and "src=" not in page and "<style" not in page
    assert "\N{MINUS SIGN}3.1 points" in page
    assert "91.0\N{NO-BREAK SPACE}%" in page
    assert "<table" not in head_of_report("title", "", [])


def test_figures_have_their_intervals() -> None:
    test = {"accuracy": {"value": 0.91, "low": 0.8, "high": 0.95}, "log_loss": {"value": 0.3, "low": 0.2, "high": 0.4}}
    assert metric_figures(test) == [
        ("Accuracy", "91.0 %", "80.0 to 95.0 %"),
        ("Log loss", "0.300", "0.200 to 0.400"),
    ]
    assert points({"value": 0.1, "low": -0.02, "high": 0.2}) == ("+10.0 points", "-2.0 to +20.0")
    assert points({"value": None, "low": None, "high": None}) is None
    assert points(None) is None

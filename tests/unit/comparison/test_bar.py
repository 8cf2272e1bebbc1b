"""One bar over all runs: it follows an injected clock, keeps to the plan, and never goes back."""

from __future__ import annotations

from headstart.base.progress import Step
from headstart.comparison.bar import Bar


class Kept(Step):
    def __init__(self) -> None:
        self.over, self.name, self.steps = 0, "", list[int]()

    def advance(self, count: int = 1, note: str = "") -> None:
        self.over, self.name = self.over + count, note
        self.steps.append(count)


def test_a_bar_moves_by_the_time_that_passes_up_to_what_is_planned() -> None:
    step, seconds = Kept(), [100.0]
    bar = Bar(step, lambda: seconds[0])
    with bar.run("scratch, seed 1", 10.0), bar.step("inner", 3) as inner:
        seconds[0] += 4.0
        inner.advance()
        assert (step.name, step.over) == ("scratch, seed 1", 4)
        seconds[0] += 50.0
        inner.advance()
        assert step.over == 10, "a run that takes longer stands at its planned end"
    with bar.run("tuned, seed 1", 5.0):
        seconds[0] += 1.0
    assert (step.name, step.over) == ("tuned, seed 1", 15), "one that ends early leaps to its end"
    assert min(step.steps) >= 0

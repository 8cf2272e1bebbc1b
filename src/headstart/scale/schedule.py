"""Orders given to workers that may die: each is done once, and an example that kills its worker is found and left out.

An order whose worker died is given again. After that it is done carefully: the worker says which example it touches
before it does. An example that a worker died on twice is left out, after three deaths; other deaths cost their order.
The death of a worker that had not begun the order says nothing about its examples, and is not counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from headstart.base.errors import UsageError
from headstart.scale.worker import Order

MOST_DEATHS = 10
"""Of workers on one order beyond those that its poison explains, before the run ends."""
DEATHS_OF_POISON = 3
"""Of workers by one example: at first, and twice while it is touched with care."""


class WorkerDied(Exception):
    """The process of a worker ended; `place` is that of the example it had said it touches, None where it said none.

    `begun` is whether it had begun its order.
    """

    def __init__(self, place: int | None = None, *, begun: bool = True) -> None:
        super().__init__(place)
        self.place, self.begun = place, begun


class Workers(Protocol):
    """Processes that do one order each at a time."""

    def idle(self) -> bool:
        """Return whether one of them has nothing to do."""

    def give(self, number: int, order: Order, *, carefully: bool) -> None:
        """Let an idle worker do the order of this number."""

    def wait(self) -> tuple[int, Callable[[], Any]]:
        """Wait for an order; return its number and what gives its result or raises what the worker raised, or died."""


@dataclass
class _State:
    order: Order
    deaths: int = 0
    died_on: Counter[int] = field(default_factory=Counter)


def run_orders(workers: Workers, orders: Sequence[Order], accept: Callable[[int, Any], None]) -> None:
    """Let workers do all orders, and hand each result with the number of its order to `accept`, as they come.

    Raises:
        UsageError: workers keep dying on an order, whatever is left out.
    """
    states = [_State(order) for order in orders]
    waiting, busy = deque(range(len(orders))), 0
    while waiting or busy:
        while waiting and workers.idle():
            number = waiting.popleft()
            state = states[number]
            workers.give(number, state.order, carefully=state.deaths > 0)
            busy += 1
        number, result = workers.wait()
        busy -= 1
        try:
            accept(number, result())
        except WorkerDied as death:
            if death.begun:
                _note(states[number], death)
            waiting.append(number)  # others first: who kills whatever is done now cannot kill one order for ever


def _note(state: _State, death: WorkerDied) -> None:
    """Note a death on an order; an example that two workers died on becomes poison."""
    state.deaths += 1
    if death.place is not None and death.place >= 0:
        state.died_on[death.place] += 1
        if state.died_on[death.place] > 1:
            state.order = replace(state.order, poison=state.order.poison | {death.place})
    if state.deaths > MOST_DEATHS + DEATHS_OF_POISON * len(state.order.poison):
        first, last = state.order.ids[0], state.order.ids[-1]
        raise UsageError(
            f"workers must survive the examples {first} to {last}",
            f"{state.deaths} of them died",
            "give the machines more memory, or take these examples out",
        )

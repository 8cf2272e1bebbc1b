"""Workers as Ray actors, each with its share of a machine, replaced when they die."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count as count_up
from pathlib import Path
from typing import Any

from headstart.base.config import cores, use_cores
from headstart.base.errors import UsageError
from headstart.base.memory import limit_memory, total_memory
from headstart.scale.schedule import WorkerDied
from headstart.scale.worker import Order, Worker, versions

MOST_DEATHS = 10
"""How often each worker may die, on average, before any of them has begun another order."""
Problem = tuple[str, str, str] | None
"""What a UsageError says: what must hold, what was received, what to do."""
MEMORY_SHARE = 0.8
"""Of the memory of a machine, what its workers may take together."""


class Journal:
    """What each worker has begun, and touches where it does it carefully: it outlives the worker."""

    def __init__(self) -> None:
        self._places: dict[int, int | None] = {}

    def note(self, number: int, place: int | None) -> None:
        """Note that the order of this number is begun, or the place of the example in it that is touched now."""
        self._places[number] = place

    def last(self, number: int) -> tuple[bool, int | None]:
        """Return whether an order was begun and what was touched last, and forget it."""
        return number in self._places, self._places.pop(number, None)


@dataclass(frozen=True)
class Share:
    """What one worker has of its machine."""

    cores: int
    gpus: int = 0


def shares(resources: Mapping[str, float], engine: str) -> tuple[int, Share]:
    """Return how many workers a cluster has room for, and the share of each: a GPU where there are any, else a core.

    Args:
        resources: what it has, by Ray's names.
        engine: as `open_engine` takes it; OpenVINO runs on no GPU.
    """
    cpus, gpus = (int(resources.get(name, 0)) for name in ("CPU", "GPU"))
    if gpus and engine != "openvino":
        return gpus, Share(max(1, cpus // gpus), 1)
    return max(1, cpus), Share(1)


class RemoteWorker:
    """A worker as an actor. What the user can mend is answered as three texts: Ray cannot carry our errors."""

    def __init__(self, folder: Path, share: Share, journal: Any, arguments: tuple[Any, ...]) -> None:
        self._arguments, self._journal = arguments, journal
        self._worker: Worker | None = None
        with suppress(OSError):  # whoever opens something there says so
            os.chdir(folder)
        if not share.gpus:  # whose memory looks like that of the process
            limit_memory(int(MEMORY_SHARE * total_memory() * share.cores / max(cores(), share.cores)))
        use_cores(share.cores)

    def open(self) -> tuple[Any, Problem]:
        """Return the name of this machine, and the versions of what runs here."""

        def opened() -> tuple[str, dict[str, str]]:
            self._worker = Worker(*self._arguments)
            return self._worker.node, self._worker.versions()

        return _answer(opened)

    def run(self, number: int, order: Order, carefully: bool) -> tuple[Any, Problem]:
        """Return what `Worker.run` returns; carefully, every example is noted before it is touched."""
        import ray

        def note(place: int | None) -> None:
            ray.get(self._journal.note.remote(number, place))

        assert self._worker is not None
        note(None)
        try:
            return _answer(partial(self._worker.run, order, note if carefully else None))
        except MemoryError:  # what is left of this process is not to be trusted
            os._exit(1)


def _answer(work: Callable[[], Any]) -> tuple[Any, Problem]:
    try:
        return work(), None
    except UsageError as error:
        return None, (error.must, str(error.received), error.remedy)


def _result(answer: tuple[Any, Problem]) -> Any:
    value, problem = answer
    if problem is not None:
        raise UsageError(*problem)
    return value


ONE_CORE = Share(1)


class RayWorkers:
    """As many actors as are asked for; one that dies is replaced, whatever it was doing.

    Args:
        count: how many.
        arguments: those of `Worker`.
        share: what each has of its machine.
        most_deaths: how often each may die, on average, before any of them has begun another order.

    Raises:
        UsageError: a worker cannot open the data or the source, or runs other versions than this process; or workers
            die and die before they begin anything.
    """

    def __init__(
        self, count: int, arguments: tuple[Any, ...], *, share: Share = ONE_CORE, most_deaths: int = MOST_DEATHS
    ) -> None:
        import ray

        self._ray = ray
        raised = ray.exceptions
        self._deaths = raised.RayActorError, raised.OutOfMemoryError, raised.WorkerCrashedError, raised.ObjectLostError
        self._journal: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Journal).remote()
        actor: Any = ray.remote(num_cpus=share.cores, num_gpus=share.gpus, max_restarts=0)(RemoteWorker)
        self._make = partial(actor.remote, Path.cwd(), share, self._journal, ray.put(arguments))
        self._opening: dict[Any, Any] = {}  # what will say that an actor is open, and the actor
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[int, int, Any]] = {}  # what will be the result: its order, its note, its actor
        self._notes = count_up()
        self._in_vain, self._most_in_vain = 0, most_deaths * count  # deaths since an order was begun
        for _ in range(count):
            self._open_one()
        while not self._idle:
            self._take_opened(None)

    def close(self) -> None:
        """End all actors."""
        actors = [*self._opening.values(), *self._idle, *(actor for _, _, actor in self._busy.values())]
        for actor in [*actors, self._journal]:
            self._ray.kill(actor)

    def idle(self) -> bool:
        """Return whether a worker has nothing to do."""
        self._take_opened(0)
        while not self._busy and not self._idle:  # all of them have died
            self._take_opened(None)
        return bool(self._idle)

    def give(self, number: int, order: Order, *, carefully: bool) -> None:
        """Let an idle worker do the order of this number."""
        actor, note = self._idle.pop(), next(self._notes)
        self._busy[actor.run.remote(note, order, carefully)] = number, note, actor

    def wait(self) -> tuple[int, Callable[[], Any]]:
        """Wait for an order, and return its number and what gives its result."""
        (done,), _ = self._ray.wait(list(self._busy), num_returns=1)
        number, note, actor = self._busy.pop(done)
        try:
            answer = self._ray.get(done)
        except self._deaths as error:
            begun, place = self._ray.get(self._journal.last.remote(note))
            self._in_vain = 0 if begun else self._in_vain
            self._replace(actor, None if begun else error)
            return number, partial(_raise, WorkerDied(place, begun=begun))
        self._in_vain = 0
        self._idle.append(actor)
        return number, partial(_result, answer)

    def _open_one(self) -> None:
        actor = self._make()
        self._opening[actor.open.remote()] = actor

    def _replace(self, actor: Any, in_vain: Exception | None) -> None:
        """Open another worker in place of one that has died, in vain where it had begun nothing."""
        self._ray.kill(actor)  # one that cannot be reached may still be there
        self._in_vain += in_vain is not None
        if self._in_vain > self._most_in_vain or getattr(in_vain, "actor_init_failed", False):
            do = "read the logs of Ray on that machine; workers import headstart and open the source"
            raise UsageError("workers must start on the cluster", " ".join(str(in_vain).split()), do) from in_vain
        self._open_one()

    def _take_opened(self, seconds: float | None) -> None:
        """Count actors that are open by now as idle, once they run the same versions as this process."""
        waiting = list(self._opening)
        done = self._ray.wait(waiting, num_returns=1, timeout=seconds)[0] if waiting and not self._idle else []
        for each in done:
            actor = self._opening.pop(each)
            try:
                answer = self._ray.get(each)
            except self._deaths as error:
                self._replace(actor, error)
                continue
            check_versions(*_result(answer))
            self._idle.append(actor)


def check_versions(node: str, theirs: Mapping[str, str]) -> None:
    """Raise UsageError unless a machine runs the versions that this process runs."""
    others = [f"{name} {theirs.get(name)}" for name, own in versions().items() if theirs.get(name) != own]
    if others:
        own = ", ".join(f"{name} {versions()[name]}" for name in (other.split()[0] for other in others))
        raise UsageError(f"{node} must run {own}", ", ".join(others), "install the same versions on every machine")


def _raise(error: Exception) -> None:
    raise error

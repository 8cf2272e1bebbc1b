"""Workers as Ray actors, on a cluster that is there or one that this process starts."""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache as once
from functools import partial, wraps
from itertools import count as count_up
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from headstart.base.config import cache_dir
from headstart.base.errors import UsageError
from headstart.base.extras import require
from headstart.base.progress import Progress
from headstart.data.dataset import Dataset
from headstart.engines.conversion_process import NetworkOrigin
from headstart.features.extract import OPEN_SOURCE, extracting_by
from headstart.features.features import Extraction
from headstart.scale.elsewhere import SHARD, extract_elsewhere
from headstart.scale.schedule import WorkerDied
from headstart.scale.worker import Order, Worker, versions
from headstart.sources.base import Source

Run = TypeVar("Run", bound=Callable[..., Any])
LOCAL = re.compile(r"local(?:\[(\d+)\])?")
MOST_DEATHS = 10
"""How often each worker may die, on average, before any of them has begun another order."""
Problem = tuple[str, str, str] | None
"""What a UsageError says: what must hold, what was received, what to do."""
ANSWER_SECONDS = 10.0
"""Within which a cluster must take a connection."""
OBJECTS = 256 << 20
"""Bytes of results that a cluster of this process holds at a time."""


def check_cluster(cluster: str) -> None:
    """Raise UsageError unless a cluster is named as `connected` takes it, and Ray is here."""
    if cluster != "auto" and not LOCAL.fullmatch(cluster) and not _address(cluster):
        do = "name one, such as local[4] or ray://head:10001"
        raise UsageError("--cluster must be auto, local, local[N] or ray://HOST:PORT", repr(cluster), do)
    require(f"--cluster {cluster}", "ray")


@contextmanager
def connected(cluster: str, *, folder: str | None = None) -> Iterator[int]:
    """Give the number of processor cores of a cluster while this process is connected to it.

    Args:
        cluster: `auto` for the one that runs on this machine, `ray://HOST:PORT`, `local` for one that this process
            starts with all cores and ends, or `local[N]` for N of them. Its dashboard is off, and it asks for a token.
        folder: where Ray keeps the files of a cluster that is started here; its own place by default.

    Raises:
        UsageError: it does not answer.
    """
    import ray

    stack = ExitStack()
    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    started = LOCAL.fullmatch(cluster)
    if started:
        cores = int(started[1]) if started[1] else None
        shared |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECTS}
        shared |= {"_temp_dir": folder} if folder else {}
        stack.enter_context(_own_token())
        logging.getLogger("ray").setLevel(logging.ERROR)  # or it says on every start that it asks for a token
        context: Any = ray.init(address="local", **shared)
    else:
        context = _answered(cluster, shared)
    try:
        resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        yield max(int(resources.get("CPU", 1)), 1)
    finally:
        stack.close()
        getattr(context, "disconnect", ray.shutdown)() if _address(cluster) else ray.shutdown()


@once
def _token() -> str:
    """Return the token of all clusters that this process starts: Ray reads one once."""
    return secrets.token_hex()


@contextmanager
def _own_token() -> Iterator[None]:
    """Let a cluster that is started now answer those alone who know a token, which is written nowhere.

    Ray listens on every address. Where the environment says how others are let in, that holds.
    """
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
    if any(name.startswith("RAY_AUTH") for name in os.environ):
        yield
        return
    os.environ[names[1]] = _token()  # Ray sets the mode itself
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)


def _answered(cluster: str, shared: Mapping[str, Any]) -> Any:
    import ray

    do = "start one with `ray start --head`, check the address, or use --cluster local"
    if (address := _address(cluster)) is not None:
        try:
            socket.create_connection(address, ANSWER_SECONDS).close()
        except OSError as error:
            raise UsageError(f"the cluster {cluster} must answer within {ANSWER_SECONDS:.0f} s", error, do) from error
    try:
        return ray.init(address=cluster, **({} if address else shared))
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UsageError(f"the cluster {cluster} must answer", error, do) from error


def _address(cluster: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(cluster)
        return (parts.hostname, parts.port) if parts.scheme == "ray" and parts.hostname and parts.port else None
    except ValueError:
        return None


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


class RemoteWorker:
    """A worker as an actor. What the user can mend is answered as three texts: Ray cannot carry our errors."""

    def __init__(self, arguments: tuple[Any, ...], journal: Any) -> None:  # the folder to work in, those of `Worker`
        folder, *self._arguments = arguments
        self._journal = journal
        self._worker: Worker | None = None
        with suppress(OSError):  # whoever opens something there says so
            os.chdir(folder)

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
        return _answer(partial(self._worker.run, order, note if carefully else None))


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


class RayWorkers:
    """As many actors as are asked for, a core each; one that dies is replaced, whatever it was doing.

    Args:
        count: how many.
        arguments: those of `Worker`.
        most_deaths: how often each may die, on average, before any of them has begun another order.

    Raises:
        UsageError: a worker cannot open the data or the source, or runs other versions than this process; or workers
            die and die before they begin anything.
    """

    def __init__(self, count: int, arguments: tuple[Any, ...], *, most_deaths: int = MOST_DEATHS) -> None:
        import ray

        self._ray, self._arguments = ray, ray.put((Path.cwd(), *arguments))
        raised = ray.exceptions
        self._deaths = raised.RayActorError, raised.OutOfMemoryError, raised.WorkerCrashedError, raised.ObjectLostError
        self._journal: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Journal).remote()
        self._actor: Any = ray.remote(num_cpus=1, max_restarts=0)(RemoteWorker)
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
        actor = self._actor.remote(self._arguments, self._journal)
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


class Cluster:
    """Extraction by the workers of a cluster, which is reached, or started, when features are first asked for.

    Args:
        cluster: as `connected` takes it.
        shards: the fsspec path of the folder where features are kept; by default it lies in the cache.
        origins: what opens sources that no URI opens.
    """

    def __init__(self, cluster: str, shards: str | None, origins: Sequence[tuple[Source, NetworkOrigin]] = ()) -> None:
        self._cluster, self._shards, self._origins = cluster, shards or str(cache_dir() / "shards"), origins
        self._connection, self._open = ExitStack(), ExitStack()
        self._cores = 0
        self._key: Any = None  # of the workers that are open
        self._workers: RayWorkers | None = None

    def extract(
        self, dataset: Dataset, source: Source, engine: str, hashes: Sequence[str] | None, progress: Progress
    ) -> Extraction:
        """Return the features of examples, as `extract` does; the arguments are those of `extract_elsewhere`."""
        by_uri = None if source.opened is None else NetworkOrigin(OPEN_SOURCE, dict(source.opened))
        return extract_elsewhere(
            dataset,
            source,
            engine=engine,
            shards=self._shards,
            workers_for=partial(self._workers_for, len(dataset), progress),
            progress=progress,
            origin=next((origin for each, origin in [*self._origins, (source, by_uri)] if each is source), None),
            hashes=hashes,
        )

    def close(self) -> None:
        """End all workers, and leave the cluster."""
        self._open.close()
        self._connection.close()

    @contextmanager
    def _workers_for(self, examples: int, progress: Progress, arguments: tuple[Any, ...]) -> Iterator[RayWorkers]:
        """Give workers for so many examples: those of the extraction before, where they are of the same kind."""
        if not self._cores:
            self._cores = self._connection.enter_context(connected(self._cluster))
            cores = f"{self._cores} core{'s' * (self._cores > 1)}"
            progress.say(f"Features are computed on {cores} of {self._cluster}; all else is done in this process")
        count = min(self._cores, -(-examples // SHARD))
        key = count, *arguments[:-1]  # not the shards that were there
        if key != self._key or self._workers is None:
            self._open.close()
            self._key, self._workers = key, self._open.enter_context(closing(RayWorkers(count, arguments)))
        try:
            yield self._workers
        except BaseException:
            self._key = None  # they may have work that nobody waits for
            raise


@contextmanager
def features_on(
    cluster: str | None, shards: str | None, origins: Sequence[tuple[Source, NetworkOrigin]] = ()
) -> Iterator[None]:
    """Let features be computed on a cluster while the block runs; in this process where it is None."""
    if cluster is None:
        yield
        return
    with closing(Cluster(cluster, shards, origins)) as reached, extracting_by(reached.extract):
        yield


def on_its_cluster(run: Run) -> Run:
    """Return a run of (data, options, progress) whose features are computed where its options say."""

    @wraps(run)
    def placed(data: Any, options: Any, *others: Any, **named: Any) -> Any:
        with features_on(options.cluster, options.shards):
            return run(data, options, *others, **named)

    return placed  # type: ignore[return-value]

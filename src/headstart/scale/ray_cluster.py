"""A Ray cluster that is there or that this process starts, and extraction by its workers."""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache as once
from functools import partial, wraps
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
from headstart.scale.ray_workers import RayWorkers, shares
from headstart.sources.base import Source

Run = TypeVar("Run", bound=Callable[..., Any])
LOCAL = re.compile(r"local(?:\[(\d+)\])?")
ANSWER_SECONDS = 7.0
"""Within which a cluster must take a connection, and again answer on it."""
START = "start one with `ray start --head`, check the address, or use --cluster local"
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
"""The preface of HTTP/2 and empty settings (RFC 9113, 3.4), which whatever speaks gRPC answers, as Ray does."""
OBJECTS = 256 << 20
"""Bytes of results that a cluster of this process holds at a time."""


def check_cluster(cluster: str) -> None:
    """Raise UsageError unless a cluster is named as `connected` takes it, and Ray is here."""
    if cluster != "auto" and not LOCAL.fullmatch(cluster) and not _address(cluster):
        do = "name one, such as local[4] or ray://head:10001"
        raise UsageError("--cluster must be auto, local, local[N] or ray://HOST:PORT", repr(cluster), do)
    require(f"--cluster {cluster}", "ray")


@contextmanager
def connected(cluster: str, *, folder: str | None = None) -> Iterator[Mapping[str, float]]:
    """Give what a cluster has by Ray's names, such as CPU, while this process is connected to it.

    Args:
        cluster: `auto` for the one that runs on this machine, `ray://HOST:PORT`, `local` for one that this process
            starts with all cores and ends, or `local[N]` for N of them. Its dashboard is off, and it asks for a token.
        folder: where Ray keeps the files of a cluster that is started here; its own place by default.

    Raises:
        UsageError: it does not answer, or does not start.
    """
    import ray

    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    with ExitStack() as stack:
        if started := LOCAL.fullmatch(cluster):
            cores = int(started[1]) if started[1] else None
            shared |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECTS}
            shared |= {"_temp_dir": folder} if folder else {}
            stack.enter_context(_own_token())
            logging.getLogger("ray").setLevel(logging.ERROR)  # or it says on every start that it asks for a token
            context: Any = _started(shared)
        else:
            context = _answered(cluster, shared)
        stack.callback(getattr(context, "disconnect", ray.shutdown) if _address(cluster) else ray.shutdown)
        resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        yield resources


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


def _started(shared: Mapping[str, Any]) -> Any:
    """Start a cluster, in two attempts: Ray gives up where a busy machine has not started it within half a minute."""
    import ray

    failures: list[str] = []
    while len(failures) < 2:
        try:
            return ray.init(address="local", **shared)
        except Exception as error:  # noqa: BLE001 - which is the very class that Ray raises then
            failures.append(" ".join(str(error).split()))
            ray.shutdown()
    do = "wait until this machine has less to do, name fewer cores, or leave --cluster out"
    raise UsageError("a Ray cluster must start on this machine", failures[-1], do)


def _answered(cluster: str, shared: Mapping[str, Any]) -> Any:
    import ray
    from ray._private.services import canonicalize_bootstrap_address_or_die  # as Ray's own commands find it

    address = _address(cluster)
    try:
        if (there := address) is None:
            named = os.environ.get("RAY_ADDRESS") or canonicalize_bootstrap_address_or_die("auto")
            there = _address(f"ray://{named.removeprefix('ray://')}")
        if there is not None:
            check_answers(cluster, there)
        return ray.init(address=cluster, **({} if address else shared))
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"the cluster {cluster} must answer", " ".join(str(error).split()), START) from error


def check_answers(cluster: str, address: tuple[str, int], *, seconds: float = ANSWER_SECONDS) -> None:
    """Raise UsageError unless what listens at an address takes a connection and answers on it, each in so many seconds.

    Ray itself asks for minutes, and writes lines of its own meanwhile.
    """
    try:
        with socket.create_connection(address, seconds) as line:
            line.sendall(GREETING)
            line.recv(1)  # nothing, where it wants TLS
    except OSError as error:
        raise UsageError(f"the cluster {cluster} must answer within {seconds:.2g} s", error, START) from error


def _address(cluster: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(cluster)
        return (parts.hostname, parts.port) if parts.scheme == "ray" and parts.hostname and parts.port else None
    except ValueError:
        return None


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
        self._resources: Mapping[str, float] | None = None
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
        new = self._resources is None
        if self._resources is None:
            self._resources = self._connection.enter_context(connected(self._cluster))
        most, share = shares(self._resources, arguments[2])
        count = min(most, -(-examples // SHARD))
        if new:
            what = f"{most} {'GPU' if share.gpus else 'core'}{'s' * (most > 1)}"
            progress.say(f"Features are computed on {what} of {self._cluster}; all else is done in this process")
        key = count, *arguments[:-1]  # not the shards that were there
        if key != self._key or self._workers is None:
            self._open.close()
            self._key = key
            self._workers = self._open.enter_context(closing(RayWorkers(count, arguments, share=share)))
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

"""Ray: what is refused before it starts; and, as thorough tests, one cluster on loopback that all of them share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import headstart as hs
from headstart.base.errors import UsageError
from headstart.cli.command import DisplayOptions
from headstart.cli.predict import predict
from headstart.engines.conversion_process import NetworkOrigin
from headstart.features.extract import OPEN_SOURCE
from headstart.scale.ray_cluster import check_answers, check_cluster, connected
from headstart.scale.worker import KILLED
from headstart.testing import toy_photos

pytest.importorskip("ray")
SOURCE = NetworkOrigin(OPEN_SOURCE, {"uri": "simple:pixels"})


@pytest.mark.parametrize("cluster", ["auto", "local", "local[2]", "ray://head:10001", "ray://127.0.0.1:10001"])
def test_clusters_that_can_be_named(cluster: str) -> None:
    check_cluster(cluster)


@pytest.mark.parametrize("cluster", ["", "local[]", "local[x]", "ray://head", "ray://:1", "http://head:1", "ray://a:b"])
def test_any_other_cluster_is_one_line(cluster: str) -> None:
    for command in (hs.fit, hs.rank, hs.compare):
        with pytest.raises(UsageError, match="cluster= must be auto, local"):
            command("photos", cluster=cluster)


def test_shards_without_a_cluster_are_refused() -> None:
    with pytest.raises(UsageError, match="shards= must come with cluster="):
        hs.fit("photos", shards="s3://bucket")


@pytest.mark.parametrize("cluster", ["ray://127.0.0.1:{}", "auto"])
def test_a_cluster_that_is_not_there_is_one_line(loopback: None, cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(UsageError, match=r"the cluster .* must answer within 7 s"), connected(cluster.format(port)):
            pass


def test_a_cluster_that_takes_a_connection_and_says_nothing_is_one_line(loopback: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(UsageError, match=r"the cluster auto must answer within 0\.2 s; found timed out"):
            check_answers("auto", silent.getsockname(), seconds=0.2)
        with silent.accept()[0] as taken:
            assert taken.recv(100).startswith(b"PRI * HTTP/2.0")


def test_a_cluster_that_does_not_start_is_tried_twice_and_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    tried: list[str] = []

    def init(address: str, **_: Any) -> None:
        tried.append(address)
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "init", init)
    must = "a Ray cluster must start on this machine; found The current node timed out during startup"
    with pytest.raises(UsageError, match=must), connected("local[2]"):
        pass
    assert tried == ["local", "local"] and not any(name.startswith("RAY_AUTH") for name in os.environ)


def test_a_cluster_that_answers_is_taken(loopback: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as taken:
                taken.sendall(b"settings")

        answering = threading.Thread(target=answer)
        answering.start()
        check_answers("auto", server.getsockname())
        answering.join()


def test_examples_in_memory_are_refused_before_ray_starts() -> None:
    data: Any = (["one text", "two texts", "three texts", "four"], ["a", "b", "a", "b"])
    with pytest.raises(UsageError, match="the data of a run on a cluster must have a path"):
        hs.fit(data, source="simple:words", cluster="local[1]")


def test_a_stream_is_predicted_by_this_process(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a stream must be predicted by this process; found --cluster"):
        predict(tmp_path, ["-"], {"json_lines": True, "cluster": "local[1]"}, DisplayOptions())


@pytest.mark.thorough
def test_a_cluster_of_this_run_has_no_dashboard_and_asks_for_a_token__DST_07(loopback: None) -> None:
    import ray

    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder, connected("local[1]", folder=folder):
        assert not ray.get_runtime_context().worker.node.webui_url
        address = ray.get_runtime_context().gcs_address
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        enter = f"import ray; ray.init(address={address!r}, _temp_dir={folder!r})"
        environment["RAY_AUTH_MODE"] = "disabled"
        command = [sys.executable, "-c", enter]
        stranger = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert stranger.returncode != 0 and "UNAUTHENTICATED" in stranger.stderr.upper()
    assert not any(name.startswith("RAY_AUTH") for name in os.environ)


KILLERS = """
import os, signal
from headstart.data.images import pillow
def remarks(data, name, plain=pillow.remarks):
    if b"POISON" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"HUGE" in data:
        return (str(len(bytes(1 << 40))),)
    return plain(data, name)
pillow.remarks = remarks
"""
"""What a process runs first: bytes with POISON end it, as a fault in a decoder does; those with HUGE ask for a TB."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[str, list[psutil.Process]]]:
    """Start two nodes of one core each on loopback, and end them; gives their address and their processes."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # a socket's path has 107 bytes at most
        (Path(folder) / "sitecustomize.py").write_text(KILLERS)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        path = os.pathsep.join([folder, *sys.path])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "RAY_AUTH_MODE": "disabled"}
        environment["HEADSTART_CACHE"] = f"{folder}/cache"  # and not that of whoever runs the tests
        shared = ["--num-cpus=1", "--object-store-memory=100000000", "--node-ip-address=127.0.0.1", "--block"]
        head = [
            "--head",
            f"--port={address.partition(':')[2]}",
            "--include-dashboard=false",
            f"--temp-dir={folder}/ray",
        ]
        with ExitStack() as stack:
            options = ([*shared, *own] for own in (head, [f"--address={address}"]))
            yield address, [stack.enter_context(_ray_start(each, environment)) for each in options]


@contextmanager
def _ray_start(options: list[str], environment: dict[str, str]) -> Iterator[psutil.Process]:
    """Start a node and give its process once it says that it runs; again where a busy machine takes Ray too long."""
    command = [str(Path(sys.executable).with_name("ray")), "start", *options]
    with ExitStack() as stack:
        for _ in range(3):
            process = subprocess.Popen(
                command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True,
            )  # fmt: skip
            stack.callback(_end, process)
            assert process.stdout is not None
            if any("Ray runtime started" in line for line in process.stdout):
                break
        yield psutil.Process(process.pid)


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(psutil.NoSuchProcess):
        for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
    process.communicate()


@pytest.fixture
def on_nodes(
    nodes: tuple[str, list[psutil.Process]], loopback: None, monkeypatch: pytest.MonkeyPatch
) -> list[psutil.Process]:
    """Let `--cluster auto` be those two nodes, where a worker dies of bytes with POISON; gives their processes."""
    monkeypatch.setenv("RAY_ADDRESS", nodes[0])
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    return nodes[1]


def figures(model: hs.Model) -> dict[str, Any]:
    return {name: model.report[name] for name in ("classes", "test", "baselines", "layer", "head", "engine")}


@pytest.mark.parametrize(
    ("poisonous", "kills"),
    [pytest.param(1, 1, marks=pytest.mark.slow), pytest.param(3, 20, marks=pytest.mark.slow)],
)
def test_two_nodes_give_the_report_of_one_process_whatever_dies__DST_01_03_05(
    on_nodes: list[psutil.Process], tmp_path: Path, poisonous: int, kills: int
) -> None:
    photos = toy_photos(tmp_path / "photos", classes=["cat", "dog"], per_class=150 * poisonous**2, seed=0)
    expected = hs.fit(photos, source="simple:pixels")
    for number, cat in enumerate(sorted((photos / "cat").iterdir())[:poisonous]):
        (photos / "dog" / f"poison{number}.jpg").write_bytes(cat.read_bytes() + (b"HUGE" if number == 1 else b"POISON"))
    stop = threading.Event()
    killer = threading.Thread(target=_kill_workers, args=(on_nodes, kills, stop))
    killer.start()
    try:
        model = hs.fit(photos, source="simple:pixels", cluster="auto", shards=str(tmp_path / "shards"))
    finally:
        stop.set()
        killer.join()
    assert figures(model) == figures(expected)
    assert [loss["reason"] for loss in model.report["losses"]] == [KILLED] * poisonous


@pytest.mark.slow
def test_predictions_and_a_ranking_on_two_nodes_are_those_of_one_process__DST_05(
    on_nodes: list[psutil.Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = toy_photos(tmp_path / "photos", classes=["cat", "dog"], per_class=150, seed=0)
    (photos / "dog" / "broken.jpg").write_bytes(b"no photo")
    hs.fit(photos, source="simple:pixels").save(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    for name, more in {"alone.csv": {}, "there.csv": {"cluster": "auto", "shards": "shards"}}.items():
        options = {"out": Path(name), "batch_size": 290, **more}
        predict(Path("bundle"), ["photos", "photos/cat"], options, DisplayOptions(quiet=True))
    assert Path("alone.csv").read_bytes() == Path("there.csv").read_bytes()
    assert list(Path("shards").iterdir())
    sources = ["simple:pixels", "packaged:efficientnet-lite0"]
    alone, there = (hs.rank("photos", sources=sources, **more).result for more in ({}, {"cluster": "auto"}))
    assert {**there, "seconds": 0} == {**alone, "seconds": 0}


def _kill_workers(nodes: list[psutil.Process], count: int, stop: threading.Event) -> None:
    """Kill workers of these nodes that have begun, one every two seconds."""
    while count and not stop.wait(2):
        for process in _workers(nodes, "ray::RemoteWorker.run")[:1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                count -= 1


def _workers(above: list[psutil.Process], title: str) -> list[psutil.Process]:
    """Return the processes below some whose title holds a text."""
    titled = []
    for process in (child for each in above for child in each.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            titled += [process] if title in " ".join(process.cmdline()) else []
    return titled

"""The server: throughput against a bare FastAPI handler, 1,000 at once, 1 GB bodies, half-open and hostile requests.

    python bench/serve.py DATA [--only NAME...]

DATA is the folder of the data sets. The bare handler is what one writes by hand: FastAPI's own form, Pillow through the
same preprocessing, and the same converted network compiled by OpenVINO, in FastAPI's threads; once as `fit` compiles it
(a batch of 4, of which a lone photo fills one place) and once for one photo. Both servers get the same photos in the
same run, by turns. Rates are shown with the processor seconds of the server's process, which other programs do not
change.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

BOUNDARY = "----bench"
ROUNDS = 5


def bare(run: str, port: int, one_by_one: bool) -> None:
    """Serve a bundle as one would by hand."""
    import numpy as np
    import openvino as ov
    import uvicorn
    from fastapi import FastAPI, UploadFile

    import headstart as hs
    from headstart.base.config import cache_dir
    from headstart.engines.select import folder_of

    model = hs.load(run)
    network = model.source.network()
    folder = folder_of(network, cache_dir()) / "openvino"
    graph = ov.Core().read_model(folder / "network.xml", folder / "network.bin")
    if one_by_one:
        graph.reshape({0: [1, *network.input_shape]})
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(graph, "CPU", hints)
    shape = tuple(graph.input(0).shape)
    app = FastAPI()

    def predict(file: UploadFile) -> dict:
        batch = np.zeros(shape, np.uint8)
        batch[0] = model.source.prepare(file.file.read())
        outputs = compiled.infer_new_request({0: batch})
        row = np.hstack([outputs[place][:1] for place in range(len(network.blocks))])
        probabilities, novelty = model.judge(row, network.blocks)
        best = int(probabilities[0].argmax())
        return {
            "label": model.classes[best],
            "probability": float(probabilities[0, best]),
            "novelty": float(novelty[0]),
        }

    predict.__annotations__ = {"file": UploadFile}  # FastAPI cannot look the name up in a function
    app.post("/v1/predict")(predict)
    uvicorn.run(app, port=port, log_level="warning", http="h11", loop="asyncio")


def request(photo: bytes) -> bytes:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'.encode()
    body = part + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length), b"connection: close" in head


async def load(port: int, requests: list[bytes], concurrency: int, count: int) -> tuple[list[float], Counter]:
    """Send requests over so many kept connections; return the seconds of each that was answered 200, and statuses."""
    left, seconds, statuses = iter(range(count)), [], Counter()

    async def client() -> None:
        reader = writer = None
        for at in left:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            start = time.perf_counter()
            try:
                writer.write(requests[at % len(requests)])
                status, _, closed = await answer(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                status, closed = 0, True
            statuses[status] += 1
            if status == 200:
                seconds.append(time.perf_counter() - start)
            if closed:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    await asyncio.gather(*(client() for _ in range(concurrency)))
    return seconds, statuses


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Process:
    """A server in a process of its own."""

    def __init__(self, arguments: list[str], port: int) -> None:
        self.port = port
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen([sys.executable, *arguments], stdout=self.log, stderr=self.log)
        self.info = psutil.Process(self.process.pid)
        for _ in range(1200):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert self.process.poll() is None, self.output()
            time.sleep(0.1)
        raise TimeoutError(self.output())

    def output(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def seconds(self) -> float:
        times = self.info.cpu_times()
        return times.user + times.system

    def megabytes(self) -> float:
        return self.info.memory_info().rss / 2**20

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def ours(run: str) -> Process:
    port = free_port()
    return Process(["-m", "headstart", "serve", run, "--port", str(port)], port)


def by_hand(run: str, *, one_by_one: bool) -> Process:
    port = free_port()
    return Process([__file__, "--bare", run, str(port), "1" if one_by_one else "4"], port)


def throughput(run: str, photos: list[bytes]) -> None:
    requests = [request(photo) for photo in photos]
    servers = {"headstart": ours(run), "bare, batch of 4": by_hand(run, one_by_one=False)}
    servers["bare, batch of 1"] = by_hand(run, one_by_one=True)
    for name, server in servers.items():
        asyncio.run(load(server.port, requests, 2, 20))
        print(f"{name}: {server.megabytes():.0f} MiB after the first requests")
    for concurrency, count in ((1, 30), (16, 96)):
        rates: dict[str, list[float]] = {name: [] for name in servers}
        used: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, server in servers.items():
                before, start = server.seconds(), time.perf_counter()
                _, statuses = asyncio.run(load(server.port, requests, concurrency, count))
                rates[name].append(statuses[200] / (time.perf_counter() - start))
                used[name].append(1000 * (server.seconds() - before) / max(1, statuses[200]))
        for name in servers:
            ratios = [a / b for a, b in zip(rates["headstart"], rates[name], strict=True)]
            print(
                f"concurrency {concurrency}, {name}: {statistics.median(rates[name]):.1f} requests/s, "
                f"{statistics.median(used[name]):.1f} ms of processor each; headstart's rate is "
                f"{statistics.median(ratios):.2f} of it [{min(ratios):.2f}, {max(ratios):.2f}]"
            )
    for server in servers.values():
        server.stop()


def crowd(run: str, photos: list[bytes]) -> None:
    server = ours(run)
    asyncio.run(load(server.port, [request(photo) for photo in photos], 4, 40))
    before, used = server.megabytes(), server.seconds()
    seconds, statuses = asyncio.run(load(server.port, [request(photo) for photo in photos], 1000, 1000))
    seconds.sort()
    shown = ", ".join(f"p{share} {seconds[int(len(seconds) * share / 100)]:.2f} s" for share in (50, 99))
    print(
        f"1,000 at once: statuses {dict(statuses)}, 0 is a reset; of the answered {shown}; memory {before:.0f} to "
        f"{server.megabytes():.0f} MiB; {server.seconds() - used:.1f} s of processor"
    )
    server.stop()


def large(run: str, photos: list[bytes]) -> None:
    server = ours(run)
    asyncio.run(load(server.port, [request(photos[0])], 1, 5))
    before, peak = server.megabytes(), 0.0
    for chunked in (False, True):
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {1 << 30}"
        head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n{length}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", server.port)) as one:
            one.sendall(head)
            block, sent, start = bytes(1 << 20), 0, time.perf_counter()
            try:
                while sent < 1 << 30:
                    one.sendall(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
                    sent += len(block)
                    peak = max(peak, server.megabytes())
            except OSError:
                pass
            one.settimeout(10)
            try:
                got = one.recv(4096)
            except OSError as error:
                got = str(error).encode()
            print(f"1 GB, {length}: {sent >> 20} MiB sent in {time.perf_counter() - start:.1f} s, {got[:12]!r}")
    print(f"memory {before:.0f} MiB, at most {peak - before:.0f} MiB more")
    server.stop()


def half_open(run: str, photos: list[bytes]) -> None:
    server = ours(run)
    kinds = [b"", b"POST /v1/predict HTTP/1.1\r\nHost: loc", request(photos[0])[:2000], b"GET / HTTP/1.1\r\n"]
    held = []
    for place in range(200):
        one = socket.create_connection(("127.0.0.1", server.port))
        one.sendall(kinds[place % len(kinds)])
        one.settimeout(0.0)
        held.append(one)
    start, slowest, ended = time.perf_counter(), 0.0, {}
    while len(ended) < len(held) and time.perf_counter() - start < 30:
        seconds, statuses = asyncio.run(load(server.port, [request(photos[0])], 1, 1))
        assert statuses[200] == 1, statuses
        slowest = max(slowest, *seconds)
        for place, one in enumerate(held):
            if place in ended:
                continue
            try:
                if place % 4 == 3:
                    one.send(b"X")  # it drips
                if not one.recv(4096):
                    ended[place] = time.perf_counter() - start
            except BlockingIOError:
                pass
            except OSError:
                ended[place] = time.perf_counter() - start
        time.sleep(0.2)
    print(
        f"{len(ended)} of 200 half-open connections ended, the last after {max(ended.values()):.1f} s; meanwhile "
        f"requests were answered in {slowest:.2f} s at most"
    )
    server.stop()


def steady(run: str, photos: list[bytes]) -> None:
    server = ours(run)
    requests = [request(photo) for photo in photos]
    seen = []
    for _ in range(10):
        _, statuses = asyncio.run(load(server.port, requests, 8, 1000))
        seen.append(server.megabytes())
        print(f"{dict(statuses)} {seen[-1]:.0f} MiB", flush=True)
    print(f"memory over 10,000 requests: {seen[0]:.0f} MiB after 1,000, {seen[-1]:.0f} MiB after all")
    server.stop()


def hostile(run: str, photos: list[bytes]) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from hostile_requests import hostile_requests

    server = ours(run)
    found: dict[str, int] = {}
    for name, data in hostile_requests(photos[0]).items():
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as one:
            try:
                one.sendall(data)
                got = one.recv(65536)
                found[name] = int(got[9:12]) if got[:5] == b"HTTP/" else 0
            except OSError:
                found[name] = 0
    _, statuses = asyncio.run(load(server.port, [request(photos[0])], 1, 1))
    print(f"{len(found)} hostile requests: {dict(Counter(found.values()))}, 0 is a connection ended without an answer")
    print("  of 5xx: ", {name: status for name, status in found.items() if status >= 500})
    print("  answered 200: ", [name for name, status in found.items() if status == 200])
    print(f"  and a good request afterwards: {dict(statuses)}")
    server.stop()


PARTS = {"throughput": throughput, "crowd": crowd, "large": large, "half_open": half_open, "hostile": hostile}
PARTS["steady"] = steady


def main() -> None:
    if sys.argv[1] == "--bare":
        bare(sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(chosen.data / "ants_bees.tar") as tar:
            tar.extractall(folder, filter="data")
        run = Path(folder) / "run"
        photos = sorted((Path(folder) / "ants_bees").rglob("*.jpg"))
        command = [sys.executable, "-m", "headstart", "fit", str(photos[0].parents[1]), "--out", str(run), "-q"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        payloads = [photo.read_bytes() for photo in photos[:64]]
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; photos of {sum(map(len, payloads)) // 64:,} bytes"
        )
        for name in chosen.only:
            PARTS[name](str(run), payloads)


if __name__ == "__main__":
    main()

"""Memory and seconds of `headstart fit` on many small generated pictures in Parquet shards.

Usage: python bench/million.py FOLDER [--examples 10000 100000 200000] [--source URI]

The shards are written below FOLDER once and used again. Each `fit` is a process of its own with an empty cache; its
resident memory, that of its children and of mapped files too, is read ten times a second, and what its progress lines
say is left is compared with what it was. The source is a network of two layers with random weights for pictures of
64 pixels with 1,280 features, which costs next to nothing: what remains is what a million examples cost beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from machine import machine

CLASSES = 10
SHARD = 20_000  # examples of one file
GROUP = 1_000  # rows of one row group
SIDE = 64  # pixels
LEFT = re.compile(r"^(.+?): ([\d,]+) of ([\d,]+) .* (\d+) s left")
ENDED = re.compile(r"^(.+?): ([\d,]+) \S+ in ([\d.]+) s")
WIDTH = 1280


def pictures(first: int, count: int) -> list[bytes]:
    """Return JPEGs of a blob and stripes whose hue and slope follow from the class, each unlike the others."""
    rng = np.random.default_rng(first)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    made = []
    for number in range(first, first + count):
        kind, (u, v, phase, width) = number % CLASSES, rng.random(4)
        turn = kind * np.pi / CLASSES + rng.normal(0, 0.15)
        stripes = np.sin((6 + 10 * width) * (x * np.cos(turn) + y * np.sin(turn)) * 2 + 6.3 * phase)
        blob = np.exp(-((x - u) ** 2 + (y - v) ** 2) * (8 + 20 * width))
        hue = rng.random(3) * 0.7 + 0.3 * (np.arange(3) == kind % 3)
        grain = rng.normal(0, 14, (SIDE, SIDE, 3))
        picture = np.clip(110 + 70 * stripes[..., None] * hue + 70 * blob[..., None] * hue[::-1] + grain, 0, 255)
        made.append(simplejpeg.encode_jpeg(np.ascontiguousarray(picture, dtype=np.uint8), quality=85))
    return made


def write_shards(folder: Path, examples: int) -> Path:
    """Return the folder of shards in the Hugging Face image layout, written where it is not there."""
    target = folder / f"pictures-{examples}"
    if target.exists():
        return target
    unfinished = folder / f"pictures-{examples}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    names = [f"class{number}" for number in range(CLASSES)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    for shard, first in enumerate(range(0, examples, SHARD)):
        count = min(SHARD, examples - first)
        rows = [{"bytes": data, "path": None} for data in pictures(first, count)]
        labels = [number % CLASSES for number in range(first, first + count)]
        table = pa.table([pa.array(rows, schema.field(0).type), pa.array(labels)], schema=schema)
        pq.write_table(table, unfinished / f"train-{shard:05d}.parquet", row_group_size=GROUP)
    unfinished.rename(target)
    return target


def write_network(path: Path) -> str:
    """Return the URI of a network of two convolutions with random weights, an ONNX file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, node = np.random.default_rng(0), helper.make_node
    shapes = {"w1": (32, 3, 8, 8), "w2": (WIDTH, 32, 4, 4), "w3": (WIDTH, CLASSES)}
    values = {name: rng.normal(0, np.prod(shape[1:]) ** -0.5, shape) for name, shape in shapes.items()}
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], strides=[4, 4]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], strides=[4, 4]),
        node("Relu", ["c2"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["p"]),
        node("Flatten", ["p"], ["flat"]),
        node("MatMul", ["flat", "w3"], ["logits"]),
    ]
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return f"onnx:{path}"


@dataclass
class Watch:
    """What a process took."""

    peak: int = 0  # bytes resident, of it and of its children together
    lines: list[tuple[float, str]] = field(default_factory=list)  # when which line was shown
    trace: list[tuple[float, int]] = field(default_factory=list)  # seconds since the start, and bytes


def resident(pid: int) -> int:
    """Return the resident bytes of a process and its children, those of mapped files too."""
    total = 0
    for each in [pid, *children(pid)]:
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue
        rows = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Rss"))
        total += sum(int(rows.get(name, "0 kB").split()[0]) for name in ("RssAnon", "RssFile", "RssShmem")) * 1024
    return total


def children(pid: int) -> list[int]:
    """Return the ids of all processes below one."""
    try:
        own = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [each for child in own for each in (child, *children(child))]


def watch(process: subprocess.Popen[str], found: Watch) -> None:
    """Fill `found` until the process ends."""
    start = time.perf_counter()
    while process.poll() is None:
        size = resident(process.pid)
        found.peak = max(found.peak, size)
        found.trace.append((time.perf_counter() - start, size))
        time.sleep(0.1)


def measured(data: Path, work: Path, options: list[str]) -> tuple[dict[str, object], Watch, float]:
    """Return the result of one `fit`, its memory, and its seconds of processor."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    environment = {**os.environ, "HEADSTART_CACHE": str(work / "cache")}
    command = [sys.executable, "-m", "headstart", "fit", str(data), "--out", str(work / "out"), *options]
    before = os.times()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found = Watch()
    assert process.stderr is not None
    watching = threading.Thread(target=watch, args=(process, found))
    reading = threading.Thread(target=_drain, args=(process.stderr, found.lines))
    watching.start(), reading.start()
    watching.join(), reading.join()
    if process.wait():
        raise SystemExit("".join(line for _, line in found.lines)[-4_000:])
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads((work / "out" / "result.json").read_text()), found, spent


def _drain(stream: IO[str], lines: list[tuple[float, str]]) -> None:
    lines += ((time.perf_counter(), line) for line in stream)


def off_by(lines: list[tuple[float, str]]) -> list[float]:
    """Return by what share of it each time left that was shown after the first tenth of a step was wrong."""
    ends = {match[1]: at for at, line in lines if (match := ENDED.match(line))}
    wrong = []
    for at, line in lines:
        match = LEFT.match(line)
        if match and match[1] in ends:
            done, total, left = (int(match[group].replace(",", "")) for group in (2, 3, 4))
            if done >= total / 10 and ends[match[1]] - at > 5:
                wrong.append(abs(left / (ends[match[1]] - at) - 1))
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", type=int, nargs="+", default=[10_000, 100_000, 200_000])
    parser.add_argument("--source", default=None)
    options = parser.parse_args()
    print(machine())
    options.folder.mkdir(parents=True, exist_ok=True)
    more = ["--source", options.source or write_network(options.folder / "small.onnx")]
    for examples in options.examples:
        data = write_shards(options.folder, examples)
        start = time.perf_counter()
        result, found, spent = measured(data, options.folder / "work", more)
        wall = time.perf_counter() - start
        accuracy = result["test"]["accuracy"]["value"]  # type: ignore[index]
        print(
            f"{examples:>9,} pictures: peak {found.peak / 2**20:,.0f} MiB, {wall:.0f} s, {spent:.0f} s of processor, "
            f"{spent / examples * 1000:.2f} ms a picture, accuracy {accuracy:.3f}, {result['head']}",
            flush=True,
        )
        print(f"          seconds {result['seconds']}", flush=True)
        if wrong := off_by(found.lines):
            inside = sum(share <= 0.2 for share in wrong)
            print(
                f"          {inside} of {len(wrong)} times left shown were right within 20 %, at worst {max(wrong):.0%}"
            )
        Path(options.folder / f"trace-{examples}.json").write_text(json.dumps(found.trace))
        for warning in result["warnings"]:
            print("          ", warning)


if __name__ == "__main__":
    main()

"""Recordings: the default source, its speed, and a source developed on spoken digits against its baselines.

Usage: python bench/sounds.py DATA [default] [speakers] [speed] [long] [whole] [carried] [--budget 4m] [--epochs 30]
       [--seeds 5] [--compare 10m]

`default` fits spoken_digits without naming a source: on the given split, with 10 labels per class (the mean of 5
draws), and with each speaker left out. `speakers` asks who speaks instead, of `packaged:resemblyzer` and of
`packaged:speech`, with all labels and 10 per class, on the given split and on digits that were not learned from.
`speed` extracts the features of the default, by turns with a plain loop that runs the two graphs of the package on one
window after the other, as its own code does. `long` hears 1 minute and 2 hours. `whole` develops ResNet-9 on the 1,200
training recordings of spoken_digits and measures it on the 300 given test recordings, beside MFCC with logistic
regression. `carried` develops it on the digits 0-4 alone, and compares it with the same network from scratch on the
digits 5-9 with 5, 10 and 20 labels per class.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import openvino as ov
from machine import machine

import headstart as hs
from headstart.base.progress import Progress
from headstart.data.audio.decoding import samples
from headstart.data.readers.arrays.in_memory import from_items
from headstart.features.extract import extract
from headstart.pretraining.options import PretrainOptions
from headstart.pretraining.pretrain import run_pretrain, write_source
from headstart.sources.package_files import find_member
from headstart.sources.providers.packaged_sounds import SPEECH

ARCH = "arch:resnet9"


def develop(data: Path, out: Path, *, budget: float | None, epochs: int) -> None:
    """Develop a source, forced, and print how it went."""
    options = PretrainOptions(arch=ARCH, size=64, budget=budget, epochs=epochs, force=True, out=out)
    found = run_pretrain(data, options, Progress())
    write_source(out, found)
    result = found.result
    curve = ", ".join(f"{epoch['accuracy']:.3f}" for epoch in result["training"]["history"])
    print(f"{found.verdict} Gate passed: {found.gate.passed}.")
    training, seconds = result["training"], result["seconds"]
    print(
        f"  {training['epochs']} epochs, {training['images']:,} recordings seen, {seconds['tune']:,.0f} s of training"
    )
    print(f"  {seconds['total']:,.0f} s in all; right of those held out, epoch by epoch: {curve}", flush=True)


def digits(data: Path, names: str, folder: Path) -> Path:
    """Write the recordings of some digits as a folder of class folders."""
    with tarfile.open(data / "spoken_digits.tar") as tar:
        for member in tar:
            if member.isfile() and member.name.split("/")[-2] in names:
                tar.extract(member, folder, filter="data")
    return folder / "spoken_digits"


def carried(data: Path, folder: Path, *, budget: float | None, epochs: int, seeds: int, compare: str) -> None:
    """Develop on the digits 0-4, and compare on the digits 5-9."""
    develop(digits(data, "01234", folder / "low"), folder / "ears", budget=budget, epochs=epochs)
    found = hs.compare(
        digits(data, "56789", folder / "high"),
        source=f"file:{folder / 'ears'}",
        labels_per_class=[5, 10, 20],
        seeds=seeds,
        budget=compare,
        out=folder / "compared",
    )
    print(found.sentence)
    result = json.loads((folder / "compared" / "result.json").read_text())
    for name, value in result.items():
        if name in ("start", "slope", "asymptote", "labels_saved", "arms", "fields", "points"):
            print(f"  {name}: {json.dumps(value)}")


def default(data: Path, folder: Path) -> None:
    """Fit without naming a source, and print accuracies."""

    def accuracy(where: Path, **how: object) -> float:
        report = hs.fit(where, **how).report
        simple = report["baselines"]["simple"]
        value = float(report["test"]["accuracy"]["value"])
        print(f"    {value:.3f} (MFCC {simple:.3f}), {report['source']}, layer {report['layer']}", flush=True)
        return value

    tar = data / "spoken_digits.tar"
    print("  given split:")
    accuracy(tar)
    print("  10 labels per class, 5 draws:")
    print(f"  mean {np.mean([accuracy(tar, labels_per_class=10, seed=seed) for seed in range(5)]):.3f}")
    with tarfile.open(tar) as file:
        file.extractall(folder, filter="data")
    files = sorted((folder / "spoken_digits").rglob("*.wav"))
    speaker_of = {file: file.stem.split("_")[1] for file in files}
    left_out = []
    for speaker in sorted(set(speaker_of.values())):
        rows = [
            f"{file.relative_to(folder)},{file.parent.name},{'test' if speaker_of[file] == speaker else 'train'}"
            for file in files
        ]
        table = folder / f"without_{speaker}.csv"
        table.write_text("\n".join(["path,label,split", *rows]) + "\n")
        print(f"  without {speaker}:")
        left_out.append(accuracy(table))
    print(f"  mean {np.mean(left_out):.3f}")


def speakers(data: Path, folder: Path) -> None:
    """Print how well each of two sources tells the speakers of spoken_digits apart, beside MFCC."""
    with tarfile.open(data / "spoken_digits.tar") as file:
        file.extractall(folder, filter="data")
    files = sorted((folder / "spoken_digits").rglob("*.wav"))
    splits = {
        "given split": {file: file.parent.parent.name for file in files},
        "digits 7 to 9 left out": {file: "test" if file.parent.name in "789" else "train" for file in files},
    }
    for title, part_of in splits.items():
        rows = [f"{file.relative_to(folder)},{file.stem.split('_')[1]},{part_of[file]}" for file in files]
        table = folder / "speakers.csv"
        table.write_text("\n".join(["path,label,split", *rows]) + "\n")
        for labels in (None, 10):
            for uri in ("packaged:resemblyzer", "packaged:speech"):
                draws = range(5 if labels else 1)
                reports = [hs.fit(table, source=uri, labels_per_class=labels, seed=seed).report for seed in draws]
                value = np.mean([report["test"]["accuracy"]["value"] for report in reports])
                simple = np.mean([report["baselines"]["simple"] for report in reports])
                print(f"  {title}, {labels or 'all'} labels, {uri}: {value:.3f} (MFCC {simple:.3f})", flush=True)


def plain_loop(clips: list[bytes]) -> np.ndarray:
    """Return mean and maximum over windows of each clip: one graph of the package after the other, window by window."""
    embedding = find_member(SPEECH, "bench")
    mel, network = (
        ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for path in (embedding.with_name("melspectrogram.onnx"), embedding)
    )
    rows = []
    for clip in clips:
        sound = samples(clip, rate=16_000, seconds=2.04)
        padded = np.zeros(32_992, np.float32)
        start = (len(padded) - len(sound)) // 2
        padded[start : start + len(sound)] = sound * 32_768
        levels = mel(padded[None])[0].reshape(-1, 32) / 10 + 2
        starts = range(0, len(levels) - 75, 8)
        vectors = np.stack([network(levels[None, at : at + 76, :, None])[0].ravel() for at in starts])
        rows.append(np.concatenate([vectors.mean(axis=0), vectors.max(axis=0)]))
    return np.stack(rows)


def speed(data: Path, rounds: int = 3) -> None:
    """Print how long extraction takes beside the plain loop, by turns, both from the bytes of the same clips."""
    with tarfile.open(data / "spoken_digits.tar") as tar:
        members = [member for member in tar if member.isfile() and "/test/" in member.name]
        clips = [tar.extractfile(member).read() for member in members]
    source = hs.open_source("packaged:speech")
    dataset = from_items(clips, kind="sound")
    times: dict[str, list[tuple[float, float]]] = {"loop": [], "extract": []}
    with tempfile.TemporaryDirectory() as cache:
        extract(dataset, source, cache=Path(cache), keep=False)  # converts, and agrees on an engine
        for _ in range(rounds):
            for name, work in (
                ("loop", lambda: plain_loop(clips)),
                ("extract", lambda: extract(dataset, source, cache=Path(cache), keep=False)),
            ):
                cpu, wall = time.process_time(), time.perf_counter()
                work()
                times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    (loop, loop_wall), (cpu, wall) = (np.median(times[name], axis=0) for name in ("loop", "extract"))
    print(f"  {len(clips)} clips, loop: {loop:.2f} s of processor, {loop_wall:.2f} s by the clock")
    print(f"  extract: {cpu:.2f} s of processor ({loop / cpu:.1f} times), {wall:.2f} s ({loop_wall / wall:.1f} times)")


def long() -> None:
    """Print the memory and the time of recordings of 1 minute and 2 hours, FLAC of noise at 16 kHz, heard whole."""
    code = (
        "import io, resource, sys, time, numpy as np, soundfile\n"
        "from headstart.sources.registry import open_source\n"
        "file, rng = io.BytesIO(), np.random.default_rng(0)\n"
        "with soundfile.SoundFile(file, 'w', 16000, 1, format='FLAC') as writer:\n"
        "    for _ in range(int(sys.argv[1])): writer.write(0.1 * np.sin(np.arange(960000) / (9 + rng.random())))\n"
        "source, cpu = open_source('packaged:speech'), time.process_time()\n"
        "source.encode([file.getvalue()])\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10\n"
        "size = len(file.getvalue()) >> 20\n"
        "print(f'  {sys.argv[1]} min: peak {peak} MiB, file {size} MiB twice, {time.process_time() - cpu:.1f} s')"
    )
    for minutes in ("1", "120"):
        subprocess.run([sys.executable, "-c", code, minutes], check=True)


def main() -> None:
    """Run the parts that were asked for."""
    from headstart.tune.settings import parse_budget

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("parts", nargs="*", default=["default", "speakers", "speed", "long", "whole", "carried"])
    parser.add_argument("--budget", type=parse_budget)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--compare", default="10m")
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "default" in given.parts:
            default(given.data, folder)
        if "speakers" in given.parts:
            speakers(given.data, folder)
        if "speed" in given.parts:
            speed(given.data)
        if "long" in given.parts:
            long()
        if "whole" in given.parts:
            develop(given.data / "spoken_digits.tar", folder / "whole", budget=given.budget, epochs=given.epochs)
        if "carried" in given.parts:
            how = {"budget": given.budget, "epochs": given.epochs, "seeds": given.seeds, "compare": given.compare}
            carried(given.data, folder, **how)


if __name__ == "__main__":
    main()

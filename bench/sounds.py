"""Recordings: a source developed on spoken digits, against its baselines, and carried over from some digits to others.

Usage: python bench/sounds.py DATA [whole] [carried] [--budget 4m] [--epochs 30] [--seeds 5] [--compare 10m]

`whole` develops ResNet-9 on the 1,200 training recordings of spoken_digits and measures it on the 300 given test
recordings, beside MFCC with logistic regression. `carried` develops it on the digits 0-4 alone, and compares it with
the same network from scratch on the digits 5-9 with 5, 10 and 20 labels per class.
"""

from __future__ import annotations

import argparse
import json
import tarfile
import tempfile
from pathlib import Path

from machine import machine

import headstart as hs
from headstart.base.progress import Progress
from headstart.pretraining.options import PretrainOptions
from headstart.pretraining.pretrain import run_pretrain, write_source

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


def main() -> None:
    """Run the parts that were asked for."""
    from headstart.tune.settings import parse_budget

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("parts", nargs="*", default=["whole", "carried"])
    parser.add_argument("--budget", type=parse_budget)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--compare", default="10m")
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "whole" in given.parts:
            develop(given.data / "spoken_digits.tar", folder / "whole", budget=given.budget, epochs=given.epochs)
        if "carried" in given.parts:
            how = {"budget": given.budget, "epochs": given.epochs, "seeds": given.seeds, "compare": given.compare}
            carried(given.data, folder, **how)


if __name__ == "__main__":
    main()

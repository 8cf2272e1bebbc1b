"""What the developed source of Tiny ImageNet is worth: 20 labels per class, against the same network from scratch.

Usage: python bench/developed.py DATA [--source sources/tiny-imagenet] [--seeds 3] [--sets flowers5,cats_dogs,trashnet]

Both arms see 64 x 64 pixels. Carried over: `fit` on the frozen source. Scratch: the network from random weights on the
training loop of pretrain, 40 epochs of the labelled photos, of which the best on those photos counts. The difference is
paired, photo by photo over all seeds, with a 95 % interval (bootstrap).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine

LABELS, EPOCHS = 20, 40


def carried(dataset, hashes, parts, source):
    """Return which test photos the frozen source with a head names right."""
    from headstart.heads.select import choose_head

    labels, test = labels_of(dataset, parts.train), labels_of(dataset, parts.test)
    x, x_test = (source.encode([dataset.read(at) for at in part]) for part in (parts.train, parts.test))
    head = choose_head(x, labels, dataset.classes, seed=0).head
    return head.predict_proba(x_test).argmax(axis=1) == test


def scratch(dataset, parts, source, seed):
    """Return which test photos the same network names right that learned from the labelled ones alone."""
    from headstart.sources.registry import open_source
    from headstart.tune.pretrain import RECIPE, Material, fresh, probabilities_of, train_anew

    network = fresh(
        open_source(source.opened["uri"], weights="none", seed=seed), classes=len(dataset.classes), size=0, seed=seed
    )
    material = Material(dataset, parts.train, parts.train, parts.test)
    recipe = replace(RECIPE, epochs=EPOCHS, patience=EPOCHS, batch=20, average=0.9, seed=seed)
    train_anew(replace(network, grows=False), material, recipe)
    return probabilities_of(network, material, parts.test).argmax(axis=1) == labels_of(dataset, parts.test)


def labels_of(dataset, part):
    ids = {name: at for at, name in enumerate(dataset.classes)}
    return np.array([ids[dataset.examples[at].label] for at in part], dtype=np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--source", default="sources/tiny-imagenet")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default="flowers5,cats_dogs,trashnet")
    given = parser.parse_args()
    from headstart.base.progress import Progress
    from headstart.data.audit import scan
    from headstart.data.read import open_dataset
    from headstart.data.split import split
    from headstart.judge.intervals import paired_difference
    from headstart.sources.registry import open_source

    print(machine())
    source, gains = open_source(f"file:{given.source}", layer="joined"), []
    for name in given.sets.split(","):
        scanned = scan(open_dataset(given.data / f"{name}.tar"), progress=Progress())
        right: tuple[list, list] = ([], [])
        start = time.monotonic()
        for seed in range(given.seeds):
            parts = split(scanned.dataset, scanned.hashes, seed=seed, labels_per_class=LABELS)
            right[0].append(carried(scanned.dataset, scanned.hashes, parts, source))
            right[1].append(scratch(scanned.dataset, parts, source, seed))
        one, other = (np.concatenate(found) for found in right)
        gap = paired_difference(one, other, seed=0)
        gains.append(gap.value)
        print(
            f"| {name} | {one.mean():.3f} | {other.mean():.3f} | {100 * gap.value:+.1f} [{100 * gap.low:+.1f}, "
            f"{100 * gap.high:+.1f}] | {time.monotonic() - start:.0f} s |",
            flush=True,
        )
    print(f"mean gain: {100 * np.mean(gains):+.1f} points")


if __name__ == "__main__":
    main()

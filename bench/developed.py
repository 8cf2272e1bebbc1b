"""What the developed source of Tiny ImageNet is worth: 20 labels per class, against the same network from scratch.

Usage: python bench/developed.py DATA [--source artifacts/tiny-imagenet] [--seeds 2] [--sets flowers5,trashnet]

All arms see 64 x 64 pixels. Frozen: the best head on the source's features. Carried over: a head on pooled features,
then all weights on the training loop of pretrain, at a third of its rate. Scratch: the same network from random
weights on the same loop at its full rate. Both see 15 epochs of the labelled photos, of which the best on those photos
counts. The difference of the last two is paired, photo by photo over all seeds, with a 95 % interval (bootstrap). One
thread: more than one only wait for each other on a busy machine.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine

LABELS, EPOCHS = 20, 15


def frozen(dataset, parts, source):
    """Return which test photos the frozen source with a head names right."""
    from headstart.heads.select import choose_head

    x, x_test = (source.encode([dataset.read(at) for at in part]) for part in (parts.train, parts.test))
    head = choose_head(x, labels_of(dataset, parts.train), dataset.classes, seed=0).head
    return head.predict_proba(x_test).argmax(axis=1) == labels_of(dataset, parts.test)


def trained(dataset, parts, source, seed, *, carried):
    """Return which test photos the network names right after the loop."""
    import torch

    from headstart.heads.select import fit_logistic
    from headstart.tune.from_scratch import (
        PRETRAIN_RECIPE,
        PretrainSplits,
        untrained_network,
        probabilities_of,
        train_from_scratch,
    )

    network = untrained_network(source, classes=len(dataset.classes), size=0, seed=seed)
    material = PretrainSplits(dataset, parts.train, parts.train, parts.test)
    if carried:
        x, y = source.encode([dataset.read(at) for at in parts.train]), labels_of(dataset, parts.train)
        head = fit_logistic(x, y, len(dataset.classes), penalties=(10.0, 1.0, 0.1), seed=seed)
        with torch.no_grad():
            network.body.classifier.weight.copy_(torch.from_numpy(head.weight.T))
            network.body.classifier.bias.copy_(torch.from_numpy(head.bias))
    rate = PRETRAIN_RECIPE.learning_rate / 3 if carried else PRETRAIN_RECIPE.learning_rate
    recipe = replace(
        PRETRAIN_RECIPE, epochs=EPOCHS, patience=EPOCHS, batch_size=20, ema_decay=0.9, learning_rate=rate, seed=seed
    )
    train_from_scratch(replace(network, progressive=False), material, recipe)
    return probabilities_of(network, material, parts.test).argmax(axis=1) == labels_of(dataset, parts.test)


def labels_of(dataset, part):
    ids = {name: at for at, name in enumerate(dataset.classes)}
    return np.array([ids[dataset.examples[at].label] for at in part], dtype=np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--source", default="artifacts/tiny-imagenet")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sets", default="flowers5,cats_dogs,trashnet")
    given = parser.parse_args()
    from headstart.base.progress import Progress
    from headstart.data.audit import scan
    from headstart.data.readers.open import open_dataset
    from headstart.data.split import split
    from headstart.engines.environment import set_passive_omp_wait
    from headstart.judge.intervals import paired_difference
    from headstart.sources.registry import open_source

    print(machine())
    set_passive_omp_wait()
    import torch

    torch.set_num_threads(1)
    source, gains = open_source(f"file:{given.source}", layer="joined"), []
    for name in given.sets.split(","):
        scanned = scan(open_dataset(given.data / f"{name}.tar"), progress=Progress())
        right: tuple[list, list, list] = ([], [], [])
        for seed in range(given.seeds):
            random = open_source(f"file:{given.source}", weights="none", seed=seed)
            parts = split(scanned.dataset, scanned.hashes, seed=seed, labels_per_class=LABELS)
            right[0].append(frozen(scanned.dataset, parts, source))
            right[1].append(trained(scanned.dataset, parts, source.at("pool"), seed, carried=True))
            right[2].append(trained(scanned.dataset, parts, random, seed, carried=False))
        still, one, other = (np.concatenate(found) for found in right)
        gap = paired_difference(one, other, seed=0)
        gains.append(gap.value)
        print(
            f"| {name} | {still.mean():.3f} | {one.mean():.3f} | {other.mean():.3f} | {100 * gap.value:+.1f} "
            f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] |",
            flush=True,
        )
    print(f"mean gain: {100 * np.mean(gains):+.1f} points")


if __name__ == "__main__":
    main()

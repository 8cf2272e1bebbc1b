"""The develop-model way in four steps, on digits that come with scikit-learn: LeNet-5 from 0-4 to 5-9.

1. Choose a source task with plenty of data: the digits 0 to 4, about 180 pictures each.
2. Develop a model there: `hs.pretrain`. The gate asks whether it beats naive baselines; on so easy a task raw pixels
   with logistic regression come so near to 100 % that nothing can, so the source is forced and marked, and `fit` warns.
3. Reuse it: all of its layers but the classifier, for the digits 5 to 9, of which few are labelled.
4. Tune: first a head is fitted on what the network says as it is, then all weights learn.

The control arm is the same network from random weights on the same loop. For 5, 10 and 20 labels per class this prints
the accuracy of both, and what carrying over adds (percentage points, mean over the seeds, 95 % interval): at the start,
before the loop; on the way, the mean over its epochs; and at the end, after the last one.

    python examples/digits.py
    python examples/digits.py --seeds 2 --epochs 4 --labels 10
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import headstart as hs
from headstart.data.readers.open import open_dataset
from headstart.heads.select import fit_logistic
from headstart.judge.intervals import bootstrap_mean

TESTED = 300  # digits that measure; labelled ones are drawn from the others


def pictures(digits):
    """Return the digits `digits` and their labels."""
    found = load_digits()
    rows = np.flatnonzero(np.isin(found.target, digits))
    return [np.uint8(found.images[row] * 15.9375) for row in rows], [str(found.target[row]) for row in rows]


def carried(source, data, labels, *, epochs, seed, scratch=False):
    """Return test accuracy before tuning and after each epoch, shape (epochs + 1,)."""
    import torch

    from headstart.tune.from_scratch import PRETRAIN_RECIPE, PretrainSplits, train_from_scratch, untrained_network

    rng, y = np.random.default_rng(seed), np.array([example.label for example in data.examples])
    test = rng.permutation(len(y))[:TESTED]
    free = np.setdiff1d(np.arange(len(y)), test)
    learn = np.concatenate([rng.permutation(free[y[free] == name])[:labels] for name in data.classes])
    splits = PretrainSplits(data, tuple(learn.tolist()), tuple(test.tolist()), ())
    network = untrained_network(source, classes=len(data.classes), size=0, seed=seed)
    if not scratch:  # a head first: random scores would spoil what is carried over
        items = [data.read(at) for at in splits.train]
        ids = np.searchsorted(data.classes, y[learn])
        head = fit_logistic(source.encode(items), ids, 5, penalties=(1.0, 0.1), seed=seed)
        with torch.no_grad():
            network.body.classifier.weight.copy_(torch.from_numpy(head.weight.T))
            network.body.classifier.bias.copy_(torch.from_numpy(head.bias))
    recipe = replace(
        PRETRAIN_RECIPE, epochs=epochs, patience=epochs, batch_size=16, ema_decay=0.0, label_smoothing=0.0, seed=seed
    )
    trained = train_from_scratch(network, splits, recipe, horizontal_flip=False)
    return np.array([epoch.accuracy for epoch in trained.history])


def main():
    """Develop, carry over, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--labels", type=int, nargs="+", default=[5, 10, 20])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        out = Path(folder) / "zero-to-four"
        source = hs.pretrain(
            pictures(range(5)),
            arch="arch:lenet5",
            epochs=2 * given.epochs,
            force=True,
            batch_size=32,
            out=out,
        )
        data = open_dataset(pictures(range(5, 10)))
        print("labels per class | source | start | on the way | end", flush=True)
        for labels in given.labels:
            gains, levels = [], []
            for seed in range(given.seeds):
                random = hs.open_source("arch:lenet5", weights="none", seed=seed)
                how = {"epochs": given.epochs, "seed": seed}
                arms = [carried(source, data, labels, **how), carried(random, data, labels, scratch=True, **how)]
                places = np.array([[arm[0], arm[1:].mean(), arm[-1]] for arm in arms])
                levels.append(places)
                gains.append(places[0] - places[1])
            for name, arm in zip(("carried over", "from scratch"), np.mean(levels, axis=0), strict=True):
                print(f"{labels} | {name} | " + " | ".join(f"{100 * place:.1f} %" for place in arm))
            told = [bootstrap_mean(100 * column, seed=0) for column in np.transpose(gains)]
            print(
                f"{labels} | gain | " + " | ".join(f"{v:+.1f} [{low:+.1f}, {high:+.1f}]" for v, low, high in told),
                flush=True,
            )


if __name__ == "__main__":
    main()

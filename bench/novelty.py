"""How well a bundle tells what is unlike its training data, and how often it calls unlike what is not.

Usage: python bench/novelty.py DATA [SET ...]

Each model is fitted by `hs.fit` on a set of DATA (at most 100 labels a class, its own test part) and judges three
kinds of examples: its test part, of which 1 in 100 may be called unlike; 300 examples of another set; and noise. For
recordings the other set is music-like tones: chords of three harmonics that decay.
"""

from __future__ import annotations

import io
import string
import sys
import wave
from pathlib import Path

import numpy as np
from machine import machine
from scipy.stats import rankdata

import headstart as hs
from headstart.data.readers.open import open_dataset

RATE, COUNT = 8_000, 300
PAIRS = {
    "ants_bees": "flowers5",
    "flowers5": "ants_bees",
    "trec6": "sms_spam",
    "sms_spam": "trec6",
    "spoken_digits": "",
}


def recording(samples: np.ndarray) -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples / np.abs(samples).max() * 20_000).astype("<i2").tobytes())
    return data.getvalue()


def chord(random: np.random.Generator) -> bytes:
    seconds = np.arange(int(RATE * random.uniform(0.4, 1.0))) / RATE
    notes = 110 * 2 ** (random.choice(36, 3, replace=False) / 12)
    waves = [np.sin(2 * np.pi * note * harmonic * seconds) / harmonic for note in notes for harmonic in (1, 2, 3)]
    return recording(np.sum(waves, axis=0) * np.exp(-2 * seconds))


def noise(kind: str, random: np.random.Generator) -> list:
    if kind == "image":
        return [random.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(COUNT // 3)]
    if kind == "sound":
        return [recording(random.standard_normal(RATE // 2)) for _ in range(COUNT // 3)]
    letters = list(string.ascii_lowercase + "   ")
    return ["".join(random.choice(letters, 60)) for _ in range(COUNT // 3)]


def auroc(own: np.ndarray, foreign: np.ndarray) -> float:
    ranks = rankdata(np.concatenate([own, foreign]))
    return float((ranks[len(own) :].sum() - len(foreign) * (len(foreign) + 1) / 2) / len(own) / len(foreign))


def main(data: Path, names: list[str]) -> None:
    print(machine())
    random, every, alarms = np.random.default_rng(0), [], []
    for name in names or list(PAIRS):
        model = hs.fit(data / f"{name}.tar", labels_per_class=100)
        kind = model.source.info.kind
        own = model.evaluate(data / f"{name}.tar").novelty
        if own is None:
            print(f"{name}: {model.source.info.uri} has no novelty score")
            continue
        alarms.append(float((own > 1).mean()))
        print(f"{name} ({model.source.info.uri}, {model.layer}): {len(own)} test examples, {alarms[-1]:.1%} unlike")
        planted = {"noise": model.novelty_scores(noise(kind, random))}
        if PAIRS[name]:
            foreign = open_dataset(data / f"{PAIRS[name]}.tar")
            chosen = sorted(random.permutation(len(foreign))[:COUNT].tolist())
            scores = model.predict_dataset(foreign.keep(chosen)).novelty
            assert scores is not None
            planted[PAIRS[name]] = scores
        else:
            planted["tones"] = model.novelty_scores([chord(random) for _ in range(COUNT)])
        for what, scores in planted.items():
            every.append(auroc(own, scores))
            print(f"  {what}: AUROC {every[-1]:.3f}, {(scores > 1).mean():.1%} marked", flush=True)
    print(f"mean AUROC {np.mean(every):.3f}, false alarms {np.mean(alarms):.1%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

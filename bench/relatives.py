"""How many of 200 planted relatives are found, how many singles are joined, and what the search costs.

Usage: python bench/relatives.py DATA [--cost | SET …]     (DATA: the folder that holds flowers5.tar, …)

`--cost` prints what the search costs among 10,000 examples of each kind, in seconds of processor, and its memory.

Of each photo set 200 photos get a copy each, of 8 kinds (mirrored, cropped, recompressed, darker or lighter, resized,
blurred or noisy, turned, bordered); of each text set 200 texts (case, white space, marks, a sentence added, words
dropped, cut, a slip, a prefix), and of every third recording 200 (cut, louder or quieter, Ogg, MP3, resampled, mu-law,
in silence, cut and quieter). Originals that are joined with other originals are printed, so that one can look at
what is a near copy indeed. Of those joined, singles are the ones without a near duplicate in their cluster by a
definition apart from the search: of texts, difflib's ratio of their letters and digits is 0.9 at least, or one stands
whole in the other and makes up half of it, or a planted kind makes one of the other (as many words dropped or letters
added at the end); of photos, a person saw one object in one scene in both (`SEEN`).
Constants were settled on flowers5 and trashnet, trec6 and sms_spam; the other sets were kept back.
"""

from __future__ import annotations

import csv
import difflib
import gc
import io
import itertools
import random
import re
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from machine import machine
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy.signal import resample_poly

import headstart as hs
from headstart.data.dataset import Dataset
from headstart.data.readers.arrays.in_memory import from_items
from headstart.data.readers.open import open_dataset
from headstart.features.extract import extract
from headstart.data.shingles import Wordings, normal_form
from headstart.features.modality import ImageSummary
from headstart.features.relatives import find_relatives, related_pictures

PHOTOS = ("flowers5", "cats_dogs", "ants_bees", "trashnet", "sign_digits")
TEXTS = ("sst2", "sms_spam", "trec6", "banking77")
PHOTO_KINDS = ("mirrored", "cropped", "recompressed", "darker", "resized", "blurred", "turned", "bordered")
TEXT_KINDS = ("case", "white space", "marks", "added", "dropped", "cut", "slip", "prefix")
SOUND_KINDS = ("cut", "loudness", "ogg", "mp3", "resampled", "mu-law", "in silence", "cut and quieter")
ADDED = ("Please let me know soon.", "That is all I wanted to ask.", "Thanks a lot in advance.", "Nothing else to add.")
PLANTED, LARGE = 200, 10_000
SEEN = (
    ("flowers5/test/dandelion/17420983523_2e32d70359.jpg", "flowers5/train/dandelion/19440910519_cb1162470e.jpg"),
    ("flowers5/train/dandelion/18243351371_5fda92ac0a_n.jpg", "flowers5/train/dandelion/18999743619_cec3f39bee.jpg"),
    ("flowers5/train/roses/4608559939_3487bf3b62_n.jpg", "flowers5/train/roses/4609168052_3d4e1d3804_n.jpg"),
    ("trashnet/glass/glass130.jpg", "trashnet/glass/glass73.jpg"),
    ("trashnet/glass/glass144.jpg", "trashnet/glass/glass485.jpg"),
    ("trashnet/plastic/plastic26.jpg", "trashnet/plastic/plastic363.jpg"),
    ("trashnet/trash/trash130.jpg", "trashnet/trash/trash131.jpg"),
)


def changed_photo(data: bytes, kind: str, rng: random.Random) -> bytes:
    photo, quality = Image.open(io.BytesIO(data)).convert("RGB"), 85
    width, height = photo.size
    if kind == "mirrored":
        photo = ImageOps.mirror(photo)
    elif kind == "cropped":
        share = rng.uniform(0.75, 0.9)
        wide, high = int(width * share), int(height * share)
        x, y = rng.randint(0, width - wide), rng.randint(0, height - high)
        photo = photo.crop((x, y, x + wide, y + high))
    elif kind == "recompressed":
        quality = 30
    elif kind == "darker":
        photo = ImageEnhance.Brightness(photo).enhance(rng.choice([0.6, 0.7, 1.3, 1.4]))
    elif kind == "resized":
        share = rng.choice([0.5, 0.66, 1.5])
        photo = photo.resize((int(width * share), int(height * share * rng.choice([0.95, 1, 1.05]))))
    elif kind == "blurred" and rng.random() < 0.5:
        photo = photo.filter(ImageFilter.GaussianBlur(max(width, height) / 150))
    elif kind == "blurred":
        noise = np.random.default_rng(rng.randint(0, 9999)).normal(0, 12, (height, width, 3))
        photo = Image.fromarray((np.asarray(photo) + noise).clip(0, 255).astype(np.uint8))
    elif kind == "turned":
        photo = photo.rotate(rng.choice([-7, -5, -3, 3, 5, 7]), Image.Resampling.BICUBIC)
    else:
        edge = int(max(width, height) * rng.uniform(0.04, 0.08))
        photo = ImageOps.expand(photo, edge, rng.choice([(255, 255, 255), (0, 0, 0)]))
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=quality)
    return file.getvalue()


def changed_text(text: str, kind: str, rng: random.Random) -> str:
    words = text.split()
    if kind == "case":
        return rng.choice([text.upper(), text.title()])
    if kind == "white space":
        return "  " + "  ".join(words) + "\n"
    if kind == "marks":
        return re.sub(r"[^\w\s]", "", text) + rng.choice(["!!", "...", ""])
    if kind == "added":
        return f"{text} {rng.choice(ADDED)}"
    if kind == "dropped":
        dropped = set(rng.sample(range(len(words)), max(1, len(words) // 8)))
        return " ".join(word for at, word in enumerate(words) if at not in dropped)
    if kind == "cut":
        return " ".join(words[: max(3, int(len(words) * 0.8))])
    if kind == "slip":
        at = rng.randrange(1, len(text) - 2)
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return rng.choice(["Re: ", "FW: ", "> "]) + text


def changed_sound(data: bytes, kind: str, rng: random.Random) -> bytes:
    sound, rate = soundfile.read(io.BytesIO(data), dtype="float64")
    form = {"format": "WAV", "subtype": "PCM_16"}
    if kind.startswith("cut"):
        first, last = (int(len(sound) * rng.uniform(0, 0.12)) for _ in range(2))
        sound = sound[first : len(sound) - last] * (0.5 if "quieter" in kind else 1)
    elif kind == "loudness":
        sound = sound * rng.choice([0.4, 0.6, 1.5])
    elif kind in ("ogg", "mp3"):
        form = {"format": kind.upper(), "subtype": {"ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}[kind]}
    elif kind == "resampled":
        up, down = rng.choice([(3, 4), (2, 1), (11, 8)])
        sound, rate = resample_poly(sound, up, down), rate * up // down
    elif kind == "mu-law":
        form["subtype"] = "ULAW"
    else:
        sound = np.pad(sound, [int(rate * rng.uniform(0.02, 0.1)) for _ in range(2)])
    file = io.BytesIO()
    soundfile.write(file, sound.clip(-1, 1), rate, **form)
    return file.getvalue()


def photos_of(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        members = sorted((one for one in archive if one.isfile()), key=lambda one: one.name)
        return [(one.name, archive.extractfile(one).read()) for one in members]


def texts_of(path: Path, most: int = 4000) -> list[str]:
    texts: dict[str, None] = {}
    with tarfile.open(path) as archive:
        for one in sorted(archive.getmembers(), key=lambda one: one.name):
            if one.name.endswith(".csv"):
                lines = io.TextIOWrapper(archive.extractfile(one), "utf-8", newline="")
                texts |= dict.fromkeys(row["text"] for row in csv.DictReader(lines))
    return list(texts)[:most]


def dataset_of(items: list, folder: Path) -> Dataset:
    if isinstance(items[0], str) or not items[0].startswith(b"RIFF"):
        return from_items(items, ["a", "b"] * (len(items) // 2) + ["a"] * (len(items) % 2))
    rows = ["path,label"]
    folder.mkdir(parents=True)
    for at, data in enumerate(items):
        suffix = {b"RIFF": "wav", b"OggS": "ogg"}.get(data[:4], "mp3")
        (folder / f"{at:05}.{suffix}").write_bytes(data)
        rows.append(f"{at:05}.{suffix},{'ab'[at % 2]}")
    (folder / "all.csv").write_text("\n".join(rows), encoding="utf-8")
    return open_dataset(folder / "all.csv")


def measured(items: list, source: str, cache: Path) -> tuple[np.ndarray, float, float]:
    """Return the cluster of each item, and the seconds of processor of the extraction and of the search."""
    dataset, opened = dataset_of(items, cache / "items"), hs.open_source(source)
    start = time.process_time()
    extraction = extract(dataset, opened, cache=cache)
    middle = time.process_time()
    clusters = find_relatives(extraction)[extraction.row_of]
    assert len(clusters) == len(items)
    return clusters, middle - start, time.process_time() - middle


def report(name: str, names: list[str], items: list, kinds: tuple[str, ...], change, source: str, seen) -> None:
    rng = random.Random(1)
    singles = len(items)
    long = [at for at in range(singles) if not isinstance(items[at], str) or len(items[at].split()) >= 5]
    of = rng.sample(long, PLANTED)
    items = items + [change(items[at], kinds[k % len(kinds)], rng) for k, at in enumerate(of)]
    with tempfile.TemporaryDirectory() as cache:
        clusters, extracting, searching = measured(items, source, Path(cache))
    found = clusters[singles:] == clusters[of]
    missed = {
        kind: int((~found[k :: len(kinds)]).sum()) for k, kind in enumerate(kinds) if not found[k :: len(kinds)].all()
    }
    first, size = np.unique(clusters[:singles], return_counts=True)
    members = [np.flatnonzero(clusters[:singles] == cluster).tolist() for cluster in first[size > 1]]
    repeated = sum(any(seen(names[a], names[b]) for b in some if a != b) for some in members for a in some)
    joined = sum(map(len, members)) - repeated
    print(
        f"{name:<12} found {found.mean():.1%} of {PLANTED}, missed {missed}; {repeated} originals joined with a near "
        f"duplicate, {joined} of {singles - repeated} singles joined ({joined / (singles - repeated):.2%}); extraction "
        f"{extracting:.1f} s, search {searching:.1f} s"
    )
    for some in members[:8]:
        print("    ", " = ".join(names[at][-60:] for at in some[:4]))


def seen_as_one(first: str, second: str) -> bool:
    return (first, second) in SEEN or (second, first) in SEEN


def written_as_one(first: str, second: str) -> bool:
    short, long = sorted((" ".join(re.findall(r"\w+", text.casefold())) for text in (first, second)), key=len)
    whole = f" {short} " in f" {long} " and 2 * len(short) >= len(long)
    few, many = short.split(), long.split()
    added = long.startswith(f"{short} ") and len(long) - len(short) <= max(map(len, ADDED))
    rest = iter(many)
    dropped = len(many) - len(few) <= max(1, len(many) // 8) and all(word in rest for word in few)
    return whole or added or dropped or difflib.SequenceMatcher(None, short, long, autojunk=False).ratio() >= 0.9


def blended(path: Path, count: int) -> list[bytes]:
    """Return photos of two laid over each other: other pictures, no copies."""
    originals = [Image.open(io.BytesIO(data)).convert("RGB").resize((224, 224)) for _, data in photos_of(path)]
    rng, items = np.random.default_rng(0), []
    for _ in range(count):
        file = io.BytesIO()
        a, b = (originals[k] for k in rng.choice(len(originals), 2, replace=False))
        Image.blend(a, b, 0.5).save(file, "JPEG", quality=90)
        items.append(file.getvalue())
    return items


def mixed(path: Path, count: int) -> list[bytes]:
    """Return recordings of two laid over each other: other recordings, no copies."""
    names = [one for one in photos_of(path) if one[0].endswith(".wav")]
    originals, rng, items = [soundfile.read(io.BytesIO(data)) for _, data in names], np.random.default_rng(0), []
    for _ in range(count):
        file = io.BytesIO()
        a, b = (originals[k] for k in rng.choice(len(originals), 2, replace=False))
        short, long = sorted((a[0], b[0]), key=len)
        both = (long + np.pad(short, (len(long) - len(short), 0))) / 2
        soundfile.write(file, both, a[1], format="WAV", subtype="PCM_16")
        items.append(file.getvalue())
    return items


def peak_of(call: Callable[[], object]) -> float:
    """Return the megabytes that a call takes at its peak beyond what was taken before (Linux)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    status = {line.split(":")[0]: line.split() for line in Path("/proc/self/status").read_text().splitlines()}
    call()
    after = {line.split(":")[0]: line.split() for line in Path("/proc/self/status").read_text().splitlines()}
    return (int(after["VmHWM"][1]) - int(status["VmRSS"][1])) / 1024


def costs(data: Path) -> None:
    """Print the share of the search in the seconds of processor of extraction at 10,000 examples, and its memory."""
    texts = [text for name in TEXTS for text in texts_of(data / f"{name}.tar", LARGE)]
    random.Random(0).shuffle(texts)
    kinds: tuple[tuple[str, str, list], ...] = (
        ("texts", "packaged:wordllama", texts[:LARGE]),
        ("texts", "packaged:minilm", texts[:LARGE]),
        ("photos", "packaged:efficientnet-lite0", blended(data / "flowers5.tar", LARGE)),
        ("recordings", "packaged:speech", mixed(data / "spoken_digits.tar", LARGE)),
    )
    for name, source, items in kinds:
        with tempfile.TemporaryDirectory() as cache:
            _, extracting, searching = measured(items, source, Path(cache))
        print(f"{LARGE:,} {name}, {source}: {extracting:.2f} s, search {searching:.2f} s, {searching / extracting:.1%}")
    for many in (10_000, 20_000, 40_000):
        print(f"memory of the search among {many:,}: {memory_of_pictures(many):.0f} MB of photos, ", end="")
        forms = [normal_form(f"{text} {at}") for at, text in zip(range(many), itertools.cycle(texts))]
        print(f"{peak_of(lambda forms=forms: Wordings(forms).repeats()):.0f} MB of texts")


def memory_of_pictures(count: int) -> float:
    random = np.random.default_rng(0)
    x, small = random.normal(size=(count, 1280)).astype(np.float32), np.zeros((count, 32, 32), np.uint8)
    for at in range(count):
        low = Image.fromarray((random.random((6, 6)) * 255).astype(np.uint8))
        small[at] = np.asarray(low.resize((32, 32), Image.Resampling.BICUBIC))
    return peak_of(lambda: related_pictures(x, ImageSummary(np.zeros((count, 768), np.uint8), small)))


def some(names: tuple[str, ...], chosen: list[str]) -> list[str]:
    return [name for name in names if not chosen or name in chosen]


def main() -> None:
    data, chosen = Path(sys.argv[1]), sys.argv[2:]
    print(machine())
    if "--cost" in chosen:
        costs(data)
        return
    for name in some(PHOTOS, chosen):
        pairs = photos_of(data / f"{name}.tar")
        names, items = [one for one, _ in pairs], [one for _, one in pairs]
        report(name, names, items, PHOTO_KINDS, changed_photo, "packaged:efficientnet-lite0", seen_as_one)
    for name in some(TEXTS, chosen):
        texts = texts_of(data / f"{name}.tar")
        report(name, texts, texts, TEXT_KINDS, changed_text, "packaged:wordllama", written_as_one)
    for name in some(("spoken_digits",), chosen):
        pairs = [one for one in photos_of(data / f"{name}.tar") if one[0].endswith(".wav")][::3]
        names, items = [one for one, _ in pairs], [one for _, one in pairs]
        report(name, names, items, SOUND_KINDS, changed_sound, "packaged:speech", seen_as_one)


if __name__ == "__main__":
    main()

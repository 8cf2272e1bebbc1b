"""Relatives planted among others are found, named, and stay on one side of a split (field f31)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from headstart.data.audio.spectrogram import Spectrogram, log_mel
from headstart.data.audit import Scan
from headstart.data.dataset import Dataset, Example
from headstart.features.features import Extraction
from headstart.features.modality import ImageSummary, SoundSummary, TextSummary
from headstart.features.relatives import (
    MAX_SEARCHED,
    _nearest,
    find_relatives,
    named,
    offered_groups,
    threshold,
    with_relatives,
)

SINGLES, FAMILIES = 60, 12


def pictures() -> NDArray[np.uint8]:
    """Return 60 pictures of random shapes, then the first 12 mirrored, then these 12 cropped."""
    random = np.random.default_rng(0)
    scenes = []
    for _ in range(SINGLES):
        layers = [Image.fromarray((random.random((n, n)) * 255).astype(np.uint8)) for n in (4, 8, 16)]
        sums = sum(np.asarray(layer.resize((64, 64), Image.Resampling.BICUBIC), dtype=float) for layer in layers)
        scenes.append(Image.fromarray((np.asarray(sums) / 3).astype(np.uint8)))
    first = scenes[:FAMILIES]
    scenes += [ImageOps.mirror(one) for one in first] + [one.crop((4, 4, 60, 60)) for one in first]
    return np.stack([np.asarray(one.resize((32, 32), Image.Resampling.BOX)) for one in scenes])


def family_features(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return features in which relatives lie close together, as a pretrained network's do."""
    random = np.random.default_rng(1)
    of = [*range(SINGLES), *range(FAMILIES), *range(FAMILIES)]
    centres = random.normal(size=(SINGLES, 64))
    return (centres[of] + 0.3 * random.normal(size=(len(small), 64))).astype(np.float32)


def extraction_of(
    x: NDArray[np.float32], summary: ImageSummary | SoundSummary | TextSummary, texts: list[str]
) -> Extraction:
    examples = tuple(Example(f"{row}", "ab"[row % 2]) for row in range(len(x)))
    kind = "text" if isinstance(summary, TextSummary) else "image"
    dataset = Dataset("planted", kind, examples, ("a", "b"), lambda at: texts[at].encode())
    scan = Scan(dataset, tuple(f"{row:064x}" for row in range(len(x))), "", 0, (), ())
    return Extraction(scan, tuple(range(len(x))), x, np.arange(len(x)), summary, (), 0, 0, "toy", "0" * 64, ())


def of_pictures() -> Extraction:
    small = pictures()
    return extraction_of(family_features(small), ImageSummary(np.zeros((len(small), 768), np.uint8), small), [])


def test_planted_photos_join_their_originals_and_nothing_else() -> None:
    clusters = find_relatives(of_pictures())
    expected = [*range(SINGLES), *range(FAMILIES), *range(FAMILIES)]
    assert clusters.tolist() == expected


def test_planted_recordings_join_their_originals_and_nothing_else() -> None:
    random = np.random.default_rng(3)
    spectrogram = Spectrogram(8_000, 200, 80, 256, 32, 96, high=4_000)

    def recording() -> NDArray[np.float64]:
        time = np.arange(4_000) / 8_000
        tones = [np.sin(2 * np.pi * (low + bend * time) * time) for low, bend in random.uniform(200, 1500, (4, 2))]
        loud = np.interp(time, np.linspace(0, 0.5, 9), [0, *random.uniform(0.1, 1, 7), 0])
        return np.asarray(loud * np.sum(tones, axis=0) + random.normal(0, 1e-4, len(time)))

    singles = [recording() for _ in range(SINGLES)]
    quieter_and_cut = [0.3 * one[random.integers(0, 200) : len(one) - random.integers(0, 200)] for one in singles]
    later = [np.concatenate([np.zeros(random.integers(200, 2_000)), one]) for one in singles]
    sounds = [*singles, *quieter_and_cut[:FAMILIES], *later[:FAMILIES]]
    pictures = [log_mel(one.astype(np.float32), spectrogram)[:, :, None] for one in sounds]
    summary = SoundSummary.unpack(np.stack([SoundSummary.pack(picture) for picture in pictures]))
    clusters = find_relatives(extraction_of(family_features(summary.small), summary, []))
    assert clusters.tolist() == [*range(SINGLES), *range(FAMILIES), *range(FAMILIES)]


def test_planted_texts_join_their_originals_and_nothing_else() -> None:
    random = np.random.default_rng(2)
    words = ["".join(random.choice(list("abcdefghijklmnop"), 6)) for _ in range(400)]
    texts = [" ".join(random.choice(words, 12)) for _ in range(SINGLES)]
    texts += [text.upper() + "!" for text in texts[:FAMILIES]] + [f"{text} thank you" for text in texts[:FAMILIES]]
    counts = np.ones(len(texts), np.int32)
    x = family_features(np.zeros((len(texts), 1), np.uint8))
    clusters = find_relatives(extraction_of(x, TextSummary(counts, counts), texts))
    assert clusters.tolist() == [*range(SINGLES), *range(FAMILIES), *range(FAMILIES)]


def test_the_nearest_are_found_whatever_block_of_rows_and_columns_they_stand_in() -> None:
    n = 4_500
    z = np.random.default_rng(4).normal(size=(n, 48)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    z[[1_500, 4_400, 4_401]] = z[[20, 4_399, 4_399]]  # the last: three that are one, each nearest to two
    pairs, ranks = _nearest(z.astype(np.float16), z.astype(np.float16), 1, 0.98)
    assert sorted(map(tuple, pairs.tolist())) == [(20, 1_500), (4_399, 4_400), (4_399, 4_401)]
    assert ranks.tolist() == [0, 0, 0]


def test_relatives_are_named_noted_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = with_relatives(of_pictures(), tmp_path)
    names = [example.relatives for example in first.scan.dataset.examples]
    assert names[0] == names[SINGLES] == names[SINGLES + FAMILIES] is not None
    assert names[FAMILIES:SINGLES] == [None] * (SINGLES - FAMILIES)
    assert "36 photos are near copies of others, in 12 clusters" in first.scan.notes[-1]
    monkeypatch.setattr("headstart.features.relatives.find_relatives", None)
    assert with_relatives(of_pictures(), tmp_path).scan.dataset.examples == first.scan.dataset.examples


def test_more_than_can_be_searched_are_said_not_to_be() -> None:
    scan = of_pictures().scan
    many = named(scan, np.arange(MAX_SEARCHED + 1), np.zeros(len(scan.dataset.examples), np.intp))
    assert many.dataset == scan.dataset and "at most 100,000 photos and were not looked for" in many.notes[-1]


def test_where_everything_is_alike_nothing_is_called_a_copy() -> None:
    def look(pairs: NDArray[np.intp]) -> NDArray[np.float32]:
        return np.full(len(pairs), 0.98, np.float32)

    assert threshold(look, np.array([[0, 1], [1, 2]]), 50) > 0.97


@pytest.mark.parametrize("n", [2, 5])
def test_a_handful_of_examples_does_no_harm(n: int) -> None:
    small = pictures()[:n]
    x = family_features(pictures())[:n]
    summary = ImageSummary(np.zeros((n, 768), np.uint8), small)
    assert find_relatives(extraction_of(x, summary, [])).tolist() == list(range(n))


def test_groups_of_names_are_offered_only_where_their_members_are_alike__f31() -> None:
    extraction = of_pictures()
    of = [*range(SINGLES), *range(FAMILIES), *range(FAMILIES)]
    alike = np.argsort(of[:12] + of[SINGLES:])  # each family together
    order = np.array([*range(12), *range(SINGLES, SINGLES + 24)])[alike]

    def renamed(names: list[str]) -> Extraction:
        scan = extraction.scan
        examples = tuple(Example(name, "a") for name in names)
        dataset = replace(scan.dataset, examples=examples, classes=("a",))
        rows = np.arange(36)
        return replace(extraction, scan=replace(scan, dataset=dataset), x=extraction.x[order], row_of=rows)

    def offered(changed: Extraction) -> str | None:
        return offered_groups(changed.scan.dataset, changed.x, changed.row_of)

    note = offered(renamed([f"s{at // 3}_v{at % 3}.jpg" for at in range(36)]))
    assert note is not None and "36 photos fall into 12 groups" in note and "--group-by" in note
    assert offered(renamed([f"s{at % 12}_v{at // 12}.jpg" for at in range(36)])) is None

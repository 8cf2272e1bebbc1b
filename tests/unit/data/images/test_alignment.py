"""Small pictures that show the same are told from those that do not, however they were changed (field f31)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy.ndimage import gaussian_filter

from headstart.data.images.alignment import SIDE, SmallPictures, _blurred, aligned_correlations


def scene(seed: int, side: int = 128) -> Image.Image:
    """Return a picture of random shapes of all sizes."""
    random = np.random.default_rng(seed)
    total: NDArray[np.float64] = np.zeros((side, side))
    for boxes in (4, 8, 16, 32):
        noise = Image.fromarray((random.random((boxes, boxes)) * 255).astype(np.uint8))
        total += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
    return Image.fromarray((total / 4).astype(np.uint8))


def small(picture: Image.Image) -> NDArray[np.uint8]:
    """Return the middle of a picture, as networks read it, at the size that is compared."""
    width, height = picture.size
    picture = picture.crop((width // 16, height // 16, width - width // 16, height - height // 16))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


CHANGES = {
    "mirrored": ImageOps.mirror,
    "cropped": lambda picture: picture.crop((20, 6, 122, 108)),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.6),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(2)),
    "turned": lambda picture: picture.rotate(6, Image.Resampling.BICUBIC),
    "bordered": lambda picture: ImageOps.expand(picture, 8, 255),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_picture_agrees_with_its_original(change: str) -> None:
    pictures = SmallPictures.of(np.stack([small(scene(1)), small(CHANGES[change](scene(1)))]))
    assert aligned_correlations(pictures, np.array([[0, 1]]))[0] > 0.8


def test_other_pictures_do_not_agree_and_a_blank_one_agrees_with_none() -> None:
    scenes = [small(scene(seed)) for seed in range(8)] + [np.full((SIDE, SIDE), 90, np.uint8)] * 2
    pairs = np.array([(a, b) for a in range(10) for b in range(a)])
    assert aligned_correlations(SmallPictures.of(np.stack(scenes)), pairs).max() < 0.7


def test_what_is_left_early_would_not_have_reached_what_is_asked() -> None:
    originals = [scene(seed) for seed in range(6)]
    changed = [change(one) for one, change in zip(originals, CHANGES.values(), strict=True)]
    pictures = SmallPictures.of(np.stack([small(picture) for picture in (*originals, *changed)]))
    pairs = np.array([(a, b) for a in range(12) for b in range(a)])
    all_scores, enough = (aligned_correlations(pictures, pairs, *least) for least in ((), (0.88,)))
    np.testing.assert_array_equal(enough, np.where(all_scores >= 0.88, all_scores, 0))
    assert np.count_nonzero(enough) == 6


def test_blurring_by_products_is_the_filter_of_scipy() -> None:
    pictures = np.random.default_rng(0).random((3, 30, 30)).astype(np.float32)
    for sigma in (0.5, 1.2, 8):
        filtered = gaussian_filter(pictures, (0, sigma, sigma), mode="nearest")
        np.testing.assert_allclose(_blurred(pictures, sigma), filtered, atol=1e-5)


def test_a_mirrored_spectrogram_is_another_recording() -> None:
    both = np.stack([small(scene(1)), small(ImageOps.mirror(scene(1)))])
    pairs = np.array([[0, 1]])
    assert aligned_correlations(SmallPictures.of(both, mirrors=False, sizes=(1.0,)), pairs)[0] < 0.7


def test_stripes_agree_with_other_stripes_and_are_no_copies_of_them() -> None:
    random, (down, across) = np.random.default_rng(0), np.mgrid[:SIDE, :SIDE]
    waves = [np.sin(0.8 * (down * np.sin(1.2) + across * np.cos(1.2)) + shift) for shift in (0, 1.3, 2.9)]
    stripes = [np.asarray(127 + 80 * wave + random.normal(0, 6, wave.shape), np.uint8) for wave in waves]
    pictures = SmallPictures.of(np.stack([*stripes, small(scene(1)), small(CHANGES["cropped"](scene(1)))]))
    scores = aligned_correlations(pictures, np.array([[0, 1], [0, 2], [1, 2], [3, 4]]))
    assert (scores[:3] == 0).all() and scores[3] > 0.8


def test_pairs_that_have_settled_leave_the_others_as_they_are() -> None:
    small_ones = [small(scene(1)), *(small(change(scene(1))) for change in CHANGES.values()), small(scene(2))]
    pictures, pairs = SmallPictures.of(np.stack(small_ones)), np.array([(0, at) for at in range(len(small_ones))])
    alone = np.concatenate([aligned_correlations(pictures, pair[None]) for pair in pairs])
    np.testing.assert_allclose(aligned_correlations(pictures, pairs), alone, atol=1e-3)
    assert alone[0] > 0.999 and alone[-1] < 0.7

"""Views follow from (seed, key, view) alone, stay within what their strength allows, and keep the label."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import functional as kernels

from headstart.base.errors import UsageError
from headstart.data.images.preprocessing import Preprocessing, decode
from headstart.tune.inputs import augment
from headstart.tune.inputs.augment import ImageAugmentation, SpectrogramAugmentation
from headstart.tune.settings import STRENGTHS
from headstart.tune.training.task import mixup

Pixels = NDArray[np.uint8]


def photo(height: int = 80, width: int = 96, *, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))


def flat(colour: tuple[int, ...], side: int = 40) -> Pixels:
    return np.full((side, side, len(colour)), colour, dtype=np.uint8)


def views(
    strength: str, *, horizontal_flip: bool = False, size: tuple[int, int] = (64, 64), seed: int = 0
) -> ImageAugmentation:
    return ImageAugmentation(strength, horizontal_flip=horizontal_flip, size=size, seed=seed)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_has_the_size_asked_for_and_is_new(strength: str, channels: int) -> None:
    picture = np.ascontiguousarray(photo()[:, :, :channels])
    before = picture.copy()
    view = views(strength, size=(48, 64)).apply(picture, key=3, view=1)
    assert view.shape == (48, 64, channels) and view.dtype == np.uint8
    view[:] = 0  # writable, and no window on the picture
    np.testing.assert_array_equal(picture, before)


def test_none_is_the_centre_crop_of_the_sources_own_preprocessing() -> None:
    file = io.BytesIO()
    Image.fromarray(photo(90, 90)).save(file, "PNG")
    wide, narrow = Preprocessing(size=(80, 80), resize=80), Preprocessing(size=(64, 64), resize=80)
    view = views("none").apply(decode(file.getvalue(), wide), key=0, view=0)
    np.testing.assert_array_equal(view, decode(file.getvalue(), narrow))


@pytest.mark.parametrize("sides", [(64, 64), (65, 64), (67, 70), (80, 95)])
def test_none_crops_where_torchvision_does(sides: tuple[int, int]) -> None:
    picture = photo(*sides)
    theirs = kernels.center_crop(torch.from_numpy(picture).permute(2, 0, 1), [64, 64]).permute(1, 2, 0)
    np.testing.assert_array_equal(views("none").apply(picture, key=0, view=9), theirs.numpy())


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_a_view_follows_from_seed_key_and_number_alone(strength: str) -> None:
    picture, how = photo(), views(strength, horizontal_flip=True)
    keys: list[int | bytes] = [0, 1, 2, b"a", b"b", b"\x00", b"0"]
    asked = [(key, view) for key in keys for view in range(4)]
    first = [how.apply(picture, key=key, view=view) for key, view in asked]
    np.random.default_rng(1).random(9)
    torch.rand(9)
    again = views(strength, horizontal_flip=True)
    with ThreadPoolExecutor(4) as pool:
        later = list(pool.map(lambda one: again.apply(picture, key=one[0], view=one[1]), reversed(asked)))
    for one, other in zip(first, reversed(later), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({view.tobytes() for view in first}) == len(first), "another key or view is another picture"
    assert not np.array_equal(first[0], views(strength, horizontal_flip=True, seed=1).apply(picture, key=0, view=0))


def test_views_leave_the_global_random_states_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    views("strong", horizontal_flip=True).apply(photo(), key=0, view=0)
    mixup(torch.ones(4, 2), torch.eye(4), alpha=0.4, seed=0)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_views_stay_the_same_from_version_to_version() -> None:
    """A resumed run must see what it saw. The means pin what is drawn; they say nothing of whether it is right."""
    seen = {
        strength: views(strength, horizontal_flip=True).apply(photo(), key=b"one", view=2) for strength in STRENGTHS
    }
    means = {strength: np.round(view.mean(), 1) for strength, view in seen.items()}
    assert means == pytest.approx(GOLDEN, abs=0.3)


GOLDEN = {"none": 136.3, "light": 110.7, "strong": 83.2}


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_only_mirror_mirrors(strength: str) -> None:
    """Dark on the left, bright on the right: only a mirrored view has it the other way round."""
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 64, 3))

    def mirrored(view: Pixels) -> bool:
        return bool(view[:, 48:].mean() < view[:, :16].mean())

    def share(*, horizontal_flip: bool) -> float:
        how = views(strength, horizontal_flip=horizontal_flip, size=(64, 64))
        return float(np.mean([mirrored(how.apply(ramp, key=key, view=0)) for key in range(300)]))

    assert share(horizontal_flip=False) == 0
    assert 0.4 < share(horizontal_flip=True) < 0.6


def test_mirror_changes_nothing_but_the_side() -> None:
    picture = photo()
    pairs = [
        [
            views("light", horizontal_flip=horizontal_flip).apply(picture, key=key, view=0)
            for horizontal_flip in (False, True)
        ]
        for key in range(20)
    ]
    assert all(np.array_equal(a, b) or np.array_equal(a[:, ::-1], b) for a, b in pairs)


@pytest.mark.parametrize(("strength", "jitter"), [("light", 0.2), ("strong", 0.4)])
def test_light_changes_within_its_limits(strength: str, jitter: float) -> None:
    """A flat grey picture shows the brightness alone: its contrast and saturation are nil."""
    how = views(strength, size=(8, 8))
    levels = np.array([how.apply(flat((100, 100, 100)), key=key, view=0).mean() for key in range(300)])
    assert levels.min() >= 100 * (1 - jitter) - 0.5 and levels.max() <= 100 * (1 + jitter) + 0.5
    assert np.ptp(levels) > 2 * 100 * jitter * 0.9, "and it uses all of its range"


@pytest.mark.parametrize("shown", [(1.2, 1.0, 1.0), (1.0, 0.8, 1.0), (1.0, 1.3, 1.0)])
def test_brightness_and_contrast_are_torchvisions(shown: tuple[float, float, float]) -> None:
    """On a picture whose channels are equal; for colours, torchvision weights the channels as eyes do."""
    grey = np.repeat(photo()[:, :, :1], 3, axis=2)
    theirs = torch.from_numpy(grey).permute(2, 0, 1)
    theirs = kernels.adjust_contrast(kernels.adjust_brightness(theirs, shown[0]), shown[1]).permute(1, 2, 0)
    ours = np.asarray(augment._lit(Image.fromarray(grey), shown, float(grey.mean())))
    assert np.abs(ours.astype(int) - theirs.numpy().astype(int)).max() <= 1


def test_saturation_moves_colours_to_and_from_grey() -> None:
    red = Image.fromarray(flat((150, 60, 60), 4))
    assert augment._lit(red, (1.0, 1.0, 0.0), 90.0).getpixel((0, 0)) == (90, 90, 90)
    assert augment._lit(red, (1.0, 1.0, 1.0), 90.0).getpixel((0, 0)) == (150, 60, 60)
    assert augment._lit(red, (1.0, 1.0, 1.5), 90.0).getpixel((0, 0)) == (180, 45, 45)


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_the_order_of_the_channels_does_not_matter(strength: str) -> None:
    """Networks that want BGR get their pictures so: their views are the same views."""
    picture, how = photo(), views(strength)
    for key in range(10):
        rgb = how.apply(picture, key=key, view=0).astype(int)
        bgr = how.apply(np.ascontiguousarray(picture[:, :, ::-1]), key=key, view=0).astype(int)
        assert np.abs(rgb - bgr[:, :, ::-1]).max() <= 1


def test_a_grey_picture_has_the_view_of_its_colour_twin() -> None:
    grey = np.ascontiguousarray(photo()[:, :, :1])
    for key in range(10):
        alone = views("strong").apply(grey, key=key, view=0).astype(int)
        twin = views("strong").apply(np.repeat(grey, 3, axis=2), key=key, view=0).astype(int)
        assert np.abs(alone - twin).max() <= 1


def test_a_crop_is_torchvisions_crop() -> None:
    """But at its border, where the filter here sees the pixels beyond the crop, as in a crop of the resized picture."""
    picture = photo()
    drawn = augment._Drawn(box=(10, 4, 74, 60), flipped=True, light=(1, 1, 1), degrees=0, erased=None)
    ours = augment._render(picture, drawn, (48, 48)).astype(float)
    tensor = torch.from_numpy(picture).permute(2, 0, 1).float()
    theirs = kernels.horizontal_flip(kernels.resized_crop(tensor, 4, 10, 56, 64, [48, 48], antialias=True))
    apart = np.abs(ours - theirs.permute(1, 2, 0).numpy())
    assert apart[1:-1, 1:-1].max() <= 1.01 and apart.max() <= 3


def test_a_turn_keeps_the_middle_and_fills_corners_with_the_mean() -> None:
    picture = photo(64, 64)
    drawn = augment._Drawn(box=(0, 0, 64, 64), flipped=False, light=(1, 1, 1), degrees=15.0, erased=None)
    ours = augment._render(picture, drawn, (64, 64)).astype(float)
    assert np.abs(ours[0, 0] - picture.reshape(-1, 3).mean(axis=0)).max() <= 1
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    theirs = kernels.rotate(tensor, 15.0, interpolation=kernels.InterpolationMode.BILINEAR).permute(1, 2, 0)
    middle = slice(16, 48)
    assert np.abs(ours[middle, middle] - theirs.numpy()[middle, middle]).max() <= 3


def test_strong_erases_one_view_in_four() -> None:
    how = views("strong", size=(32, 32))
    counts = [
        augment._draw(augment.generator(0, key, 0), augment._LIMITS["strong"], how, (64, 64)).erased
        for key in range(400)
    ]
    erased = [box for box in counts if box]
    assert 0.18 < len(erased) / 400 < 0.32
    areas = [(right - left) * (bottom - top) / 32**2 for left, top, right, bottom in erased]
    assert min(areas) > 0.01 and max(areas) < 0.36
    assert all(0 <= left < right <= 32 and 0 <= top < bottom <= 32 for left, top, right, bottom in erased)


@given(
    sides=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    size=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    uniform=st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4),
    least=st.sampled_from([0.25, 0.6]),
)
def test_a_crop_lies_inside_and_holds_its_share(
    sides: tuple[int, int], size: tuple[int, int], uniform: list[float], least: float
) -> None:
    left, top, right, bottom = augment._crop(np.array(uniform), least, size, sides)
    assert 0 <= left < right <= sides[1] and 0 <= top < bottom <= sides[0]
    share = (right - left) * (bottom - top) / (sides[0] * sides[1])
    assert least - 1e-6 <= share <= 1 + 1e-6
    ratio, wanted = (right - left) / (bottom - top), size[1] / size[0]
    fits = wanted / augment.RATIO - 1e-6 <= ratio <= wanted * augment.RATIO + 1e-6
    assert fits or np.isclose(right - left, sides[1]) or np.isclose(bottom - top, sides[0])


@pytest.mark.parametrize("sides", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_pictures_of_any_size_have_views(sides: tuple[int, int]) -> None:
    picture = photo(300, 300)[: sides[0], : sides[1]]
    for strength in ("light", "strong"):
        for key in range(20):
            assert views(strength, horizontal_flip=True).apply(picture, key=key, view=0).shape == (64, 64, 3)


def test_an_unknown_strength_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'strong'"):
        views("stronk")


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="1 or 3"):
        views("light").apply(np.zeros((8, 8, 4), np.uint8), key=0, view=0)
    with pytest.raises(UsageError, match="at least 64 x 64"):
        views("none").apply(photo(63, 80), key=0, view=0)
    with pytest.raises(UsageError, match="size of a view"):
        views("light", size=(0, 8))


def test_mixup_mixes_pairs_and_their_targets_alike() -> None:
    targets = torch.eye(5)
    inputs = targets * 10
    mixed, blended = mixup(inputs, targets, alpha=0.4, seed=3)
    torch.testing.assert_close(mixed, blended * 10)
    torch.testing.assert_close(blended.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(mixup(inputs, targets, alpha=0.4, seed=3)[0], mixed, rtol=0, atol=0)
    assert not torch.equal(mixup(inputs, targets, alpha=0.4, seed=4)[0], mixed)
    torch.testing.assert_close(inputs, targets * 10, rtol=0, atol=0)


def test_mixup_draws_its_share_from_a_beta_distribution() -> None:
    inputs, targets = torch.tensor([[0.0], [1.0]]), torch.eye(2)
    moved = []
    for seed in range(400):
        mixed, _ = mixup(inputs, targets, alpha=1.0, seed=seed)
        if not torch.equal(mixed, inputs):
            moved.append(float(mixed[0, 0]))
    assert 150 < len(moved) < 250, "half of the permutations of two leave each with itself"
    assert np.mean(moved) == pytest.approx(0.5, abs=0.06) and np.var(moved) == pytest.approx(1 / 12, abs=0.02)


def test_mixup_takes_any_shape() -> None:
    mixed, _ = mixup(torch.rand(3, 2, 4, 4), torch.eye(3), alpha=0.2, seed=0)
    assert mixed.shape == (3, 2, 4, 4)


SPECTROGRAM = np.random.default_rng(0).integers(1, 256, (40, 80, 3), dtype=np.uint8)


def test_a_view_of_a_recording_follows_from_seed_example_and_number_alone() -> None:
    light = SpectrogramAugmentation("light", 3)
    one = light.apply(SPECTROGRAM, key=7, view=2)
    np.testing.assert_array_equal(one, SpectrogramAugmentation("light", 3).apply(SPECTROGRAM, key=7, view=2))
    others = [light.apply(SPECTROGRAM, key=8, view=2), light.apply(SPECTROGRAM, key=7, view=3)]
    assert all((one != other).any() for other in others)
    assert one.shape == SPECTROGRAM.shape and one.dtype == np.uint8
    np.testing.assert_array_equal(SpectrogramAugmentation("none", 3).apply(SPECTROGRAM, key=7, view=2), SPECTROGRAM)


def moved(by: int) -> np.ndarray:
    said = np.zeros_like(SPECTROGRAM)
    said[:, max(0, by) : 80 + min(0, by)] = SPECTROGRAM[:, max(0, -by) : 80 - max(0, by)]
    return said


@pytest.mark.parametrize(("strength", "shift", "share", "masks"), [("light", 10, 1 / 8, 1), ("strong", 20, 1 / 5, 2)])
def test_views_of_recordings_go_as_far_as_their_strength(strength: str, shift: int, share: float, masks: int) -> None:
    mean = np.uint8(round(float(SPECTROGRAM.mean())))
    shifts, covered = set(), set()
    for view in range(60):
        said = SpectrogramAugmentation(strength, 0).apply(SPECTROGRAM, key=1, view=view)
        candidates = [moved(by) for by in range(-shift, shift + 1)]
        best = int(np.argmax([(said == one).mean() for one in candidates]))
        shifts.add(best - shift)
        changed = (said != candidates[best]).any(axis=2)
        assert (said[changed] == mean).all()
        rows, columns = changed.mean(axis=1) > 0.9, changed.mean(axis=0) > 0.9
        assert rows.sum() <= masks * share * 40 and columns.sum() <= masks * share * 80
        covered.add((bool(rows.any()), bool(columns.any())))
    assert min(shifts) < -shift / 2 and max(shifts) > shift / 2
    assert (True, True) in covered


def test_strengths_are_those_of_pictures() -> None:
    with pytest.raises(UsageError, match="augment"):
        SpectrogramAugmentation("wild", 0)

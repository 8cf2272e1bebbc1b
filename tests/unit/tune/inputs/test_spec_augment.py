"""Views of recordings: moved and masked as the numbers behind them say, and never mirrored."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.base.errors import UsageError
from headstart.tune.inputs.spec_augment import SpectrogramAugmentation

PICTURE = np.random.default_rng(0).integers(1, 256, (40, 80, 3), dtype=np.uint8)


def test_a_view_follows_from_seed_example_and_number_alone() -> None:
    views = SpectrogramAugmentation("light", 3)
    one = views.apply(PICTURE, key=7, view=2)
    np.testing.assert_array_equal(one, SpectrogramAugmentation("light", 3).apply(PICTURE, key=7, view=2))
    others = [views.apply(PICTURE, key=8, view=2), views.apply(PICTURE, key=7, view=3)]
    assert all((one != other).any() for other in others)
    assert one.shape == PICTURE.shape and one.dtype == np.uint8
    np.testing.assert_array_equal(SpectrogramAugmentation("none", 3).apply(PICTURE, key=7, view=2), PICTURE)


def moved(by: int) -> np.ndarray:
    said = np.zeros_like(PICTURE)
    said[:, max(0, by) : 80 + min(0, by)] = PICTURE[:, max(0, -by) : 80 - max(0, by)]
    return said


@pytest.mark.parametrize(("strength", "shift", "share", "masks"), [("light", 10, 1 / 8, 1), ("strong", 20, 1 / 5, 2)])
def test_views_go_as_far_as_their_strength(strength: str, shift: int, share: float, masks: int) -> None:
    mean = np.uint8(round(float(PICTURE.mean())))
    shifts, covered = set(), set()
    for view in range(60):
        said = SpectrogramAugmentation(strength, 0).apply(PICTURE, key=1, view=view)
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

"""The patches of the demonstration: every surface in both parts, the same on every run, no pixel on both sides."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.base.errors import MissingExtra, UsageError
from headstart.cli import demo
from headstart.cli.demo import SIDE, SURFACES, DemoOptions, write_surfaces


def patches(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


@pytest.fixture
def ramps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photographs whose colours tell the column and the row of each pixel, in the place of those of scikit-image."""
    monkeypatch.setattr(demo, "_photographs", lambda: tmp_path)
    rows, columns = np.mgrid[0:250, 0:255]
    for number, file in enumerate(SURFACES.values()):
        pixels = np.dstack([columns, rows, np.full_like(rows, number)]).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / file, format="PNG")
    return tmp_path


def test_training_patches_are_left_of_the_middle_and_test_patches_right_of_it(ramps: Path) -> None:
    written = write_surfaces(ramps / "out", train=3, test=2)
    assert written == ramps / "out"
    for number, surface in enumerate(SURFACES):
        for part, count in (("train", 3), ("test", 2)):
            files = sorted((written / part / surface).iterdir())
            assert [file.name for file in files] == [f"{at:03d}.png" for at in range(count)]
            for file in files:
                pixels = np.asarray(Image.open(file))
                assert pixels.shape == (SIDE, SIDE, 3) and set(pixels[..., 2].ravel()) == {number}
                columns = range(38, 127) if part == "train" else range(127, 217)  # 255 wide, 15 % off at each end
                assert set(pixels[..., 0].ravel()) <= set(columns)
                assert set(pixels[..., 1].ravel()) <= set(range(37, 213))


def test_a_seed_gives_the_same_patches_and_another_gives_others(ramps: Path) -> None:
    first, again, other = (
        write_surfaces(ramps / name, train=1, test=1, seed=seed) for name, seed in zip("abc", (0, 0, 1), strict=True)
    )
    assert patches(first) == patches(again) and patches(first).keys() == patches(other).keys()
    assert patches(first) != patches(other)


class Hidden:
    """A finder that knows of no scikit-image, as where it is not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if name.partition(".")[0] == "skimage":
            raise ModuleNotFoundError(name, name=name)


def test_without_the_photographs_the_line_that_brings_them_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "skimage", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Hidden(), *sys.meta_path])
    with pytest.raises(MissingExtra, match=r"the demonstration needs the package 'skimage'; .*pip.* install"):
        write_surfaces(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_options_of_the_demonstration_are_taken() -> None:
    assert DemoOptions(seed=3).seed == 3 and DemoOptions().out is None
    with pytest.raises(UsageError):
        DemoOptions(sede=3)

"""`headstart demo`: name a surface from a small patch of a real photograph.

The photographs are those inside scikit-image. Each is cut in two: training patches come from the left half and test
patches from the right, so that no pixel is on both sides.
"""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

from headstart.base.disk import temporary_folder
from headstart.base.extras import require
from headstart.cli.command import DisplayOptions, PageOptions, command_of, run_command
from headstart.cli.messages import show
from headstart.run.option_model import Options, option
from headstart.run.options import FitOptions

SURFACES = {
    "brick wall": "brick.png",
    "cat": "chelsea.png",
    "coins": "coins.png",
    "galaxies": "hubble_deep_field.jpg",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "printed page": "page.png",
    "retina": "retina.jpg",
    "tissue": "ihc.png",
}
SIDE = 80  # pixels of a patch: small enough that raw pixels say little, large enough to show the texture
MARGIN = 0.15  # share of a photograph left out at each border: the retina stands on black


class DemoOptions(Options):
    """The options of `demo`."""

    out: Path | None = option(None, "Output", "DIR")
    """The folder for the results. The default is a new folder under runs/."""
    seed: int = option(0, "Run", "N")
    """The seed of the places of the patches and of fit. The default is 0."""


def demo(chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Fit a classifier that names a surface from a small patch of a photograph."""
    from headstart.fitting.fit import run_fit
    from headstart.fitting.result import write_out

    seed = DemoOptions(**chosen).seed
    with temporary_folder() as folder:
        photos = write_surfaces(folder / "surfaces", seed=seed)
        run_command("demo", FitOptions, chosen, display, partial(run_fit, photos), write_out)
    if not display.as_json:
        show("To fit your own photos, one folder per class:  headstart fit YOUR_FOLDER")


def write_surfaces(folder: Path, *, train: int = 12, test: int = 12, seed: int = 0) -> Path:
    """Write the patches as PNG files into `folder/train/CLASS/` and `folder/test/CLASS/`, and return `folder`.

    MissingExtra: scikit-image, whose photographs these are, is not installed.
    """
    import numpy as np
    from PIL import Image

    photographs = _photographs()
    rng = np.random.default_rng(seed)
    for surface, file in SURFACES.items():
        picture = Image.open(photographs / file).convert("RGB")
        middle, right = picture.width // 2, int(picture.width * (1 - MARGIN))
        top, bottom = int(picture.height * MARGIN), int(picture.height * (1 - MARGIN))
        for part, count, (low, high) in (
            ("train", train, (picture.width - right, middle)),
            ("test", test, (middle, right)),
        ):
            target = folder / part / surface
            target.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                x, y = int(rng.integers(low, high - SIDE + 1)), int(rng.integers(top, bottom - SIDE + 1))
                picture.crop((x, y, x + SIDE, y + SIDE)).save(target / f"{number:03d}.png")
    return folder


def _photographs() -> Path:
    require("the demonstration", "skimage")
    package = importlib.util.find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data"


command = command_of(
    "demo",
    demo,
    DemoOptions,
    shown=PageOptions,
    examples=("headstart demo", "headstart demo --out runs/surfaces", "headstart demo --json"),
)

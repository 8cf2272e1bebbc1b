"""The simple baseline is stacked on a source where each tells classes apart that the other cannot, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_nets import SIDE, convnet, weights
from PIL import Image

import headstart as hs
from headstart.heads.linear import LinearHead, side_by_side, softmax

NAMES = ("blue across", "blue along", "red across", "red along")


def photos(folder: Path, *, coloured: bool = True, per_class: int = 40) -> Path:
    """Write stripes of one brightness: their direction is told by a network that sees grey, their colour by pixels."""
    rng = np.random.default_rng(0)
    for name in NAMES if coloured else NAMES[:2]:
        (folder / name).mkdir(parents=True)
        for at in range(per_class):
            stripes = 40 * np.sign(np.sin(np.arange(SIDE) * np.pi / 2 + rng.uniform(0, 6))) * np.ones((SIDE, 1))
            stripes = stripes + 20 * rng.standard_normal((SIDE, SIDE))
            colour = np.array([100, 120, 140] if name.startswith("blue") else [140, 120, 100]) + rng.normal(0, 9)
            photo = (stripes if "across" in name else stripes.T)[..., None] + colour
            Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / name / f"{at:03}.png")
    return folder


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a network that sees the sum of the three colours alone, and return its URI."""
    path, values = tmp_path_factory.mktemp("nets") / "grey.onnx", weights()
    values["conv1"] = values["conv1"][:, :1] * np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1) * 4
    convnet(path, values=values)
    return f"onnx:{path}"


@pytest.mark.thorough
def test_pixels_are_stacked_on_a_network_that_sees_no_colour(grey: str, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    model = hs.fit(data, source=grey, out=tmp_path / "out")
    result = model.report
    stack = result["pixels"]
    assert result["source"] == f"mean:{grey}+simple:pixels" and result["head"].endswith(" + pixels")
    assert stack["joined"] and stack["log_loss"]["joined"] < stack["log_loss"]["source"]
    reached = result["test"]["accuracy"]["value"]
    assert reached > max(stack["source_alone"], result["baselines"]["simple"]) + 0.1
    page = (tmp_path / "out" / "report.html").read_text()
    assert " + pixels" in page and "does harm" not in page
    again = hs.load(tmp_path / "out" / "bundle")
    paths = sorted(data.glob("*/*.png"))[::5]
    np.testing.assert_allclose(again.predict_proba(paths), model.predict_proba(paths), atol=1e-6)
    assert (again.novelty_scores(paths) > 1).mean() < 0.2
    evaluated = again.evaluate(data)
    assert evaluated.metrics["accuracy"]["value"] > reached - 0.1


@pytest.mark.thorough
def test_pixels_that_add_nothing_are_left_out(grey: str, tmp_path: Path) -> None:
    result = hs.fit(photos(tmp_path / "photos", coloured=False, per_class=25), source=grey).report
    assert result["source"] == grey and not result["pixels"]["joined"]


def test_scores_of_heads_side_by_side_are_their_calibrated_scores_added() -> None:
    rng = np.random.default_rng(0)
    heads = [
        LinearHead("ridge", 1.0, rng.normal(size=(d, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32), t)
        for d, t in ((4, 0.5), (2, 3.0))
    ]
    x = [rng.normal(size=(5, len(head.weight))).astype(np.float32) for head in heads]
    both = side_by_side(heads, (0.3, 1.7), "ridge + pixels")
    logs = [share * np.log(head.predict_proba(own)) for share, head, own in zip((0.3, 1.7), heads, x, strict=True)]
    np.testing.assert_allclose(both.predict_proba(np.hstack(x)), softmax(sum(logs)), atol=1e-5)  # type: ignore[type-var]

"""Preprocessing of transformers' image processors as ours, or an error that says which step we do not have.

Imports transformers: only files that build a network of that library import this one, and only when they do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import transformers

from headstart.base.disk import temporary_folder
from headstart.base.errors import SourceError
from headstart.data.audio.spectrogram import preprocessing_from
from headstart.data.images.preprocessing import Preprocessing

RESAMPLE: dict[int, Literal["nearest", "lanczos", "bilinear", "bicubic"]] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
}
MIN_SQUASHED_SIDE = 384  # pixels; ConvNeXt's processor squashes to this size and above, and crops below


def preprocessing_of(settings: Mapping[str, Any], model_type: str, uri: str) -> Preprocessing:
    """Return the preprocessing that `preprocessor_config.json` describes, completed by the library's own defaults.

    By `model_type` the library finds the processor of older files. SourceError where a step is not ours.
    """
    try:
        values = library_processor(settings, model_type).to_dict()
        size, resize = _sizes(values)
        mean, std = _normalisation(values)
        preprocessing = Preprocessing(
            size=size,
            resize=resize,
            interpolation=RESAMPLE[int(values["resample"])],
            mean=mean,
            std=std,
            channels="bgr" if values.get("do_flip_channel_order") else "rgb",
        )
        return preprocessing_from(asdict(preprocessing))
    except (KeyError, TypeError, ValueError, OSError, AttributeError, ImportError) as error:
        raise SourceError(
            f"the preprocessing of {uri} must be resizing, a centre crop, rescaling and normalisation",
            str(error).partition("\n")[0] or type(error).__name__,
            "name another source",
        ) from error


def library_processor(settings: Mapping[str, Any], model_type: str, kind: str = "AutoImageProcessor") -> Any:
    """Return transformers' own image processor, or its processor of another kind; no code but that library's runs."""
    library: Any = transformers
    with temporary_folder() as folder:
        (folder / "preprocessor_config.json").write_text(json.dumps(dict(settings)))
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
        return getattr(library, kind).from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _sizes(values: Mapping[str, Any]) -> tuple[tuple[int, int], int | None]:
    """Return height and width of the input, and the shorter side before the crop (None where it is squashed)."""
    if not values.get("do_resize", True):
        raise ValueError("no resizing")
    size = {name: int(value) for name, value in values["size"].items() if value}
    edge = size.get("shortest_edge")
    if values.get("do_center_crop"):
        crop = values["crop_size"]
        crop_size = int(crop["height"]), int(crop["width"])
        if edge is None and (size["height"], size["width"]) != crop_size:
            raise ValueError("a squash to one size and a crop to another")
        return crop_size, edge
    if edge is None:
        return (size["height"], size["width"]), None
    if values.get("crop_pct") is None:
        raise ValueError("pictures of any shape (shortest_edge without a crop)")
    return (edge, edge), None if edge >= MIN_SQUASHED_SIDE else int(edge / values["crop_pct"])


def _normalisation(values: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of values in 0..1, whatever the file's own range is.

    The library computes (v r - m) / s of v in 0..255 with its factor r; in 0..1 that is (u - m / k) / (s / k), where
    k = 255 r.
    """
    if values.get("rescale_offset"):
        raise ValueError("an offset in rescaling")
    scale = 255 * float(values.get("rescale_factor") or 1 / 255) if values.get("do_rescale", True) else 255.0
    plain = not values.get("do_normalize", True)
    mean = (0.0,) * 3 if plain else tuple(map(float, values["image_mean"]))
    std = (1.0,) * 3 if plain else tuple(map(float, values["image_std"]))
    if len(mean) != 3 or len(std) != 3:
        raise ValueError(f"normalisation of {len(mean)} channels")
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)

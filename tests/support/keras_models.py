"""Keras models with random weights and random statistics, their features, and files as Keras releases them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RANGES = {"gamma": (0.7, 1.3), "moving_variance": (0.5, 1.5), "variance": (0.5, 1.5)}
CENTRED = ("beta", "bias", "moving_mean", "mean")


def photos(count: int, side: int = 0) -> list[NDArray[np.uint8]]:
    """Return parts of a real photo, uint8 of shape (h, w, 3)."""
    from skimage.data import astronaut

    photo = astronaut()
    if not side:
        return [photo[at : 512 - at] for at in range(count)]
    return [np.ascontiguousarray(photo[at * 20 : at * 20 + side * 2, :: 1 + at % 2]) for at in range(count)]


def randomise(model: Any, seed: int = 0) -> Any:
    """Give every normalisation, bias and statistic of a model a random value, and return it."""
    rng = np.random.default_rng(seed)
    for layer in leaves(model):
        for weight in layer.weights:
            kind = weight.path.rpartition("/")[2]
            if kind in RANGES:
                weight.assign(rng.uniform(*RANGES[kind], weight.shape).astype(np.float32))
            elif kind in CENTRED:
                weight.assign(rng.normal(0, 0.2, weight.shape).astype(np.float32))
            elif kind == "variable":  # the scale of ConvNeXt's blocks, which starts at one millionth
                weight.assign(rng.uniform(0.1, 0.5, weight.shape).astype(np.float32))
    return model


def leaves(model: Any) -> list[Any]:
    """Return the layers of a model, those of inner models one by one."""
    return [leaf for layer in model.layers for leaf in (leaves(layer) if hasattr(layer, "layers") else [layer])]


def features_of(model: Any, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what Keras's own layers give in inference mode, float32."""
    import torch

    with torch.inference_mode():
        found: NDArray[np.float32] = model(values, training=False).numpy()
    return found


def torch_features(source: Any, items: list[Any]) -> NDArray[np.float32]:
    """Return the pooled features of a source by the torch engine, which needs no conversion, float32."""
    from headstart.engines.torch import TorchEngine

    found: NDArray[np.float32] = TorchEngine(source.network().module(), batch=len(items)).run(source.prepare_all(items))
    return found[:, : source.info.feature_size]


def save_released(model: Any, path: Path) -> None:
    """Write the weights in the older layout of the released files: `layer_names` and `weight_names` as attributes."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{at}_{weight.name}:0" for at, weight in enumerate(layer.weights)]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = weight.value.detach().numpy()

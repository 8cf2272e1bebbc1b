"""Small bundles and checkpoints, and bundles that somebody changed who knows how their checksums are made."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from headstart.base.hashing import sha256_file, sha256_json
from headstart.engines.base import Block
from headstart.heads.linear import LinearHead
from headstart.ship.bundle import Bundle, Calibration, DataIdentity, HeadIdentity, Manifest, SourceIdentity


def saved(state: object, *, archived: bool = True) -> bytes:
    """Return a checkpoint as PyTorch writes it: an archive, or its older form."""
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(state, file, _use_new_zipfile_serialization=archived)
    return file.getvalue()


def small_bundle() -> Bundle:
    """Return a bundle of a source that nobody has, with a head for 7 features and 3 classes of odd names."""
    rng = np.random.default_rng(0)
    manifest = Manifest(
        task="image-classification",
        classes=["ants", "<bees>", "\udc80\n{{7*7}}"],
        source=SourceIdentity("packaged:toy", "toy 1.0", "0" * 64, "Apache-2.0", "run: pip install toy==1.0"),
        preprocessing={"size": [224, 224], "resize": None, "mean": [0.5, 0.5, 0.5]},
        layer="joined",
        blocks=[Block("pool", 4), Block("stage4", 3)],
        head=HeadIdentity("ridge", 0.5),
        calibration=Calibration(1.25),
        data=DataIdentity("ants_bees", "1" * 64),
        versions={"headstart": "0.1.0"},
    )
    weight, bias = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    head = LinearHead("ridge", 0.5, weight, bias, 1.25)
    return Bundle(manifest, head, {"schema": 1, "classes": ["ants"]}, "# ünïcode card\n")


def resign(folder: Path, change: Callable[[dict[str, Any]], object] = dict) -> None:
    """Change the manifest of a bundle as a forger would: with the checksums of its members, and its own, right."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["checksum"]
    manifest["members"] |= {name: sha256_file(folder / name) for name in manifest["members"]}
    change(manifest)
    manifest["checksum"] = sha256_json(manifest)
    path.write_bytes(json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")

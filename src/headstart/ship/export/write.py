"""A model as a folder that needs nothing of this package: the graph, what tells of it, and the script that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from headstart import __version__
from headstart.base.disk import restore, temporary_folder, write_folder
from headstart.base.errors import UsageError
from headstart.base.extras import require
from headstart.base.own_folders import PARITY
from headstart.judge.novelty import THRESHOLD
from headstart.ship.export.graph import STORED, Parts, whole_graph
from headstart.ship.export.int8 import round_weights
from headstart.ship.export.parity import Expected, Parity, measured
from headstart.ship.export.scripts import ONNX, OPENVINO, name_of, script
from headstart.ship.export.texts import text_files

BROWSER = "browser"
LIBRARIES = {ONNX: ("onnx", "onnxruntime"), OPENVINO: (), BROWSER: ("onnx", "onnxruntime")}
"""What writes and runs each format, beside OpenVINO."""


def check_format(runtime: str) -> None:
    """Raise MissingExtra unless the libraries are installed that write and run a format, UsageError if none does."""
    if runtime not in LIBRARIES:
        raise UsageError(
            f"--to must be {ONNX}, {OPENVINO} or {BROWSER}",
            f"{runtime}, whose converter reads TensorFlow graphs alone",
            f"use --to {ONNX}, which ONNX Runtime runs on phones too",
        )
    require(f"--to {runtime}", *LIBRARIES[runtime])


def check_folder(folder: Path) -> None:
    """Raise UsageError unless a model may be written as `folder`: a new one, an empty one, or an earlier export."""
    restore(folder)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / PARITY).is_file())):
        raise UsageError(
            "--out must be a new folder, an empty one, or one that an earlier export wrote",
            f"{folder} holds other things",
            "name another folder",
        )


def exported(
    folder: Path,
    to: str,
    parts: Parts,
    examples: Sequence[bytes],
    expected: Expected,
    *,
    more: Mapping[str, bytes] = MappingProxyType({}),
    int8: bool = False,
) -> Parity:
    """Write a model as `folder`, whole or not at all, once it answers as expected on examples, and return how it does.

    Args:
        folder: an earlier export there is replaced.
        to: a format of `LIBRARIES`.
        parts: the model.
        examples: the bytes of files.
        expected: what `predict` says of them.
        more: further files for the folder, by name.
        int8: round the weights of networks to 8 bits.

    Raises:
        UsageError: a part of the model has no place in a graph, or the graph answers otherwise; nothing is written.
    """
    about, graph = properties(parts), whole_graph(parts)
    if int8 and not round_weights(graph):
        raise UsageError("--int8 must have weights of a network to round", parts.source.identity.uri, "leave it out")
    runtime = OPENVINO if to == OPENVINO else ONNX
    with temporary_folder() as place:
        if runtime == ONNX:
            _save_onnx(place, parts, about, graph)
        else:
            _save_openvino(place, about, graph)
        (place / name_of(runtime)).write_text(
            script(runtime, parts.source, has_terms=parts.terms is not None), encoding="utf-8"
        )
        for name, text in text_files(parts.source, parts.terms).items():
            (place / name).write_text(text, encoding="utf-8")
        parity = measured(place, runtime, parts.source, examples, expected, rounded=int8)
        libraries = {name: version(name) for name in ("openvino", *LIBRARIES[to])}
        record = {"schema": 1, "to": to, **asdict(parity), "sentence": str(parity), "versions": libraries}
        (place / PARITY).write_text(json.dumps({**record, "about": about}, indent=1), encoding="utf-8")
        write_folder(folder, {path.name: path.read_bytes() for path in sorted(place.iterdir())} | dict(more))
    return parity


def properties(parts: Parts) -> dict[str, str]:
    """Return what an exported model says of itself, texts by name."""
    info = parts.source.info
    return {
        "classes": json.dumps(parts.classes),
        "kind": info.kind,
        "source": info.uri,
        "licence": info.licence,
        "novelty_threshold": str(THRESHOLD) if parts.novelty is not None else "none",
        "headstart": __version__,
    }


def _save_onnx(place: Path, parts: Parts, about: dict[str, str], graph: Any) -> None:
    from headstart.ship.export.onnx_graph import to_onnx

    optional = {STORED: np.zeros(3, np.float32)} if parts.source.kind == "image" else {}
    model = to_onnx(graph, optional=optional, properties=about)
    (place / "model.onnx").write_bytes(model.SerializeToString())


def _save_openvino(place: Path, about: dict[str, str], model: Any) -> None:
    import openvino as ov

    for name, text in about.items():
        model.set_rt_info(text, ["headstart", name])
    ov.save_model(model, place / "model.xml", compress_to_fp16=False)

"""ONNX files: `onnx:PATH`, checked before OpenVINO opens them."""

from __future__ import annotations

from pathlib import Path

from headstart.base.errors import SourceError, did_you_mean
from headstart.sources.graphs.checks import check_onnx
from headstart.sources.graphs.source import FormatDefaults, GraphSource, refuse_random
from headstart.sources.uri import Spec

IMAGENET = FormatDefaults(
    framework="onnx", size=(224, 224), margin=256 / 224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)


def open_named(spec: Spec, *, weights: str, seed: int) -> GraphSource:
    """Return the network in an ONNX file; SourceError where it is damaged, unsafe, or no network for pictures.

    A file says nothing of how it wants its pictures: RGB, resized and cropped as is usual on ImageNet, with its mean
    and deviation, unless `PATH.preprocessing.json` says otherwise.
    """
    refuse_random(spec, weights)
    path = Path(spec.name).expanduser()
    if not path.is_file():
        received = "a folder" if path.is_dir() else "no such file"
        raise SourceError(f"{spec.uri} must name an ONNX file", received, _remedy(path))
    return GraphSource(spec.uri, path, check_onnx(path), IMAGENET)


def _remedy(path: Path) -> str:
    if path.is_dir():
        inside = sorted(entry.name for entry in path.glob("*.onnx"))
        return f"name the file: {path / inside[0]}" if inside else "name the file itself"
    return f"check the path{did_you_mean(path.name, [entry.name for entry in path.parent.glob('*.onnx')])}"

"""The script of 15 lines beside an exported model, which needs its runtime alone and answers as `predict` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.images.preprocessing import MARGIN, Preprocessing
from headstart.sources.base import Source

ONNX, OPENVINO = "onnx", "openvino"
MODELS = {ONNX: "model.onnx", OPENVINO: "model.xml"}
HEADS = {
    ONNX: "import json, pathlib, sys, numpy as np, onnxruntime; onnxruntime.set_default_logger_severity(3)",
    OPENVINO: "import json, pathlib, sys, numpy as np, openvino as ov",
}
OPENED = {
    ONNX: """\
model = onnxruntime.InferenceSession(pathlib.Path(__file__).with_name("model.onnx"))
classes = json.loads(model.get_modelmeta().custom_metadata_map["classes"])""",
    OPENVINO: """\
graph = ov.Core().read_model(pathlib.Path(__file__).with_name("model.xml"))
model = ov.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})""",
}
CLASSES = {ONNX: "classes", OPENVINO: 'json.loads(graph.get_rt_info(["headstart", "classes"]).value)'}
RUN = {ONNX: "model.run(None, read(file))", OPENVINO: "[*model(read(file)).values()]"}
"""What gives the outputs for a file, in the names of the script."""
PICTURES = """\
from PIL import Image, ImageChops, ImageOps
def read(file):  # as headstart does: a JPEG at the scale that is needed, upright, on one ground
    (w, h), turn, jpeg = (image := Image.open(file)).size, image.getexif().get(274, 1), image.format in ("JPEG", "MPO")
    part = next((p for p in (8, 4, 2) if jpeg and image.mode != "CMYK" and 1 / p >= {least}), 1)
    image = ImageOps.exif_transpose([image, image.draft(None, (w // part, h // part))][0])
    if jpeg and image.mode == "CMYK" and "adobe" not in image.info: image = ImageChops.invert(image)
    clear, ground = image.has_transparency_data, Image.new("RGBA", image.size, {ground})
    image = (Image.alpha_composite(ground, image.convert("RGBA")) if clear else image).convert("RGB")
    stored = [*(side / part for side in ((h, w) if turn < 5 else (w, h))), turn]
    return {{"pictures": np.asarray(image)[None], "stored": np.array(stored, np.float32)}}"""


def script(runtime: str, source: Source) -> str:
    """Return the script for the files that a source reads, for `onnx` or `openvino`."""
    preprocessing = source.preprocessing
    assert isinstance(preprocessing, Preprocessing)
    run = f"for file in sys.argv[1:] if __name__ == '__main__' else (): print(file, *max(zip({RUN[runtime]}[0][0], "
    return "\n".join(
        [
            f'"""The most probable class of photos: python {name_of(runtime)} FILE..."""',
            HEADS[runtime],
            PICTURES.format(least=_least(preprocessing), ground=(preprocessing.background,) * 3 + (255,)),
            OPENED[runtime],
            f"{run}{CLASSES[runtime]}))[::-1], sep='  ')",
            "",
        ]
    )


def name_of(runtime: str) -> str:
    """Return the name of the script."""
    return f"run_{runtime}.py"


def _least(preprocessing: Preprocessing) -> str:
    """Return what the scale of a JPEG must be at least, in the names of the script."""
    if preprocessing.interpolation == "nearest":
        return "1"
    if preprocessing.resize is not None:
        return f"{MARGIN} * ({preprocessing.resize} / min(w, h))"
    height, width = preprocessing.size
    return f"{MARGIN} * max({width} / (w, h)[turn > 4], {height} / (h, w)[turn > 4])"


def opened(folder: Path, runtime: str) -> Callable[[IO[bytes]], list[NDArray[np.float32]]]:
    """Return what gives the outputs of an exported model for a file, as its own script computes them."""
    path = folder / name_of(runtime)
    names: dict[str, Any] = {"__file__": str(path), "__name__": "exported"}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)  # noqa: S102 - it is what was just written

    def answer(file: IO[bytes]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = eval(RUN[runtime], {**names, "file": file})  # noqa: S307
        return outputs

    return answer

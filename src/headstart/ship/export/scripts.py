"""The script of 15 lines beside an exported model, which needs its runtime alone and answers as `predict` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.images.preprocessing import MARGIN, Preprocessing
from headstart.data.modality import MODALITIES
from headstart.engines.environment import own_signal_stack
from headstart.heads.tfidf import MAX_CHARACTERS, TOKEN
from headstart.sources.base import Source
from headstart.sources.text.source import MAX_CHARACTERS_PER_TOKEN, TextSource

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


SAMPLES = """\
import wave
def read(file):  # a WAV file of 16 bits
    with wave.open(file) as sound:
        assert (sound.getframerate(), sound.getsampwidth()) == ({rate}, 2), "needs {rate:,} samples of 16 bits a second"
        every = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, sound.getnchannels())
    return {{"samples": (every / np.float32(32768)).mean(axis=1, dtype=np.float32)[None]}}"""


@dataclass(frozen=True)
class Reading:
    """Lines that bring a text into inputs of a model."""

    imports: str
    opened: str
    lines: tuple[str, ...]  # of a function of `text`
    inputs: str  # as items of a dict


TOKENS = Reading(
    "tokenizers",
    'tokenizer = tokenizers.Tokenizer.from_file(str(pathlib.Path(__file__).with_name("tokenizer.json")))',
    (
        "ids = tokenizer.encode(({prefix!r} + text[:{characters}]){lower}, add_special_tokens=False).ids[:{room}]",
        "kept = [*{before}, *ids, *{after}]",
    ),
    '"ids": np.array([kept or [0]]), "mask": np.array([[1] * len(kept) or [0]])',
)
WORDS = Reading(
    "collections, re",
    'places = {t: at for at, t in enumerate(json.loads(pathlib.Path(__file__).with_name("terms.json").read_text()))}',
    (
        f"every = re.findall(r{TOKEN.pattern!r}, text[:{MAX_CHARACTERS}].lower())".replace("\\\\", "\\"),
        'terms = [places[term] for term in [*every, *map(" ".join, zip(every, every[1:]))] if term in places]',
        "met = collections.Counter(terms) or {0: 0}",
    ),
    '"terms": np.array([[*met]]), "counts": np.array([[*met.values()]], np.float32)',
)


def script(runtime: str, source: Source, *, has_terms: bool = False) -> str:
    """Return the script for what a source reads, for `onnx` or `openvino`."""
    run = f"for file in sys.argv[1:] if __name__ == '__main__' else (): print(file, *max(zip({RUN[runtime]}[0][0], "
    return "\n".join(
        [
            f'"""The most probable class: python {name_of(runtime)} {MODALITIES[source.kind].singular.upper()}..."""',
            HEADS[runtime],
            *_reading(source, has_terms=has_terms),
            OPENED[runtime],
            f"{run}{CLASSES[runtime]}))[::-1], sep='  ')",
            "",
        ]
    )


def _reading(source: Source, *, has_terms: bool) -> list[str]:
    """Return the lines that bring an example into the model's inputs."""
    preprocessing = source.preprocessing
    if isinstance(preprocessing, AudioPreprocessing):
        return [SAMPLES.format(rate=preprocessing.spectrogram.rate)]
    if isinstance(preprocessing, Preprocessing):
        ground = (*(preprocessing.background,) * 3, 255)
        return [PICTURES.format(least=_least(preprocessing), ground=ground)]
    parts = [*([_tokens(source)] if isinstance(source, TextSource) else []), *([WORDS] if has_terms else [])]
    return [
        f"import {', '.join(part.imports for part in parts)}",
        *(part.opened for part in parts),
        "def read(text):",
        *(f"    {line}" for part in parts for line in part.lines),
        f"    return {{{', '.join(part.inputs for part in parts)}}}",
    ]


def _tokens(source: TextSource) -> Reading:
    reading, (before, after) = source.preprocessing, source.tokenizer().marks
    limit = reading.limit or None
    parts = {
        "prefix": reading.prefix,
        "characters": limit and limit * MAX_CHARACTERS_PER_TOKEN,
        "lower": ".lower()" if reading.lower else "",
        "room": limit and limit - len(before) - len(after),
        "before": before,
        "after": after,
    }
    return replace(TOKENS, lines=tuple(line.format(**parts) for line in TOKENS.lines))


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


def opened(folder: Path, runtime: str) -> Callable[[IO[bytes] | str | dict[str, Any]], list[NDArray[np.float32]]]:
    """Return what gives the outputs of an exported model for a file, a text, or inputs, as its script does."""
    path = folder / name_of(runtime)
    names: dict[str, Any] = {"__file__": str(path), "__name__": "exported"}
    with own_signal_stack():
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)  # noqa: S102 - what was just written

    def answer(file: IO[bytes] | str | dict[str, Any]) -> list[NDArray[np.float32]]:
        read = {"read": dict} if isinstance(file, dict) else {}
        outputs: list[NDArray[np.float32]] = eval(RUN[runtime], {**names, **read, "file": file})  # noqa: S307
        return outputs

    return answer

"""An export answers as the model does, by a script that needs the runtime alone, or it is not written."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import wave
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops
from PIL import Image

from headstart.base.errors import UsageError
from headstart.base.own_folders import own_folder
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.readers.arrays.in_memory import from_items
from headstart.engines.base import Block, Network
from headstart.heads.linear import LinearHead
from headstart.heads.tfidf import TfidfHead, count_terms
from headstart.judge.intervals import wilson
from headstart.judge.novelty import fit_novelty
from headstart.model import Model
from headstart.ship.bundle import DataIdentity
from headstart.ship.export.graph import Parts, whole_graph
from headstart.ship.export.licence import check_licence
from headstart.ship.export.networks import blocks_of
from headstart.ship.export.parity import Expected, Parity
from headstart.ship.export.scripts import script
from headstart.ship.export.texts import text_files
from headstart.ship.export.write import check_folder, exported
from headstart.sources.base import Source
from headstart.sources.layers import select
from headstart.sources.providers.mean import MeanSource
from headstart.sources.providers.simple import SimpleSource
from headstart.sources.registry import open_source

CLASSES = ("<a>", 'b "b" é', "c & c")
NEEDED = {"onnx": ("onnxruntime",), "openvino": ("openvino",)}
RUNTIMES = ["onnx", pytest.param("openvino", marks=pytest.mark.thorough)]


def photo(kind: str, size: tuple[int, int] = (90, 130), mode: str = "RGB", **options: Any) -> bytes:
    small = np.random.default_rng(size).integers(0, 256, (9, 13, 4)).astype(np.uint8)
    image = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


PHOTOS = [
    *(photo("PNG", size) for size in ((90, 130), (333, 500), (500, 333), (40, 40), (31, 700))),
    photo("JPEG", (901, 1203)),
    *(photo("JPEG", (901, 1203), exif=turned(orientation)) for orientation in (3, 6, 7)),
    photo("JPEG", mode="L"),
    photo("JPEG", mode="CMYK"),
    photo("PNG", mode="RGBA"),
    photo("PNG", mode="LA"),
    photo("PNG", mode="P"),
]
"""Five shapes, turned ones, grey, CMYK, and transparent ones."""


def head_of(width: int, scale: float) -> LinearHead:
    weight = np.random.default_rng(width).normal(0, scale, (width, 3)).astype(np.float32)
    return LinearHead("ridge", 1.0, weight, np.ones(3, np.float32), 0.7)


def model_of(source: Source, layer: str = "pool") -> Model:
    """Return a model with a head and a novelty that were fitted on nothing in particular."""
    every = source.network().blocks
    wide, blocks = select(np.empty((0, sum(block.width for block in every)), np.float32), every, layer)
    d = wide.shape[1]
    head = head_of(d, 3 / np.sqrt(d))
    x, y = source.at(layer).encode(PHOTOS[:9]), np.arange(9) % 3
    novelty = fit_novelty(x, y, [block.width for block in blocks], folds=np.arange(9) % 2)
    return Model(
        source.at(layer), layer, blocks, head, CLASSES, {}, DataIdentity("x", "y"), "openvino-f32", novelty=novelty
    )


def parts_of(model: Model) -> Parts:
    return Parts(model.source, model.layer, model.blocks, model.head, model.classes, novelty=model.novelty)


def expected_of(model: Model) -> Expected:
    return Expected(model.predict_proba(PHOTOS), model.novelty_scores(PHOTOS), 1.0)


@pytest.fixture(scope="module")
def plain() -> Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", os.environ.get("TMPDIR", "/tmp") + "/headstart-unused")
        return model_of(SimpleSource("pixels", Preprocessing(size=(48, 48), resize=55)))


def run_alone(folder: Path, runtime: str, files: list[Path], place: Path) -> list[list[str]]:
    """Return what the script prints for files, in an environment that has the runtime, NumPy and Pillow alone."""
    for name in ("numpy", "pillow", *NEEDED[runtime], *(["openvino-telemetry"] if runtime == "openvino" else [])):
        installed = distribution(name)
        for top in {Path(str(file)).parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            if not (place / top).exists():
                (place / top).symlink_to(Path(str(installed.locate_file(top))))
    start = "import runpy, sys as s; s.path.append(s.argv.pop(1)); del s.argv[0]; runpy.run_path(s.argv[0], None, NAME)"
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        start.replace("NAME", repr("__main__")),
        str(place),
        str(folder / f"run_{runtime}.py"),
        *map(str, files),
    ]
    made = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0 and not made.stderr, made.stderr
    return [line.split("  ") for line in made.stdout.splitlines()]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_script_alone_answers_as_the_model_does(runtime: str, plain: Model, tmp_path: Path) -> None:
    parity = exported(tmp_path / "out", runtime, parts_of(plain), PHOTOS, expected_of(plain))
    assert parity.largest_difference < 1e-5 and parity.same_class == parity.examples == len(PHOTOS)
    assert parity.novelty_difference is not None and parity.novelty_difference < 1e-3
    record = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert record["to"] == runtime and record["largest_difference"] == parity.largest_difference
    assert json.loads(record["about"]["classes"]) == list(CLASSES) and record["about"]["novelty_threshold"] == "1.0"
    assert record["about"]["licence"].startswith("none needed") and record["sentence"] == str(parity)
    assert len((tmp_path / "out" / f"run_{runtime}.py").read_text().splitlines()) <= 15
    files = []
    for place, data in enumerate(PHOTOS):
        files.append(tmp_path / f"{place}.bin")
        files[-1].write_bytes(data)
    (tmp_path / "alone").mkdir()
    shares = plain.predict_proba(files)
    for row, (name, label, share) in zip(
        shares, run_alone(tmp_path / "out", runtime, files, tmp_path / "alone"), strict=True
    ):
        assert label == CLASSES[int(row.argmax())] and abs(float(share) - row.max()) < 1e-4, name
    own = own_folder(tmp_path / "out")
    assert own is not None and own.kind == "an exported model"


@pytest.mark.thorough
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_networks_side_by_side_at_joined_layers_are_one_graph(
    runtime: str, tmp_path: Path, warm_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))
    lite = open_source("packaged:efficientnet-lite0")
    simple = SimpleSource("pixels", lite.preprocessing)
    model = model_of(MeanSource([lite, simple]), "1/joined,1/pool,2/pool")
    parity = exported(tmp_path / "out", runtime, parts_of(model), PHOTOS, expected_of(model))
    assert parity.largest_difference < 1e-4 and parity.same_class == len(PHOTOS)


@pytest.mark.thorough
def test_a_model_that_would_answer_otherwise_is_not_written(plain: Model, tmp_path: Path) -> None:
    """An earlier export stays."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "parity.json").write_text("{}")
    expected = expected_of(plain)
    other = replace(expected, probabilities=np.roll(expected.probabilities, 1, axis=1))
    with pytest.raises(UsageError, match=r"must answer as predict does, to 0\.001 .*; found a difference of 0\."):
        exported(tmp_path / "out", "openvino", parts_of(plain), PHOTOS, other)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "parity.json"]


def test_weights_of_8_bits_are_told_in_the_report_and_need_a_network(plain: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--int8 must have weights of a network to round; found simple:pixels"):
        exported(tmp_path / "out", "onnx", parts_of(plain), PHOTOS, expected_of(plain), int8=True)
    assert not (tmp_path / "out").exists()
    shown = Parity(40, 3e-2, 38, None, {"predict": 1, "exported": 2}, wilson(2, 40), rounded=True)
    assert "Weights of 8 bits change 5.0% of the answers [1.4%, 16.5%]." in str(shown)


@pytest.mark.thorough
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_texts_on_weights_of_8_bits(
    runtime: str, tmp_path: Path, warm_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))
    source = open_source("packaged:wordllama")
    blocks = source.network().blocks[:1]
    model = Model(
        source.at("pool"), "pool", blocks, head_of(blocks[0].width, 1.0), CLASSES, {}, DataIdentity("x", "y"), "auto"
    )
    answers = model.predict_dataset(from_items(TEXTS, kind="text"), engine="openvino-f32")
    parts, examples = parts_of(model), [text.encode() for text in TEXTS]
    sizes = []
    for int8 in (False, True):
        out = tmp_path / str(int8)
        parity = exported(out, runtime, parts, examples, Expected(answers.probabilities, None, 1), int8=int8)
        sizes.append(sum(path.stat().st_size for path in out.glob("model.*")))
    assert 1e-6 < parity.largest_difference < 0.05 and parity.rounded and sizes[1] < 0.3 * sizes[0]


def test_a_network_that_takes_one_number_of_examples_alone_is_refused() -> None:
    def fixed() -> ov.Model:
        entry = ops.parameter([-1, 4, 4, 3], np.uint8)
        rows = ops.reshape(ops.convert(entry, "f32"), np.array([2, 24]), special_zero=False)
        return ov.Model([rows], [entry], "fixed")

    def module() -> Any:
        raise AssertionError

    network = Network("x", (4, 4, 3), (Block("pool", 24),), module, graph=fixed)
    with pytest.raises(UsageError, match=r"onnx:a must take any number of examples .*; found a fixed number"):
        blocks_of(network, "onnx:a", ops.parameter([-1, 4, 4, 3], np.uint8))


LITE = "packaged:efficientnet-lite0"
TEXTS = [
    "the deck, the mast; a rope's end",
    "Butter bread BUTTER",
    "?",
    "x" * 3000,
    "sail " * 400,
    "onion \u00e9 \ud55c",
]


def terms_of(texts: list[str]) -> TfidfHead:
    vocabulary = count_terms(texts).vocabulary(np.ones(len(texts), np.int64))
    rng, shape = np.random.default_rng(0), (len(vocabulary.terms), 3)
    return TfidfHead(vocabulary, rng.normal(size=shape).astype(np.float32), rng.normal(size=3).astype(np.float32))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "uri", ["simple:words", "packaged:wordllama", pytest.param("packaged:minilm", marks=pytest.mark.thorough)]
)
def test_texts_and_their_words_are_scored_in_the_graph(
    uri: str, runtime: str, tmp_path: Path, warm_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text without any known word, and ones longer than the source reads, are among them."""
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))
    source = open_source(uri)
    blocks = source.network().blocks[:1]
    head = head_of(blocks[0].width, 1.0)
    model = Model(
        source.at("pool"), "pool", blocks, head, CLASSES, {}, DataIdentity("x", "y"), "auto", terms_of(TEXTS[:2])
    )
    expected = Expected(
        model.predict_dataset(from_items(TEXTS, kind="text"), engine="openvino-f32").probabilities, None, 1
    )
    parts = replace(parts_of(model), terms=model.terms)
    parity = exported(tmp_path / "out", runtime, parts, [text.encode() for text in TEXTS], expected)
    assert parity.largest_difference < 1e-4 and parity.same_class == len(TEXTS)
    assert (tmp_path / "out" / "terms.json").read_text() == text_files(source, model.terms)["terms.json"]
    assert len((tmp_path / "out" / f"run_{runtime}.py").read_text().splitlines()) <= 15


def sound(seconds: float, rate: int = 16_000) -> bytes:
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(len(t)).normal(0, 0.01, len(t))
    x = np.sin(2 * np.pi * (300 + 200 * np.sin(3 * t)) * t) * np.exp(-3 * (t % 0.7)) / 2 + noise
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, rate, len(x), "NONE", ""))
        written.writeframes((x.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "uri",
    [
        "simple:mfcc",
        *(
            pytest.param(uri, marks=pytest.mark.thorough)
            for uri in (
                "mean:packaged:speech+simple:mfcc",
                "packaged:resemblyzer",
                "spectrogram:packaged:efficientnet-lite0",
            )
        ),
    ],
)
def test_recordings_of_any_length_are_heard_in_the_graph(
    uri: str, runtime: str, tmp_path: Path, warm_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is shorter than a window, one is silent, one is of another rate, and two are long.

    One pixel in some 100,000 is another level, which a steep head makes 4e-4: see docs/export.md.
    """
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))
    pytest.importorskip("soundfile")
    recordings = [sound(0.3), sound(1.9), sound(1.2, 8000), sound(3.0), sound(9.7)]
    silent = recordings[1][:44] + bytes(len(recordings[1]) - 44)
    recordings.append(silent)
    source = open_source(uri)
    blocks = source.network().blocks
    layer = ",".join(member + "pool" for member in (["1/", "2/"] if source.members else [""]))
    width = sum(block.width for block in blocks if block.name.endswith("pool"))
    head = head_of(width, width**-0.5)
    kept = tuple(block for block in blocks if block.name.endswith("pool"))
    x, y = np.abs(np.random.default_rng(0).normal(size=(12, width))).astype(np.float32), np.arange(12) % 3
    novelty = fit_novelty(x, y, [block.width for block in kept], folds=np.arange(12) % 2)
    model = Model(source.at(layer), layer, kept, head, CLASSES, {}, DataIdentity("x", "y"), "auto", novelty=novelty)
    answers = model.predict_dataset(from_items(recordings, kind="sound"), engine="openvino-f32")
    expected = answers.probabilities
    given = Expected(expected, answers.novelty, 1.0)
    parity = exported(tmp_path / "out", runtime, parts_of(model), recordings, given)
    assert parity.largest_difference < 1e-3 and parity.same_class == len(recordings)
    assert parity.novelty_difference is not None and parity.novelty_difference < 1e-3
    (tmp_path / "a.wav").write_bytes(recordings[3])
    command = [sys.executable, str(tmp_path / "out" / f"run_{runtime}.py"), str(tmp_path / "a.wav")]
    _, label, share = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split("  ")
    assert label == CLASSES[int(expected[3].argmax())] and abs(float(share) - expected[3].max()) < 1e-3


@pytest.mark.parametrize("uri", ["packaged:glove", "mean:packaged:wordllama+packaged:minilm"])
def test_a_source_of_texts_without_a_graph_is_refused_by_name(uri: str, plain: Model) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(uri)} must be a source that reads a text as tokens at once"):
        whole_graph(replace(parts_of(plain), source=open_source(uri)))


def test_only_a_folder_of_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other things; name another folder"):
        check_folder(tmp_path)
    with pytest.raises(UsageError, match="holds other things"):
        check_folder(tmp_path / "thesis.tex")


@pytest.mark.parametrize(
    "licence", ["Apache-2.0", "mit", "BSD-3-Clause", "cc-by-4.0", "none (random weights)", "MIT; PDDL-1.0"]
)
def test_a_free_source_is_passed_on(licence: str) -> None:
    check_licence("hf:a/b", licence, accepted=False)


@pytest.mark.parametrize(
    "licence", ["cc-by-nc-4.0", "cc-by-nd-4.0", "other", "not stated", "MIT; research only", "llama3"]
)
def test_a_source_that_may_not_be_free_is_passed_on_only_when_its_terms_were_read(licence: str) -> None:
    check_licence("hf:a/b", licence, accepted=True)
    with pytest.raises(UsageError, match=r"the licence of hf:a/b .*; read its terms, and add --accept-licence"):
        check_licence("hf:a/b", licence, accepted=False)


def test_the_script_knows_how_far_a_jpeg_may_be_reduced() -> None:
    def least(**options: Any) -> str:
        return script("onnx", SimpleSource("pixels", Preprocessing(**options)))

    assert "1 / p >= 1.5 * (55 / min(w, h))" in least(size=(48, 48), resize=55)
    assert "1 / p >= 1.5 * max(40 / (w, h)[turn > 4], 48 / (h, w)[turn > 4])" in least(size=(48, 40), resize=None)
    assert "1 / p >= 1)" in least(size=(48, 48), resize=55, interpolation="nearest")

"""Encoders of recordings on the hub: the numbers of transformers' own extractor and network, window by window."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hub_models import SOUND_KINDS, tiny_sound
from hub_server import Hub
from numpy.typing import NDArray
from recordings import tone, tones

from headstart import fit
from headstart.base.errors import SourceError
from headstart.engines.base import Batch
from headstart.engines.openvino import OpenVinoEngine, convert
from headstart.sources.base import Source
from headstart.sources.providers.huggingface_sounds import packed
from headstart.sources.registry import open_source

RATE = 16_000
slow = pytest.mark.slow  # transformers takes seconds to import


def clip(seconds: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(round(100 * seconds))
    time = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(
        0.3 * np.sin(2 * np.pi * (300 + 200 * time) * time) + 0.05 * rng.normal(size=len(time)), np.float32
    )


def theirs(
    files: dict[str, bytes], folder: Path, sound: NDArray[np.float32], seconds: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the pooled features of a whole window, and the mean of its second layer, by the library itself."""
    import torch
    import transformers

    for name, data in files.items():
        (folder / name).write_bytes(data)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    values = extractor(sound[: round(seconds * RATE)], sampling_rate=RATE, return_tensors="pt")
    encoder = model.encoder if hasattr(model, "decoder") else model
    with torch.inference_mode():
        outputs = encoder(next(iter(values.values())), output_hidden_states=True)
    pooled = getattr(outputs, "pooler_output", None)
    first = outputs.last_hidden_state.mean(1) if pooled is None else pooled
    return first.numpy()[0], outputs.hidden_states[2].mean(1).numpy()[0]


def by_torch(source: Source, batch: Batch) -> NDArray[np.float32]:
    from headstart.engines.torch import TorchEngine

    return TorchEngine(source.network().module()).run(batch)


@slow
@pytest.mark.parametrize("kind", SOUND_KINDS)
def test_features_are_the_library_s_own(hub: Hub, tmp_path: Path, kind: str) -> None:
    commit = hub.add("org/ear", tiny_sound(kind))
    source = open_source("hf:org/ear")
    seconds = source.preprocessing.spectrogram.seconds
    assert source.info.revision == commit and source.info.kind == "sound"
    assert source.info.layers == ("pool", "joined", "layer2.avg", "sequence")
    sound = clip(seconds)
    x = by_torch(source, source.prepare_all([(sound, RATE)]))[0]
    pool, layer = theirs(tiny_sound(kind), tmp_path, sound, seconds)
    np.testing.assert_allclose(x[:16], pool, atol=2e-3 * np.abs(pool).max())
    if kind != "audio-spectrogram-transformer":  # whose two first tokens are no place in time
        np.testing.assert_allclose(x[16:32], layer, atol=2e-3 * np.abs(layer).max())
        np.testing.assert_allclose(x[32:].reshape(8, 16).mean(0), pool, atol=0.1 * np.abs(pool).max())


@slow
@pytest.mark.parametrize("kind", SOUND_KINDS)
def test_engines_agree_and_windows_are_averaged(hub: Hub, kind: str) -> None:
    hub.add("org/ear", tiny_sound(kind))
    source = open_source("hf:org/ear")
    seconds = source.preprocessing.spectrogram.seconds
    sounds = [clip(seconds), clip(0.4 * seconds), clip(3.5 * seconds), clip(seconds)[:3], np.zeros(RATE, np.float32)]
    batch = source.prepare_all([(sound, RATE) for sound in sounds])
    assert [len(recording) for recording in batch] == [1, 1, 4, 1, 1]  # type: ignore[arg-type]
    of_torch = by_torch(source, batch)
    by_openvino = OpenVinoEngine(convert(source.network()), precision="f32").run(batch)
    assert np.isfinite(of_torch).all()
    np.testing.assert_allclose(by_openvino, of_torch, atol=2e-3 * np.abs(of_torch).max())
    spans = [round(start * seconds * RATE) for start in (0, 1, 2, 2.5)]
    parts = [(sounds[2][start : start + round(seconds * RATE)], RATE) for start in spans]
    alone = by_torch(source, source.prepare_all(parts)).mean(0)
    np.testing.assert_allclose(of_torch[2], alone, atol=1e-3 * np.abs(alone).max())


@slow
def test_a_shorter_recording_is_pooled_over_its_own_frames(hub: Hub) -> None:
    hub.add("org/ear", tiny_sound("wav2vec2"))
    narrow, wide = (open_source("hf:org/ear", window=seconds, layer="pool") for seconds in (0.5, 2.0))
    sound = clip(0.5)
    a, b = (source.encode([(sound, RATE)])[0] for source in (narrow, wide))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.98


@slow
def test_heads_and_what_is_masked_in_training_are_left_out_and_nothing_else() -> None:
    from safetensors.torch import load

    from headstart.sources.networks.sound_networks import build_sound_network

    files = tiny_sound("wav2vec2", head="ForCTC")
    settings, state = json.loads(files["config.json"]), load(files["model.safetensors"])
    assert "wav2vec2.masked_spec_embed" in state
    for left in ({"wav2vec2.masked_spec_embed"}, set()):
        body, notes = build_sound_network(
            settings, (1,), 8, {name: value for name, value in state.items() if name not in left}, where="x"
        )
        assert any("lm_head" in note for note in notes) and not body.training
    with pytest.raises(SourceError, match=r"3 of \d+ missing"):
        build_sound_network(settings, (1,), 8, dict(list(state.items())[:-3]), where="x")


@slow
def test_it_fits_and_predicts_and_what_cannot_be_asked(hub: Hub, tmp_path: Path) -> None:
    hub.add("org/ear", tiny_sound("wav2vec2"))
    hub.add("org/whisper", tiny_sound("whisper"))
    model = fit(tones(tmp_path / "tones"), source="hf:org/ear")
    assert model.predict([(tone(700, rate=RATE), RATE)])[0] in model.classes
    for uri, window, says in (("hf:org/ear", 0.1, "0.5 to 30 s"), ("hf:org/whisper", 1.0, "windows of 2 s")):
        with pytest.raises(SourceError, match=says):
            open_source(uri, window=window)
    drawn = open_source("hf:org/ear", weights="none", seed=1)
    assert drawn.network().fingerprint != open_source("hf:org/ear").network().fingerprint


def test_numbers_are_packed_to_a_65536th() -> None:
    values = np.array([[-1.5, 0.0, 3.25], [255.9, -300.0, 1e-5], [0.1, -0.1, 7.0]], np.float32)
    sign, *rest = np.moveaxis(packed(values, 2).astype(np.float64), 2, 0)
    assert (sign >= 2).all(1).tolist() == [False, False, True]
    unpacked = (1 - 2 * (sign % 2)) * (rest[0] + rest[1] / 256 + rest[2] / 65536)
    np.testing.assert_allclose(unpacked, np.clip(values, -256, 256), atol=1e-4)

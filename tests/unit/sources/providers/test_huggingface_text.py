"""Text encoders of the hub: tiny random ones on loopback, and what their own files state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from hub_models import TEXT_KINDS, for_sentences, place, tiny_text
from hub_server import Hub
from safetensors.torch import load, save
from toy_texts import sentences

from headstart.base.errors import SourceError
from headstart.engines.openvino import OpenVinoTexts, convert
from headstart.engines.torch import TorchTexts
from headstart.sources.registry import open_source
from headstart.sources.text.source import TextSource

TEXTS = [text for text, _ in sentences(4)] + ["salt", "the " * 100]


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what puts a repository into the hub's cache and opens it, without any hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    def opened(files: dict[str, bytes], **how: Any) -> TextSource:
        known = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "model.safetensors")
        commit = place(tmp_path, "tiny/encoder", files)
        for name in known:
            if name not in files:
                absent = tmp_path / "models--tiny--encoder" / ".no_exist" / commit / name
                absent.parent.mkdir(parents=True, exist_ok=True)
                absent.touch()
        source = open_source(f"hf:tiny/encoder@{commit}", **how)
        assert isinstance(source, TextSource)
        return source

    return opened


def theirs(kind: str, source: TextSource, text: str) -> np.ndarray:
    """Return the last hidden state that transformers itself gives, for one text alone."""
    import transformers

    stem, _ = TEXT_KINDS[kind]
    model = getattr(transformers, f"{stem}Model")(getattr(transformers, f"{stem}Config")(**TEXT_KINDS[kind][1]))
    held = source.module().model.state_dict()
    model.load_state_dict({name: held.get(name, value) for name, value in model.state_dict().items()})
    tokens = source.prepare(text.encode())
    with torch.no_grad():
        said = model.eval()(input_ids=torch.from_numpy(tokens.pieces[0].astype(np.int64))[None])
    return said.last_hidden_state[0].numpy()


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["bert", "mpnet", "modernbert"])
def test_every_family_gives_what_transformers_does_whatever_stands_beside_it(kind: str, placed: Any) -> None:
    source = placed(tiny_text(kind))
    width = sum(block.width for block in source.network().blocks)
    found = TorchTexts(source.module(), width).run(source.prepare_all(TEXTS))
    for at in (0, 5, 12, 13):
        wanted = theirs(kind, source, TEXTS[at])
        np.testing.assert_allclose(found[at, :16], wanted.mean(axis=0), atol=2e-5)
    other = OpenVinoTexts(convert(source.network()), precision="f32").run(source.prepare_all(TEXTS))
    np.testing.assert_allclose(other, found, atol=5e-3)
    assert source.info.kind == "text" and source.info.layers[:2] == ("pool", "joined")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["distilbert", "roberta", "xlm-roberta", "camembert", "electra", "albert"])
def test_the_rarer_families_do_so_too(kind: str, placed: Any) -> None:
    test_every_family_gives_what_transformers_does_whatever_stands_beside_it(kind, placed)


@pytest.mark.thorough
def test_pooling_prefix_and_limit_are_those_of_the_repository(placed: Any) -> None:
    old = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    prompts = {"prompts": {"query": "salt ", "passage": "boat "}, "default_prompt_name": None}
    files = for_sentences(
        tiny_text("bert"),
        pooling=old,
        normalise=True,
        limits={"max_seq_length": 12, "do_lower_case": True},
        prompts=prompts,
    )
    source = placed(files)
    assert source.info.input["prefix"] == "salt " and source.info.input["limit"] == 12
    tokens = source.prepare(b"the boat")
    assert tokens.total == 3 and source.prepare(("the " * 50).encode()).used == 10
    first = theirs("bert", source, "the boat")[0]
    np.testing.assert_allclose(source.encode(["the boat"])[0], first / np.linalg.norm(first), atol=1e-4)


@pytest.mark.parametrize("mode", ["cls", "mean", "max", "mean_sqrt_len_tokens"])
def test_every_pooling_is_that_of_its_name(mode: str, placed: Any) -> None:
    source = placed(for_sentences(tiny_text("bert"), pooling={"pooling_mode": mode}))
    tokens = source.prepare(b"the boat of salt")
    state = theirs("bert", source, "the boat of salt")
    wanted = {"cls": state[0], "mean": state.mean(axis=0), "max": state.max(axis=0)}
    wanted["mean_sqrt_len_tokens"] = state.sum(axis=0) / np.sqrt(len(state))
    found = TorchTexts(source.module(), sum(tap.width for tap in source.taps)).run([tokens])
    np.testing.assert_allclose(found[0, :16], wanted[mode], atol=1e-5)


@pytest.mark.parametrize(
    ("prompts", "prefix"),
    [
        ({}, ""),
        ({"prompts": {"query": "", "document": ""}}, ""),
        ({"prompts": {"query": "find: ", "document": ""}}, ""),
        ({"prompts": {"query": "query: ", "passage": "passage: "}}, "query: "),
        ({"prompts": {"Classification": "label: ", "query": "q: "}}, "label: "),
        ({"prompts": {"a": "x: ", "b": "y: "}, "default_prompt_name": "b"}, "y: "),
    ],
)
def test_which_prompt_stands_before_a_text(prompts: dict[str, Any], prefix: str) -> None:
    from headstart.sources.providers.huggingface import _prefix

    assert _prefix(prompts) == prefix


def test_a_masked_language_model_loads_without_its_head(placed: Any) -> None:
    source = placed(tiny_text("bert", head="ForMaskedLM"))
    assert np.isfinite(source.encode(["the boat"])).all()


def test_what_does_not_fit_is_refused(placed: Any) -> None:
    files = tiny_text("bert")
    for pooling, names in (
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode_weightedmean_tokens": True}, "w"),
    ):
        with pytest.raises(SourceError, match=f"must pool by one of .*{names}"):
            placed(for_sentences(files, pooling=pooling))
    dense = for_sentences(files, pooling={"pooling_mode": "mean"})
    modules = [*json.loads(dense["modules.json"]), {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]
    with pytest.raises(SourceError, match="a module 'Dense'"):
        placed({**dense, "modules.json": json.dumps(modules).encode()})
    state = load(files["model.safetensors"])
    state.pop("encoder.layer.1.output.dense.weight")
    holed = placed({**files, "model.safetensors": save(state)})
    with pytest.raises(SourceError, match=r"must hold every weight .* missing"):
        holed.module()


def test_a_repository_without_a_tokenizer_file_says_so(hub: Hub) -> None:
    hub.add("tiny/none", {name: data for name, data in tiny_text("bert").items() if name != "tokenizer.json"})
    with pytest.raises(SourceError, match=r"must hold tokenizer\.json .* no such file"):
        open_source("hf:tiny/none")


def test_random_weights_are_the_control_arm(placed: Any) -> None:
    one, other = (placed(tiny_text("bert"), weights="none", seed=seed) for seed in (0, 1))
    assert one.network().fingerprint != other.network().fingerprint
    assert one.info.trained_on.startswith("nothing")


@pytest.mark.thorough
def test_it_is_fetched_from_the_hub_and_used_offline_afterwards(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    files = for_sentences(tiny_text("bert"), pooling={"pooling_mode": "mean"}, normalise=True)
    hub.add("tiny/encoder", files)
    source = open_source("hf:tiny/encoder", long="chunks")
    x = source.encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(x[:-1], axis=1), 1, atol=1e-5)
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    np.testing.assert_array_equal(open_source("hf:tiny/encoder", long="chunks").encode(TEXTS), x)

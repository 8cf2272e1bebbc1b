"""Packaged sources of texts: their files, their tokens, and engines that agree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_texts import sentences, write_tokenizer

from headstart.base.errors import SourceError, UsageError
from headstart.data.text import Tokens
from headstart.engines.base import BUDGET, STEP, packs, padded
from headstart.engines.openvino import OpenVinoTexts, convert
from headstart.engines.torch import TorchTexts
from headstart.sources.base import TextPreprocessing
from headstart.sources.networks import bert
from headstart.sources.networks.source import build_seeded
from headstart.sources.package_files import find_member
from headstart.sources.providers.packaged import ENCODERS, Means
from headstart.sources.registry import open_source
from headstart.sources.sizes import BertSizes
from headstart.sources.text.source import Tokenizer

TEXTS = [text for text, _ in sentences(4)]
SIZES = BertSizes(words=60, width=24, inner=48, heads=4, layers=3, positions=64)


def tokenizer(folder: Path, **reading: object) -> Tokenizer:
    words = sorted({word for text in TEXTS for word in text.split()})
    return Tokenizer(write_tokenizer(folder / "tokenizer.json", words), TextPreprocessing("x", **reading))  # type: ignore[arg-type]


def test_own_bert_is_that_of_transformers() -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=SIZES.words,
        hidden_size=SIZES.width,
        intermediate_size=SIZES.inner,
        num_attention_heads=SIZES.heads,
        num_hidden_layers=SIZES.layers,
        max_position_embeddings=SIZES.positions,
    )
    theirs = BertModel(config, add_pooling_layer=False).eval()
    ours = build_seeded(lambda: bert.build_bert(SIZES), 0)
    ours.load_state_dict({name: value for name, value in theirs.state_dict().items() if name in ours.state_dict()})
    ids = torch.randint(0, SIZES.words, (3, 10))
    mask = torch.tensor([[1] * 10, [1] * 4 + [0] * 6, [1] + [0] * 9])
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
        found = ours(ids, mask)[-1]
    for row, length in enumerate((10, 4, 1)):
        torch.testing.assert_close(found[row, :length], wanted[row, :length], atol=1e-5, rtol=1e-4)


def test_engines_agree_and_a_text_does_not_depend_on_its_neighbours() -> None:
    from headstart.engines.base import Block, Network

    module = bert.SentenceBlocks(build_seeded(lambda: bert.build_bert(SIZES), 0), (0,)).eval()
    network = Network("0" * 64, (), (Block("pool", 24), Block("layer1.avg", 24)), lambda: module)
    rng = np.random.default_rng(0)
    pieces = [rng.integers(1, 60, size).astype(np.int32) for size in (3, 30, 1, 64, 12, 12, 64)]
    texts = [Tokens((piece,), len(piece), len(piece)) for piece in pieces]
    texts.append(Tokens((pieces[0], pieces[1]), 33, 33))
    one = TorchTexts(module, 48)
    found = one.run(texts)
    np.testing.assert_allclose(np.linalg.norm(found[:-1, :24], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found[-1], (found[0] + found[1]) / 2, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([one.run([text]) for text in texts]), found, atol=1e-5)
    other = OpenVinoTexts(convert(network), precision="f32")
    np.testing.assert_allclose(other.run(texts), found, atol=2e-3)


def test_batches_hold_texts_of_like_lengths_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 500)
    groups = list(packs(lengths))
    assert sorted(np.concatenate(groups)) == list(range(500))
    for group in groups:
        ids, mask = padded([np.ones(lengths[at], np.int32) for at in group])
        assert ids.shape == mask.shape and ids.shape[1] % STEP == 0
        assert ids.size <= max(BUDGET, 304)
        assert (mask.sum(axis=1) == lengths[group]).all() and (ids == mask).all()
    assert list(packs(np.array([], dtype=np.int64))) == []


def test_tokens_keep_the_marks_and_long_texts_are_cut_or_read_in_pieces__TXT_02(tmp_path: Path) -> None:
    text = " ".join(["bread"] * 20)
    whole = tokenizer(tmp_path)(text)
    assert (len(whole.pieces[0]), whole.total, whole.used) == (22, 20, 20)
    assert whole.pieces[0][0] == 2 and whole.pieces[0][-1] == 3
    cut = tokenizer(tmp_path, limit=8)(text)
    assert (len(cut.pieces), len(cut.pieces[0]), cut.total, cut.used) == (1, 8, 20, 6)
    pieces = tokenizer(tmp_path, limit=8, long="chunks")(text)
    assert [len(piece) for piece in pieces.pieces] == [8, 8, 8, 4] and pieces.used == 20
    assert tokenizer(tmp_path, prefix="salt ")("bread").total == 2


def test_a_text_of_a_megabyte_is_cut_before_it_is_tokenised__TXT_02(tmp_path: Path) -> None:
    found = tokenizer(tmp_path, limit=8)("bread " * 170_000)
    assert (len(found.pieces[0]), found.used) == (8, 6) and found.total > found.used


def test_a_tokenizer_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"needs its tokenizer.json; found no .*gone.json"):
        Tokenizer(tmp_path / "gone.json", TextPreprocessing("x"))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(SourceError, match="must describe a tokenizer"):
        Tokenizer(tmp_path / "bad.json", TextPreprocessing("x"))


def test_a_tokenizer_whose_rust_panics_is_named(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Described
    from tokenizers import models, processors

    described = Described(models.WordLevel({"a": 0, "[CLS]": 1}, unk_token="a"))
    described.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    described.save(str(tmp_path / "whole.json"))
    Tokenizer(tmp_path / "whole.json", TextPreprocessing("x"))
    settings = json.loads((tmp_path / "whole.json").read_text())
    settings["post_processor"]["special_tokens"] = {}
    (tmp_path / "panics.json").write_text(json.dumps(settings))
    with pytest.raises(SourceError, match=r"panics.json must describe a tokenizer that cuts texts"):
        Tokenizer(tmp_path / "panics.json", TextPreprocessing("x"))


def test_means_are_means_and_nothing_gives_zeros() -> None:
    vectors = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    rows = [np.array(ids, np.int32) for ids in ([1, 2, 2], [], [9])]
    found = Means(vectors)([Tokens((row,), len(row), len(row)) for row in rows])
    np.testing.assert_allclose(found[0], vectors[[1, 2, 2]].mean(axis=0), rtol=1e-6)
    assert not found[1].any() and (found[2] == vectors[9]).all()


def test_wordllama_gives_the_vectors_of_its_package_without_its_code() -> None:
    source = open_source("packaged:wordllama")
    found = source.encode(["A bank card was lost.", "¿Dónde está? 👩‍👩‍👧"])
    code = (
        "import sys; from headstart.sources.registry import open_source\n"
        "open_source('packaged:wordllama').encode(['x'])\n"
        "print([name for name in ('torch', 'transformers', 'openvino', 'wordllama', 'sklearn') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert found.shape == (2, 256) and np.isfinite(found).all()
    from tokenizers import Tokenizer as Theirs

    path = find_member(ENCODERS["wordllama"].tokenizer, "x")
    ids = Theirs.from_file(str(path)).encode("A bank card was lost.", add_special_tokens=False).ids
    from safetensors.numpy import load_file

    table = load_file(find_member(ENCODERS["wordllama"].weights, "x"))["embedding.weight"]
    np.testing.assert_allclose(found[0], table[ids].astype(np.float32).mean(axis=0), atol=1e-5)


def test_minilm_loads_by_name_and_random_weights_differ() -> None:
    trained, drawn = open_source("packaged:minilm"), open_source("packaged:minilm", weights="none", seed=1)
    assert trained.info.parameters == sum(p.numel() for n, p in trained.module().body.named_parameters())
    assert trained.network().fingerprint != drawn.network().fingerprint
    assert trained.info.kind == "text" and trained.info.layers == ("pool", "joined", "layer3.avg", "layer4.avg")
    tokens = trained.prepare_all(["I lost my bank card.", "My credit card is gone!", "Sheep graze on the hill."])
    x = TorchTexts(trained.module(), 3 * 384).run(tokens)[:, :384]
    assert x[0] @ x[1] > 0.5 > 0.2 > x[0] @ x[2]


def test_what_cannot_be_asked_of_packaged_texts() -> None:
    with pytest.raises(UsageError, match="must read texts"):
        open_source("packaged:efficientnet-lite0", long="chunks")
    with pytest.raises(UsageError, match="must read texts"):
        open_source("timm:resnet18", weights="none", long="chunks")
    with pytest.raises(SourceError, match="a table of vectors"):
        open_source("packaged:wordllama").module()
    with pytest.raises(UsageError, match="half a surrogate"):
        open_source("packaged:wordllama").encode(["\ud800"])
    assert open_source("packaged:minilm", long="chunks").info.input["long"] == "chunks"

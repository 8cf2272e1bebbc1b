"""Arms on encoders of texts: the same guarantees as for pictures, with batches of texts of one length."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from hub_models import for_sentences, place, tiny_text
from toy_texts import FILLERS, TOPICS, sentences
from tuning_problem import text_tuning_problem

import headstart as hs
from headstart.base.errors import SourceError, UsageError
from headstart.base.progress import Progress
from headstart.engines.torch import TorchTexts
from headstart.heads.linear import LinearHead
from headstart.model import Model
from headstart.ship.bundle import DataIdentity
from headstart.sources.base import Identity, Source
from headstart.sources.networks import bert
from headstart.sources.networks.source import build_seeded
from headstart.sources.registry import open_source
from headstart.sources.sizes import BertSizes
from headstart.sources.text.source import TextSource, layer_taps
from headstart.sources.text.word_source import WordNetwork, WordSource
from headstart.tune.inputs.texts import bucketed
from headstart.tune.network.param_groups import is_norm
from headstart.tune.problem import TrialConfig
from headstart.tune.training.task import Recipe
from headstart.tune.trial import Interpolation, TuningTrial

QUICK = Recipe(epochs=2, learning_rate=1e-2, batch_size=8)
CPU = torch.device("cpu")


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what opens a tiny random encoder of some family."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def opened(kind: str = "bert", **how: Any) -> TextSource:
        files = for_sentences(tiny_text(kind), pooling={"pooling_mode": "mean"}, limits={}, prompts={})
        source = open_source(f"hf:tiny/{kind}@{place(tmp_path / 'hub', f'tiny/{kind}', files)}", **how)
        assert isinstance(source, TextSource)
        return source

    return opened


def ours(source: TextSource) -> TextSource:
    """Return the encoder that needs no library, tiny and random, with the tokenizer of another one."""
    sizes = BertSizes(60, 16, 32, 2, 4, 64)
    stages = tuple(f"body.encoder.layer.{at}" for at in range(4))
    identity = Identity("test:bert", "bert", 0, 0, "", "", "0" * 64, "nothing")
    return TextSource(
        identity,
        source.preprocessing,
        layer_taps(16, (0, 2), stages),
        source.tokenizer,
        stages=stages,
        build=lambda: bert.SentenceBlocks(build_seeded(lambda: bert.build_bert(sizes), 0), (0, 2)).eval(),
    )


def trial_of(folder: Path, source: TextSource | WordSource, config: TrialConfig, **how: Any) -> TuningTrial:
    return TuningTrial(
        text_tuning_problem(folder, source, **how), config, decoded_cache={}, device=CPU, progress=Progress()
    )


@pytest.mark.parametrize("mode", ["last:1", "norm", "all", "lora"])
def test_what_is_frozen_stays_to_the_last_bit(tmp_path: Path, encoder: Any, mode: str) -> None:
    trial = trial_of(
        tmp_path,
        encoder("distilbert"),
        TrialConfig(mode, recipe=replace(QUICK, epochs=1, learning_rate=1e-4, keep_last=True)),
    )
    trial.run(budget=None, folder=None, identity={})
    changed = set(trial.changed_weights())
    assert changed, "something has learned"
    if mode == "last:1":
        assert {name.partition("layer.")[2][:2] for name in changed} == {"3."}
    if mode == "norm":
        assert all(is_norm(trial.body.get_submodule(name.rpartition(".")[0])) for name in changed)
    if mode == "all":
        assert changed >= {name for name in trial.used if name.endswith("weight")}
        words = next(name for name in changed if "word_embeddings" in name)
        seen = {int(one) for text in trial.pipeline.examples()[0]._pieces for one in text[0]}
        moved = (trial.changed_weights()[words] != trial.original[words]).any(1).nonzero()[:, 0].tolist()
        assert set(moved) <= seen, "a word that does not occur stays as it is"
    assert set(trial.body.state_dict()) == set(trial.original), "adapters are merged and gone"


QUICK_ONES = [("ours", "pool"), ("ours", "joined"), ("modernbert", "joined"), ("mpnet", "pool")]
RARER = [(kind, layer) for kind in ("bert", "distilbert", "roberta") for layer in ("pool", "joined")]
FAMILIES = [*QUICK_ONES, *(pytest.param(*one, marks=pytest.mark.slow) for one in RARER)]


@pytest.mark.parametrize(("kind", "layer"), FAMILIES)
def test_kept_activations_give_the_losses_of_the_plain_loop(
    tmp_path: Path, encoder: Any, kind: str, layer: str
) -> None:
    source = ours(encoder()) if kind == "ours" else encoder(kind)
    for module in source.module().modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    tuning_problem = text_tuning_problem(tmp_path, source, layer=layer)
    config = TrialConfig("last:2", recipe=replace(QUICK, learning_rate=1e-3))
    trained = []
    for keep in (True, False):
        trial = TuningTrial(
            tuning_problem, replace(config, cache_activations=keep), decoded_cache={}, device=CPU, progress=Progress()
        )
        trained.append(trial.run(budget=None, folder=None, identity={}))
        assert trial.cached == keep, trial.notes
    for short, plain in zip(trained[0].history, trained[1].history, strict=True):
        assert short.loss == pytest.approx(plain.loss, rel=2e-3)
        if short.epoch:
            assert short.train_loss == pytest.approx(plain.train_loss, rel=2e-3)


def test_activations_that_do_not_fit_in_memory_lie_on_disk(
    tmp_path: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.tune.inputs import row_store

    tuning_problem = text_tuning_problem(tmp_path, ours(encoder()))
    config = TrialConfig("last:1", recipe=QUICK)
    first = TuningTrial(tuning_problem, config, decoded_cache={}, device=CPU, progress=Progress()).run(
        budget=None, folder=None, identity={}
    )
    monkeypatch.setattr(row_store, "free_memory", lambda: 0)
    second = TuningTrial(tuning_problem, config, decoded_cache={}, device=CPU, progress=Progress()).run(
        budget=None, folder=None, identity={}
    )
    assert [epoch.loss for epoch in second.history] == [epoch.loss for epoch in first.history]
    assert list((tuning_problem.cache / "tuning").iterdir()) == [], "the file has no name, and is gone with the process"


def test_the_network_begins_as_the_head_on_the_features(tmp_path: Path, encoder: Any) -> None:
    for layer in ("pool", "joined"):
        trial = trial_of(tmp_path / layer, encoder(), TrialConfig("all"), layer=layer)
        wanted = trial.problem.validation_scores(trial.classifier.start) / trial.classifier.start.temperature
        np.testing.assert_allclose(trial.validation_scores(), wanted, atol=2e-3 * wanted.std())


def test_texts_in_pieces_are_tuned_whole_and_that_is_said(tmp_path: Path, encoder: Any) -> None:
    source = encoder(long="chunks")
    object.__setattr__(source.preprocessing, "limit", 8)
    trial = trial_of(tmp_path, source, TrialConfig("last:1", recipe=QUICK))
    wanted = trial.problem.validation_scores(trial.classifier.start) / trial.classifier.start.temperature
    np.testing.assert_allclose(trial.validation_scores(), wanted, atol=2e-3 * wanted.std())
    trial.run(budget=None, folder=None, identity={})
    assert not trial.cached and "long texts are read in pieces" in trial.notes[0]


def test_layers_that_are_all_one_cannot_be_told_apart(tmp_path: Path, encoder: Any) -> None:
    with pytest.raises(UsageError, match="has no stages to part"):
        trial_of(tmp_path, encoder("albert"), TrialConfig("last:1"))


def test_a_tuned_encoder_gives_the_scores_that_were_judged(tmp_path: Path, encoder: Any) -> None:
    trial = trial_of(tmp_path, encoder(), TrialConfig("last:1", recipe=QUICK))
    trial.run(budget=None, folder=None, identity={})
    trial.interpolate(
        Interpolation(1.0, refit_head=False),
        {name: trial.original[name] + 0.01 for name in trial.groups.lr_scales},
        trial.initial_head,
    )
    source, judged = trial.tuned_source(), trial.validation_scores()
    tokens = [source.prepare(trial.problem.dataset.read(at)) for at in trial.problem.validation_positions]
    x = TorchTexts(source.module(), sum(block.width for block in source.network().blocks)).run(tokens)
    found = trial.classifier.head().scores(x[:, : source.info.feature_size])
    np.testing.assert_allclose(found, judged, rtol=1e-3, atol=1e-3 * judged.std())
    assert source.info.sha256 != trial.problem.source.info.sha256
    assert source.network().fingerprint != trial.problem.source.network().fingerprint


def test_batches_hold_texts_of_nearly_one_length_and_each_once() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 333)
    for epoch in range(3):
        batches = bucketed(lengths, epoch=epoch, batch_size=16, seed=1)
        np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(333))
        waste = sum(len(rows) * lengths[rows].max() for rows in batches) / lengths.sum()
        assert waste < 1.25
    again = bucketed(lengths, epoch=2, batch_size=16, seed=1)
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))
    other = bucketed(lengths, epoch=3, batch_size=16, seed=1)
    assert not all(np.array_equal(one, other) for one, other in zip(batches, other, strict=False))


def model_of(source: Source) -> Model:
    """Return a model of the toy topics on `pool` of a source, with a head of random weights."""
    block = source.network().blocks[:1]
    rng, width = np.random.default_rng(0), block[0].width
    head = LinearHead("ridge", 1.0, rng.standard_normal((width, 3)).astype(np.float32), np.zeros(3, np.float32))
    report = {"schema": 1, "task": "text-classification"}
    data = DataIdentity("topics", "1" * 64)
    return Model(source.at("pool"), "pool", block, head, ("cooking", "music", "sailing"), report, data, engine="torch")


def comes_back(model: Model, folder: Path) -> Model:
    """Return a model after it was saved and loaded twice, proved to predict as before."""
    texts = [text for text, _ in sentences(2, seed=3)]
    expected = model.predict_proba(texts)
    model.save(folder / "bundle")
    again = hs.load(folder / "bundle", engine="torch")
    np.testing.assert_array_equal(again.predict_proba(texts), expected)
    again.save(folder / "copy")
    np.testing.assert_array_equal(hs.load(folder / "copy", engine="torch").predict_proba(texts), expected)
    return again


def test_a_tuned_encoder_is_tuned_to_the_same_weights_saved_and_loaded(tmp_path: Path, encoder: Any) -> None:
    source, learned = encoder(), []
    for number in range(2):
        trial = trial_of(tmp_path / str(number), source, TrialConfig("last:1", recipe=replace(QUICK, keep_last=True)))
        assert trial.run(budget=None, folder=None, identity={}).best == 2
        learned.append(trial.tuned_source())
    first, second = (one.weights for one in learned)
    assert first and first.keys() == second.keys()
    assert all(np.array_equal(weights, second[name]) for name, weights in first.items())
    loaded = comes_back(model_of(learned[0]), tmp_path)
    assert loaded.source.base is not None and loaded.source.info.sha256 == learned[0].info.sha256
    assert loaded.source.info.sha256 != source.info.sha256
    assert "tuned.safetensors" in json.loads((tmp_path / "bundle" / "manifest.json").read_text())["members"]


@pytest.fixture
def vectors(tmp_path: Path) -> WordSource:
    """Return a file of vectors that knows all words but two of each topic."""
    words = [*FILLERS, *(word for topic in TOPICS.values() for word in topic[2:])]
    rng = np.random.default_rng(0)
    lines = [f"{word} {' '.join(f'{value:.4f}' for value in rng.standard_normal(8))}\n" for word in words]
    (tmp_path / "vectors.txt").write_text("".join(lines))
    source = open_source(f"words:{tmp_path / 'vectors.txt'}")
    assert isinstance(source, WordSource)
    return source


def test_a_layer_of_word_vectors_says_what_the_file_does_and_knows_more_words(vectors: WordSource) -> None:
    texts = [text for text, _ in sentences(8)]
    network = WordNetwork(vectors, texts)
    assert set(network.new_words) <= {word for topic in TOPICS.values() for word in topic[:2]} and network.new_words
    known = [text for text in texts if not set(text.split()) & set(network.new_words)]
    tokens = [network.prepare(text.encode()) for text in texts]
    lookup = network.network().lookup
    assert lookup is not None
    wanted = lookup()(tokens)
    np.testing.assert_allclose(TorchTexts(network.module(), 24).run(tokens), wanted, atol=1e-5)
    plain = vectors.network().lookup
    assert plain is not None and known
    same = [network.prepare(text.encode()) for text in known]
    np.testing.assert_allclose(lookup()(same), plain()([vectors.prepare(text.encode()) for text in known]), atol=1e-6)
    assert network.network().fingerprint != vectors.network().fingerprint
    assert WordNetwork(vectors, texts).network().fingerprint == network.network().fingerprint


def test_tuned_word_vectors_are_saved_and_loaded_with_their_new_words(tmp_path: Path, vectors: WordSource) -> None:
    network = WordNetwork(vectors, [text for text, _ in sentences(24)], FILLERS)
    recipe = Recipe(epochs=3, learning_rate=1e-2, batch_size=8, keep_last=True)
    trial = trial_of(tmp_path / "topics", network, TrialConfig("all", recipe=recipe))
    assert trial.run(budget=None, folder=None, identity={}).best == 3
    tuned = trial.tuned_source()
    assert isinstance(tuned, WordSource) and tuned.base is vectors
    before = vectors.vectors.original(tuned.weights["places"][:3])
    assert (tuned.weights["vectors"][:3] != before).all(), "vectors have learned"
    loaded = comes_back(model_of(tuned), tmp_path).source
    assert loaded.weights.keys() == tuned.weights.keys()
    new = next(word for word in tuned.vectors.learned.new)
    assert loaded.prepare(new.encode()).used == 1 and vectors.prepare(new.encode()).used == 0
    unmet = next(word for word in FILLERS if word not in " ".join(text for text, _ in sentences(1)))
    assert loaded.prepare(unmet.encode()).used == 1
    with pytest.raises(UsageError, match="has no stages to part"):
        trial_of(tmp_path / "stages", network, TrialConfig("last:1"))
    with pytest.raises(SourceError, match="must be places, vectors of 8 numbers and words"):
        vectors.with_weights({**tuned.weights, "places": tuned.weights["places"][::-1]})

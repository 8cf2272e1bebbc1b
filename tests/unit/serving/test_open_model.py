"""A model with open engines answers as `predict` does, to a millionth, whatever stands beside an example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from served import small_run
from toy_texts import sentences, write_csv

import headstart as hs
from headstart.data.audio.spectrogram import Windows
from headstart.data.dataset import BadExample
from headstart.data.text import Tokens
from headstart.serving.open_model import Engines, OpenModel, made_up, pieces_of
from headstart.testing import ToySource


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("small"))


def test_photos(run: Path, cache: Path) -> None:
    model, files = hs.load(run), sorted((run.parent / "photos0").rglob("*.*"))
    opened = OpenModel(model, Engines(cache))
    answers = opened.run([opened.prepare(file.read_bytes()) for file in files])
    alone = [opened.run([opened.prepare(file.read_bytes())])[0] for file in files]
    for group in (answers, alone):
        np.testing.assert_allclose([one.probabilities for one in group], model.predict_proba(files), atol=1e-6)
        np.testing.assert_allclose([one.novelty for one in group], model.novelty_scores(files), rtol=1e-4)
    with pytest.raises(BadExample, match="truncated"):
        opened.prepare(files[0].read_bytes()[:300])


def test_texts_and_their_words(tmp_path: Path, cache: Path) -> None:
    rows = sentences(12)
    hs.fit(write_csv(tmp_path / "topics.csv", rows), source="packaged:wordllama", out=tmp_path / "run")
    model, texts = hs.load(tmp_path / "run"), [text for text, _ in rows[:9]]
    opened = OpenModel(model, Engines(cache))
    answers = opened.run([opened.prepare(text) for text in texts])
    np.testing.assert_allclose([one.probabilities for one in answers], model.predict_proba(texts), atol=1e-6)
    with pytest.raises(BadExample, match="empty"):
        opened.prepare(" ")


def test_bundles_on_one_source_share_its_engine_until_none_needs_it(run: Path, cache: Path) -> None:
    engines, sources = Engines(cache), [hs.load(run).source, hs.load(run).source]
    assert engines.of(sources[0]) is engines.of(sources[1])
    before = engines.of(sources[0])
    engines.keep([])
    assert engines.of(sources[0]) is not before


def test_made_up_examples_are_the_same_each_time_and_of_the_right_shape() -> None:
    source = ToySource()
    first, second = (np.asarray(made_up(source, source.network())) for _ in range(2))
    assert first.shape == (8, 32, 32, 3) and first.dtype == np.uint8 and (first == second).all() and first.std() > 40


def test_an_example_is_as_large_as_it_is_long() -> None:
    piece = np.zeros(3, np.int32)
    assert pieces_of(Tokens((piece, piece), 6, 6)) == 2 and pieces_of(Tokens((), 0, 0)) == 1
    assert pieces_of(Windows(np.zeros((5, 2, 2), np.uint8), 1)) == 5 and pieces_of(np.zeros((2, 2, 3), np.uint8)) == 1

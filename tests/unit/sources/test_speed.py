"""How quickly a source runs here is remembered where it was measured on enough examples."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from headstart.data.readers.open import open_dataset
from headstart.features.extract import extract
from headstart.sources.speed import FEWEST, known_speed, remember_speed
from headstart.testing import ToySource, toy_photos


def test_a_speed_is_that_of_one_source_at_one_input_and_of_no_few_examples() -> None:
    info = ToySource().info
    remember_speed(info, examples=FEWEST - 1, seconds=1.0)
    assert known_speed(info) is None
    remember_speed(info, examples=2 * FEWEST, seconds=0.5)
    assert known_speed(info) == 4 * FEWEST
    assert known_speed(dataclasses.replace(info, input={"size": (9, 9)})) is None
    assert known_speed(dataclasses.replace(info, sha256="another")) is None


def test_an_extraction_leaves_its_speed_and_one_from_the_cache_changes_nothing(tmp_path: Path, cache: Path) -> None:
    source, photos = ToySource(), open_dataset(toy_photos(tmp_path, per_class=20))
    for _ in range(2):
        extract(photos, source, cache=cache, engine="torch")
        speed = known_speed(source.info)
        assert speed is not None and speed > 0
    remember_speed(source.info, examples=100, seconds=1.0)
    extract(photos, source, cache=cache, engine="torch")
    assert known_speed(source.info) == 100

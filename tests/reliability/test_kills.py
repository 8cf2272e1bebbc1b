"""Killed at any instant, in extraction, in tuning and in every save: the old or the new, whole, and it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from nursery import Nursery
from tally import Tally

from headstart.testing import toy_photos

ROW = "kills"


@pytest.fixture(scope="module")
def saver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    folder = tmp_path_factory.mktemp("saver")
    (folder / "whole").mkdir()
    cache = {"WHOLE": str(folder / "whole"), "HEADSTART_CACHE": str(folder / "cache")}
    nursery = Nursery("jobs:prepare", toy_photos(folder / "photos", per_class=20), environment=cache)
    yield nursery
    nursery.close()


@pytest.mark.parametrize("what", ["bundle", "checkpoint", "run", "source"])
def test_killed_in_a_save__DSK_06(
    what: str, saver: Nursery, tmp_path: Path, tally: Tally, tries: Callable[[int], int]
) -> None:
    tally.row = f"kills while a {what} is saved"
    kills, killed = tries(200), 0
    rng = np.random.default_rng()
    seconds = max(saver.run("jobs:save", what, tmp_path / "warm", which).seconds for which in (0, 1))
    for number in range(2 * kills):
        if killed == kills:
            break
        folder, new = tmp_path / f"{number // 10}", number % 2  # new every tenth time, else what a kill left
        before = str(1 - new) if number % 10 else "none"
        ended = saver.run("jobs:save", what, folder, new, after=rng.uniform(0, seconds))
        killed += ended.code < 0
        seconds *= 1.1 if ended.code < 0 else 0.9  # a machine that is busy now and then: half of them are in time
        with tally.attempt(f"{what} {number}"):
            settled = saver.run("jobs:settle", what, folder, new)  # the same command
            assert settled.code == 0, settled.text
            found, _, rest = settled.text.partition(" ")
            allowed = {before, str(new)} if ended.code else {str(new)}
            assert found in allowed or (what == "run" and ended.code), (before, found)
            assert rest == f"{new} []"
    tally.check(least=kills)
    assert killed >= kills / 3


def test_killed_in_extraction__DSK_04(tmp_path: Path, tally: Tally, tries: Callable[[int], int]) -> None:
    from headstart.features.modality import EXTRACTION_PROFILES

    tally.row, kills, count = "kills in extraction", tries(200), 640
    data = toy_photos(tmp_path / "toys", ("ant", "bee"), per_class=count // 2)
    nursery = Nursery("jobs:prepare_extraction")
    whole = nursery.run("jobs:extract", data, tmp_path / "cache", tmp_path / "log")
    assert whole.code == 0, whole.text
    expected, rng, killed = whole.text.split()[0], np.random.default_rng(), 0
    for number in range(2 * kills):
        if killed >= kills:
            break
        cache, log = tmp_path / f"cache-{number // 4}", tmp_path / f"log-{number // 4}"
        ended = nursery.run("jobs:extract", data, cache, log, after=rng.uniform(0, whole.seconds))
        killed += ended.code < 0
        with tally.attempt(f"extraction {number}"):
            assert ended.code in (0, -9), ended.text
            if number % 4 == 3:
                again = nursery.run("jobs:extract", data, cache, log)
                assert again.code == 0, again.text
                digest, hits, misses, notes, _ = again.text.split()
                assert (digest, int(hits) + int(misses), notes) == (expected, count, "0")
                assert log.stat().st_size <= count + 4 * EXTRACTION_PROFILES["image"].commit
    nursery.close()
    tally.check(least=kills)
    assert killed > kills / 3


def test_killed_in_tuning__DSK_05(tmp_path: Path, tally: Tally, tries: Callable[[int], int]) -> None:
    tally.row, kills = "kills in tuning", tries(100)
    nursery = Nursery("jobs:prepare_tuning")
    expected = nursery.run("jobs:train", None)
    assert expected.code == 0, expected.text
    seconds = nursery.run("jobs:train", tmp_path / "whole").seconds
    rng, killed, late = np.random.default_rng(), 0, 0
    for number in range(2 * kills):
        if killed >= kills:
            break
        folder = tmp_path / str(number)
        until = folder / "step-*" if number % 4 else None  # one in four before the first checkpoint
        ended = nursery.run(
            "jobs:train", folder, after=rng.uniform(0, seconds * (0.75 if until else 0.25)), until=until
        )
        killed += ended.code < 0
        late += bool(list(folder.glob("step-*")))
        with tally.attempt(f"tuning {number}"):
            again = nursery.run("jobs:train", folder)
            assert (again.code, again.text) == (0, expected.text), again.text
    nursery.close()
    tally.check(least=kills)
    assert late or kills < 5, "no kill came after the first checkpoint"

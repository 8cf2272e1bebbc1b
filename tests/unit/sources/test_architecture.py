"""What is known of an architecture: looked for once, and again where what was remembered is damaged."""

from __future__ import annotations

from pathlib import Path

from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.architecture import Architecture, remembered
from headstart.sources.taps import Tap

KNOWN = Architecture(
    parameters=7,
    classes=3,
    preprocessing=Preprocessing(size=(8, 9), resize=8, mean=(0.5,), std=(0.25,), channels="grey"),
    taps=(Tap("pool", 4, "pool"), Tap("stage0.avg", 6, "avg", "stages.0", channels_last=True)),
    more=(Tap("flatten", 24, "flatten"),),
    hub="org/name",
    notes=("one", "two"),
)


def test_an_architecture_is_looked_for_once_and_again_when_the_record_is_damaged(cache: Path) -> None:
    looks = []

    def look() -> Architecture:
        looks.append(1)
        return KNOWN

    assert remembered({"name": "toy"}, look) == KNOWN
    assert remembered({"name": "toy"}, look) == KNOWN
    assert len(looks) == 1
    (path,) = (cache / "sources").iterdir()
    sound = path.read_bytes()
    for count, damaged in enumerate((sound.replace(b":7,", b":8,"), sound[:20], b"", b"[]"), start=2):
        path.write_bytes(damaged)
        assert remembered({"name": "toy"}, look) == KNOWN
        assert len(looks) == count
    assert remembered({"name": "other"}, look) == KNOWN and len(looks) == count + 1

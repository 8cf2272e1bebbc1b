"""A hub that fails in every way, several at once: the right bytes, or one line; and the next run heals."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, half, redirect, status, wrong_bytes
from tally import Tally, check_one_line

from headstart.base.errors import SourceError
from headstart.sources.hub.client import Limits
from headstart.sources.hub.repository import Repository, default_client

ROW = "faults of a hub"
FILES = {"config.json": b'{"model_type": "vit"}', "model.safetensors": bytes(range(256)) * 400}
QUICK = Limits(retries=5, seconds=2.0, silence=0.05, pause=0.001)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 102400\n"
FAULTS: dict[str, Callable[[random.Random], Callable[[Any, bytes], None]]] = {
    "HUB-02": lambda chance: status(chance.choice((401, 403, 404, 410, 418))),
    "HUB-03": lambda chance: status(
        chance.choice((429, 500, 502, 503, 504)), Retry_After=chance.choice(("0", "9999", "x"))
    ),
    "HUB-04": lambda chance: half(silence=chance.choice((0.0, 0.1)), part=chance.choice((0.0, 0.3, 0.9))),
    "HUB-05": lambda chance: wrong_bytes,
    "HUB-06": lambda chance: redirect(chance.choice(("http://example.com/x", "file:///etc/passwd", "//[", "", "/x"))),
    "HUB-08": lambda chance: lambda handler, data: handler.reply(200, {}, POINTER),
}


def repository(name: str) -> Repository:
    client = replace(default_client(), limits=QUICK, sleep=lambda seconds: time.sleep(min(seconds, 0.01)))
    return Repository(name, None, uri=f"hf:{name}", client=client)


@pytest.mark.parametrize("kind", [*FAULTS, "HUB-01", "HUB-07", "several"])
def test_the_right_bytes_or_one_line_and_it_heals__HUB_01_to_HUB_08(
    kind: str, hub: Hub, tmp_path: Path, tally: Tally, tries: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tally.row = f"faults of a hub ({kind})"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    for number in range(tries(50)):
        chance, name = random.Random(f"{kind} {number}"), f"org/net-{number}"
        hub.faults.clear()
        commits = {hub.add(name, FILES): FILES}
        file = chance.choice(sorted(FILES))
        with tally.attempt(f"{kind} {number}"):
            if kind in ("HUB-01", "HUB-07"):
                _fetch(name, file, commits)
            if kind == "HUB-07":
                newer = {**FILES, "model.safetensors": chance.randbytes(1000)}
                commits[hub.add(name, newer)] = newer
            if kind == "HUB-01":
                monkeypatch.setenv("HEADSTART_OFFLINE", "1")
                _fetch(name, file, commits)
                with pytest.raises(SourceError) as caught:
                    _fetch(f"{name}-other", file, commits)
                check_one_line(str(caught.value))
                monkeypatch.delenv("HEADSTART_OFFLINE")
            kinds = [kind] if kind in FAULTS else chance.sample(sorted(FAULTS), 3) if kind == "several" else []
            for one in kinds:
                times = chance.choice((1, 2, 10**6))
                hub.fail(FAULTS[one](chance), method=chance.choice(("HEAD", "GET", None)), times=times)
            try:
                _fetch(name, file, commits)
            except SourceError as error:
                check_one_line(str(error).replace("hf_secret", "\n"))  # a token is never shown
            hub.faults.clear()
            for healed in FILES:
                try:
                    _fetch(name, healed, commits)
                except SourceError:  # wrong bytes that were there are found out, and removed, once
                    _fetch(name, healed, commits)
    tally.check(least=tries(50))


def _fetch(name: str, file: str, commits: dict[str, dict[str, bytes]]) -> None:
    found = repository(name).get(file)
    assert found.path.read_bytes() == commits[found.commit][file]

"""The log of a run holds what was shown with the time, what an earlier run said there, and no secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headstart.base.log import LOG, Log, without_secrets


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("the token hf_abcdefghijkl1234 is refused", "the token … is refused"),
        ("https://user:pass@host/a.zip", "https://…@host/a.zip"),
        ("GET /a?token=abc&part=2", "GET /a?token=…&part=2"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer …"),
        ("password=hunter2 and api_key=12", "password=… and api_key=…"),
        ("photos/hf_cats.jpg, ask-me-nothing, key west: sk-1", "photos/hf_cats.jpg, ask-me-nothing, key west: sk-1"),
        ("the environment says a-long-secret", "the environment says …"),
    ],
)
def test_what_is_secret_is_left_out(text: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "a-long-secret")
    monkeypatch.setenv("OTHER_TOKEN", "is")  # too short to be one: it would blacken the words
    assert without_secrets(text) == kept


def test_lines_have_their_time_and_follow_those_of_the_run_that_goes_on(tmp_path: Path) -> None:
    for goes_on in (False, True):
        log = Log(tmp_path, goes_on=goes_on)
        print("one line", file=log, flush=True)
        log.write("two\nlines \udc80\n")
        log.save()
    lines = (tmp_path / LOG).read_text().splitlines()
    assert [line.partition(" ")[2].partition(" ")[2] for line in lines] == ["one line", "two", "lines \\udc80"] * 2
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    Log(tmp_path / "absent", goes_on=True).save()
    assert not (tmp_path / "absent").exists()

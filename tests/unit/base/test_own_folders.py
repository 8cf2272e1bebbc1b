"""A folder of ours is known by what it holds, and a user's folder is never taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.base.own_folders import own_folder


@pytest.mark.parametrize(
    ("file", "kind", "command"),
    [
        ("manifest.json", "a bundle", "headstart predict '{}' INPUT"),
        ("bundle/manifest.json", "the folder of a run", "headstart predict '{}' INPUT"),
        ("source.json", "a source", "headstart fit DATA --source 'file:{}'"),
        ("result.json", "the folder of a run", "report.html"),
    ],
)
def test_a_folder_is_known_by_its_file(tmp_path: Path, file: str, kind: str, command: str) -> None:
    folder = tmp_path / "my run"
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_text('{"schema": 1}')
    own = own_folder(folder)
    assert own is not None and own.kind == kind
    assert command.format(folder) in own.remedy


@pytest.mark.parametrize("content", ['{"images": []}', "[1]", "", "\udcff", "[" * 100_000, '{"schema": "mine"}'])
def test_a_file_of_that_name_alone_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert own_folder(tmp_path) is None
    assert own_folder(tmp_path / "absent") is None

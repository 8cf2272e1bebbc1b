"""Data at URIs: copied once, again where it changes, and what is not there is said."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from headstart.base.errors import UsageError
from headstart.scale.remote import is_remote, local_copy, open_anywhere, open_inputs_anywhere, opened_again
from headstart.testing import toy_photos


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Put toy photos into the file system in memory, and return where."""
    photos = toy_photos(tmp_path / "photos", classes=["cat", "dog"], per_class=3, seed=0)
    uri = f"memory://{tmp_path.name}/photos"
    fsspec.filesystem("memory").put(f"{photos}/", uri, recursive=True)
    return uri


def test_only_uris_are_remote(tmp_path: Path) -> None:
    assert is_remote("s3://bucket/photos") and is_remote("memory://a")
    assert not is_remote("photos") and not is_remote(tmp_path) and not is_remote(["a"])


def test_data_at_a_uri_is_what_it_is_as_files(uri: str, tmp_path: Path) -> None:
    here, there = open_anywhere(tmp_path / "photos"), open_anywhere(uri)
    assert there.examples == here.examples and there.name == here.name
    assert [there.read(at) for at in range(6)] == [here.read(at) for at in range(6)]
    assert there.opened == {"data": uri} and here.opened == {"data": str(tmp_path / "photos")}
    assert opened_again(there.keep([0]).opened or {}).examples == here.examples
    assert open_anywhere((["some text", "another"], ["a", "b"])).opened is None


def test_it_is_copied_once_and_again_where_it_changed(uri: str, cache: Path) -> None:
    first = local_copy(uri)
    assert local_copy(uri) == first and first.is_relative_to(cache)
    fsspec.filesystem("memory").pipe(f"{uri}/cat/new.png", b"x")
    second = local_copy(uri)
    assert second != first and (second / "cat" / "new.png").read_bytes() == b"x"


def test_a_single_file_keeps_its_name(uri: str) -> None:
    fsspec.filesystem("memory").pipe(f"{uri}.csv", b"text,label")
    assert local_copy(f"{uri}.csv").name == "photos.csv"
    assert local_copy(f"{uri}.csv").read_bytes() == b"text,label"


def test_inputs_of_a_prediction_are_opened_again_with_their_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_photos(tmp_path / "photos", classes=["cat"], per_class=2, seed=0)
    monkeypatch.chdir(tmp_path)
    ranges = {"16": (0.0, 1000.0)}
    here = open_inputs_anywhere(["photos"], ranges=ranges, kind="image")
    assert here.opened is not None and not here.value_ranges
    again = opened_again(here.opened)
    assert again.examples == here.examples and again.value_ranges == ranges


@pytest.mark.parametrize("uri", ["memory://nothing/there", "nosuch://bucket"])
def test_what_is_not_there_is_one_line(uri: str) -> None:
    with pytest.raises(UsageError, match=uri.partition("://")[0]):
        local_copy(uri)

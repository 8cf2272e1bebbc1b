"""A bundle goes to a hub and comes back as it was; one commit is fetched once, and a damaged one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_server import Hub, status
from served import small_run

import headstart as hs
from headstart.base.errors import BundleError, SourceError, UsageError
from headstart.base.hashing import sha256
from headstart.ship.hub_bundle import bundle_path, is_on_hub, push


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("small"))


@pytest.fixture
def token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")


def test_a_bundle_is_pushed_and_loaded_again(
    run: Path, hub: Hub, token: None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, digest = push(run, "hf:org/toys")
    assert "org/toys" in address and digest == sha256((run / "bundle" / "manifest.json").read_bytes())
    commit = hub.branches["org/toys", "main"]
    assert hub.commits["org/toys", commit] == {file.name: file.read_bytes() for file in (run / "bundle").iterdir()}
    assert hub.requests("POST", "validate-yaml"), "the hub's own validator has seen the card"

    photo = next((run.parent / "photos0").rglob("*.jpg"))
    assert hs.load("hf:org/toys").predict(photo) == hs.load(Path("hf:org/toys")).predict(photo) == ["class0"]
    asked = len(hub.requests("GET"))
    assert bundle_path(f"hf:org/toys@{commit}").name == f"org--toys--{commit}" and len(hub.requests("GET")) == asked
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    assert hs.load("hf:org/toys").classes == ("class0", "class1")


def test_what_is_no_bundle_or_a_damaged_one_is_refused(run: Path, hub: Hub, cache: Path) -> None:
    whole = {file.name: file.read_bytes() for file in (run / "bundle").iterdir()}
    hub.add("org/other", {"config.json": b"{}"})
    with pytest.raises(SourceError, match=r"hf:org/other must hold manifest\.json"):
        hs.load("hf:org/other")
    hub.add("org/odd", {"manifest.json": b"[]"})
    with pytest.raises(BundleError, match="lists no members"):
        hs.load("hf:org/odd")
    hub.add("org/bad", whole | {"head.safetensors": whole["head.safetensors"][:-1] + b"x", "extra.pkl": b"\x80"})
    with pytest.raises(BundleError, match=r"head\.safetensors .* must be as it was written"):
        hs.load("hf:org/bad")
    with pytest.raises(SourceError, match="repository ORG/NAME"):
        hs.load("hf:../x")


def test_a_push_that_cannot_be_is_refused_before_anything_is_sent(
    run: Path, hub: Hub, token: None, tmp_path: Path
) -> None:
    for target in ("org/toys", "hf:toys", "hf:org/toys/more"):
        with pytest.raises(UsageError, match="ORG/NAME"):
            push(run, target)
    with pytest.raises(BundleError):
        push(tmp_path, "hf:org/toys")
    assert not hub.requests("POST")
    hub.fail(status(401), file="whoami-v2")
    with pytest.raises(UsageError, match="hf auth login"):
        push(run, "hf:org/toys")


def test_a_path_that_is_there_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hf:org").mkdir()
    assert is_on_hub("hf:org/x") and not is_on_hub("hf:org") and bundle_path("hf:org") == Path("hf:org")

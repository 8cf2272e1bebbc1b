"""What every test shares: no network but loopback, a cache of its own, and the folder of real data."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _loopback_only(socket_disabled: None) -> None:
    """Refuse every socket; tests that serve on loopback enable it themselves."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point HEADSTART_CACHE at a fresh folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HEADSTART_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache folder for the whole session, so that whole commands convert the real network only once."""
    return tmp_path_factory.mktemp("warm-cache")


@pytest.fixture
def shared() -> Path:
    """Return the folder of real data sets, or skip and say so."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the real data sets are not on this machine")
    return SHARED

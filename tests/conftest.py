"""What every test shares: no network but loopback, a cache of its own, and the folder of real data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import pytest_socket
from filelock import FileLock
from hub_server import Hub, serve
from hypothesis import HealthCheck, settings

from headstart.engines.environment import set_passive_omp_wait

set_passive_omp_wait()  # before a test imports torch: spinning threads slow the suite down on a busy machine
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # for the workers, of which there is one a core

# The same examples on every machine, however busy it is.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _loopback_only(socket_disabled: None) -> None:
    """Refuse every socket; tests that serve on loopback enable it themselves."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Point HEADSTART_CACHE at a fresh folder, without pytest's search for a free number among thousands."""
    folder = Path(tempfile.mkdtemp(prefix="cache-", dir=tmp_path_factory.getbasetemp()))
    monkeypatch.setenv("HEADSTART_CACHE", str(folder))
    monkeypatch.setenv("HEADSTART_OFFLINE", "")  # so that one command with --offline is not the end of all looks
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _ctrl_c() -> None:
    """Let Ctrl-C work, also in the processes of a test: it is ignored in a shell's background, and after a command."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks learn in float32 on every processor: bfloat16, which some multiply natively, has three digits."""
    monkeypatch.setattr("headstart.tune.training.task.has_bfloat16", lambda device: False)


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return one folder for the whole session, which all of its workers share."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def warm_cache(together: Path) -> Path:
    """Return one cache folder for the whole session, so that whole commands convert the real network only once."""
    folder = together / "warm-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def shared() -> Path:
    """Return the folder of real data sets, or skip and say so."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the real data sets are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def saved_models(together: Path) -> Path:
    """Return a folder of SavedModels, made once by TensorFlow in a process of its own, and what it says of pictures."""
    if find_spec("tensorflow") is None:
        pytest.skip("tensorflow-cpu is not installed: pip install 'headstart[dev]'")
    folder = together / "saved-models"
    with FileLock(together / "saved-models.lock"):
        if not folder.exists():
            _write_saved_models(folder)
    return folder


def _write_saved_models(folder: Path) -> None:
    part = folder.with_name("saved-models-part")
    part.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    np.save(part / "given.npy", (pictures / 255).astype(np.float32))
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "support" / "saved_models.py"), str(part)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )
    assert done.returncode == 0, done.stderr
    part.rename(folder)


@pytest.fixture
def loopback(_loopback_only: None, socket_enabled: None) -> None:
    """Allow sockets to this machine, and to no other."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"])


@pytest.fixture
def hub(loopback: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a Hugging Face hub on loopback, with an empty cache of its own and nobody logged in."""
    from huggingface_hub import constants

    with serve() as hub:
        for name, value in (("HF_ENDPOINT", hub.url), ("HF_HUB_CACHE", str(tmp_path / "hub"))):
            monkeypatch.setenv(name, value)
            monkeypatch.setattr(constants, {"HF_ENDPOINT": "ENDPOINT"}.get(name, name), value)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield hub

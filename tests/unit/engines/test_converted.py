"""The converted network on disk: there whole or not at all, checked at load, made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_nets import convnet

from headstart.base.errors import UsageError
from headstart.engines import openvino
from headstart.engines.openvino import BIN, RECORD, XML, OpenVinoEngine, open_converted
from headstart.engines.select import folder_of, open_engine
from headstart.testing import ToySource

NETWORK = ToySource().network()


def pictures(count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def opened(folder: Path, said: list[str]) -> np.ndarray:
    return OpenVinoEngine(open_converted(NETWORK, folder, say=said.append), precision="f32").run(pictures())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Return the folder of a converted network, and its features of the pictures."""
    folder = tmp_path_factory.mktemp("whole") / "openvino"
    return folder, opened(folder, [])


@pytest.mark.parametrize("name", [XML, BIN, RECORD])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_a_damaged_file_is_noticed_and_the_network_made_again(
    whole: tuple[Path, np.ndarray], tmp_path: Path, name: str, how: str
) -> None:
    said: list[str] = []
    folder, expected = shutil.copytree(whole[0], tmp_path / "net" / "openvino"), whole[1]
    path = folder / name
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)
    np.testing.assert_array_equal(opened(folder, said), expected)
    assert len(said) == 1
    assert "damaged" in said[0]
    assert sorted(entry.name for entry in folder.iterdir()) == sorted([XML, BIN, RECORD])
    assert [entry.name for entry in folder.parent.iterdir()] == ["openvino"]


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openvino, "_sync", full)
    with pytest.raises(UsageError, match="free bytes"):
        open_converted(NETWORK, tmp_path / "net" / "openvino", say=lambda text: None)
    assert list((tmp_path / "net").iterdir()) == []


SCRIPT = """
import os, sys
if len(sys.argv) > 2:
    import torch  # once, for both
    child = os.fork()
import numpy as np
from pathlib import Path
from headstart.engines.select import open_engine
from headstart.testing import ToySource
pictures = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
engine = open_engine(ToySource().network(), sample=lambda: pictures, cache=Path(sys.argv[1]), say=print)
print(engine.name, engine.run(pictures).tobytes().hex()[:64], "torch" in sys.modules, flush=True)
if len(sys.argv) > 2 and child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def ran(cache: Path, *more: str) -> list[list[str]]:
    """Return the words of each line that a process, or two of them, writes, which must be all that there is."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(cache), *more]
    (cache / "home").mkdir(exist_ok=True)
    home = {**os.environ, "HOME": str(cache / "home")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=home)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.thorough
def test_two_processes_convert_once_and_quietly_and_a_third_needs_no_torch(cache: Path) -> None:
    lines = ran(cache, "two of them")
    assert sum("converting" in words for words in lines) == 1
    features = [words[1] for words in lines if words[-1] == "True"]
    assert len(features) == 2 and features[0] == features[1]
    assert ran(cache)[-1][1:] == [features[0], "False"]
    assert not list(cache.rglob("*.lock"))
    assert not list((cache / "home").glob("intel*"))  # where OpenVINO's telemetry would keep its books


def test_lite0_agrees_with_torch_and_ignores_its_batch(warm_cache: Path) -> None:
    from headstart.sources.registry import open_source

    network = open_source("packaged:efficientnet-lite0").network()
    photos = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
    engine = open_engine(network, sample=lambda: photos, cache=warm_cache, engine="openvino")  # refused if it disagreed
    x = engine.run(photos)
    np.testing.assert_array_equal(engine.run(photos[5:6]), x[5:6])
    np.testing.assert_array_equal(engine.run(photos[::-1]), x[::-1])
    assert (folder_of(network, warm_cache) / "openvino" / XML).exists()


CTRL_C = """
import signal, sys
from headstart.engines.openvino import OpenVinoEngine, convert
from headstart.sources.registry import open_source
model = convert(open_source("onnx:" + sys.argv[1]).network())
first, second = (OpenVinoEngine(model, precision="f32") for _ in range(2))
del first
del second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("caught")
"""


def test_ctrl_c_is_no_crash_whatever_order_engines_are_freed_in(tmp_path: Path) -> None:
    convnet(tmp_path / "net.onnx")
    command = [sys.executable, "-c", CTRL_C, str(tmp_path / "net.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "caught\n")

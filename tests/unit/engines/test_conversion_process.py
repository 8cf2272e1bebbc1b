"""A network is converted in another process: this one never imports torch, and that one nothing of the user's."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import SourceError
from headstart.base.progress import PlainProgress, Progress
from headstart.engines.conversion_process import ConversionProcess, NetworkOrigin, engine_opener
from headstart.sources.registry import open_source
from headstart.testing import ToySource, toy_photos

BUILDER = "headstart.sources.registry:open_source"
PLANTED = ("numpy", "json", "torch", "openvino", "pathlib", "subprocess", "threading", "sitecustomize", "usercustomize")
SCRIPT = """
import sys
from pathlib import Path
from headstart.data.readers.open import open_dataset
from headstart.features.extract import extract
from headstart.sources.registry import open_source

sys.path += ["", sys.argv[1]]
source = open_source("arch:lenet5", weights="none", seed=3)
extraction = extract(open_dataset(sys.argv[1]), source, cache=Path(sys.argv[2]))
print(extraction.engine, extraction.misses, "torch" in sys.modules)
"""


def children() -> set[str]:
    """Return the ids of the processes that this one has started and that have not ended."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.thorough
def test_the_first_run_leaves_torch_to_another_process_and_runs_nothing_of_the_working_folder(tmp_path: Path) -> None:
    folder = toy_photos(tmp_path / "photos", per_class=4)
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'a').write({name!r})\n")
    command = [sys.executable, "-P", "-c", SCRIPT, str(folder), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    engine, misses, torch = done.stdout.split()
    assert misses == "8"
    assert torch == ("False" if engine.startswith("openvino") else "True")
    assert not (tmp_path / "run").exists()


def test_where_the_other_process_fails_nothing_is_left(tmp_path: Path) -> None:
    said: list[str] = []
    origin = NetworkOrigin(BUILDER, {"uri": "packaged:no-such-network"})
    conversion = ConversionProcess(origin, engine="auto", cache=tmp_path)
    conversion.wait_for_parity(np.zeros((1, 8, 8, 3), np.uint8), say=said.append)
    conversion.close()
    assert said == []
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_not_needed_after_all_ends_with_the_block(tmp_path: Path) -> None:
    source = open_source("arch:lenet5", weights="none", seed=3)
    origin = NetworkOrigin(BUILDER, dict(source.opened or {}))
    before = children()
    with engine_opener(source.network(), origin, engine="auto", cache=tmp_path, progress=Progress()):
        assert len(children() - before) == 1
    assert children() == before


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_network_without_an_origin_is_converted_in_this_process(tmp_path: Path, engine: str) -> None:
    network, sample, before = ToySource().network(), np.zeros((1, 32, 32, 3), np.uint8), children()
    with engine_opener(network, None, engine=engine, cache=tmp_path, progress=Progress()) as open_engine:
        assert children() == before
        assert open_engine(lambda: sample).name.startswith(engine)


def test_a_network_without_torch_is_converted_in_a_thread_meanwhile(tmp_path: Path) -> None:
    said, before = io.StringIO(), children()
    network = open_source("packaged:efficientnet-lite0", layer="stage0.max").network()
    pictures = np.zeros((1, *network.input_shape), np.uint8)
    with engine_opener(network, None, engine="openvino-f32", cache=tmp_path, progress=PlainProgress(said)) as open_from:
        assert open_from(lambda: pictures).run(pictures).shape == (1, 16)
        assert children() == before
    converting, preparing = said.getvalue().splitlines()
    assert converting == "converting the network for OpenVINO, once"
    assert preparing.startswith("Preparing the network (once): ")


def test_what_a_thread_meets_is_raised_where_the_engine_is_opened(tmp_path: Path) -> None:
    def unsound() -> None:
        raise SourceError("the graph must be sound", "holes", "get another")

    network = replace(open_source("packaged:efficientnet-lite0").network(), graph=unsound)  # type: ignore[arg-type]
    with engine_opener(network, None, engine="auto", cache=tmp_path, progress=Progress()):
        pass  # every photo was broken: nobody opens the engine
    with (
        engine_opener(network, None, engine="auto", cache=tmp_path, progress=Progress()) as open_from,
        pytest.raises(SourceError, match="the graph must be sound"),
    ):
        open_from(lambda: np.zeros((1, *network.input_shape), np.uint8))

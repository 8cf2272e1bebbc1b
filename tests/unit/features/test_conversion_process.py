"""A network is converted in another process: this one never imports torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from headstart.features.conversion_process import ConversionProcess, start_conversion
from headstart.sources.registry import open_source
from headstart.testing import toy_photos

SCRIPT = """
import sys
from pathlib import Path
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.readers.open import open_dataset
from headstart.features.extract import extract
from headstart.sources.registry import open_source

found = scan(open_dataset(sys.argv[1]), progress=Progress())
source = open_source("packaged:efficientnet-lite0", weights="none", seed=3)
made = extract(found.dataset, found.hashes, source, cache=Path(sys.argv[2]))
print(made.engine, made.misses, "torch" in sys.modules)
"""


def test_the_first_run_leaves_torch_to_another_process(tmp_path: Path) -> None:
    photos = toy_photos(tmp_path / "photos", per_class=4)
    command = [sys.executable, "-c", SCRIPT, str(photos), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    engine, misses, torch = done.stdout.split()
    assert misses == "8"
    assert torch == ("False" if engine.startswith("openvino") else "True")


def test_where_the_other_process_fails_nothing_is_found(tmp_path: Path) -> None:
    said: list[str] = []
    opened = {"uri": "packaged:no-such-network"}
    sample = np.zeros((1, 8, 8, 3), np.uint8)
    conversion = ConversionProcess(opened, engine="auto", cache=tmp_path)
    conversion.wait_for_parity(sample, say=said.append)
    conversion.close()
    assert said == []
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_not_needed_after_all_ends_with_the_block(tmp_path: Path) -> None:
    source = open_source("packaged:efficientnet-lite0", weights="none", seed=3)
    with start_conversion(source, engine="auto", cache=tmp_path) as conversion:
        assert conversion is not None
        process = conversion._process
    assert process.returncode is not None

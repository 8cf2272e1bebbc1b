"""The main job on photos and on texts where torch is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_texts import sentences, write_csv

from headstart.testing import toy_photos

SCRIPT = """
import sys
for name in ("torch", "torchvision", "timm", "transformers"):
    sys.modules[name] = None  # what Python takes for "cannot be imported"
import headstart as hs
data, folder, item = sys.argv[1:]
hs.fit(data).save(folder)
print(hs.load(folder).predict([item])[0])
"""


@pytest.mark.parametrize("kind", ["photos", "texts"])
def test_fit_and_predict_import_no_torch(tmp_path: Path, warm_cache: Path, kind: str) -> None:
    if kind == "photos":
        data = toy_photos(tmp_path / "photos", per_class=12)
        item, expected = str(next((data / "cat").rglob("*.png"))), "cat"
    else:
        data = write_csv(tmp_path / "texts.csv", sentences(24))
        item, expected = "the soup was very salt, onion and butter to taste", "cooking"
    command = [sys.executable, "-P", "-c", SCRIPT, str(data), str(tmp_path / "out"), item]
    environment = {**os.environ, "HEADSTART_CACHE": str(warm_cache)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{expected}\n"

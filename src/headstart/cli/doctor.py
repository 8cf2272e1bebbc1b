"""`headstart doctor`: what this machine has for headstart, and what is missing."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headstart import __version__
from headstart.base.config import cache_dir, cores, cpu_info, offline
from headstart.base.disk import check_writable, free_bytes
from headstart.base.errors import UsageError, one_line
from headstart.base.extras import EXTRAS, is_installed, missing_extra
from headstart.base.memory import free_memory
from headstart.cli.command import DisplayOptions, command_of, prepare_display
from headstart.cli.messages import show, show_json
from headstart.data.modality import MODALITIES
from headstart.run.option_model import Options

VECTOR_UNITS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 with bf16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "asimd": "NEON",
}
"""The vector units of processors by their flag in Linux, the fastest first."""
SECONDS = 5.0  # that the hub has to answer
GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    text: str
    remedy: str = ""  # what to do where it keeps headstart from working as it could; empty where it is as it should be
    needed: bool = False  # whether nothing works without it


class DoctorOptions(Options):
    """The options of `doctor`: those of every command."""


def doctor(_: dict[str, Any], display: DisplayOptions) -> None:
    """Print what this machine has. UsageError: something is missing without which nothing works."""
    prepare_display(display)
    findings = list(look())
    if display.as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        wide = max(len(finding.name) for finding in findings)
        for finding in findings:
            show(f"{finding.name:<{wide}}  {one_line(finding.text, 1000)}", indent=wide + 2)
            if finding.remedy:
                show(f"{'':<{wide}}  → {one_line(finding.remedy, 1000)}", indent=wide + 4)
    for finding in findings:
        if finding.needed and finding.remedy:
            raise UsageError(f"the {finding.name} must work", finding.text, finding.remedy)


def look() -> Iterator[Finding]:
    """Yield what is found, from the ground up: Python, processor, memory, engine, cache, extras, sources, hub."""
    yield Finding("headstart", f"{__version__} on Python {platform.python_version()}, {platform.platform()}")
    yield Finding("processor", _processor())
    yield Finding("memory", f"{free_memory() / GIB:.1f} GiB are free")
    yield _engine()
    yield _cache(cache_dir())
    for extra in dict.fromkeys(EXTRAS.values()):
        yield _extra(extra, [library for library, brought_by in EXTRAS.items() if brought_by == extra])
    yield from _sources()
    yield _hub()


def _processor() -> str:
    facts = cpu_info()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    unit = next((name for flag, name in VECTOR_UNITS.items() if flag in flags), "vector units that are not known here")
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name}: {cores()} cores may be used, with {unit}"


def _engine() -> Finding:
    from headstart.engines.select import cuda_device, openvino_version

    on_cuda = f"; torch on {cuda_device()}" if cuda_device() is not None else ""
    if openvino_version() is None:
        if is_installed("torch"):
            return Finding(
                "engine", f"torch {version('torch')}{on_cuda}; OpenVINO is not installed", "run: pip install openvino"
            )
        return Finding("engine", "neither OpenVINO nor torch is installed", "run: pip install openvino", needed=True)
    from headstart.engines.openvino import precisions

    return Finding("engine", f"OpenVINO {openvino_version()} in {', then '.join(precisions())}{on_cuda}", needed=True)


def _cache(folder: Path) -> Finding:
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        check_writable(there, what="HEADSTART_CACHE")
    except UsageError as error:
        return Finding("cache", f"{folder}: {error.received}", error.remedy, needed=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return Finding(
        "cache", f"{folder} holds {size / GIB:.2f} GiB, {free_bytes(there) / GIB:.1f} GiB are free", needed=True
    )


def _extra(extra: str, libraries: list[str]) -> Finding:
    missing = [library for library in libraries if not is_installed(library)]
    if not missing:
        return Finding(f"extra {extra}", f"installed ({', '.join(libraries)})")
    error = missing_extra(extra, missing[0], extra=extra)
    return Finding(f"extra {extra}", f"not installed ({', '.join(missing)})", str(error.remedy))


def _sources() -> Iterator[Finding]:
    """Yield the usable sources of each kind of examples, and how to get the default where that is none of them."""
    from headstart.sources.catalogue import listing
    from headstart.sources.registry import open_source

    rows = listing()
    for modality in MODALITIES.values():
        usable = [row.uri for row in rows if row.info is not None and row.info.kind == modality.kind]
        remedy = ""
        if modality.default_source not in usable:
            try:
                open_source(modality.default_source)
            except UsageError as error:
                remedy = f"for {modality.default_source}, the default, {error.remedy}"
        yield Finding(f"for {modality.plural}", ", ".join(usable) or "no source", remedy)
    for row in rows:
        if row.info is None:
            yield Finding("not usable", row.problem, f"mend it, or leave {row.uri} out")


def _hub() -> Finding:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    if offline():
        return Finding("hub", "not asked: HEADSTART_OFFLINE or --offline forbids the network")
    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=SECONDS):  # noqa: S310
            return Finding("hub", f"{constants.ENDPOINT} answers")
    except HTTPError as error:
        return Finding("hub", f"{constants.ENDPOINT} answers with status {error.code}")
    except (OSError, ValueError, HTTPException) as error:
        return Finding(
            "hub",
            f"{constants.ENDPOINT} does not answer: {getattr(error, 'reason', error)}",
            "use packaged sources and what is cached, or set HF_ENDPOINT or https_proxy to what answers here",
        )


command = command_of(
    "doctor",
    doctor,
    DoctorOptions,
    examples=("headstart doctor", "headstart doctor --offline", "headstart doctor --json"),
)

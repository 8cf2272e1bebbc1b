"""The line that every benchmark prints first: which machine, which day."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path


def machine() -> str:
    """Return CPU, cores and date as one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    flags = next((line for line in lines if line.startswith("flags")), "")
    widest = next((name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if f" {name}" in flags), "none")
    return f"{model}, {os.cpu_count()} cores, widest vector unit {widest}, {datetime.datetime.now().date()}"

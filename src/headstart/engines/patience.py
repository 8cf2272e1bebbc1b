"""How torch's threads wait for each other."""

from __future__ import annotations

import os


def wait_politely() -> None:
    """Let torch's threads sleep while they wait; call it before torch is first imported.

    By default they spin, which costs ten times the time of a batch where decoding threads or other programs want the
    same cores. The variable is OpenMP's own; a value that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

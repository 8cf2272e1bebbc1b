"""Phone photos, half of them HEIC, or a whole class: none vanishes, and the error says how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import headstart as hs


@pytest.mark.shared
@pytest.mark.slow
def test_heic_photos_count_as_lost__f16(made: Callable[[str], Path], tmp_path: Path) -> None:
    made("f16")
    for part in ("half", "class"):
        with pytest.raises(hs.UsageError, match=r"16 × format not accepted \(HEIC\): convert it to JPEG or PNG"):
            hs.fit(tmp_path / part)
    report = hs.fit(tmp_path / "half", allow_broken=True).report
    assert report["examples"]["skipped"] == len(report["losses"]) == 16
    assert all("HEIC" in loss["reason"] for loss in report["losses"])

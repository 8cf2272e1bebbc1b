"""How a reader of the report uses what the run made, on the command line and in Python."""

from __future__ import annotations

import shlex
from typing import Any

from headstart.data.modality import modality_of_task


def how_to_use(result: dict[str, Any], *, bundle: str) -> dict[str, str]:
    """Return the two ways to use a bundle, or the source that was trained."""
    modality = modality_of_task(result["task"])
    if "training" in result:
        return {
            "shell": f"headstart fit YOUR_{modality.plural.upper()} --source {shlex.quote(result['source'])}",
            "python": f"source = hs.open_source({result['source']!r})",
            "call": f"source.encode([{modality.sample_item!r}])",
        }
    return {
        "shell": f"headstart predict {shlex.quote(bundle)} {modality.sample_file}",
        "python": f"model = hs.load({bundle!r})",
        "call": f"model.predict([{modality.sample_item!r}])",
    }

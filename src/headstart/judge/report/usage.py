"""How a reader of the report uses what the run made, on the command line and in Python."""

from __future__ import annotations

import shlex
from typing import Any

EXAMPLES = {"texts": "a text of yours"}
FILES = {"photos": "photo.jpg", "texts": "texts.csv", "recordings": "recording.wav", "examples": "example"}


def how_to_use(result: dict[str, Any], *, bundle: str, items: str) -> dict[str, str]:
    """Return the two ways to use a bundle, or the source that was trained.

    Args:
        result: the content of `result.json`.
        bundle: path of the bundle.
        items: what the examples are, in the plural.
    """
    file = FILES[items]
    if "training" in result:
        return {
            "shell": f"headstart fit YOUR_PHOTOS --source {shlex.quote(result['source'])}",
            "python": f"source = hs.open_source({result['source']!r})",
            "call": f"source.encode([{file!r}])",
        }
    return {
        "shell": f"headstart predict {shlex.quote(bundle)} {file}",
        "python": f"model = hs.load({bundle!r})",
        "call": f"model.predict([{EXAMPLES.get(items, file)!r}])",
    }

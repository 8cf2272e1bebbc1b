"""Whether a source may be passed on with a model, by its licence as far as that is known."""

from __future__ import annotations

import re

from headstart.base.errors import UsageError
from headstart.sources.uri import SEVERAL

FREE = re.compile(
    "apache|mit|bsd|isc|cc0|cc-by(-sa)?(-[0-9]|$)|pddl|odc|unlicense|zlib|lgpl|gpl|agpl|mpl|(open|creativeml-open)rail|none",
    re.IGNORECASE,
)
"""How the names of licences begin that let anybody pass the weights on."""


def check_licence(uri: str, licence: str, *, accepted: bool) -> None:
    """Raise UsageError unless the licence of a source lets anybody pass it on, or its terms were accepted."""
    unfree = [part for part in licence.split(SEVERAL) if not FREE.match(part)]
    if unfree and not accepted:
        raise UsageError(
            f"the licence of {uri} must be known to let you pass its weights on",
            unfree[0],
            "read its terms, and add --accept-licence where they let you",
        )

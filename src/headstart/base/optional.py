"""Import of libraries that only some users need."""

from __future__ import annotations

import importlib
from types import ModuleType

from headstart.base.errors import MissingExtra


def require(module: str, *, extra: str, asked_for: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Args:
        module: the library to import, as in an import statement.
        extra: the extra of this package that installs it.
        asked_for: what the user asked for, for the message.

    Raises:
        MissingExtra: the library is absent. Any other ImportError, such as one inside the library, passes through.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise MissingExtra(
            f"{asked_for} needs the package {error.name!r}",
            "it is not installed",
            f"run: pip install 'headstart[{extra}]'",
        ) from error

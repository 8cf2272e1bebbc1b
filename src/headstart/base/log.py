"""The log of a run: what was shown, line by line with the time of day, and nothing that is secret."""

from __future__ import annotations

import io
import os
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

LOG = "log.txt"
SECRETS = re.compile(
    r"\b(?:hf|gh[a-z]|github_pat|glpat|sk|xox[a-z])[_-][\w-]{8,}|(?<=://)[^/\s@]+(?=@)|(?<=\bBearer )\S+"
    r"|(?i:(?<=token=)|(?<=key=)|(?<=secret=)|(?<=password=)|(?<=signature=))[^&\s]+"
)
SECRET_NAMES = re.compile("TOKEN|SECRET|PASSWORD|_KEY$", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return a text with an ellipsis for every token, password and key in it, those of the environment too."""
    for name, value in os.environ.items():
        if SECRET_NAMES.search(name) and len(value) >= 8:
            text = text.replace(value, "…")
    return SECRETS.sub("…", text)


class Log(io.StringIO):
    """A stream for lines, which `save` writes into the folder of a run; what an earlier run said there stays before."""

    def __init__(self, out: Path, *, goes_on: bool = False) -> None:
        super().__init__()
        self._path, self._lines = out / LOG, list[str]()
        if goes_on:
            with suppress(OSError):
                self._lines += self._path.read_text(encoding="utf-8").splitlines()

    def write(self, text: str, /) -> int:
        """Add a line, or several; an end of line alone adds nothing."""
        now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
        self._lines += [f"{now} {line}" for line in without_secrets(text).splitlines() if line]
        return len(text)

    def save(self) -> None:
        """Write the lines; where the disk does not take them, the run itself says so."""
        with suppress(OSError):
            self._path.write_text(
                "".join(f"{line}\n" for line in self._lines), encoding="utf-8", errors="backslashreplace"
            )

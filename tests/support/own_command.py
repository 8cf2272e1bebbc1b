"""A command of one's own in the place of a real one, in a process that can be interrupted."""

from __future__ import annotations

import sys
from textwrap import indent

TAIL = """
own = typer.Typer()
own.command("work")(work)
module = types.ModuleType("headstart.cli.work")
module.command = typer.main.get_command(own)
sys.modules["headstart.cli.work"] = module
cli.SUMMARIES["work"] = "Work until a signal comes."
folder, sys.argv = sys.argv[-1], ["headstart", "work"]
cli.main()
"""


def own_command(work: str, *, imports: str = "", folder: str = "") -> list[str]:
    """Return what starts a process whose command does `work`: lines of Python that know `folder` and `imports`."""
    head = "import sys, types\nimport typer\nfrom headstart.cli import app as cli\n"
    return [sys.executable, "-c", f"{head}{imports}\ndef work() -> None:\n{indent(work, '    ')}\n{TAIL}", folder]

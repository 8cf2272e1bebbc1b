"""`headstart push`: upload a bundle to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headstart.cli.command import BUNDLE, DisplayOptions, command_of, prepare_display
from headstart.cli.messages import show, show_json
from headstart.run.option_model import Options, flag


class PushOptions(Options):
    """The options of `push`."""

    private: bool = flag("Output")
    """Make a new repository that only you see. By default everyone sees it."""


def push(bundle: Path, target: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Upload a bundle, and print its address and what signs it."""
    from headstart.ship import hub_bundle

    options = PushOptions(**chosen)
    progress = prepare_display(display)
    with progress.step("Uploading the bundle"):
        address, digest = hub_bundle.push(bundle, target, private=options.private)
    if display.as_json:
        show_json({"schema": 1, "address": address, "sha256": digest})
    else:
        show(f"Uploaded: {address}\nsha256 of its manifest, which holds those of all files: {digest}")


command = command_of(
    "push",
    push,
    PushOptions,
    arguments=[
        BUNDLE,
        ("target", str, "hf:ORG/NAME", "The repository, which is made where there is none."),
    ],
    examples=(
        "headstart push runs/flowers hf:me/flowers",
        "headstart push runs/flowers hf:me/flowers --private",
        "headstart push runs/flowers/bundle hf:me/flowers --json",
    ),
)

"""`headstart serve`: bundles behind HTTP, and a page in front of them."""

from __future__ import annotations

import signal
from typing import Any

from headstart.cli.command import DisplayOptions, command_of, prepare_display
from headstart.serving.options import ServeOptions


def serve(bundles: list[str], chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Serve bundles until a signal ends it."""
    from headstart.serving.serve import run_serve

    options = ServeOptions(**chosen)
    if run_serve(bundles, options, prepare_display(display)) == signal.SIGINT:
        raise KeyboardInterrupt


command = command_of(
    "serve",
    serve,
    ServeOptions,
    arguments=[
        (
            "bundles",
            list[str],
            "BUNDLE...",
            "The folders that fit wrote, of which requests name one: by the folder, or as in NAME=BUNDLE.",
        )
    ],
    examples=(
        "headstart serve runs/flowers",
        "headstart serve photos=runs/flowers mails=runs/reviews --port 8080",
        "headstart serve runs/flowers --host 0.0.0.0 --token token.txt",
    ),
)

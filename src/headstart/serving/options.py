"""The options of `serve`."""

from __future__ import annotations

from pathlib import Path

from headstart.run.option_model import option
from headstart.run.options import EngineOptions


class ServeOptions(EngineOptions):
    """The options of `serve`."""

    host: str = option("127.0.0.1", "Run", "HOST")
    """The address to listen on. The default is 127.0.0.1, which only this machine reaches; any other needs --token."""
    port: int = option(8000, "Run", "PORT", least=0)
    """The port to listen on; 0 takes a free one. The default is 8000."""
    token: Path | None = option(None, "Run", "FILE")
    """A file, readable by you alone, that holds the token which every request must carry. By default none is asked for,
    and only this machine is listened to."""
    workers: int = option(1, "Run", "N", least=1)
    """The processes that answer, each with the models of its own. The default is 1, whose network uses every core."""
    max_megabytes: int = option(32, "Data", "N", least=1)
    """The largest body of a request, in MB of 1,048,576 bytes. The default is 32."""
    max_items: int = option(64, "Data", "N", least=1)
    """How many items a request may hold. The default is 64."""

"""The options of `pretrain`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from headstart.base.errors import SourceError, UsageError
from headstart.base.extras import require
from headstart.run.option_model import flag, flag_of, option
from headstart.run.options import Seconds, TrainingOptions
from headstart.tune.settings import TRACKERS

NOT_OF_THE_COMMAND = (
    "arch",
    "out",
    "resume",
    "root",
    "label_from",
    "group_by",
    "follow_links",
    "allow_broken",
    "tensorboard",
    "track",
    "push_to_hub",
)
"""What the command on a source's card leaves out: it changes nothing about the weights, or stands apart."""


class PretrainOptions(TrainingOptions):
    """The options of `pretrain`."""

    classes: Path | None = option(None, "Data", "FILE")
    """A text file of the classes to train on, one a line. The default is all classes of the data."""
    seconds: float | None = option(None, "Data", "SECONDS")
    """The length of a recording that the network reads. The default is what 95 in 100 recordings last, at most 10."""
    arch: str = option(..., "Source", "URI")
    """The architecture, such as timm:resnet18 or arch:resnet9. It must be given."""
    size: int | None = option(None, "Source", "PIXELS", least=1)
    """The side of the input; for recordings the mel bands. The default is the architecture's own."""
    budget: Seconds | None = option(None, "Training", "TIME")
    """The time for training, such as 45m. The default is what the epochs take."""
    epochs: int = option(30, "Training", "N", least=1)
    """Train for at most this many epochs. The default is 30."""
    learning_rate: float | None = option(None, "Training", "RATE")
    """The highest learning rate. The default is 0.003."""
    batch_size: int | None = option(None, "Training", "N", least=1)
    """The examples of one training step. The default is 128, and for few recordings as little as 16."""
    augment: str = option("light", "Training", "HOW", choices=("none", "light"))
    """How far augmented examples differ from their originals: none or light. The default is light."""
    horizontal_flip: bool | None = option(None, "Training", None, either=True)
    """Whether a mirrored picture keeps its label. By default it does, unless the network reads grey pictures."""
    licence: str | None = option(None, "Output", "NAME")
    """The licence of the weights, for the model card. By default the card states none."""
    fp16: bool = flag("Output")
    """Store the weights in half precision. By default they are stored in float32."""
    force: bool = flag("Output")
    """Let the source be used even if it does not beat the baselines; it is marked so. By default it is written, and
    refused where it is opened."""
    push_to_hub: str | None = option(None, "Output", "ORG/NAME")
    """The Hugging Face repository to upload the source to. By default it is not uploaded."""
    track: str | None = option(None, "Output", "TRACKER", choices=TRACKERS)
    """Log the training to mlflow or wandb. By default it is logged to neither."""

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        from headstart.sources.uri import parse

        require("pretrain", "torch", *(["tensorboard"] if self.tensorboard is not None else []))
        if self.track is not None:
            require(f"--track {self.track}", self.track)
        for name in ("seconds", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{flag_of(name, type(self).model_fields[name])} must be above 0", value, "give more")
        if (architecture := parse(self.arch)).provider == "file":
            raise SourceError("--arch must name an architecture", architecture.uri, "name one, such as timm:resnet18")
        return self

    @property
    def folder(self) -> Path:
        """The folder for the source."""
        assert self.out is not None
        return self.out

    def command(self, data: Any) -> str:
        """Return the command line that does the same with `data`."""
        words = ["headstart", "pretrain", str(data) if isinstance(data, (str, Path)) else "DATA", "--arch", self.arch]
        for name, field in type(self).model_fields.items():
            value, flag = getattr(self, name), flag_of(name, field)
            if name in NOT_OF_THE_COMMAND or value == field.default:
                continue
            if isinstance(value, bool):
                words.append(flag if value else f"--no-{flag.removeprefix('--')}")
            elif isinstance(value, dict):
                words += [flag, ",".join(value.get("header", ()) or (f"{word}={item}" for word, item in value.items()))]
            else:
                for item in value if isinstance(value, tuple) else (value,):
                    words += [flag, f"{item:g}s" if name == "budget" else str(item)]
        return shlex.join([*words, "--out", str(self.out)])

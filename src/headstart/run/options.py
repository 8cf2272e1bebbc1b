"""The options of `fit`, and those that commands share; each command has one model, from which everything is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from headstart.base.errors import UsageError
from headstart.base.extras import require
from headstart.run.folder import CHECKPOINTS, check_out
from headstart.run.option_model import Options, flag, option
from headstart.tune.settings import AUTO, MODES, NONE, Settings, parse_budget

if TYPE_CHECKING:
    from headstart.sources.base import Source
else:
    Source = Any  # the class of sources brings numpy, which `--help` does not need


def seconds_of(value: Any) -> Any:
    """Return the seconds of a budget: of a text such as `10m`, or a number of seconds as it is."""
    return parse_budget(value) if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(seconds_of)]
"""A time in seconds, which may be given as a text such as `30s`, `10m` or `1h`."""


def columns_of(value: Any) -> Any:
    """Return the names of columns, by our words for what they hold; those of the whole header under "header".

    A text or list of names alone is a header, a text such as `path=file,label=class` names some by our words, and a
    mapping is passed as it is.

    UsageError: a text is of neither form.
    """
    if isinstance(value, (list, tuple)):
        return {"header": tuple(map(str, value))}
    if not isinstance(value, str):
        return value
    names = [part.strip() for part in value.split(",")]
    if all(name and "=" not in name for name in names):
        return {"header": tuple(names)}
    pairs = [part.partition("=") for part in value.split(",")]
    for word, equals, name in pairs:
        if not (word.strip() and equals and name):
            do = "name every column of a table without a header, such as label,text, or some such as path=file"
            raise UsageError("--columns must name columns", repr(value), do)
    return {word.strip(): name for word, _, name in pairs}


def names_of(value: Any) -> Any:
    """Return one name as a tuple of it, and several as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Columns = Annotated[dict[str, str | tuple[str, ...]], BeforeValidator(columns_of)]
"""Names of columns, by our words for what they hold."""
Names = Annotated[tuple[str, ...], BeforeValidator(names_of)]

BY_CONTENT = ("path", "text", "label", "split", "group", "time", "id")
"""What a column may hold that has an option of its own, such as `--path-column`."""


class TableOptions(Options):
    """What the columns of a table hold."""

    path_column: str | None = option(None, "Data", "NAME")
    """The column of a table that names the files. By default it is the one whose cells are paths, names or stems of
    files that exist."""
    text_column: Names | None = option(None, "Data", "NAME", several=True)
    """The column of a table that holds the texts; given again, several are joined. By default it is the one named text,
    or the one of words that differ from row to row."""
    label_column: str | None = option(None, "Data", "NAME")
    """The column of a table that holds the labels. By default it is the one named label, or the one of few values, or
    one column of 0 and 1 for each class."""
    split_column: str | None = option(None, "Data", "NAME")
    """The column of a table that says to which part a row belongs. By default it is the one named split, or the one
    whose cells all name parts."""
    group_column: str | None = option(None, "Data", "NAME")
    """The column of a table whose equal cells stay on one side of a split. By default it is the one named group."""
    time_column: str | None = option(None, "Data", "NAME")
    """The column of a table with numbers or ISO dates, by which the newest 30 % become the test part. By default no
    column is read so."""
    id_column: str | None = option(None, "Data", "NAME")
    """The column of a table that names the rows in reports. By default they are named by path or line."""
    columns: Columns | None = option(None, "Data", "NAMES")
    """The names of all columns of a table without a header, such as label,title,text; or some columns by what they
    hold, such as path=file,group=patient. By default the first row is the header."""

    @property
    def column_names(self) -> dict[str, str | tuple[str, ...]] | None:
        """The columns that were named, by our words for what they hold; None where none was."""
        named = {word: getattr(self, f"{word}_column") for word in BY_CONTENT}
        return {**(self.columns or {}), **{word: name for word, name in named.items() if name is not None}} or None


class EngineOptions(Options):
    """What computes features."""

    engine: str = option("auto", "Run", "ENGINE", choices=("auto", "torch", "openvino"))
    """What computes the features: torch (on a CUDA device where there is one, else in float32 on the CPU), openvino, or
    auto. The default is auto: a CUDA device, else OpenVINO, where their features agree with torch on the CPU, else
    torch."""

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.engine == "torch":
            require("--engine torch", "torch")
        return self


class ClusterOptions(EngineOptions):
    """What computes features, and where."""

    cluster: str | None = option(None, "Run", "WHERE")
    """Compute the features on a Ray cluster: auto for the one that runs on this machine, ray://HOST:PORT, or local[N]
    for one of N cores that this run starts and ends. By default this process computes them."""
    shards: str | None = option(None, "Run", "URI")
    """The folder where a run with --cluster keeps features, on any path that fsspec knows, such as s3://bucket/shards.
    The default is shards/ in the cache."""

    @model_validator(mode="after")
    def _check_cluster(self) -> Self:
        if self.cluster is not None:
            from headstart.scale.ray_cluster import check_cluster

            check_cluster(self.cluster)
        elif self.shards is not None:
            raise UsageError("--shards must come with --cluster", "--shards alone", "add --cluster local, or leave it")
        return self


class NamedSourceOptions(Options):
    """Which source is used."""

    source: str | Source | None = option(None, "Source", "URI")
    """The pretrained network; auto takes the one that a ranking of all that are here recommends. The default depends on
    the data: packaged:efficientnet-lite0 for photos, packaged:minilm for texts, packaged:speech for recordings. A fit
    with a budget takes auto where extracting features of all of them is stated to take a tenth of it."""


class OpenOptions(Options):
    """How a source is opened."""

    weights: str | Path = option("pretrained", "Source", "WEIGHTS")
    """The weights of the source: pretrained, none for random ones, or the path of a checkpoint. The default is
    pretrained."""
    arch: str | None = option(None, "Source", "URI")
    """The architecture of a bare checkpoint that file:PATH names. By default the checkpoint names it."""
    layer: str = option("auto", "Source", "LAYER")
    """Where features are taken: pool, joined, a stage, or stages joined by +; layers with a comma between stand side by
    side. The default is auto: pool, joined, or the mean of a head on each, by the log loss of unseen examples."""


class LinkOptions(Options):
    """What files the data may lead to."""

    root: Path | None = option(None, "Data", "DIR")
    """A folder that paths in a table, and links, may lead into. The default is the folder of the data alone."""
    follow_links: bool = flag("Data")
    """Follow links in folders, wherever they lead. By default a link is followed only where it stays inside the data or
    the folder of --root."""


class DataOptions(LinkOptions, TableOptions):
    """What every command shares that reads labelled data and writes a folder."""

    label_from: str | None = option(None, "Data", "PATTERN")
    """A regular expression that takes the label from the path of each file: what its group matches. By default the
    folders are the labels."""
    group_by: str | None = option(None, "Data", "PATTERN")
    """A regular expression that takes the group from the path or id of each example: what its first group, or all of
    it, matches. A group stays on one side of a split. By default no names are grouped."""
    allow_broken: bool = flag("Data")
    """Go on although more than a fifth of the examples, or half of a class, are broken. By default the run stops."""
    out: Path | None = option(None, "Output", "DIR")
    """The folder for the results. The default is a new folder under runs/; called from Python, fit and compare then
    write nothing."""
    seed: int = option(0, "Run", "N", least=0)
    """The seed of every random choice: splits, folds, weights and intervals. The default is 0."""

    @property
    def patterns(self) -> dict[str, str]:
        """The regular expressions that take labels and groups from names, those that are there by their names."""
        named = {"label_from": self.label_from, "group_by": self.group_by}
        return {name: pattern for name, pattern in named.items() if pattern is not None}

    @property
    def reading(self) -> dict[str, Any]:
        """How the data is opened: the arguments of `open_dataset` by their names."""
        shared = {name: getattr(self, name) for name in ("root", "label_from", "group_by", "follow_links")}
        return {**shared, "columns": getattr(self, "column_names", None)}

    @classmethod
    def for_run(cls, arguments: Mapping[str, Any]) -> Self:
        """Return the options among the arguments of a function, proved to name a folder that a run may write into.

        UsageError: an option cannot be used, or the folder holds other things.
        """
        options = cls.taken_from(arguments)
        if options.out is not None:
            check_out(options.out)
        return options


class RunOptions(DataOptions):
    """What the commands share that learn from the data."""

    drop_test_duplicates: bool = flag("Data")
    """Leave out training examples that the given test or validation part holds as well. By default they stay, and a
    note counts them."""
    resume: bool = flag("Run")
    """Continue the stopped run in the folder of --out, and say so where there is none. By default it is continued too,
    in silence."""

    @property
    def checkpoints(self) -> Path | None:
        """The folder for what a stopped run is continued from; None where nothing is written."""
        return None if self.out is None else self.out / CHECKPOINTS


class TrainingOptions(RunOptions):
    """What the commands share that may train a network."""

    tensorboard: Path | None = option(None, "Output", "DIR")
    """The folder for TensorBoard's files. By default none are written."""


class ReaderOptions(ClusterOptions, RunOptions):
    """What the commands share that compute features: how a source reads examples."""

    long_texts: str = option("cut", "Data", "HOW", choices=("cut", "chunks"))
    """What is read of a text that is longer than the source reads: cut reads its beginning, chunks takes the mean over
    all of its pieces. The default is cut."""
    window: float | None = option(None, "Source", "SECONDS")
    """The seconds of a recording that the source reads at once. The default is the source's own: 2 for
    packaged:speech."""
    hop: float | None = option(None, "Source", "SECONDS", least=0)
    """The seconds from one window of a longer recording to the next, over all of which features are averaged; 0 reads
    the first one alone. The default is the length of a window."""


class SourceOptions(ReaderOptions, OpenOptions, NamedSourceOptions, TrainingOptions):
    """What the commands share that compute features with one source."""


class FitOptions(SourceOptions):
    """The options of `fit`."""

    labels_per_class: int | None = option(None, "Data", "N", least=2)
    """Train on this many examples of each class. The default is all of them."""
    folds: int | None = option(None, "Data", "N", least=2)
    """Report the accuracy of the frozen source on this many stratified folds of all examples too, and its spread. By
    default there is the test part alone."""
    size: int | None = option(None, "Source", "PIXELS")
    """The side of the pictures: of a keras: source the input, of another one that which it is tuned at. The default is
    the source's own."""
    tune: str | None = option(None, "Tuning", "MODE", values=MODES)
    """Which weights of the source learn too: none, norm, lora, last:N, all or auto. The default is none, and auto where
    --budget is given."""
    budget: Seconds | None = option(None, "Tuning", "TIME")
    """The time for tuning, such as 30s, 10m or 1h. The default is 10m for auto, and what the epochs take otherwise."""
    epochs: int = option(10, "Tuning", "N")
    """Tune for at most this many epochs. The default is 10."""
    learning_rate: float | None = option(None, "Tuning", "RATE")
    """The highest learning rate. The default depends on the mode: for pictures norm and lora 0.001, last:N 0.0005, all
    0.0003; for texts norm 0.001, lora 0.0005, last:N and all 0.00005."""
    batch_size: int = option(32, "Tuning", "N")
    """The examples of one training step. The default is 32."""
    augment: str = option("light", "Tuning", "HOW")
    """How far augmented pictures differ from their originals: none, light or strong. The default is light."""
    augmented_views: int = option(4, "Tuning", "N")
    """The augmented views of each picture for which the activations of the frozen layers are cached. The default is
    4."""
    batchnorm: str = option("keep", "Tuning", "HOW")
    """What BatchNorm does while it is tuned: keep uses its running statistics as they are, train updates them. The
    default is keep."""
    mixup: float = option(0.0, "Tuning", "ALPHA")
    """The alpha of mixup. The default is 0: pictures are not mixed."""
    label_smoothing: float = option(0.0, "Tuning", "SHARE")
    """The share of each label that is spread over all classes. The default is 0."""
    patience: int = option(5, "Tuning", "N")
    """Stop after this many epochs without a better validation loss. The default is 5."""
    track: str | None = option(None, "Output", "TRACKER")
    """Log the tuning to mlflow or wandb. By default it is logged to neither."""

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        self.tuning.check()
        return self

    @property
    def _is_keras(self) -> bool:
        return str(self.arch or self.source or "").startswith("keras:")

    @property
    def source_size(self) -> int | None:
        """The side of the input with which the source is opened, in pixels; None for its own."""
        return self.size if self._is_keras else None

    @property
    def tuning(self) -> Settings:
        """How the source is tuned; a budget alone means `auto`."""
        shared = {one.name: getattr(self, one.name) for one in fields(Settings) if one.name in type(self).model_fields}
        shared["size"] = None if self._is_keras else self.size
        return Settings(**{**shared, "mode": self.tune or (NONE if self.budget is None else AUTO)})


class ExportOptions(Options):
    """The options of `export`."""

    to: str = option(..., "Output", "FORMAT", choices=("onnx", "openvino", "browser", "docker", "mlflow", "tflite"))
    """The format: onnx (a file for ONNX Runtime), openvino, browser (a page that classifies photos or recordings in
    the browser, on any server of files); docker (a Dockerfile with the bundle) or mlflow (a model that MLflow serves),
    which need no --data. tflite says why it cannot be made."""
    data: str | None = option(None, "Data", "DATA")
    """Examples like those that the model will see, labelled or not, on up to 200 of which it must answer as predict
    does. There is no default: a bundle holds no examples."""
    out: Path | None = option(None, "Output", "DIR")
    """The folder for the model. The default is one beside the bundle, with the format behind its name."""
    int8: bool = flag("Output")
    """Round the weights of the network to 8 bits: a quarter of the size. A probability may then differ by up to 0.1,
    and the report says how many answers change. By default they stay in float32."""
    accept_licence: bool = flag("Run")
    """Export although the licence of the source is not known to let you pass its weights on. By default it is then
    refused."""

"""`headstart export`: a bundle as a model that runs without this package."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from headstart.base.errors import UsageError, counted
from headstart.base.progress import Progress
from headstart.cli.command import BUNDLE, DisplayOptions, command_of, prepare_display
from headstart.cli.messages import show, show_json
from headstart.run.options import ExportOptions

if TYPE_CHECKING:
    from headstart.model import Model
    from headstart.ship.export.parity import Expected, Parity

AROUND = {"docker": "an image", "mlflow": "a model of MLflow"}
"""What is written with the bundle as it is, so that `predict` itself answers."""


def export(bundle: Path, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Write a bundle as a model for another runtime, and print how well it agrees with `predict`."""
    options = ExportOptions(**chosen)
    if options.to in AROUND:
        _write_around(bundle, options, display)
        return
    out, parity = run_export(bundle, options, prepare_display(display))
    if display.as_json:
        from dataclasses import asdict

        show_json({"schema": 1, "bundle": str(bundle), "to": options.to, "out": str(out), **asdict(parity)})
    else:
        show(f"{parity}\nModel: {out}")


def _write_around(bundle: Path, options: ExportOptions, display: DisplayOptions) -> None:
    """Write the folder of what holds the bundle itself, and print what is in it."""
    from headstart.serving.mlflow_model import write_mlflow
    from headstart.ship.docker import write_docker

    if options.int8:
        raise UsageError("--int8 must be of a model that is written anew", f"--to {options.to}", "leave it out")
    prepare_display(display)
    out = _folder(bundle, options)
    names = (write_docker if options.to == "docker" else write_mlflow)(bundle, out)
    if display.as_json:
        show_json({"schema": 1, "bundle": str(bundle), "to": options.to, "out": str(out), "files": names})
    else:
        show(f"Wrote {AROUND[options.to]}: {out} ({', '.join(names)}); its README.md says how to use it")


def _folder(bundle: Path, options: ExportOptions) -> Path:
    return options.out or bundle.absolute().parent / f"{bundle.absolute().name}-{options.to}"


def run_export(bundle: Path, options: ExportOptions, progress: Progress) -> tuple[Path, Parity]:
    """Write a bundle as a model for another runtime; return its folder, and how well it agrees with `predict`.

    UsageError: the bundle or the data cannot be used, the source may not be passed on, or the model cannot be written
    in this format, or would answer otherwise.
    """
    from headstart.model import load
    from headstart.ship.export.graph import Parts
    from headstart.ship.export.licence import check_licence
    from headstart.ship.export.write import BROWSER, check_folder, check_format, exported

    out = _folder(bundle, options)
    check_format(options.to)
    check_folder(out)
    model = load(bundle, engine="openvino-f32")
    info = model.source.info
    check_licence(info.uri, info.licence, accepted=options.accept_licence)
    more = _page(bundle, model) if options.to == BROWSER else {}
    examples, expected = _expected(model, options.data, progress)
    parts = Parts(
        model.source, model.layer, model.blocks, model.head, model.classes, terms=model.terms, novelty=model.novelty
    )
    with progress.step(f"Writing the model for {options.to}, and comparing it with predict"):
        return out, exported(out, options.to, parts, examples, expected, more=more, int8=options.int8)


def _page(bundle: Path, model: Model) -> dict[str, bytes]:
    """Return a page that runs a model in a browser, and the runtime that it needs. UsageError: it cannot be had."""
    from headstart.data.audio.spectrogram import AudioPreprocessing
    from headstart.data.images.preprocessing import Preprocessing
    from headstart.serving.page import browser_page
    from headstart.ship.export.parity import seconds_heard
    from headstart.ship.export.web_runtime import web_runtime

    reads, preprocessing = model.source.info.kind, model.source.preprocessing
    if isinstance(preprocessing, Preprocessing):
        more: dict[str, float] = {"ground": preprocessing.background}
    elif isinstance(preprocessing, AudioPreprocessing):
        more = {"rate": preprocessing.spectrogram.rate, "seconds": seconds_heard(preprocessing)}
    else:
        raise UsageError("--to browser must be of a bundle that reads photos or recordings", reads, "use --to onnx")
    page = browser_page(bundle.absolute().name, {"reads": reads, "classes": model.classes, **more})
    return {"index.html": page.html.encode(), **web_runtime()}


def _expected(model: Model, data: str | None, progress: Progress) -> tuple[list[bytes], Expected]:
    """Return the bytes of some examples, spread over the data, and what `predict` says of them."""
    import numpy as np

    from headstart.data.images.pillow import is_deep
    from headstart.data.modality import MODALITIES
    from headstart.data.readers.open import open_inputs
    from headstart.ship.export.parity import MOST, Expected

    modality = MODALITIES[model.source.info.kind]
    if data is None:
        raise UsageError(
            "an exported model must be compared with predict on real examples",
            "a bundle, which holds none",
            f"name {modality.plural} like those it will see, labelled or not: --data DATA",
        )
    dataset = open_inputs([data], kind=modality.kind, remembered=model.data.columns)
    few = dataset.keep(
        sorted({*np.linspace(0, len(dataset) - 1, min(MOST, len(dataset))).round().astype(int).tolist()})
    )
    predictions = model.predict_dataset(few, progress=progress)
    places = {example.id: place for place, example in enumerate(few.examples)}
    every = [few.read(places[name]) for name in predictions.ids]
    kept = [place for place, data in enumerate(every) if modality.kind != "image" or not is_deep(data)]
    for skip in predictions.skipped:
        progress.say(f"Skipped {skip.id}: {skip.reason}")
    if deep := len(every) - len(kept):
        progress.say(f"Left out {counted(deep, 'photo', 'photos')} of more than 8 bits, which whoever decodes scales")
    if not kept:
        raise UsageError(
            f"--data must hold {modality.plural} that can be read",
            "none",
            f"name {modality.plural} like those that the bundle was fitted on",
        )
    examples = [every[place] for place in kept]
    start = perf_counter()
    model.source.encode(examples)
    milliseconds = 1000 * (perf_counter() - start) / len(examples)
    novelty = None if predictions.novelty is None else predictions.novelty[kept]
    return examples, Expected(predictions.probabilities[kept], novelty, milliseconds)


command = command_of(
    "export",
    export,
    ExportOptions,
    arguments=[BUNDLE],
    examples=(
        "headstart export runs/flowers --to onnx --data new-photos/",
        "headstart export runs/mails --to openvino --data texts.csv",
        "headstart export runs/words --to browser --data sounds/ --out page",
    ),
)

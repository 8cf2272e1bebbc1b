"""The model cards: README files with Hugging Face metadata, of a bundle and of a source that `pretrain` trained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.base.errors import list_some, one_line
from headstart.data.modality import MODALITIES, Modality, modality_of_task
from headstart.judge.metrics import METRICS
from headstart.ship.bundle import Manifest

MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~&$@])")
ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
MAX_LISTED_CLASSES = 100
MAX_CODE = 2000  # characters of a code span
WIDGETS = {MODALITIES["text"].task: [{"text": "A text like those that it was fitted on."}]}
"""What the page of a model on the hub tries first; of photos and recordings a bundle has no address."""
INSTALL = "# once, in a checkout of headstart: pip install ."


def bundle_card(manifest: Manifest, result: dict[str, Any]) -> str:
    """Return the card of a bundle as Markdown under a YAML header."""
    modality, source, data = modality_of_task(manifest.task), manifest.source, manifest.data
    provider, _, name = source.uri.partition(":")
    return _card(
        _metadata(
            data.name,
            manifest.task,
            source.uri,
            {key: interval["value"] for key, interval in result.get("test", {}).items()},
            metrics=["accuracy", "f1"],
            base_model=name.partition("@")[0] if provider == "hf" else None,
        ),
        f"{data.name}: {len(manifest.classes)} classes of {modality.plural}",
        f"{_what(manifest, modality)}, fitted with headstart. It predicts one of the classes "
        f"{_classes(manifest.classes)}.",
        {
            "Evaluation": _bundle_metrics(result),
            "Intended use and limits": _use(modality.plural),
            "How to use it": _bundle_usage(modality),
            "Required source": _requirements(manifest),
            "Licence": "Choose a licence for your model: add `license:` to the header above before you publish it. The "
            f"weights of the source are under {_text(source.licence)}, and your training data has terms of its own.",
            "Training": _items(
                {
                    "Data": f"{_text(data.name)}, fingerprint `{_code(data.fingerprint)}`",
                    "Head": f"{_text(manifest.head.kind)}, penalty {manifest.head.penalty:g}, "
                    f"temperature {manifest.calibration.temperature:.3f}",
                    "Seed": str(result.get("seed", 0)),
                    "Versions": ", ".join(
                        f"{_text(name)} {_text(number)}" for name, number in manifest.versions.items()
                    ),
                }
            ),
        },
    )


def source_card(result: dict[str, Any], *, parameters: int, size: int) -> str:
    """Return the card of a source trained from scratch, of so many weights and bytes: Markdown with a YAML header."""
    training, data, items = result["training"], result["data"], modality_of_task(result["task"]).plural
    accuracy = {"accuracy": round(result["gate"]["accuracy"]["value"], 6)}
    return _card(
        _metadata(data["name"], result["task"], result["arch"], accuracy, metrics=["accuracy"]),
        f"{data['name']}: a source of {len(result['classes'])} classes",
        f"`{_code(result['arch'])}`, trained from random weights with headstart: {parameters:,} weights "
        f"({size / 1e6:.1f} MB). Its input are {_input(result)}.",
        {
            "Evaluation": _gate(result),
            "How to use it": f"```sh\n{INSTALL}\nheadstart fit YOUR_{items.upper()} --source file:FOLDER\n"
            "```\n\nFOLDER holds this file. `--layer` and `--tune last:N` use a part of the network.",
            "Training": _items(
                {
                    "Data": f"{_text(data['name'])}, fingerprint `{_code(data['fingerprint'])}`",
                    "Licence": _text(result["licence"]),
                    "Training": f"{training['images']:,} {items} in {training['epochs']} epochs, "
                    f"{training['history'][-1]['seconds']:,.0f} s, {training['images_per_second']:,.0f} {items}/s",
                    "Command": f"`{_code(result['command'])}`",
                }
            ),
            "Classes": _classes(result["classes"]),
        },
    )


def _metadata(
    name: str, task: str, base: str, values: Mapping[str, float], *, metrics: list[str], base_model: str | None = None
) -> str:
    """Return the YAML header; `base` is the URI of the source or architecture, `base_model` a repository of the hub."""
    from huggingface_hub.repocard_data import EvalResult, ModelCardData

    name = one_line(name) or "data"
    data = ModelCardData(
        library_name="headstart",
        pipeline_tag=task,
        tags=["headstart", "transfer-learning", one_line(base)],
        base_model=base_model if base_model is None else one_line(base_model),
        metrics=metrics,
        model_name=name,
        widget=WIDGETS.get(task),
        eval_results=[
            EvalResult(
                task_type=task,
                dataset_type=name,
                dataset_name=name,
                dataset_split="test",
                metric_type=metric.hub_type,
                metric_name=metric.title,
                metric_value=float(values[key]),
            )
            for key, metric in METRICS.items()
            if key in values
        ],
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _card(metadata: str, title: str, introduction: str, sections: Mapping[str, str]) -> str:
    parts = [f"# {_text(title)}", introduction, *(f"## {name}\n\n{text}" for name, text in sections.items())]
    return "\n".join([metadata, "\n\n".join(parts), ""])


def _bundle_metrics(result: dict[str, Any]) -> str:
    test, examples, baselines = result.get("test", {}), result.get("examples", {}), result.get("baselines", {})
    rows = [
        (metric.title, *(metric.format(test[key][end]) for end in ("value", "low", "high")))
        for key, metric in METRICS.items()
        if key in test
    ]
    titles = {
        "majority": "Accuracy of always predicting the most frequent class",
        "simple": "Accuracy without the source",
    }
    lines = [
        f"| on {examples.get('test', 0):,} test examples | value | 95 % interval |",
        "|---|---|---|",
        *(f"| {title} | {value} | {low} to {high} |" for title, value, low, high in rows),
        *(f"| {title} | {100 * baselines[key]:.1f} % | |" for key, title in titles.items() if key in baselines),
    ]
    return "\n".join([*lines, "", f"The head was fitted on {examples.get('train', 0):,} examples."])


def _gate(result: dict[str, Any]) -> str:
    gate, modality = result["gate"], modality_of_task(result["task"])
    accuracy, over, simple = gate["accuracy"], gate["over_simple"], modality.baseline
    gain = f"{100 * over['value']:+.1f} points [{100 * over['low']:+.1f}, {100 * over['high']:+.1f}]"
    passed = f"It passed the gate: {gain} compared with {simple}."
    failed = f"**It did not pass the gate**: {gain} compared with {simple}. It is used only with `--force`."
    return (
        f"| accuracy on {result['examples']['test']:,} test {modality.plural} | |\n|---|---|\n"
        f"| this network | {accuracy['value']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%}) |\n"
        f"| {simple} | {gate['simple']:.1%} |\n"
        f"| always the most frequent class | {gate['majority']:.1%} |\n\n{passed if gate['passed'] else failed}"
    )


def _input(result: dict[str, Any]) -> str:
    rows, columns = result["size"]
    spectrogram = result.get("spectrogram")
    if spectrogram is None:
        return f"pictures of {rows} x {columns} pixels"
    seconds = columns * spectrogram["hop"] / spectrogram["rate"]
    return f"log-mel spectrograms of {rows} bands x {columns} frames: {seconds:.2f} s at {spectrogram['rate']:,} Hz"


def _use(items: str) -> str:
    return (
        f"The model classifies {items} like those that it was fitted on into the classes above. It predicts one of "
        f"them also for {items} that show none: look at the probability, and test it on your own {items} before you "
        f"rely on it. The metrics hold for {items} drawn like the test part; other cameras, places, times or people "
        "can lower them. It was not tested for fairness between groups of people and must not decide about persons."
    )


def _bundle_usage(modality: Modality) -> str:
    return (
        f"```sh\n{INSTALL}\nheadstart predict . {modality.sample_file}\n```\n\n"
        f'```python\nimport headstart as hs\n\nmodel = hs.load(".")\nmodel.predict(["{modality.sample_item}"])\n'
        f'model.predict_proba(["{modality.sample_item}"])\n```'
    )


def _what(manifest: Manifest, modality: Modality) -> str:
    if manifest.source.uri.startswith("simple:"):
        return f"The simple baseline ({modality.baseline}), without a pretrained network"
    head, uri, layer = _text(manifest.head.kind), _code(manifest.source.uri), _code(manifest.layer)
    return f"A linear head ({head}) on the features of `{uri}` (layer `{layer}`)"


def _requirements(manifest: Manifest) -> str:
    source = manifest.source
    if source.uri.startswith("simple:"):
        return "None: this bundle holds everything, and needs no network."
    if source.included:
        return "This bundle holds everything: the weights of the source are in it."
    return (
        f"The weights of the source are not in this bundle. It needs `{_code(source.uri)}`, revision "
        f"`{_code(source.revision)}`, sha256 `{_code(source.sha256)}`. To get it: "
        f"`{_code(source.get.removeprefix('run: '))}`. headstart checks the sha256 and refuses other weights."
    )


def _items(values: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in values.items() if value)


def _classes(classes: Sequence[str]) -> str:
    return list_some(map(_text, classes), MAX_LISTED_CLASSES)


def _text(text: object) -> str:
    """Return `text` as one line that Markdown and HTML show as it stands."""
    return MARKDOWN.sub(lambda found: ENTITIES.get(found[1], f"\\{found[1]}"), one_line(text))


def _code(text: object) -> str:
    """Return `text` for the inside of a code span, which nothing but a backtick can leave."""
    return one_line(text, limit=MAX_CODE).replace("`", "'")

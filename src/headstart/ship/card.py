"""The model card: a README with Hugging Face metadata that says what a bundle is, how good, and how to use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from headstart.base.errors import list_some, one_line
from headstart.data.modality import Modality, modality_of_task
from headstart.ship.bundle import Manifest

MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~&$@])")
LISTED_CLASSES = 100
METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "log_loss": ("log_loss", "Log loss"),
    "ece": ("ece", "Calibration error (ECE)"),
}
PERCENTS = ("accuracy", "balanced_accuracy", "macro_f1", "ece")


def render(manifest: Manifest, result: dict[str, Any]) -> str:
    """Return the model card as Markdown under a YAML header.

    Args:
        manifest: what the bundle says of itself.
        result: the result of the run that made it, as `result.json` holds it.
    """
    return f"{_header(manifest, result)}\n{_body(manifest, result)}"


def quoted(text: object) -> str:
    """Return `text` as a double-quoted YAML string on one line."""
    return '"' + "".join(map(_yaml_char, one_line(text))) + '"'


def escaped(text: object) -> str:
    """Return `text` as one line that Markdown and HTML show as it stands."""
    return MARKDOWN.sub(r"\\\1", one_line(text)).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


def _yaml_char(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def _header(manifest: Manifest, result: dict[str, Any]) -> str:
    lines = [
        "---",
        "library_name: headstart",
        f"pipeline_tag: {quoted(manifest.task)}",
        "tags:",
        "- headstart",
        "- transfer-learning",
        f"- {quoted(manifest.source.uri)}",
        *_base_model(manifest.source.uri),
        "metrics:",
        "- accuracy",
        "- f1",
        "model-index:",
        f"- name: {quoted(manifest.data.name)}",
        "  results:",
        "  - task:",
        f"      type: {quoted(manifest.task)}",
        "    dataset:",
        f"      name: {quoted(manifest.data.name)}",
        f"      type: {quoted(manifest.data.name)}",
        "      split: test",
        "    metrics:",
        *_metrics(result.get("test", {})),
        "---",
    ]
    return "\n".join(lines) + "\n"


def _base_model(uri: str) -> Iterable[str]:
    """Name the hub model under it, where there is one, so that the hub links the two."""
    provider, _, name = uri.partition(":")
    if provider == "hf":
        yield f"base_model: {quoted(name.partition('@')[0])}"


def _metrics(test: dict[str, Any]) -> Iterable[str]:
    for key, (kind, name) in METRICS.items():
        if key in test:
            yield f"    - type: {kind}"
            yield f"      name: {quoted(name)}"
            yield f"      value: {json.dumps(float(test[key]['value']))}"


def _body(manifest: Manifest, result: dict[str, Any]) -> str:
    modality = modality_of_task(manifest.task)
    sections = [
        f"# {escaped(manifest.data.name)}: {len(manifest.classes)} classes of {modality.plural}",
        f"A linear head ({escaped(manifest.head.kind)}) on the features of `{_code(manifest.source.uri)}` "
        f"(layer `{_code(manifest.layer)}`), fitted with headstart. It names one of: {list_classes(manifest.classes)}.",
        "## How good it is",
        _figures(result),
        "## What it is for",
        _use(modality.plural),
        "## How to use it",
        _how(modality),
        "## What it needs",
        _needs(manifest),
        "## Licence",
        f"Yours to choose: add `license:` to the header above before you publish. The source's weights are under "
        f"{escaped(manifest.source.licence)}, and what you trained on has terms of its own.",
        "## How it was made",
        _made(manifest, result),
    ]
    return "\n\n".join(sections) + "\n"


def list_classes(classes: Sequence[str]) -> str:
    """Return the names of the first classes as Markdown, and how many more there are."""
    return list_some(map(escaped, classes), LISTED_CLASSES)


def _figures(result: dict[str, Any]) -> str:
    test, examples = result.get("test", {}), result.get("examples", {})
    rows = [
        f"| {name} | {_figure(key, test[key]['value'])} | {_figure(key, test[key]['low'])} to "
        f"{_figure(key, test[key]['high'])} |"
        for key, (_, name) in METRICS.items()
        if key in test
    ]
    baselines = result.get("baselines", {})
    names = {"majority": "Always the commonest class", "simple": "Simple model without the source"}
    rows += [
        f"| {name}, accuracy | {_figure('accuracy', baselines[key])} | |"
        for key, name in names.items()
        if key in baselines
    ]
    table = "\n".join(
        [f"| on {examples.get('test', 0):,} test examples | value | 95 % interval |", "|---|---|---|", *rows]
    )
    return f"{table}\n\nIt was fitted on {examples.get('train', 0):,} examples."


def _figure(key: str, value: float) -> str:
    return f"{100 * value:.1f} %" if key in PERCENTS else f"{value:.3f}"


def _use(items: str) -> str:
    return (
        f"It sorts {items} that are like those it was fitted on into the classes above. It always names one of them, "
        f"also for {items} that show none: look at the probability, and test it on your own {items} before you rely "
        f"on it. The figures hold for {items} drawn like the test part; other cameras, places, times or people can "
        "lower them. It was not tested for fairness between groups of people and must not decide about persons."
    )


def _how(modality: Modality) -> str:
    return (
        f"```sh\npip install headstart\nheadstart predict . {modality.sample_file}\n```\n\n"
        f'```python\nimport headstart as hs\n\nmodel = hs.load(".")\nmodel.predict(["{modality.sample_item}"])\n'
        f'model.predict_proba(["{modality.sample_item}"])\n```'
    )


def _needs(manifest: Manifest) -> str:
    source = manifest.source
    if source.included:
        return "This bundle holds everything: the source's weights are in it."
    get = source.get.removeprefix("run: ")
    return (
        f"The weights of the source are not in this bundle. It needs `{_code(source.uri)}`, revision "
        f"`{_code(source.revision)}`, sha256 `{_code(source.sha256)}`. To get it: `{_code(get)}`. headstart "
        "checks the sha256 and refuses other weights."
    )


def _made(manifest: Manifest, result: dict[str, Any]) -> str:
    facts = {
        "Data": f"{escaped(manifest.data.name)}, fingerprint `{_code(manifest.data.fingerprint)}`",
        "Head": f"{escaped(manifest.head.kind)}, penalty {manifest.head.penalty:g}, "
        f"temperature {manifest.calibration.temperature:.3f}",
        "Seed": f"{result.get('seed', 0)}",
        "Versions": ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in manifest.versions.items()),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)


def _code(text: object) -> str:
    """Return `text` for the inside of a code span, which nothing but a backtick can leave."""
    return one_line(text).replace("`", "'")

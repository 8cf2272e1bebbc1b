"""The card of a developed source: a README with Hugging Face metadata that says what it is, how good, and how made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headstart.base.errors import one_line
from headstart.data.modality import modality_of_task
from headstart.ship.card import escaped, list_classes, quoted


def source_card(result: dict[str, Any], *, parameters: int, size: int, simple: str) -> str:
    """Return the card as Markdown under a YAML header.

    Args:
        result: what `pretrain` found, as `result.json` holds it.
        parameters: number of weights, the classifier included.
        size: of the weights' file, in bytes.
        simple: what the simple baseline is.
    """
    return "\n".join([*_header(result), "", *_body(result, parameters, size, simple)]) + "\n"


def _header(result: dict[str, Any]) -> Iterable[str]:
    name, gate = quoted(result["data"]["name"]), result["gate"]
    yield from ("---", "library_name: headstart", f"pipeline_tag: {quoted(result['task'])}")
    yield from ("tags:", "- headstart", "- transfer-learning", f"- {quoted(result['arch'])}")
    yield from ("metrics:", "- accuracy", "model-index:", f"- name: {name}", "  results:", "  - task:")
    yield from (f"      type: {quoted(result['task'])}", "    dataset:", f"      name: {name}", f"      type: {name}")
    yield from ("      split: test", "    metrics:", "    - type: accuracy")
    yield from (f"      value: {gate['accuracy']['value']:.6f}", "---")


def _body(result: dict[str, Any], parameters: int, size: int, simple: str) -> Iterable[str]:
    gate, examples, training = result["gate"], result["examples"], result["training"]
    items = modality_of_task(result["task"]).plural
    yield from (f"# {escaped(result['data']['name'])}: a source of {len(result['classes'])} classes", "")
    yield (
        f"`{_code(result['arch'])}`, trained from random weights with headstart: {parameters:,} weights "
        f"({size / 1e6:.1f} MB), {_seen(result)}."
    )
    yield from ("", "## How good it is", "", *_figures(gate, examples, items, simple), "")
    yield from ("## How to use it", "", "```sh", "pip install headstart")
    yield from (f"headstart fit YOUR_{items.upper()} --source file:FOLDER", "```", "")
    yield "FOLDER is the one that holds this file. All of it is reused; `--layer` and `--tune last:N` take a part."
    yield from ("", "## How it was made", "")
    yield f"- Data: {escaped(result['data']['name'])}, fingerprint `{_code(result['data']['fingerprint'])}`"
    yield f"- Licence: {escaped(result['licence'])}"
    yield (
        f"- Training: {training['images']:,} {items} in {training['epochs']} epochs, "
        f"{training['history'][-1]['seconds']:,.0f} s, {training['images_per_second']:,.0f} {items} a second"
    )
    yield f"- Command: `{_code(result['command'])}`"
    yield from ("", "## Its classes", "", list_classes(result["classes"]))


def _seen(result: dict[str, Any]) -> str:
    """Return what the network is given."""
    rows, columns = result["size"]
    held = result.get("spectrogram")
    if held is None:
        return f"pictures of {rows} x {columns} pixels"
    seconds = columns * held["hop"] / held["rate"]
    return f"log-mel spectrograms of {rows} bands x {columns} frames: {seconds:.2f} s at {held['rate']:,} Hz"


def _figures(gate: dict[str, Any], examples: dict[str, int], items: str, simple: str) -> Iterable[str]:
    accuracy, over = gate["accuracy"], gate["over_simple"]
    yield f"| accuracy on {examples['test']:,} {items} that no step of training has seen | |"
    yield "|---|---|"
    yield (
        f"| this source's own classifier | {accuracy['value']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%}) |"
    )
    yield f"| {simple} | {gate['simple']:.1%} |"
    yield f"| always the commonest class | {gate['majority']:.1%} |"
    yield ""
    gain = f"{100 * over['value']:+.1f} points [{100 * over['low']:+.1f}, {100 * over['high']:+.1f}]"
    if gate["passed"]:
        yield f"It passed the gate: {gain} against {simple}."
    else:
        yield f"**It did not pass the gate**: {gain} against {simple}. It was written because `--force` asked for it."


def _code(text: object) -> str:
    return one_line(text, limit=2000).replace("`", "'")

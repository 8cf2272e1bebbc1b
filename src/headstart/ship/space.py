"""A folder for a Hugging Face Space: a bundle with a Gradio program in front of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from headstart import __version__
from headstart.base.disk import write_folder
from headstart.base.errors import UsageError, one_line
from headstart.data.modality import modality_of_task
from headstart.ship.bundle import load
from headstart.ship.hub_bundle import bundle_folder

WHEEL = f"headstart-{__version__}-py3-none-any.whl"
INPUTS = {
    "image": 'gr.Image(type="filepath", label="Photo")',
    "sound": 'gr.Audio(type="filepath", label="Recording")',
    "text": 'gr.Textbox(lines=4, label="Text")',
}
PROGRAM = '''"""A demonstration of a bundle of headstart."""

from pathlib import Path

import gradio as gr
import headstart as hs

MODEL = hs.load(Path(__file__).parent / "bundle")


def classify(item):
    """Return the probability of each class, and a warning where the item is unlike the training data."""
    if not item:
        return {}, ""
    items = [item] if {text} else [Path(item)]
    shares = dict(zip(MODEL.classes, MODEL.predict_proba(items)[0].tolist()))
    unlike = MODEL.novelty_scores(items)[0] > 1
    return shares, "Unlike the training data: this answer may mean nothing." if unlike else ""


demo = gr.Interface(
    classify,
    {input},
    [gr.Label(num_top_classes=5, label="Class"), gr.Textbox(label="Remark")],
    title={title!r},
    flagging_mode="never",
)

if __name__ == "__main__":
    demo.launch()
'''
CARD = """---
title: {title}
sdk: gradio
app_file: app.py
pinned: false
---

A demonstration of a bundle of headstart. It needs headstart {version}: put its wheel beside this file (in a checkout of
headstart: `pip wheel --no-deps . -w FOLDER`), under the name that `requirements.txt` says.
"""


def write_space(bundle: str | os.PathLike[str], out: Path) -> list[str]:
    """Write a folder that a Space runs: `app.py`, `requirements.txt`, `README.md` and `bundle/`; return their names.

    Raises:
        BundleError: the bundle is damaged.
        UsageError: `out` holds something, or cannot be written.
    """
    folder = bundle_folder(Path(bundle))
    manifest = load(folder).manifest
    kind = modality_of_task(manifest.task).kind
    title = one_line(manifest.data.name, 60) or "headstart"
    program = PROGRAM.replace("{text}", str(kind == "text")).replace("{input}", INPUTS[kind])
    files = {
        "app.py": program.replace("{title!r}", repr(title)),
        "requirements.txt": f"gradio>=5,<7\n./{WHEEL}\n",
        "README.md": CARD.format(title=json.dumps(title), version=__version__),
    }
    return write_around(folder, out, files, what="a Space")


def write_around(folder: Path, out: Path, files: Mapping[str, str], *, what: str) -> list[str]:
    """Write a folder that holds texts, by name, and the bundle in `folder` as `bundle/`; return what it holds.

    UsageError: `out` holds something, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"the folder of {what} must be new or empty", out, "name another with --out")
    members = {f"bundle/{member.name}": member.read_bytes() for member in sorted(folder.iterdir()) if member.is_file()}
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_folder(out, {name: text.encode() for name, text in files.items()} | members)
    return [*files, "bundle"]

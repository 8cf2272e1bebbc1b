"""The main job where nothing heavy can be imported: photos, texts and recordings, and what is refused in one line.

Usage: python tests/core/jobs.py FOLDER [KIND...] [--block]

FOLDER is empty and is written into. `--block` hides the heavy libraries first, where they are installed; without it, an
environment in which one can be imported is an error. KIND is among photos, texts, recordings and refusals; all of them
by default.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

HEAVY = ("torch", "torchvision", "timm", "transformers", "keras", "tensorflow", "peft", "mlflow", "wandb")
sys.path.append(str(Path(__file__).parents[1] / "support"))


class Hidden:
    """Hides libraries from Python: they cannot be imported, nor found."""

    def __init__(self, *libraries: str) -> None:
        self.libraries = libraries

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse a hidden library, and leave any other to the next finder."""
        if name.partition(".")[0] in self.libraries:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def command(*words: object) -> tuple[int, str, str]:
    """Run headstart in this process; return its exit code, and what it wrote to stdout and stderr."""
    from headstart.cli.app import main

    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["headstart", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        return int(str(end.code)), out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("headstart must exit")


def done(*words: object) -> str:
    """Run a command that must succeed, and return its output."""
    code, out, err = command(*words)
    assert code == 0, f"headstart {words}: {err}"
    return out


@contextlib.contextmanager
def without(*libraries: str) -> Iterator[None]:
    """Hide libraries inside the block."""
    imported = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in libraries}
    sys.meta_path.insert(0, Hidden(*libraries))  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.pop(0)
        sys.modules.update(imported)


def photos(folder: Path) -> None:
    """Fit, predict and load again; a network of ONNX; a bundle whose network has learned."""
    import numpy as np

    import headstart as hs
    from headstart.base.extras import is_installed
    from headstart.data.images.preprocessing import Preprocessing
    from headstart.testing import toy_photos

    data = toy_photos(folder / "photos", per_class=12)
    cat = next((data / "cat").rglob("*.png"))
    done("fit", data, "--out", folder / "of-photos")
    assert done("predict", folder / "of-photos", cat).split()[1] == "cat"
    assert "packaged:efficientnet-lite0" in done("sources")
    model = hs.fit(data, source="packaged:efficientnet-lite0")
    first = model.source.identity.sha256
    changed = {"conv_head.weight": np.full((1280, 320, 1, 1), 1e-3)}
    assert isinstance(model.source.preprocessing, Preprocessing)
    tuned = model.source.with_weights(changed, model.source.preprocessing).at(model.layer)
    hs.Model(**{**vars(model), "source": tuned}).save(folder / "tuned")
    again = hs.load(folder / "tuned")
    assert again.source.identity.sha256 not in ("", first)
    assert not np.allclose(again.source.encode([cat]), model.source.at(again.layer).encode([cat]))
    assert len(again.predict([cat])) == 1
    if is_installed("onnx"):
        from onnx_nets import convnet

        convnet(folder / "net.onnx", end="features")
        done("fit", data, "--source", f"onnx:{folder / 'net.onnx'}", "--out", folder / "of-onnx")


def texts(folder: Path) -> None:
    """Fit and predict with an encoder, a table of tokens and word vectors."""
    from toy_texts import sentences, write_csv

    data = write_csv(folder / "texts.csv", sentences(24))
    words = sorted({word for text, _ in sentences(24) for word in text.split()})
    lines = [f"{word} {at % 3} {at % 5} {at % 7}" for at, word in enumerate(words)]
    (folder / "words.txt").write_text("\n".join(lines) + "\n")
    (folder / "new.csv").write_text('text\n"the soup was very salt, onion and butter to taste"\n')
    for source in ("packaged:minilm", "packaged:wordllama", "packaged:glove", f"words:{folder / 'words.txt'}"):
        out = folder / f"of-{source.partition('/')[0].replace(':', '-')}"
        done("fit", data, "--source", source, "--out", out)
        assert "cooking" in done("predict", out, folder / "new.csv")


def recordings(folder: Path) -> None:
    """Fit and predict; what is missing is said before any recording is read."""
    from recordings import tones

    data = tones(folder / "tones")
    done("fit", data, "--out", folder / "of-tones")
    assert "low" in done("predict", folder / "of-tones", data / "low" / "low_0.wav")
    done("fit", data, "--source", "packaged:resemblyzer", "--out", folder / "of-voices")
    with without("soundfile"):
        refused("recordings needs the package 'soundfile'", "audio", "fit", data)


def refused(begins: str, extra: str, *words: object) -> None:
    """Run a command that must be refused in one line that names an extra."""
    code, out, err = command(*words)
    assert (code, out) == (2, ""), (words, code, out, err)
    assert err.startswith(f"headstart: {begins}"), err
    assert err.count("\n") == 1, err
    assert err.rstrip().endswith((f"[{extra}]'", f"[{extra}]")), err


def refusals(folder: Path) -> None:
    """Nothing is read before the refusal: there is no such data."""
    data = folder / "no such data"
    for extra, words in (
        ("torch", "--tune last:1"),
        ("torch", "--tune auto"),
        ("lora", "--tune lora"),
        ("tracking", "--track mlflow"),
        ("tracking", "--track wandb"),
        ("torch", "--engine torch"),
    ):
        refused(f"{words} needs the package", extra, "fit", data, *words.split())
    refused("--tune auto needs the package 'torch'", "torch", "fit", data, "--budget", "10m")
    for extra, uri in (
        ("torch", "timm:resnet18"),
        ("torch", "torchvision:resnet18"),
        ("torch", "arch:lenet5"),
        ("torch", "file:weights.safetensors"),
        ("huggingface", "hf:org/name"),
        ("keras", "keras:VGG16"),
    ):
        refused(f"{uri} needs the package 'torch'", extra, "fit", data, "--source", uri)
        refused(f"{uri} needs the package 'torch'", extra, "sources", uri)
    refused("weights net.pth needs the package 'torch'", "torch", "fit", data, "--weights", "net.pth")
    refused("compare, which", "torch", "compare", data)
    refused("pretrain needs", "torch", "pretrain", data, "--arch", "arch:resnet9")
    with without("skimage"):
        refused("the demonstration needs the package 'skimage'", "demo", "demo", "--out", folder / "demo")


KINDS = {job.__name__: job for job in (photos, texts, recordings, refusals)}


def main() -> None:
    """Do the jobs that the command line names."""
    from headstart.base.extras import is_installed

    chosen = [word for word in sys.argv[2:] if word != "--block"]
    if "--block" in sys.argv:
        sys.meta_path.insert(0, Hidden(*HEAVY))  # type: ignore[arg-type]
    importable = [name for name in HEAVY if is_installed(name)]
    assert not importable, f"this environment must hold nothing heavy, but has {importable}"
    folder = Path(sys.argv[1])
    os.environ.setdefault("HEADSTART_CACHE", str(folder / "cache"))
    for kind in chosen or KINDS:
        (folder / kind).mkdir(parents=True)
        KINDS[kind](folder / kind)
        print(f"{kind}: as it must be")
    assert not [name for name in HEAVY if name in sys.modules]


if __name__ == "__main__":
    main()

"""A bundle exported for the browser: a plain server of files hands it out, and it answers as predict does."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import ABSENT, BROWSER, used
from PIL import Image, ImageCms
from served import small_run

import headstart as hs
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.cli.export import run_export
from headstart.run.options import ExportOptions
from headstart.serving.page import browser_page
from headstart.ship.export.web_runtime import FILES, web_runtime

TOLERANCE = {"png": 1e-4, "jpg": 2e-2}
"""Of a probability: a browser decodes what is lossless to the same pixels, and a JPEG with a rounding of its own."""
LOADED = {"/model.onnx", *(f"/{name}" for name in FILES)}
USE = """
async function use(page, at) {
  await until(() => at("about").textContent.includes("classes apart"));
  const all = new page.DataTransfer();
  for (const name of NAMES) all.items.add(new page.File([await (await fetch("/" + name)).arrayBuffer()], name));
  page.dispatchEvent(new page.DragEvent("drop", {dataTransfer: all, cancelable: true}));
  await until(() => !at("csv").hidden && at("csv").href);
  const lines = await (await fetch(at("csv").href)).text();
  return {lines, loaded: page.performance.getEntriesByType("resource").map(one => one.name)};
}"""


def test_what_a_bundle_says_ends_no_script() -> None:
    page = browser_page("</script><b>", {"reads": "image", "classes": ["</script><img>", "b"], "ground": 255}).html
    assert page.count("</script>") == 1 and "<img>" not in page and "</script><b>" not in page
    assert "'wasm-unsafe-eval'" in page and "unsafe-inline" not in page


def variants(photo: Image.Image, wide: ImageCms.ImageCmsProfile) -> dict[str, bytes]:
    """Return a photo as files that a browser might read otherwise: turned, of another colour space, transparent."""
    exif = Image.Exif()
    exif[0x112] = 6
    clear = photo.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    options: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "plain.png": (photo, {}),
        "plain.jpg": (photo, {"quality": 90}),
        "turned.jpg": (photo, {"exif": exif, "quality": 90}),
        "profile.png": (photo, {"icc_profile": ImageCms.ImageCmsProfile(wide).tobytes()}),
        "grey.png": (photo.convert("L"), {}),
        "clear.png": (clear, {}),
    }
    made = {}
    for name, (image, more) in options.items():
        file = io.BytesIO()
        image.save(file, "JPEG" if name.endswith("jpg") else "PNG", **more)
        made[name] = file.getvalue()
    return made


@pytest.mark.slow
def test_dropped_photos_are_classified_without_a_server_of_ours(tmp_path: Path, loopback: None) -> None:
    if not BROWSER:
        pytest.skip(ABSENT)
    try:
        web_runtime()
    except UsageError as error:
        pytest.skip(str(error))
    run = small_run(tmp_path)
    options = ExportOptions(to="browser", data=str(tmp_path / "photos0"), out=tmp_path / "page")
    run_export(run, options, Progress())
    about = json.loads((tmp_path / "page" / "parity.json").read_text())
    assert about["to"] == "browser" and about["largest_difference"] < 1e-5
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (12, 18, 3)).astype(np.uint8)).resize((180, 120))
    files = variants(photo, ImageCms.createProfile("LAB"))
    files["broken.jpg"] = files["plain.jpg"][:80]
    seen = used(tmp_path / "page", tmp_path, f"const NAMES = {json.dumps([*files])};{USE}", files)
    assert "error" not in seen and {urlsplit(address).path for address in seen["loaded"]} == LOADED, seen
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(seen["lines"]))}
    assert "cannot be read by this browser" in rows.pop("broken.jpg")["reason"]
    model = hs.load(run)
    for name, row in rows.items():
        (tmp_path / name).write_bytes(files[name])
        shares = model.predict_proba([tmp_path / name])[0]
        assert abs(float(row["probability"]) - shares.max()) < TOLERANCE[name[-3:]], (name, row, shares)
        assert row["label"] == model.classes[int(shares.argmax())]

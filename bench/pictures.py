"""The picture of a report that README and the site show: a `fit`, its page in Chromium, thirty-two colours.

Usage: python bench/pictures.py DATA/flowers5.tar
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import headstart as hs

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "report.png"
WIDTH, HEIGHT = 880, 909  # pixels of the window; the section after the figures begins below


def main() -> None:
    browser = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory() as folder:
        hs.fit(sys.argv[1], out=Path(folder) / "flowers")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size={WIDTH},{HEIGHT}",
        ]
        target = Path(folder) / "report.png"
        page = (Path(folder) / "flowers" / "report.html").as_uri()
        subprocess.run([browser, *options, f"--screenshot={target}", page], check=True, capture_output=True)
        written = io.BytesIO()
        with Image.open(target) as picture:
            small = picture.convert("RGB").quantize(32, dither=Image.Dither.NONE)
        small.save(written, "PNG", optimize=True)
    PICTURE.write_bytes(written.getvalue())
    print(f"{PICTURE}: {len(written.getvalue()):,} bytes")


if __name__ == "__main__":
    main()

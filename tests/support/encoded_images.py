"""One small picture in each accepted format, for tests of what is read from headers."""

from __future__ import annotations

import io

from PIL import Image

from headstart.data.images.formats import Format


def encoded(encoding: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 20).convert(mode).save(file, encoding, **options)
    return file.getvalue()


ENCODED: dict[Format, bytes] = {
    "jpeg": encoded("JPEG"),
    "png": encoded("PNG"),
    "webp": encoded("WEBP"),
    "gif": encoded("GIF", "P"),
    "bmp": encoded("BMP"),
    "tiff": encoded("TIFF"),
    "pnm": encoded("PPM"),
    "avif": encoded("AVIF"),
}

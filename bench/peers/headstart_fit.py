"""`hs.fit` with nothing named, on the same draws. Each run has a fresh cache, so that it pays for its features."""

from __future__ import annotations

import os
import tempfile

from draws import PHOTOS, TEXTS, Examples, run

import headstart as hs


def fit(train: Examples, items: list[str]) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HEADSTART_CACHE"] = cache
        model = hs.fit({"train": train, "test": (items[:1], train[1][:1])}, progress=False)
        return [dict(zip(model.classes, map(float, row), strict=True)) for row in model.predict_proba(items)]


if __name__ == "__main__":
    run("headstart", fit, (*PHOTOS, *TEXTS))

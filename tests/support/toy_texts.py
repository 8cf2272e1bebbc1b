"""Small texts that can be learnt, and a source of texts with random weights and a tokenizer of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

TOPICS = {
    "cooking": [
        "bake",
        "boil",
        "butter",
        "bread",
        "onion",
        "oven",
        "pepper",
        "recipe",
        "salt",
        "soup",
        "stir",
        "taste",
    ],
    "sailing": ["anchor", "boat", "deck", "harbour", "keel", "mast", "port", "rope", "sail", "sea", "tide", "wind"],
    "music": ["bass", "chord", "drum", "flute", "guitar", "melody", "note", "opera", "piano", "rhythm", "song", "tune"],
}
FILLERS = ["the", "a", "of", "and", "to", "with", "for", "we", "they", "it", "was", "then", "very", "some"]


def sentences(per_class: int = 20, *, seed: int = 0) -> list[tuple[str, str]]:
    """Return (text, label) rows, each text of some words of its topic among fillers."""
    rng = np.random.default_rng(seed)
    rows = []
    for label, words in TOPICS.items():
        for _ in range(per_class):
            chosen = [*rng.choice(words, 3), *rng.choice(FILLERS, rng.integers(3, 12))]
            rows.append((" ".join(rng.permutation(chosen).tolist()), label))
    return rows


def write_csv(path: Path, rows: list[tuple[str, str]], header: tuple[str, str] = ("text", "label")) -> Path:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_tokenizer(path: Path, words: list[str]) -> Path:
    """Write a tokenizer.json of whole words, with [CLS] before and [SEP] after."""
    vocabulary = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    special = [
        {"id": at, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        | {"special": True}
        for at, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    ]
    template = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    marks = {name: {"id": name, "ids": [at], "tokens": [name]} for at, name in ((2, "[CLS]"), (3, "[SEP]"))}
    path.write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
                "padding": None,
                "added_tokens": special,
                "normalizer": {"type": "Lowercase"},
                "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": template,
                    "pair": template,
                    "special_tokens": marks,
                },
                "decoder": None,
                "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
            }
        )
    )
    return path

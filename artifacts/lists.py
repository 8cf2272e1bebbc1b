"""Write `living.txt` and `artefacts.txt`: the classes of Tiny ImageNet by what WordNet says they are.

Usage: python artifacts/lists.py ../shared/data/tiny-imagenet

A class is named by its synset, such as `n02123045 tabby`; its number is the place in WordNet 3.0's noun file, which is
sorted by subject: animals come first, then artefacts, then communication, food, places and plants. Those others are in
neither list.
"""

from __future__ import annotations

import sys
from pathlib import Path

from headstart.data.readers.open import open_dataset

SUBJECTS = {"living.txt": ("n01300000", "n02660000"), "artefacts.txt": ("n02660000", "n04620000")}
"""The first numbers of a subject and of the next one, as far as these classes need them."""


def main() -> None:
    """Write both lists beside this file."""
    classes = open_dataset(sys.argv[1]).classes
    for name, (first, end) in SUBJECTS.items():
        chosen = [one for one in classes if first <= one.partition(" ")[0] < end]
        text = "".join(f"{one}\n" for one in chosen)
        (Path(__file__).parent / name).write_text(f"# {len(chosen)} classes, by artifacts/lists.py\n{text}")


if __name__ == "__main__":
    main()

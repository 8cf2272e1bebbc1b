"""The classes of ImageNet-1k, which the classifiers of most networks of photos have, in their usual order."""

from functools import cache
from pathlib import Path

IMAGENET_CLASSES = 1000


@cache
def imagenet_classes() -> tuple[str, ...]:
    """Return the names of the 1,000 classes, as torchvision has them (BSD 3-clause)."""
    return tuple(Path(__file__).with_name("imagenet_classes.txt").read_text("utf-8").splitlines())

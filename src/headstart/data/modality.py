"""The kinds of examples: what each is called, how Hugging Face names its task, and what is used for it by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "text", "sound"]


@dataclass(frozen=True, slots=True)
class Modality:
    """What is constant for examples of one kind; what they do differently stands in the code of their own packages."""

    kind: Kind  # its key, as in `SourceInfo.kind` and `Dataset.kind`
    singular: str  # what one example is called
    plural: str  # what several are called
    task: str  # the task as Hugging Face names it: `task` in `result.json`, `pipeline_tag` in a model card
    default_source: str  # URI of the source where none is named
    trainable_sources: str  # the source URIs whose networks can be trained further, for messages
    sample_file: str  # the name of an input file in instructions for the command line
    sample_item: str  # an input in instructions for Python
    baseline: str  # the classifier that needs no pretrained network
    further_sources: tuple[str, ...] = ()  # URIs that are tried beside it, later ones dearer
    needs: tuple[str, ...] = ()  # the libraries of an extra without which none is read, by their import names


MODALITIES: dict[Kind, Modality] = {
    "image": Modality(
        kind="image",
        singular="photo",
        plural="photos",
        task="image-classification",
        default_source="packaged:efficientnet-lite0",
        trainable_sources="timm:, torchvision:, keras:, packaged: or hf:",
        sample_file="photo.jpg",
        sample_item="photo.jpg",
        baseline="raw pixels with logistic regression",
    ),
    "text": Modality(
        kind="text",
        singular="text",
        plural="texts",
        task="text-classification",
        default_source="packaged:minilm",
        trainable_sources="packaged:minilm, words: or hf:",
        sample_file="texts.csv",
        sample_item="a text of yours",
        baseline="TF-IDF with logistic regression",
    ),
    "sound": Modality(
        kind="sound",
        singular="recording",
        plural="recordings",
        task="audio-classification",
        default_source="packaged:speech",
        further_sources=("spectrogram:packaged:efficientnet-lite0",),
        trainable_sources="timm:, torchvision:, keras:, packaged: or hf:",
        sample_file="recording.wav",
        sample_item="recording.wav",
        baseline="MFCC with logistic regression",
        needs=("soundfile",),
    ),
}


def modality_of_task(task: str) -> Modality:
    """Return the modality whose task `result.json` or a manifest names; a KeyError where headstart writes no such."""
    return {modality.task: modality for modality in MODALITIES.values()}[task]

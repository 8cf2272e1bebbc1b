"""A tiny thing to tune, with all that draws at random: augmentation, mixup, dropout and BatchNorm in training mode."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import nn

from headstart.tune.inputs.augment import ImageAugmentation
from headstart.tune.inputs.images import Pictures
from headstart.tune.inputs.row_store import Rows
from headstart.tune.training.task import Recipe, Task, TrainResult, Weight

CLASSES = 3
RECIPE = Recipe(
    epochs=2, learning_rate=0.01, batch_size=9, mixup=0.2, label_smoothing=0.1, ema_decay=0.9, micro_batches=2, seed=4
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(72, CLASSES),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(pictures.permute(0, 3, 1, 2).float() / 255)
        return found


def pictures(count: int, strength: str, seed: int) -> Pictures:
    rng = np.random.default_rng(seed)
    y = np.arange(count, dtype=np.int64) % CLASSES
    rows = Rows(count, (20, 20, 3), np.uint8, None)
    for row in range(count):
        rows[row] = rng.integers(40 * y[row], 140 + 40 * y[row], (20, 20, 3))
    views = ImageAugmentation(strength, horizontal_flip=True, size=(16, 16), seed=seed)
    return Pictures(rows, y, [f"{seed} {row}" for row in range(count)], views)


def task(count: int = 25) -> Task:
    """Return the task with fresh weights, always the same."""
    torch.manual_seed(0)
    net = Net()

    def set_training(*, training: bool) -> None:
        net.train(training)

    return Task(
        weights=[Weight(name, tensor, 1.0) for name, tensor in net.named_parameters()],
        scores=net,
        set_training=set_training,
        train=pictures(count, "strong", 1),
        validation=pictures(12, "none", 2),
        c=CLASSES,
        statistics=dict(net.named_buffers()),
    )


def fingerprint(task: Task, trained: TrainResult) -> str:
    """Return a hash over every bit of the weights, and over every number of the epochs but the seconds."""
    found = hashlib.sha256()
    for name, tensor in [*((weight.name, weight.tensor) for weight in task.weights), *task.statistics.items()]:
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + tensor.detach().numpy().tobytes())
    epochs = [(one.epoch, one.train_loss, one.train_accuracy, one.loss, one.accuracy) for one in trained.history]
    found.update(repr((trained.stop_reason, trained.best, epochs)).encode())
    return found.hexdigest()

"""ResNet-9: a small residual network for 64 x 64 pixels that two cores without bfloat16 can train.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

from torch import Tensor, nn

STEM = 32
WIDTHS = (64, 128, 256)


class Residual(nn.Module):
    """Two 3 x 3 convolutions and what passes them by (He, Zhang, Ren & Sun 2016); the last scale starts at 0.

    Where the map is halved, the shortcut averages before it projects, so that it drops no position (He et al. 2019).
    """

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(width_in, width_out, stride)
        self.second = nn.Sequential(
            nn.Conv2d(width_out, width_out, 3, padding=1, bias=False), nn.BatchNorm2d(width_out)
        )
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if width_in != width_out:
            self.shortcut.extend([nn.Conv2d(width_in, width_out, 1, bias=False), nn.BatchNorm2d(width_out)])
        self.active = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of shape (n, width, h / stride, w / stride)."""
        output: Tensor = self.active(self.second(self.first(maps)) + self.shortcut(maps))
        return output


class ResNet9(nn.Module):
    """Nine layers with weights on the longest way: two of a stem that quarters the picture, three blocks, a classifier.

    Plain 3 x 3 convolutions of 32 to 256 channels are what CPUs without wide vector units run nearest to their peak;
    depthwise ones save operations and no time there. A picture of 64 x 64 pixels takes 54 million multiplications.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.stem = nn.Sequential(convolution(3, STEM, 2), convolution(STEM, first, 2))
        self.stages = nn.Sequential(Residual(first, first, 1), Residual(first, second, 2), Residual(second, third, 2))
        self.classifier = nn.Linear(third, classes)

    def forward_features(self, pictures: Tensor) -> Tensor:
        """Return the final map, (n, 256, h / 16, w / 16)."""
        maps: Tensor = self.stages(self.stem(pictures))
        return maps

    def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return the class scores of a final map, or its mean over positions, (n, 256)."""
        pooled = final.mean((2, 3))
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the class scores, (n, classes)."""
        return self.forward_head(self.forward_features(pictures))


def convolution(width_in: int, width_out: int, stride: int) -> nn.Sequential:
    """Return a 3 x 3 convolution, its normalisation and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(width_out),
        nn.ReLU(inplace=True),
    )

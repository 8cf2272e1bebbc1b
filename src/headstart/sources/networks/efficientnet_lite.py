"""EfficientNet-Lite, so that the default source needs torch and nothing else: timm's import takes longer than torch's.

The parts have the names that timm gives them (`tf_efficientnet_lite0` …), so that weights go from one to the other.
The design is that of Tan & Le, "EfficientNet", ICML 2019, without squeeze-and-excitation and with ReLU6, as its authors
released it for small devices. Imports torch: only the files that build a network import this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from headstart.sources.sizes import LITE_EPSILON, LITE_STAGES

STEM, HEAD, CLASSES = 32, 1280, 1000


class EfficientNetLite(nn.Module):
    """An EfficientNet-Lite with random weights, in timm's two steps; seven stages have so many channels and blocks."""

    def __init__(self, widths: Sequence[int], repeats: Sequence[int]) -> None:
        super().__init__()
        self.conv_stem = SamePaddedConv2d(3, STEM, 3, stride=2)
        self.bn1 = norm(STEM)
        self.blocks = nn.Sequential()
        before = STEM
        for (kernel, stride, expansion), width, count in zip(LITE_STAGES, widths, repeats, strict=True):
            block = SeparableBlock if expansion == 1 else InvertedResidual
            first = block(before, width, kernel, stride=stride, expansion=expansion)
            others = (block(width, width, kernel, stride=1, expansion=expansion) for _ in range(count - 1))
            self.blocks.append(nn.Sequential(first, *others))
            before = width
        self.conv_head = nn.Conv2d(before, HEAD, 1, bias=False)
        self.bn2 = norm(HEAD)
        self.classifier = nn.Linear(HEAD, CLASSES)
        self.apply(initialise)

    def forward_features(self, pictures: Tensor) -> Tensor:
        """Return the last map, of shape (n, 1280, h, w), for pictures of shape (n, 3, 32 h, 32 w)."""
        values = self.blocks(F.relu6(self.bn1(self.conv_stem(pictures))))
        return F.relu6(self.bn2(self.conv_head(values)))

    def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return the scores, of shape (n, 1000), or with `pre_logits` the map averaged, of shape (n, 1280)."""
        pooled = final.mean((2, 3))
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the scores, of shape (n, 1000)."""
        return self.forward_head(self.forward_features(pictures))


class SamePaddedConv2d(nn.Conv2d):
    """A convolution without bias whose output has 1 / stride of the positions, padded as TensorFlow pads."""

    def __init__(self, width_in: int, width_out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(width_in, width_out, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """Return the convolution; of an odd number of padded lines the last side gets one more."""
        before, after = zip(*(self._padding(int(side)) for side in values.shape[2:]), strict=True)
        if before != after:
            values, before = F.pad(values, (before[1], after[1], before[0], after[0])), (0, 0)
        return F.conv2d(values, self.weight, None, self.stride, before, 1, self.groups)

    def _padding(self, side: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        lines = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        return lines // 2, lines - lines // 2


class SeparableBlock(nn.Module):
    """Depthwise, then pointwise: the block of the first stage."""

    def __init__(self, width_in: int, width_out: int, kernel: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        self.conv_dw = SamePaddedConv2d(width_in, width_in, kernel, stride=stride, groups=width_in)
        self.bn1 = norm(width_in)
        self.conv_pw = nn.Conv2d(width_in, width_out, 1, bias=False)
        self.bn2 = norm(width_out)
        self.adds = stride == 1 and width_in == width_out

    def forward(self, values: Tensor) -> Tensor:
        """Return the block's output, added to its input where both have one shape."""
        output: Tensor = self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(values)))))
        return output + values if self.adds else output


class InvertedResidual(nn.Module):
    """Pointwise to more channels, depthwise, pointwise to fewer."""

    def __init__(self, width_in: int, width_out: int, kernel: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        inside = width_in * expansion
        self.conv_pw = nn.Conv2d(width_in, inside, 1, bias=False)
        self.bn1 = norm(inside)
        self.conv_dw = SamePaddedConv2d(inside, inside, kernel, stride=stride, groups=inside)
        self.bn2 = norm(inside)
        self.conv_pwl = nn.Conv2d(inside, width_out, 1, bias=False)
        self.bn3 = norm(width_out)
        self.adds = stride == 1 and width_in == width_out

    def forward(self, values: Tensor) -> Tensor:
        """Return the block's output, added to its input where both have one shape."""
        wide = F.relu6(self.bn1(self.conv_pw(values)))
        output: Tensor = self.bn3(self.conv_pwl(F.relu6(self.bn2(self.conv_dw(wide)))))
        return output + values if self.adds else output


def norm(width: int) -> nn.BatchNorm2d:
    """Return the normalisation of one map."""
    return nn.BatchNorm2d(width, eps=LITE_EPSILON)


def initialise(part: nn.Module) -> None:
    """Draw the weights of one part as the authors do: by the number of outputs that each input reaches."""
    if isinstance(part, nn.Conv2d):
        reached = part.kernel_size[0] * part.kernel_size[1] * part.out_channels // part.groups
        nn.init.normal_(part.weight, 0, math.sqrt(2 / reached))
    elif isinstance(part, nn.Linear):
        limit = 1 / math.sqrt(part.out_features)
        nn.init.uniform_(part.weight, -limit, limit)
        nn.init.zeros_(part.bias)

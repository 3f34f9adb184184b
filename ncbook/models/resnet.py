"""Residual networks of depth 18 and 50, with the names that torchvision gives to their parts.

So a reader's ``state_dict`` of torchvision's resnet18 or resnet50 loads; torchvision itself is not
needed.
"""

from torch import Tensor, nn

from ncbook.runtime import whole

# Blocks in each of the four layers.
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}

# Kernel, stride and padding of the first convolution, and whether a pooling follows.
STEMS = {"7x7": (7, 2, 3, True), "3x3": (3, 1, 1, False), "3x3/2": (3, 2, 1, False)}


class ResNet(nn.Module):
    r"""A residual network: a stem, four layers of blocks, the mean over pixels, a classifier.

    Source: He, Zhang, Ren and Sun (2016), with the stride of a bottleneck in its 3 x 3
    convolution, as torchvision has it. The input of ``fc`` has 8 (depth 18) or 32 (depth 50) times
    ``width`` entries.

    Parameters
    ----------
    depth : {18, 50}
        Two 3 x 3 convolutions a block, or a bottleneck of three.
    classes : int
        Outputs of the linear classifier ``fc``.
    width : int
        Channels of the first layer; 64 in the paper. Each layer doubles them.
    channels : int
        Of the images: 3 for colours, 1 for grey levels.
    stem : {"7x7", "3x3", "3x3/2"}
        The first convolution: 7 x 7 with stride 2 and a pooling for large images; 3 x 3 for small
        ones, with stride 1 or 2.
    head : Module, optional
        In the place of ``fc``, such as :class:`~ncbook.models.layers.TwoLayerHead`.

    Raises
    ------
    ValueError
        The depth or the stem is unknown, or a size is not a positive integer.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     network = ResNet(18, 1000)
    >>> sum(parameter.numel() for parameter in network.parameters())  # torchvision's
    11689512
    """

    def __init__(
        self,
        depth: int,
        classes: int,
        *,
        width: int = 64,
        channels: int = 3,
        stem: str = "7x7",
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"depth is {depth!r}: expected {' or '.join(map(str, BLOCKS))}.")
        if stem not in STEMS:
            raise ValueError(f"stem is {stem!r}: expected {', '.join(map(repr, STEMS))}.")
        sizes = {"classes": classes, "width": width, "channels": channels}
        classes, width, channels = (whole(name, value, 1) for name, value in sizes.items())
        kernel, stride, padding, pooled = STEMS[stem]
        self.conv1 = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if pooled else nn.Identity()
        block = BasicBlock if depth == 18 else Bottleneck
        inputs = width
        for number, blocks in enumerate(BLOCKS[depth]):
            inner, made = width * 2**number, []
            for place in range(blocks):
                made.append(block(inputs, inner, stride=2 if number and not place else 1))
                inputs = inner * block.expansion
            setattr(self, f"layer{number + 1}", nn.Sequential(*made))
        self.fc = nn.Linear(inputs, classes) if head is None else head

    def features(self, x: Tensor) -> Tensor:
        """Return the input of ``fc``, ``(b, channels, rows, columns)`` to ``(b, entries)``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        # Not nn.AdaptiveAvgPool2d, whose gradient is not deterministic on CUDA.
        return x.mean((-2, -1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``(b, channels, rows, columns)`` to ``(b, classes)``."""
        return self.fc(self.features(x))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        straight = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(x + straight)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, the last four times as wide, beside a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        straight = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + straight)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """Return what fits the input to the block's output, or None where it fits already."""
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

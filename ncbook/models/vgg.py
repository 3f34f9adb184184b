"""VGG-11, with the names that torchvision gives to its parts, which is itself not needed."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from ncbook.runtime import whole

# Channels of the convolutions, as multiples of the width; None is a pooling by 2.
LAYERS = (1, None, 2, None, 4, 4, None, 8, 8, None, 8, 8, None)


class VGG11(nn.Module):
    """Eight 3 x 3 convolutions, five poolings, a classifier of three linear layers.

    Source: Simonyan and Zisserman (2015), configuration A, without batch normalisation. The input
    of ``classifier.6``, the last layer, has ``hidden`` entries. A reader's ``state_dict`` of
    torchvision's vgg11 loads into ``VGG11(1000)``.

    Parameters
    ----------
    classes : int
        Outputs.
    width : int
        Channels of the first convolution; 64 in the paper.
    channels : int
        Of the images, whose sides are at least 32.
    hidden : int
        Neurons of each of the classifier's two hidden layers; 4096 in the paper.
    pool : int
        Rows and columns that the last map is averaged to; 7 in the paper, 1 for small images.

    Raises
    ------
    ValueError
        A size is not a positive integer.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     network = VGG11(1000)
    >>> sum(parameter.numel() for parameter in network.parameters())  # torchvision's
    132863336
    """

    def __init__(
        self,
        classes: int,
        *,
        width: int = 64,
        channels: int = 3,
        hidden: int = 4096,
        pool: int = 7,
    ) -> None:
        super().__init__()
        sizes = {"classes": classes, "width": width, "channels": channels, "hidden": hidden}
        for name, value in sizes.items():
            whole(name, value, 1)
        self.pool, made, inputs = whole("pool", pool, 1), [], channels
        for factor in LAYERS:
            if factor is None:
                made.append(nn.MaxPool2d(2, 2))
                continue
            made += [nn.Conv2d(inputs, factor * width, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = factor * width
        self.features = nn.Sequential(*made)
        self.classifier = nn.Sequential(
            nn.Linear(inputs * pool**2, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``(b, channels, rows, columns)`` to ``(b, classes)``."""
        return self.classifier(torch.flatten(self._pooled(self.features(x)), 1))

    def _pooled(self, x: Tensor) -> Tensor:
        """Average to ``pool`` by ``pool``, where it can be by operations that repeat on CUDA."""
        if self.pool == 1:
            return x.mean((-2, -1), keepdim=True)
        if x.shape[-2:] == (1, 1):
            return x.expand(-1, -1, self.pool, self.pool)
        return adaptive_avg_pool2d(x, self.pool) if x.shape[-2:] != (self.pool,) * 2 else x

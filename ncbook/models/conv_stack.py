"""A stack of convolutions of one width, whose layers can be looked at one by one."""

from torch import Tensor, nn

from ncbook.runtime import whole


class ConvStack(nn.Module):
    """Layers of 3 x 3 convolutions that keep the image's size, and a linear classifier.

    A layer is a convolution, a batch normalisation where asked for, and a ReLU. The normalisation
    always uses the mean and the variance of the images that it is given, so that there is one mode
    only: look at all training images at once.

    Parameters
    ----------
    side : int
        Rows and columns of the images.
    classes : int
        Outputs.
    depth, width : int
        Convolutions, and their channels.
    channels : int
        Of the images.
    normalise : bool

    Raises
    ------
    ValueError
        A size is not a positive integer.

    Examples
    --------
    >>> import torch
    >>> network = ConvStack(side=8, classes=10, depth=2, width=3)
    >>> [tuple(layer.shape) for layer in network.layers(torch.zeros(4, 1, 8, 8))]
    [(4, 64), (4, 192), (4, 192)]
    """

    def __init__(
        self,
        side: int,
        classes: int,
        depth: int = 5,
        width: int = 16,
        channels: int = 1,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        sizes = {"side": side, "classes": classes, "depth": depth, "width": width}
        side, classes, depth, width = (whole(name, one, 1) for name, one in sizes.items())
        inputs = [whole("channels", channels, 1)] + [width] * (depth - 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(one, width, 3, padding=1, bias=not normalise),
                *([nn.BatchNorm2d(width, track_running_stats=False)] if normalise else []),
                nn.ReLU(),
            )
            for one in inputs
        )
        self.fc = nn.Linear(width * side * side, classes)

    def layers(self, x: Tensor) -> list[Tensor]:
        """Return the images and each layer's outputs as rows, ``(n, width side^2)``."""
        found = [x]
        for block in self.blocks:
            found.append(block(found[-1]))
        return [one.flatten(1) for one in found]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``(n, channels, side, side)`` to ``(n, classes)``."""
        return self.fc(self.layers(x)[-1])

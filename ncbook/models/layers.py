"""What the networks for pictures share: how they start, and the two-layer head of a paper."""

import math

import torch
from torch import Tensor, nn

from ncbook.runtime import generator, whole

NORMS = {"none": None, "layer": nn.LayerNorm, "rms": nn.RMSNorm}


class TwoLayerHead(nn.Module):
    r"""The classifier :math:`V \sigma(W \nu(x))`: a normalisation, a ReLU layer, a linear layer.

    Source: Min, Zhu and Vidal (2025), Figures 4 and 5, where it takes the place of a ResNet's
    linear classifier, with 1000 neurons. :math:`\nu` is nothing, LayerNorm or RMSNorm, with
    torch's gains (and LayerNorm's shift); W and V have no biases, as the paper's network has none.
    The features that collapse are those after the ReLU, which are the input of ``last``. All is
    computed in float32 or more, also under autocast.

    Parameters
    ----------
    inputs, classes, hidden : int
        Features of the network below, classes, neurons.
    norm : {"none", "layer", "rms"}
        What stands before the ReLU layer.

    Raises
    ------
    ValueError
        A size is not a positive integer, or the norm is unknown.
    """

    def __init__(self, inputs: int, classes: int, hidden: int = 1000, norm: str = "none") -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm is {norm!r}: expected {', '.join(map(repr, NORMS))}.")
        sizes = {"inputs": inputs, "classes": classes, "hidden": hidden}
        inputs, classes, hidden = (whole(name, value, 1) for name, value in sizes.items())
        self.norm = nn.Identity() if NORMS[norm] is None else NORMS[norm](inputs)
        self.first = nn.Linear(inputs, hidden, bias=False)
        self.last = nn.Linear(hidden, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``(b, inputs)`` to ``(b, classes)``."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            return self.last(self.first(self.norm(x)).relu())


def initialise(network: nn.Module, seed: int, device: torch.device | str = "cpu") -> nn.Module:
    """Give a network its random start on a device, and return it.

    Convolutions are normal with variance 2 over the outputs that an entry reaches (He et al. 2015,
    "fan out"), without shift; linear layers and their shifts uniform within one over the root of
    the inputs, as torch has them; gains 1, running means 0 and variances 1. One generator on the
    CPU draws in float64, so that all devices start alike and no global random state is touched. The
    network may have been built under ``torch.device("meta")``, where that costs nothing.

    Raises
    ------
    ValueError
        A part of the network has numbers of its own and is none of these layers.
    """
    draw = generator(seed)
    network.to_empty(device=device)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            fan = layer.weight[0, 0].numel() * layer.out_channels / layer.groups
            shape = layer.weight.shape
            normal = torch.randn(shape, generator=draw, dtype=torch.float64)
            _fill(layer.weight, math.sqrt(2 / fan) * normal)
            _fill(layer.bias, 0.0)
        elif isinstance(layer, nn.Linear):
            for one in (layer.weight, layer.bias):
                if one is not None:
                    drawn = torch.rand(one.shape, generator=draw, dtype=torch.float64)
                    _fill(one, (2 * drawn - 1) / math.sqrt(layer.in_features))
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.RMSNorm):
            _fill(layer.weight, 1.0)
            _fill(getattr(layer, "bias", None), 0.0)
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.track_running_stats:
                layer.reset_running_stats()
        elif own := [key for key, _ in (*layer.named_parameters(recurse=False),
                                        *layer.named_buffers(recurse=False))]:  # fmt: skip
            raise ValueError(
                f"{name or 'the network'} is a {type(layer).__name__} with {', '.join(own)}, for "
                "which no start is known; expected convolutions, linear layers and normalisations."
            )
    return network


@torch.no_grad()
def _fill(tensor: Tensor | None, values: Tensor | float) -> None:
    if tensor is not None:
        tensor.copy_(torch.as_tensor(values))

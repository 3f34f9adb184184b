r"""Collapse of directions beside collapse of features: is it the angles that agree, or the lengths?

Features of a class that lie on one ray at different lengths have collapsed in direction alone.
NC1 sees their lengths too; NC1 of the unit features :math:`h_i / \|h_i\|` does not. A feature of
length 0 has no direction: it is counted, and left out of the unit features.

>>> import torch
>>> features = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
>>> found = directional_collapse(features, torch.tensor([0, 0, 1, 1]))
>>> for name, value in found.items():
...     print(f"{name:<22} {value:.4f}")
nc1.min-zhu-vidal      0.2222
nc1.min-zhu-vidal.unit 0.0000
lengths.spread         0.1111
lengths.zero           0.0000
"""

import torch
from torch import Tensor

from ncbook.metrics import _checks
from ncbook.metrics.collapse import nc1_min_zhu_vidal
from ncbook.metrics.frames import directions
from ncbook.metrics.statistics import ClassAccumulator, ClassStatistics, class_statistics


class DirectionalAccumulator:
    """NC1 of unit features and the spread of lengths, in one pass over mini-batches.

    Sums are in float64, in float32 on a device that has no float64 (MPS).

    Parameters
    ----------
    num_classes
        K, at least 2.

    Raises
    ------
    ValueError
        ``num_classes`` is not an integer of at least 2.
    """

    def __init__(self, num_classes: int) -> None:
        self._lengths = ClassAccumulator(num_classes, scatter=False)
        # One class more, for the features without direction.
        self._unit = ClassAccumulator(self._lengths.num_classes + 1, scatter=False)

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> "DirectionalAccumulator":
        """Take a mini-batch and return the accumulator.

        Parameters
        ----------
        features
            (..., b, D), any b; the same leading dimensions and D every time.
        labels
            (b,) or (..., b), integers in 0..K-1; labels (b,) are shared by all runs.

        Raises
        ------
        ValueError
            As :meth:`ClassAccumulator.update`.
        """
        _checks.floating("features", features, "(..., n, D)")
        features = features.to(torch.float32 if features.device.type == "mps" else torch.float64)
        zero = (features == 0).all(-1)
        unit = torch.where(zero.unsqueeze(-1), 0, directions(features))
        self._lengths.update((unit * features).sum(-1, keepdim=True), labels)
        of = torch.where(zero, self._lengths.num_classes, labels.to(zero.device).long())
        self._unit.update(unit, of)
        return self

    @torch.no_grad()
    def measures(self) -> dict[str, Tensor]:
        """Return the measures of all that was seen so far; more may follow.

        Returns
        -------
        dict
            Tensors (...): ``nc1.min-zhu-vidal.unit``, NC1 of the unit features, NaN where a class
            has no feature but 0; ``lengths.spread``, the variances of the lengths within classes
            over the squares of their means, both summed over the classes: 0 where the lengths of
            each class agree; ``lengths.zero``, how many features are 0.

        Raises
        ------
        ValueError
            A class has no sample yet.
        """
        lengths = self._lengths.statistics()
        k, all_of = lengths.num_classes, self._unit
        # A class that is empty here has variance 0/0, which makes NC1 NaN.
        unit = ClassStatistics(
            all_of._counts[..., :k], all_of._means[..., :k, :], all_of._squares[..., :k]
        )
        spread = lengths.variances.sum(-1) / lengths.means.square().sum((-2, -1))
        return {
            "nc1.min-zhu-vidal.unit": nc1_min_zhu_vidal(unit),
            "lengths.spread": spread,
            "lengths.zero": all_of._counts[..., k].to(spread),
        }


def directional_collapse(
    features: Tensor, labels: Tensor, num_classes: int | None = None
) -> dict[str, Tensor]:
    """Return NC1 of the features, NC1 of their directions, and the spread of their lengths.

    Source: NC1 is that of Min, Zhu and Vidal (2025), the metrics of the experiments, whose Theorem
    1 states collapse of directions; NC1 of unit features and the spread are this book's.

    Parameters
    ----------
    features
        (..., n, D).
    labels
        (n,) or (..., n), integers in 0..K-1; labels (n,) are shared by all runs.
    num_classes
        K; by default the largest label and one.

    Returns
    -------
    dict
        Tensors (...): ``nc1.min-zhu-vidal`` (:func:`nc1_min_zhu_vidal`), and what
        :meth:`DirectionalAccumulator.measures` returns.

    Raises
    ------
    ValueError
        As :func:`class_statistics`.
    """
    statistics = class_statistics(features, labels, num_classes, scatter=False)
    directional = DirectionalAccumulator(statistics.num_classes).update(features, labels)
    return {"nc1.min-zhu-vidal": nc1_min_zhu_vidal(statistics)} | directional.measures()

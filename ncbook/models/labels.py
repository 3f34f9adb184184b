"""The labels of a model's samples, checked."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.runtime import label_tensor


def class_labels(
    y: Sequence[int] | Tensor, samples: int, device: torch.device, classes: int | None = None
) -> Tensor:
    """Return labels as int64 on a device, ``(samples,)``.

    Parameters
    ----------
    y : sequence of int or Tensor
        A label for each sample.
    samples : int
        How many there are.
    device : torch.device
        Of the result.
    classes : int, optional
        K; without it any number of classes.

    Raises
    ------
    ValueError
        There is no sample, or not one whole number from 0 to K - 1 for each.
    """
    given = label_tensor(y, device)
    labels = given.long()
    fits = labels.shape == (samples,) and samples > 0 and bool((labels == given).all())
    if not fits or int(labels.min()) < 0 or (classes or torch.inf) <= int(labels.max()):
        last = "K - 1" if classes is None else classes - 1
        raise ValueError(
            f"The labels have shape {tuple(given.shape)}, for {samples} samples: expected one "
            f"whole number from 0 to {last} for each, and at least one sample."
        )
    return labels

"""Classes that are standard normal noise about their means."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.data.synthetic import Labelled
from ncbook.runtime import Runtime, tensors, whole

# Added to a seed for its test sample, below 2**32, of which the generator takes the remainder.
_TEST = 2**30


def around(
    run: Runtime, seeds: Sequence[int], means: Tensor, per_class: int, test_per_class: int
) -> tuple[Labelled, Labelled]:
    """Draw a training and a test sample about given means, for each seed.

    Parameters
    ----------
    run : Runtime
        Sets dtype and device.
    seeds : sequence of int
        S data sets; none depends on the other seeds.
    means : Tensor
        The classes' means by rows, ``(K, d)``.
    per_class, test_per_class : int
        Points of each class in the two samples.

    Returns
    -------
    training, test : Labelled
        X of shapes ``(S, K per_class, d)`` and ``(S, K test_per_class, d)``, ordered by label.

    Raises
    ------
    ValueError
        The means are no finite matrix, a number of points is not positive, or there is no seed.
    """
    tensors(means=means)
    if means.ndim != 2 or not bool(means.isfinite().all()) or not len(seeds):
        raise ValueError(
            f"The means have shape {tuple(means.shape)}, and there are {len(seeds)} seeds: "
            "expected finite numbers of shape (K, d), and at least one seed."
        )
    K, d = means.shape
    samples = []
    for name, size, offset in (
        ("per_class", per_class, 0),
        ("test_per_class", test_per_class, _TEST),
    ):
        y = torch.arange(K, device=run.device).repeat_interleave(whole(name, size, 1))
        noise = run.normal([offset + whole("seed", seed) for seed in seeds], len(y), d)
        samples.append(Labelled(run.tensor(means)[y] + noise, y))
    return samples[0], samples[1]

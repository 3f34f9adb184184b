"""Trainings of deep networks on pictures, as jobs: plain arguments to labelled numbers by epoch.

A job of :func:`ncbook.jobs.sweep` runs in a process of its own, here or on another machine, so all
that it needs goes in as plain values and all that came of it comes back as numbers.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor, nn

from ncbook import runtime
from ncbook.data import cifar, pictures
from ncbook.data.pictures import Pictures
from ncbook.dynamics.networks import Schedule, train_network
from ncbook.metrics.network import collapse_of
from ncbook.models.layers import NORMS, TwoLayerHead, initialise
from ncbook.models.resnet import ResNet

DATA = {
    "mnist (sample)": lambda: pictures.mnist("sample"),
    "mnist (full)": lambda: pictures.mnist("full"),
    "cifar10": lambda: cifar.cifar10(),
    "cifar100": lambda: cifar.cifar100(),
}

_MEASURED = 500  # pictures at a time, where a network is measured


def train_on_pictures(
    *,
    data: str,
    epochs: int,
    rate: float,
    batch: int,
    momentum: float = 0.9,
    decay: float = 0.0,
    drops: Sequence[int] = (),
    seed: int = 0,
    per_class: int | None = None,
    test_per_class: int | None = None,
    depth: int = 18,
    width: int = 64,
    stem: str = "3x3",
    head: str = "linear",
    hidden: int = 1000,
    precision: str = "bfloat16",
    every: int = 1,
    checkpoint: Path | None = None,
) -> xr.Dataset:
    """Train a residual network on pictures, and return its collapse by epoch.

    The pictures are standardised by channel and not augmented. The seed is that of the start and
    of the order of the pictures; which pictures are taken does not depend on it. It computes where
    ``NCBOOK_DEVICE`` says, else on the first graphics processor there is, else on the CPU.

    Parameters
    ----------
    data : str
        A name of ``DATA``.
    epochs, rate, batch, momentum, decay, drops, precision
        As :class:`~ncbook.dynamics.networks.Schedule` and
        :func:`~ncbook.dynamics.networks.train_network` have them.
    seed : int
        Of the start and of the order.
    per_class, test_per_class : int, optional
        Pictures of each class; all without them.
    depth, width, stem
        As :class:`~ncbook.models.resnet.ResNet` has them.
    head : {"linear", "none", "layer", "rms"}
        A linear classifier, with bias, on the pooled features; or the two-layer ReLU head of Min,
        Zhu and Vidal with no normalisation, LayerNorm or RMSNorm before it.
    hidden : int
        Neurons of that head.
    every : int
        Epochs from one measurement to the next; the last epoch is always measured.
    checkpoint : Path, optional
        A folder for the state after each epoch, from which a training that was cut off goes on.

    Returns
    -------
    xarray.Dataset
        Over ``epoch``: what :func:`~ncbook.metrics.network.collapse_of` measures of the input of
        the last linear layer on the training pictures, in eval mode (``nc1.papyan`` for a linear
        classifier alone), ``accuracy``, ``accuracy.test``, ``dead``, the share of features that
        are 0 on all training pictures, and ``loss``. Without it ``status``, ``steps`` and
        ``seconds``, of training alone.

    Raises
    ------
    ValueError
        A name is unknown, or a number out of its range.
    DataError
        The pictures are not at hand.
    """
    if data not in DATA:
        raise ValueError(f"data is {data!r}: expected one of {', '.join(map(repr, DATA))}.")
    schedule = Schedule(epochs, rate, batch, momentum, decay, drops)
    run = runtime.start()
    # On a graphics processor poolings and sums have no kernels that repeat; the CPU's digits do.
    torch.set_deterministic_debug_mode("error" if run.device.type == "cpu" else "default")
    chosen = DATA[data]().balanced(per_class, test_per_class)
    network = _network(chosen, depth, width, stem, head, hidden)
    initialise(network, seed, run.device)
    layer = "fc" if head == "linear" else "fc.last"
    train, test = chosen.standardised(torch.float32, run.device)
    labels, test_labels = chosen.train_labels.to(run.device), chosen.test_labels.to(run.device)

    def observe(one: nn.Module) -> dict[str, Tensor]:
        with torch.autocast(run.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            found = collapse_of(
                one,
                layer,
                zip(train.split(_MEASURED), labels.split(_MEASURED), strict=True),
                chosen.K,
                test=zip(test.split(_MEASURED), test_labels.split(_MEASURED), strict=True),
                scatter=head == "linear",
            )
        dead = (found.statistics.means == 0).all(-2).float().mean()
        scores = {"accuracy": found.accuracy, "accuracy.test": found.test_accuracy, "dead": dead}
        return found.measures | scores

    return train_network(
        network,
        train,
        labels,
        schedule,
        seed=seed,
        observe=observe,
        record=sorted({*range(0, epochs, runtime.whole("every", every, 1)), epochs}),
        precision=precision,
        checkpoint=None if checkpoint is None else checkpoint / "training.pt",
    )


def _network(
    chosen: Pictures, depth: int, width: int, stem: str, head: str, hidden: int
) -> nn.Module:
    """Return the network without numbers yet."""
    if head not in ("linear", *NORMS):
        known = ", ".join(map(repr, ("linear", *NORMS)))
        raise ValueError(f"head is {head!r}: expected one of {known}.")
    options = {"width": width, "channels": chosen.train.shape[1], "stem": stem}
    with torch.device("meta"):
        plain = ResNet(depth, chosen.K, **options)
        if head != "linear":
            plain.fc = TwoLayerHead(plain.fc.in_features, chosen.K, hidden, head)
    return plain

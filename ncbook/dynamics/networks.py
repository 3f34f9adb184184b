"""Training of one network of any architecture, epoch by epoch, that may be cut off and goes on.

Networks differ in shape and speed, so they are no batch: each run is a job of its own.
"""

import io
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ncbook import files, runs
from ncbook.dynamics.iterate import checked_record
from ncbook.dynamics.training import example_orders
from ncbook.dynamics.trajectory import DIVERGED, FINISHED
from ncbook.runtime import generator, whole

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Schedule:
    """Stochastic gradient descent as the papers on deep networks set it up.

    With g the gradient on a mini-batch, v <- momentum v + g + decay z and z <- z - rate v, as
    torch.optim.SGD has it.

    Parameters
    ----------
    epochs : int
        Passes over the examples.
    rate : float
        Learning rate before the first drop, positive.
    batch : int
        Examples in a mini-batch, at least 2; the last one of an epoch may have fewer.
    momentum, decay : float
        Momentum in [0, 1) and weight decay, at least 0, on all parameters.
    drops : sequence of int
        Epochs after which the rate is divided by 10.

    Raises
    ------
    ValueError
        A number is out of its range.
    """

    epochs: int
    rate: float
    batch: int
    momentum: float = 0.9
    decay: float = 0.0
    drops: Sequence[int] = ()

    def __post_init__(self) -> None:
        # As Python has them: a checkpoint holds no other numbers.
        plain = {name: whole(name, getattr(self, name), least) for name, least in
                 {"epochs": 1, "batch": 2}.items()}  # fmt: skip
        plain |= {name: float(getattr(self, name)) for name in ("rate", "momentum", "decay")}
        plain["drops"] = tuple(whole("a drop", drop, 1) for drop in self.drops)
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if not (self.rate > 0 and 0 <= self.momentum < 1 and self.decay >= 0):
            raise ValueError(
                f"rate = {self.rate}, momentum = {self.momentum}, decay = {self.decay}: expected "
                "rate > 0, 0 <= momentum < 1 and decay >= 0."
            )

    def rate_in(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.rate * 0.1 ** sum(epoch >= drop for drop in self.drops)


def train_network(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    *,
    seed: int,
    observe: Callable[[nn.Module], Mapping[str, float]] | None = None,
    record: Sequence[int] | None = None,
    precision: str = "float32",
    checkpoint: Path | None = None,
) -> xr.Dataset:
    """Train a network in place on the cross-entropy, and return what was seen of it.

    Parameters
    ----------
    network : Module
        Examples ``(b, ...)`` to logits ``(b, K)``; it and its optimiser stay on its device.
    images, labels : Tensor
        ``(n, ...)`` and ``(n,)`` int64, on the network's device.
    schedule : Schedule
        How it is trained.
    seed : int
        Of the order of the examples, drawn on the CPU anew in every epoch, and of the random
        numbers that the network itself may draw (as Dropout does).
    observe : callable, optional
        The network to a dict of numbers, none of them called ``loss``. It may change the
        network's mode.
    record : sequence of int, optional
        Epochs at which to observe, increasing from 0 on; without it each, from 0 to the last.
    precision : {"float32", "bfloat16"}
        In which convolutions and linear layers are computed (torch.autocast; on CUDA torch rounds
        the factors of a float32 convolution to TF32); the weights and their updates are in the
        network's own dtype in both.
    checkpoint : Path, optional
        A file that holds the whole state after each epoch. Where it is there, training goes on
        from it, and on the CPU ends with the very digits of a run that was not cut off.

    Returns
    -------
    xarray.Dataset
        Over ``epoch``: the observed numbers and ``loss``, the mean over the examples of the epoch
        before, each as it was when its mini-batch came (NaN at 0). Without a dimension ``status``
        ("finished" or "diverged": the loss ceased to be finite, all later numbers are NaN),
        ``steps`` and ``seconds`` of training.

    Raises
    ------
    ValueError
        The examples and labels do not fit each other, the network or the schedule, the precision is
        unknown, or the checkpoint is damaged or of another training.
    """
    seed = whole("seed", seed)
    device = getattr(next(network.parameters(), None), "device", None)
    _check(images, labels, schedule, precision, device)
    record = checked_record(
        "epochs", range(schedule.epochs + 1) if record is None else record, schedule.epochs
    )
    optimiser = torch.optim.SGD(
        network.parameters(), schedule.rate, schedule.momentum, weight_decay=schedule.decay
    )
    if images.dim() == 4:  # the layout in which convolutions are fastest
        network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    about = {"seed": seed, "precision": precision}
    if checkpoint is not None:
        about |= _about(network, images, labels, schedule, record)
    order = example_orders([seed])[0]
    seen: dict[str, list[float]] = {"loss": []}
    loss, epoch, steps, seconds = torch.nan, 0, 0, 0.0
    with _own_randomness(seed, device) as randomness:
        if checkpoint is not None and checkpoint.exists():
            state = _loaded(checkpoint, about, device)
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            order.set_state(state["order"])
            randomness.restore(state["randomness"])
            seen, loss, epoch = state["seen"], state["loss"], state["epoch"]
            steps, seconds = state["steps"], state["seconds"]
        while True:
            if epoch in record and len(seen["loss"]) <= record.index(epoch):
                with randomness.aside():
                    row = {} if observe is None else dict(observe(network))
                for name, value in (row | {"loss": loss}).items():
                    seen.setdefault(name, []).append(float(value))
            if epoch == schedule.epochs:
                break
            began = time.perf_counter()
            loss = _epoch(network, optimiser, images, labels, schedule, epoch, order, precision)
            seconds, epoch = seconds + time.perf_counter() - began, epoch + 1
            steps += -(-len(images) // schedule.batch)
            if loss != loss or abs(loss) == torch.inf:
                break
            if checkpoint is not None:
                _save(checkpoint, {
                    "about": about, "network": network.state_dict(),
                    "optimiser": optimiser.state_dict(), "order": order.get_state(),
                    "randomness": randomness.state(), "seen": seen, "loss": loss, "epoch": epoch,
                    "steps": steps, "seconds": seconds,
                })  # fmt: skip
    status = FINISHED if epoch == schedule.epochs and abs(loss) < torch.inf else DIVERGED
    missing = {name: values + [torch.nan] * (len(record) - len(values))
               for name, values in seen.items()}  # fmt: skip
    found = runs.label(missing, epoch=record)
    return found.assign(status=status, steps=steps, seconds=seconds)


def _epoch(network, optimiser, images, labels, schedule, epoch, order, precision) -> float:
    """Train for one epoch; return the mean loss over its examples."""
    network.train()
    for group in optimiser.param_groups:
        group["lr"] = schedule.rate_in(epoch)
    kind, total, classes = images.device.type, 0.0, int(labels.max()) + 1
    low = torch.autocast(kind, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    permuted = torch.randperm(len(images), generator=order).to(images.device)
    for part in permuted.split(schedule.batch):
        x = images.index_select(0, part)
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with low:
            logits = network(x)
        if classes > logits.shape[-1]:
            raise ValueError(
                f"There are {classes} classes of labels, and the network has {logits.shape[-1]} "
                "outputs: give it one for each."
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = cross_entropy(logits, labels[part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total = total + loss.detach() * len(part)  # read at the end: a device need not wait
    return float(total) / len(images)


class _Randomness:
    """Torch's own generators of the CPU and of a device, while a network draws from them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        there = device.type == "cuda" or (device.type == "mps" and torch.backends.mps.is_built())
        self.of_device = getattr(torch, device.type) if there else None

    def state(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self.of_device is not None:
            where = (self.device,) if self.device.type == "cuda" else ()
            states.append(self.of_device.get_rng_state(*where))
        return states

    def restore(self, states: Sequence[Tensor]) -> None:
        torch.set_rng_state(states[0].cpu())
        if self.of_device is not None and len(states) > 1:
            where = (self.device,) if self.device.type == "cuda" else ()
            self.of_device.set_rng_state(states[1].cpu(), *where)

    def begin(self, seed: int) -> None:
        """Let both begin as generators of a seed do."""
        states = [generator(seed).get_state()]
        if self.of_device is not None:
            states.append(torch.Generator(self.device).manual_seed(seed).get_state())
        self.restore(states)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let what is drawn meanwhile leave no trace."""
        states = self.state()
        try:
            yield
        finally:
            self.restore(states)


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[_Randomness]:
    """Give layers such as Dropout random numbers of this run, and everybody else theirs back."""
    own = _Randomness(device)
    with own.aside():
        own.begin(seed)
        yield own


def _about(network, images, labels, schedule, record) -> dict:
    """Return what tells a training from others, as a checkpoint holds it."""
    shapes = {name: list(one.shape) for name, one in network.state_dict().items()}
    content = [files.digest(one.cpu().contiguous().numpy().tobytes()) for one in (images, labels)]
    return asdict(schedule) | {
        "drops": list(schedule.drops),
        "record": list(record),
        "network": files.digest(repr(shapes)),
        "examples": content,
    }


def _save(path: Path, state: dict) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files.write_atomic(path, buffer.getvalue())


def _loaded(path: Path, about: dict, device: torch.device) -> dict:
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(
            f"{path} is no whole checkpoint of a training. Delete it, to train from the start."
        ) from error
    if state["about"] != about:
        differ = {k: (state["about"].get(k), v) for k, v in about.items()
                  if state["about"].get(k) != v}  # fmt: skip
        raise ValueError(
            f"{path} is of another training: it differs in "
            f"{', '.join(f'{name} ({old}, here {new})' for name, (old, new) in differ.items())}. "
            "Name another file, or delete this one."
        )
    state["order"] = state["order"].cpu()
    return state


def _check(images, labels, schedule, precision, device) -> None:
    if device is None:
        raise ValueError("The network has no parameters: expected one that can be trained.")
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}: expected {' or '.join(PRECISIONS)}.")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"labels have shape {tuple(labels.shape)} and type {labels.dtype}; expected one int64 "
            f"for each of the {len(images)} images."
        )
    if len(labels) and int(labels.min()) < 0:
        raise ValueError(f"A label is {int(labels.min())}: expected classes numbered from 0.")
    for name, one in {"images": images, "labels": labels}.items():
        if one.device != device:
            raise ValueError(f"{name} are on {one.device}, the network on {device}: move them.")
    if schedule.batch > len(images) or len(images) % schedule.batch == 1:
        raise ValueError(
            f"batch is {schedule.batch} for {len(images)} images: expected at most as many, and a "
            "last mini-batch of more than one image, whose variance normalisations need."
        )

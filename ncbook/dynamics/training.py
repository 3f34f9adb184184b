"""Stochastic gradient descent with momentum and weight decay, over a batch of runs."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ncbook.dynamics.iterate import checked_record, iterate
from ncbook.dynamics.trajectory import Observe, Trajectory
from ncbook.runtime import generator, whole

# Added to a seed, so that the order of the examples is not drawn from the numbers that made the
# start of the same seed. Below 2**32, of which torch's generator takes the remainder.
_ORDER = 2**31


def sgd_momentum(
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor],
    start: Tensor,
    x: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    rate: float | Tensor,
    batch: int | None = None,
    seeds: Sequence[int] = (),
    momentum: float = 0.9,
    decay: float = 5e-4,
    drops: Sequence[float] = (1 / 3, 2 / 3),
    observe: Observe | None = None,
    record: Sequence[int] | None = None,
    save_states: bool = False,
) -> Trajectory:
    """Train every run of a batch by stochastic gradient descent.

    With g the gradient of the loss on a mini-batch, v <- momentum v + g + decay z and
    z <- z - rate v, as torch.optim.SGD has it; v starts at 0. The rate is divided by 10 at each
    of the ``drops``. Without further arguments momentum, decay and drops are those of Papyan, Han
    and Donoho (2020).

    Parameters
    ----------
    gradient : callable
        States ``(R, P)``, examples ``(R, b, d)`` or, the same for all runs, ``(b, d)``, labels
        ``(R, b)`` or ``(b,)``, to gradients ``(R, P)``, each run by itself.
    start : Tensor
        ``(R, P)``; the states are ``start``'s copy.
    x, labels : Tensor
        ``(n, d)`` and ``(n,)``: the training examples.
    epochs : int
        Passes over the examples.
    rate : float or Tensor
        Learning rate before the first drop, positive: one for all runs, or ``(R,)``.
    batch : int, optional
        Examples in a mini-batch; without it all of them, in one step an epoch. The last
        mini-batch of an epoch may be smaller.
    seeds : sequence of int
        One a run: of the order in which it sees the examples, drawn anew in every epoch. A run
        does not depend on which others are beside it. Runs that all have one seed see the same
        mini-batches, which are then taken once. Not used without ``batch``.
    momentum, decay : float
        Momentum in [0, 1) and weight decay, at least 0, on all parameters.
    drops : sequence of float
        Fractions of the epochs at which the rate drops; the paper's are 1/3 and 2/3.
    observe : callable, optional
        States ``(R, P)`` to a dict of numbers a run, each of shape ``(R,)``.
    record : sequence of int, optional
        Epochs at which to observe, increasing from 0 on; without it, the first and the last.
    save_states : bool
        Save the states at the recorded epochs.

    Returns
    -------
    Trajectory
        ``times`` are epochs. A run that ceases to be finite is reported as diverged; it does not
        touch the others, and training ends early only when all have diverged.

    Raises
    ------
    ValueError
        An argument is out of its range.

    Examples
    --------
    Three networks at once, of other starts and other orders of the examples:

    >>> from ncbook import runtime
    >>> from ncbook.models.deep import MLP
    >>> run = runtime.start("cpu")
    >>> x = run.normal([0], 40).reshape(20, 2)
    >>> labels = (x[:, 0] > 0).long()
    >>> network = MLP([2, 8, 2])
    >>> ended = sgd_momentum(
    ...     network.loss_gradient, network.start(range(3), run), x, labels, epochs=60, rate=0.1,
    ...     batch=10, seeds=range(3), observe=network.progress(x, labels),
    ... )
    >>> [name for name, values in ended.observables.items() if values.shape == (3, 2)]
    ['loss', 'error']
    """
    n, runs = len(x), len(start)
    epochs = whole("epochs", epochs)
    batch = None if batch is None else whole("batch", batch)
    _check(n, runs, epochs, rate, batch, seeds, momentum, decay, drops)
    record = checked_record("epochs", record, epochs)
    rate = torch.as_tensor(rate, dtype=start.dtype, device=start.device).reshape(-1, 1)
    z, velocity = start.clone(), torch.zeros_like(start)
    orders = example_orders(seeds) if batch else []

    def advance(first: int, last: int) -> int:
        steps = 0
        for epoch in range(first, last):
            size = rate * 0.1 ** sum(epoch >= drop * epochs for drop in drops)
            for examples, targets in mini_batches(x, labels, batch, orders):
                g = gradient(z, examples, targets)
                if momentum or decay:
                    g = velocity.mul_(momentum).add_(g).add_(z, alpha=decay)
                z.addcmul_(g, size, value=-1)
                steps += 1
        return steps

    times = torch.tensor(record, device=z.device)
    return iterate(z, advance, record, epochs, times, observe, save_states)


def example_orders(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return the generators of the order of the examples: one a run, or one if all have one seed.

    They are others than those that make the starts of the same seeds.
    """
    return [generator(_ORDER + seed) for seed in (seeds[:1] if len(set(seeds)) == 1 else seeds)]


def mini_batches(
    x: Tensor, labels: Tensor, batch: int | None, orders: Sequence[torch.Generator]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the examples of one epoch, in an order of its own for each run, or in one for all.

    Parameters
    ----------
    x, labels : Tensor
        ``(n, d)`` and ``(n,)``.
    batch : int or None
        Examples in a mini-batch, of which the last may have fewer; None for all in one.
    orders : sequence of Generator
        From :func:`example_orders`; each call draws a new epoch from them.

    Yields
    ------
    Tensor, Tensor
        ``(R, b, d)`` and ``(R, b)``; of one order ``(b, d)`` and ``(b,)``.
    """
    if batch is None:
        yield x, labels
        return
    order = torch.stack([torch.randperm(len(x), generator=draw) for draw in orders]).to(x.device)
    if len(orders) == 1:
        order = order[0]
    for part in order.split(batch, dim=-1):
        # Faster than x[part], for which torch has no kernel of its own for whole rows.
        yield x.index_select(0, part.flatten()).unflatten(0, part.shape), labels[part]


def _check(n, runs, epochs, rate, batch, seeds, momentum, decay, drops) -> None:
    rate = torch.as_tensor(rate)
    if rate.shape not in ((), (runs,)):
        raise ValueError(
            f"rate has shape {tuple(rate.shape)}; give one number, or one for each of the {runs} "
            "runs."
        )
    if not (bool((rate > 0).all()) and 0 <= momentum < 1 and decay >= 0):
        raise ValueError(
            f"rate = {rate.tolist()}, momentum = {momentum}, decay = {decay}: expected rate > 0, "
            "0 <= momentum < 1 and decay >= 0."
        )
    if epochs < 1 or (batch is not None and not 1 <= batch <= n):
        raise ValueError(
            f"epochs = {epochs}, batch = {batch}: expected at least 1 epoch and mini-batches of "
            f"1 to {n} examples, or None for all."
        )
    if batch is not None and len(seeds) != runs:
        raise ValueError(
            f"{len(seeds)} seeds are given for {runs} runs; give one a run, for the order of its "
            "examples."
        )
    if any(not 0 <= drop <= 1 for drop in drops):
        raise ValueError(f"drops is {tuple(drops)}; give fractions of the epochs, from 0 to 1.")

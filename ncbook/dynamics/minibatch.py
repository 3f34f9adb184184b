"""Mini-batch SGD of the mean-field network, plain or noisy: a batch of runs, fused steps.

Wu and Mondelli (2025) train the network of Figure 1 by SGD without momentum. With b examples in a
mini-batch, S = sigma(X U) (b x N), and G = gamma W (gamma W^T A S^T / N - Y) / b (p x b) a step of
the rate eta is

    A <- (1 - eta lambda) A - eta G S
    U <- (1 - eta lambda) U - eta X^T [sigma'(X U) * (G^T A)]

and, where W is trained, W <- (1 - eta lambda_W) W - eta dL_n/dW. The rate multiplies the mean-field
gradient, which is N times the gradient in the parameters of a particle; torch.optim.SGD does the
same at the rate N eta with the weight decay lambda / N. Each line is one matrix product that
scales and adds in place, so that a step passes over U twice: once for X U and once for the update.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ncbook.dynamics.training import example_orders, mini_batches
from ncbook.dynamics.trajectory import DIVERGED, FINISHED, Trajectory, statistics
from ncbook.models.mean_field import ACTIVATIONS, SLOPES, MeanField
from ncbook.runtime import generator, whole

TRAINED = ("particles", "both")
# Added to a seed, so that the noise is not drawn from the numbers that made its start.
_NOISE = 2**30
# Activations that are held at once where all examples are passed over.
_BLOCK = 2**21


@dataclass(frozen=True)
class FeatureTrajectory(Trajectory):
    """A trajectory that records what collapse is measured on: the features, not the states.

    Its observables are ``loss``, L_n of all examples, and ``gradient``, the root of the mean over
    the particles of the squared norm of their mean-field gradient of L (without noise the paper's
    eps_S), to which ``|dL/dW|^2`` is added under the root where W is trained.

    Attributes
    ----------
    features : Tensor
        H at the recorded steps, ``(R, T, p, n)``.
    test_features : Tensor or None
        The features of the test examples, ``(R, T, p, m)``.
    W : Tensor
        ``(R, T, p, K)``.
    second_moment : Tensor
        E[a a^T], ``(R, T, p, p)``.
    """

    features: Tensor | None = None
    test_features: Tensor | None = None
    W: Tensor | None = None
    second_moment: Tensor | None = None


def paper_rates(epochs: int, steps: int, first: float = 1e-3, second: float = 1e-2) -> Tensor:
    """Return the rate of every step: one in the first half of the epochs, another in the second.

    Source: Wu and Mondelli (2025), Figure 1 (a): .001, then .01.

    Parameters
    ----------
    epochs : int
        At least 1; of an odd number the middle one has the second rate.
    steps : int
        Steps in an epoch: n / b, rounded up.
    first, second : float

    Raises
    ------
    ValueError
        There is no step.
    """
    epochs, steps = whole("epochs", epochs), whole("steps", steps)
    if epochs < 1 or steps < 1:
        raise ValueError(f"epochs = {epochs}, steps = {steps}: expected both to be positive.")
    half = epochs // 2 * steps
    rates = torch.full((epochs * steps,), second, dtype=torch.float64)
    rates[:half] = first
    return rates


def minibatch_sgd(
    model: MeanField,
    start: Tensor,
    rates: Tensor,
    *,
    seeds: Sequence[int],
    batch: int = 64,
    temperature: float = 0.0,
    noise_every: int = 1,
    trained: str = "particles",
    test_inputs: Tensor | None = None,
    record: Sequence[int] | None = None,
) -> FeatureTrajectory:
    """Train every run of a batch by SGD on mini-batches, or by noisy SGD.

    Source: Wu and Mondelli (2025), Figures 1 and 2.

    Parameters
    ----------
    model : MeanField
        With one data set for all runs, without truncation. gamma and the decays may be one number
        a run. Features that are 0 in all examples, such as the pixels at the edge of an image,
        only decay in U: they are left out of the products, which changes nothing.
    start : Tensor
        ``(R, P)``, not changed.
    rates : Tensor
        The rate of every step, ``(steps,)``, positive; see :func:`paper_rates`. What the gradient
        flow calls time is their sum.
    seeds : sequence of int
        One a run: of the order of its examples, drawn anew in every epoch, and of its noise.
    batch : int
        Examples in a mini-batch; the last of an epoch may have fewer.
    temperature : float
        1/beta: the noise sqrt(2 rate / beta) N(0, 1) is added to A and U.
    noise_every : int
        Add it every so many steps, before a measurement and at the end, with the variance of the
        sum. Numbers are dear to draw: at the paper's size they take longer than the rest of a step.
    trained : {"particles", "both"}
        Whether W stays as it is at the start, as in the paper's figures.
    test_inputs : Tensor, optional
        Test examples, ``(m, d)``, whose features to record, too.
    record : sequence of int, optional
        Numbers of steps, increasing, after which to measure; without it, the first and the last.
        A measurement passes over all examples. An empty list asks for the final state alone.

    Returns
    -------
    FeatureTrajectory
        ``times`` are the sums of the rates. A run that ceases to be finite is reported as diverged
        and does not touch the others.

    Raises
    ------
    ValueError
        An argument is not as described.
    """
    rates = torch.as_tensor(rates, dtype=torch.float64)
    record = [0, rates.numel()] if record is None else list(record)
    batch, noise_every = whole("batch", batch), whole("noise_every", noise_every)
    _check(
        model, start, rates, seeds, batch, temperature, noise_every, trained, test_inputs, record
    )
    began = time.perf_counter()
    used = (model.X != 0).any(0)
    if temperature > 0:
        used[:] = True  # noise moves all
    runs = [_Run(model, start, index, used, trained == "both") for index in range(len(start))]
    noise = [generator(_NOISE + seed) for seed in seeds] if temperature > 0 else []
    X, Y = model.X[:, used], one_hot(model.y, model.K).to(model.X.dtype)
    orders, places = example_orders(seeds), torch.arange(model.n, device=X.device)
    batches, waiting, measured = iter(()), 0.0, []
    for step in range(len(rates) + 1):
        due = len(measured) < len(record) and step == record[len(measured)]
        if waiting and (due or step % noise_every == 0 or step == len(rates)):
            for run, draw in zip(runs, noise, strict=True):
                run.shake(math.sqrt(2 * temperature * waiting), draw)
            waiting = 0.0
        if due:
            measured.append([run.measure(X, Y, test_inputs) for run in runs])
            if not any(one["loss"].isfinite() for one in measured[-1]):
                break
        if step == len(rates):
            break
        if (examples := next(batches, None)) is None:
            batches = mini_batches(X, places, batch, orders)
            examples = next(batches)
        rate = float(rates[step])
        for index, run in enumerate(runs):
            # Runs of one seed share their mini-batch.
            x, chosen = examples if len(orders) == 1 else (part[index] for part in examples)
            run.step(x, Y[chosen], rate)
        waiting += rate if temperature > 0 else 0.0
    final = torch.stack([run.state() for run in runs])
    status = np.full(len(runs), FINISHED, dtype=object)
    status[~final.isfinite().all(-1).cpu().numpy()] = DIVERGED
    # Where all have diverged, so they are at the steps that were not taken.
    measured += measured[-1:] * (len(record) - len(measured))
    recorded = {
        name: torch.stack([torch.stack([run[name] for run in every]) for every in measured], 1)
        for name in (measured[0][0] if measured else ())
    }
    times = torch.cat([rates.new_zeros(1), rates.cumsum(0)])[record].to(X)
    return FeatureTrajectory(
        times=times,
        observables={name: recorded.pop(name) for name in ("loss", "gradient") if measured},
        final=final,
        status=status,
        statistics=statistics(X, began, steps=step, evaluations=step),
        **recorded,
    )


class _Run:
    """One run: its matrices, apart from the others', in the layout in which they are used."""

    def __init__(
        self, model: MeanField, start: Tensor, index: int, used: Tensor, both: bool
    ) -> None:
        self.model, self.used, self.both = model, used, both
        self.sigma, self.slope = ACTIVATIONS[model.activation], SLOPES[model.activation]
        W, A, U = model.unpack(start[index])
        self.W, self.A, self.U = W.clone(), A.clone(), U[used]
        self.idle, self.idle_decay = U[~used], 1.0  # the rows that only decay, and by how much
        numbers = (model.gamma, model.decay, model.decay_W)
        self.gamma, self.decay, self.decay_W = (
            float(number.expand(len(start))[index]) for number in numbers
        )

    def pulls(self, X: Tensor, Y: Tensor, n: int) -> tuple[Tensor, ...]:
        """Return S (b, N), H (p, b), residual (K, b), G (p, b) and sigma'(X U) * (G^T A)."""
        S = self.sigma(X @ self.U)
        H = self.A @ S.mT / self.model.N
        residual = self.gamma * (self.W.mT @ H) - Y.mT
        G = (self.gamma / n) * (self.W @ residual)
        return S, H, residual, G, (G.mT @ self.A).mul_(self.slope(S))

    def step(self, X: Tensor, Y: Tensor, rate: float) -> None:
        """Take one step of SGD."""
        S, H, residual, G, pull = self.pulls(X, Y, len(X))
        left = 1 - rate * self.decay
        self.A.addmm_(G, S, beta=left, alpha=-rate)
        self.U.addmm_(X.mT, pull, beta=left, alpha=-rate)
        self.idle_decay *= left
        if self.both:
            left, size = 1 - rate * self.decay_W, rate * self.gamma / len(X)
            self.W.addmm_(H, residual.mT, beta=left, alpha=-size)

    def shake(self, size: float, draw: torch.Generator) -> None:
        """Add normal numbers of the given standard deviation to A and U."""
        for part in (self.A, self.U):
            numbers = torch.randn(part.shape, generator=draw, dtype=torch.float64)
            part.add_(numbers.to(part), alpha=size)

    def measure(self, X: Tensor, Y: Tensor, test_inputs: Tensor | None) -> dict[str, Tensor]:
        """Return what is recorded, in one pass over all examples, some at a time."""
        W, A, U = (torch.zeros_like(part) for part in (self.W, self.A, self.U))
        loss, features, size = 0.0, [], max(1, _BLOCK // self.model.N)
        for x, y in zip(X.split(size), Y.split(size), strict=True):
            S, H, residual, G, pull = self.pulls(x, y, len(X))
            loss = loss + residual.square().sum() / (2 * len(X))
            W.addmm_(H, residual.mT, alpha=self.gamma / len(X))
            A.addmm_(G, S)
            U.addmm_(x.mT, pull)
            features.append(H)
        squares = self.decay**2 * (self.idle_decay * self.idle).square().sum()
        for gradient, part in ((A, self.A), (U, self.U)):
            squares = squares + gradient.add_(part, alpha=self.decay).square().sum()
        squares = squares / self.model.N
        if self.both:
            squares = squares + W.add_(self.W, alpha=self.decay_W).square().sum()
        found = {
            "loss": loss,
            "gradient": squares.sqrt(),
            "features": torch.cat(features, -1),
            "W": self.W.clone(),
            "second_moment": self.A @ self.A.mT / self.model.N,
        }
        if test_inputs is not None:
            _, _, U = self.model.unpack(self.state())
            parts = [self.A @ self.sigma(x @ U).mT / self.model.N for x in test_inputs.split(size)]
            found["test_features"] = torch.cat(parts, -1)
        return found

    def state(self) -> Tensor:
        """Return the flat state, ``(P,)``."""
        U = self.A.new_empty(self.model.d, self.model.N)
        U[self.used], U[~self.used] = self.U, self.idle_decay * self.idle
        return self.model.pack(self.W, self.A, U)


def _check(
    model, start, rates, seeds, batch, temperature, noise_every, trained, test_inputs, record
) -> None:
    if model.X.ndim != 2 or model.y.ndim != 1 or model.truncation is not None:
        raise ValueError(
            f"The model's samples have shape {tuple(model.X.shape)} and its truncation is "
            f"{model.truncation}; mini-batches are drawn from one data set for all runs, (n, d), "
            "and particles are not truncated."
        )
    if start.ndim != 2 or start.shape[1] != model.size or start.dtype != model.X.dtype:
        raise ValueError(
            f"start has shape {tuple(start.shape)} and dtype {start.dtype}; expected "
            f"(R, {model.size}) and the samples' dtype, {model.X.dtype}."
        )
    if rates.ndim != 1 or len(rates) == 0 or not bool(((rates > 0) & rates.isfinite()).all()):
        raise ValueError(
            f"rates has shape {tuple(rates.shape)} and begins with {rates.flatten()[:3].tolist()}; "
            "give one positive rate for each step."
        )
    if len(seeds) != len(start):
        raise ValueError(
            f"{len(seeds)} seeds are given for {len(start)} runs; give one a run, for the order "
            "of its examples."
        )
    if not 1 <= batch <= model.n or temperature < 0 or noise_every < 1:
        raise ValueError(
            f"batch = {batch}, temperature = {temperature}, noise_every = {noise_every}: expected "
            f"mini-batches of 1 to {model.n} examples, a temperature of at least 0 and noise every "
            "1 step or more."
        )
    if trained not in TRAINED:
        raise ValueError(f"trained = {trained!r}: expected one of {', '.join(TRAINED)}.")
    if test_inputs is not None and (test_inputs.ndim != 2 or test_inputs.shape[1] != model.d):
        raise ValueError(
            f"test_inputs has shape {tuple(test_inputs.shape)}; expected test examples, "
            f"(m, {model.d})."
        )
    steps = rates.numel()
    if record != sorted(set(record)) or any(not 0 <= step <= steps for step in record):
        raise ValueError(f"The recorded steps must increase within 0..{steps}; got {record[:8]}.")

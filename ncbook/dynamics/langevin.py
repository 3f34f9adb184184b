r"""Noisy gradient flow of particles (Langevin dynamics), by the method of Euler and Maruyama.

Time is the mean-field time: model.gradient holds dL/dW for W and N times the parameter gradient
for the particles, and

.. math:: dW &= -\nabla_W L\,dt, \\
    d\theta_j &= -N \nabla_{\theta_j} L\,dt + \sqrt{2/\beta}\,dB_j .

The temperature is 1/beta; only the particles feel noise. At temperature 0 this is gradient
descent.

A step h is too long where it exceeds 2/mu, with mu the largest curvature of L in the metric
``|dW|^2 + E|dtheta|^2``, in which the motion is a gradient flow. Below that it still has a bias: a
direction of curvature mu ends with the variance 1/(beta mu (1 - h mu / 2)), not 1/(beta mu). A
direction that only weight decay holds has mu = lambda, so that h lambda = 0.01 makes half a per
cent. See :func:`stationary_variance`.

Source: Wu and Mondelli (2025), the noisy gradient flow and Algorithm 1.
"""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.dynamics.iterate import checked_record, iterate
from ncbook.dynamics.trajectory import Observe, Trajectory
from ncbook.models.mean_field import MeanField
from ncbook.runtime import UnresolvedWarning, generator, halved, whole

TRAINED = ("both", "particles")

# Added to a seed, so that the noise is not drawn from the numbers that made the start.
_NOISE = 2**30
_BRIDGE = 3 * 2**29
# Of the power iteration: enough for a per cent or two where the largest curvature stands out.
_ROUNDS = 20


def langevin(
    model: MeanField,
    start: Tensor,
    *,
    step: float,
    steps: int,
    temperature: float | Tensor = 0.0,
    seeds: Sequence[int] = (),
    trained: str = "both",
    observe: Observe | None = None,
    record: Sequence[int] | None = None,
    save_states: bool = False,
) -> Trajectory:
    """Follow the noisy gradient flow of every run of a batch.

    Parameters
    ----------
    model : MeanField
        Its gradient is mean-field scaled: N times the parameter gradient for the particles.
    start : Tensor
        Shape ``(*batch, P)``.
    step : float
        Step in the mean-field time, positive.
    steps : int
        Iterations.
    temperature : float or Tensor
        1/beta, at least 0; a tensor broadcasts against the batch.
    seeds : sequence of int
        One for each entry of the batch's last dimension: of its noise, which is drawn on the CPU
        in float64 and does not depend on the other seeds. Over the dimensions before, those of a
        sweep, a seed's noise is the same. Not needed at temperature 0.
    trained : {"both", "particles"}
        Whether W moves, too, or stays where it starts.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``.
    record : sequence of int, optional
        Iterations at which to observe, increasing; without it, the first and the last.
    save_states : bool
        Save the states at the recorded iterations.

    Returns
    -------
    Trajectory
        ``times`` are iterations times the step. A run whose state ceases to be finite, as one does
        whose step has become too long on the way, is reported as diverged and does not touch the
        others.

    Raises
    ------
    ValueError
        An argument is not as described, or the step is longer than :func:`largest_step` at the
        start; the message names the largest stable step.

    Warns
    -----
    UnresolvedWarning
        The step is longer than that at the end; in a chapter this is an error.

    Examples
    --------
    >>> from ncbook import runtime
    >>> from ncbook.models.mean_field import MeanField
    >>> run = runtime.start("cpu")
    >>> X = run.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.2], [-0.7, -0.7]])
    >>> model = MeanField(X, [0, 0, 1, 1], K=2, p=4, N=64, gamma=2.0, decay=1e-2)
    >>> starts = model.start(range(3), run)
    >>> quiet = langevin(model, starts, step=0.05, steps=400)
    >>> bool((model.loss(quiet.final) < model.loss(starts)).all())
    True
    >>> noisy = langevin(model, starts, step=0.05, steps=400, temperature=1e-3, seeds=range(3))
    >>> noisy.times.tolist()
    [0.0, 20.0]
    """
    if trained not in TRAINED:
        raise ValueError(f"trained is {trained!r}; expected one of {', '.join(TRAINED)}.")
    both_from = 0 if trained == "both" else steps
    return _follow(
        model, start, step, steps, both_from, temperature, seeds, observe, record, save_states
    )


def two_stage(
    model: MeanField,
    start: Tensor,
    *,
    step: float,
    steps: tuple[int, int],
    temperature: float | Tensor = 0.0,
    seeds: Sequence[int] = (),
    observe: Observe | None = None,
    record: Sequence[int] | None = None,
    save_states: bool = False,
) -> Trajectory:
    """Train in two stages: first the particles with W as it starts, then particles and W.

    Source: Wu and Mondelli (2025), Algorithm 1.

    Parameters
    ----------
    steps : pair of int
        Iterations of the first and of the second stage.
    record : sequence of int, optional
        Iterations at which to observe, counted through both stages; without it, the first one
        and the last of each stage.
    model, start, step, temperature, seeds, observe, save_states
        As of :func:`langevin`.

    Returns
    -------
    Trajectory
        Of both stages, one after the other. As of :func:`langevin`.

    Raises
    ------
    ValueError
        As of :func:`langevin`; the step is checked between the stages, too.

    Warns
    -----
    UnresolvedWarning
        As of :func:`langevin`.
    """
    first, second = (whole("a stage of steps", stage) for stage in steps)
    if first < 1 or second < 1:
        raise ValueError(f"steps is {tuple(steps)}; both stages need at least one iteration.")
    record = [0, first, first + second] if record is None else record
    return _follow(
        model, start, step, first + second, first, temperature, seeds, observe, record, save_states
    )


def stationary_variance(
    step: float, curvature: float | Tensor, temperature: float | Tensor
) -> float | Tensor:
    """Return the variance at which z <- z - step curvature z + sqrt(2 step temperature) N ends.

    It is temperature / (curvature (1 - step curvature / 2)), exactly: the flow's own with a bias
    that is of first order in the step, and infinite for step curvature = 2.

    Source: worked out here, from v = (1 - step curvature)^2 v + 2 step temperature.

    Parameters
    ----------
    step, curvature, temperature : float or Tensor
        Positive, with step curvature < 2.
    """
    return temperature / (curvature * (1 - step * curvature / 2))


def largest_step(model: MeanField, state: Tensor, trained: str = "both") -> Tensor:
    """Return the largest stable step at a state, 2/mu, shape ``batch``.

    mu is the largest curvature of the regularised loss among what is trained, weight decay and
    data, in the metric of the mean-field flow; found by power iteration on differences of the
    gradient, so that it is right to a few per cent. Infinity where no curvature is positive.

    Parameters
    ----------
    model : MeanField
    state : Tensor
        Shape ``(*batch, P)``.
    trained : {"both", "particles"}
        As of :func:`langevin`.
    """
    cut = model.p * model.K
    # In the flow's metric a particle counts 1/N.
    weight = state.new_full(state.shape[-1:], 1 / model.N)
    weight[:cut] = 1.0 if trained == "both" else 0.0
    here = model.gradient(state)
    reach = torch.finfo(state.dtype).eps ** 0.5 * _length(state, weight).clamp_min(1)
    first = torch.randn(weight.shape, generator=generator(0), dtype=torch.float64).to(state)
    shift = torch.zeros_like(reach)
    for _ in range(2):
        z = (first * (weight > 0)).expand_as(state)
        for _ in range(_ROUNDS):
            z = z / _length(z, weight)
            curved = (model.gradient(state + reach * z) - here) / reach * (weight > 0)
            mu = (weight * z * curved).sum(-1, keepdim=True)
            z = curved + shift * z
        if not bool((mu < 0).any()):
            break
        # The largest in size was negative: shifted by it, the largest positive one comes first.
        shift = (-mu).clamp_min(0)
    return 2 / mu.squeeze(-1).clamp_min(0)


def _length(z: Tensor, weight: Tensor) -> Tensor:
    """Return the norm in the flow's metric, ``(*batch, 1)``."""
    return (weight * z.square()).sum(-1, keepdim=True).sqrt()


def _follow(model, start, step, steps, both_from, temperature, seeds, observe, record, save_states):
    """Iterate; W moves from iteration ``both_from`` on."""
    steps = whole("steps", steps)
    temperature = torch.as_tensor(temperature, dtype=start.dtype, device=start.device)
    noisy = _check(model, start, step, steps, temperature, seeds)
    record = checked_record("iterations", record, steps)
    z, cut = start.clone(memory_format=torch.contiguous_format), model.p * model.K
    particles = z[..., cut:]
    noise = _Noise(z[..., cut:], step, temperature, seeds) if noisy else None
    parts = 2 if halved() else 1

    def advance(first: int, last: int) -> int:
        for iteration in range(first, last):
            # Where what is trained changes.
            if iteration in (0, both_from) and (said := unstable(iteration)):
                raise ValueError(said)
            for part in range(parts):
                g = model.gradient(z)
                if iteration >= both_from:
                    z.sub_(g, alpha=step / parts)
                else:
                    particles.sub_(g[..., cut:], alpha=step / parts)
                if noise is not None:
                    noise.add(particles, part)
        return last - first

    def unstable(iteration: int) -> str:
        trained = "both" if iteration >= both_from else "particles"
        return _unstable(model, z, step, trained)

    times = step * torch.tensor(record, dtype=torch.float64)
    found = iterate(z, advance, record, steps, times.to(z), observe, save_states)
    if said := unstable(steps - 1):
        warnings.warn(said, UnresolvedWarning, stacklevel=3)
    return found


class _Noise:
    """The Brownian motion of the particles, each run's from its own seed.

    In a run with steps halved it is the same, looked at twice as often: the middle of a step is
    drawn from a second generator, given both ends (Levy's bridge).
    """

    def __init__(self, particles: Tensor, step: float, temperature: Tensor, seeds) -> None:
        self.amplitude = (2 * step * temperature).sqrt().unsqueeze(-1)
        self.single = particles.ndim == 1
        self.draws = [[generator(base + seed) for seed in seeds] for base in (_NOISE, _BRIDGE)]
        self.drawn = torch.empty(2, len(seeds), particles.shape[-1], dtype=torch.float64)

    def _normal(self, which: int, like: Tensor) -> Tensor:
        for row, draw in zip(self.drawn[which], self.draws[which], strict=True):
            row.normal_(generator=draw)
        noise = self.drawn[which].to(like.device, like.dtype)
        return noise[0] if self.single else noise

    def add(self, particles: Tensor, part: int) -> None:
        """Add the noise of a step, or of its first or second half, in place."""
        if not halved():
            particles.addcmul_(self._normal(0, particles), self.amplitude)
            return
        if part == 0:
            self.whole, self.bend = self._normal(0, particles), self._normal(1, particles)
        half = (self.whole + (1 - 2 * part) * self.bend) / 2
        particles.addcmul_(half, self.amplitude)


def _check(model, start, step, steps, temperature, seeds) -> bool:
    """Raise ``ValueError`` for a wrong argument; return whether there is noise."""
    if not 0 < step < math.inf or steps < 1:
        raise ValueError(f"step = {step}, steps = {steps}: expected both to be positive.")
    if start.shape[-1] != model.size:
        raise ValueError(
            f"The start has shape {tuple(start.shape)}; expected states of the model's "
            f"{model.size} numbers."
        )
    if bool((temperature < 0).any()) or not bool(temperature.isfinite().all()):
        raise ValueError(f"The temperature is {temperature.tolist()}; expected at least 0.")
    noisy, runs = bool((temperature > 0).any()), start.shape[-2] if start.ndim > 1 else 1
    if noisy and len(seeds) != runs:
        raise ValueError(
            f"{len(seeds)} seeds are given for the {runs} runs of the batch's last dimension; "
            "give one each, for its noise."
        )
    return noisy


def _unstable(model: MeanField, z: Tensor, step: float, trained: str) -> str:
    """Say that the step is unstable at the state of some run; nothing if it is not."""
    finite = z.isfinite().all(-1, keepdim=True)
    largest = largest_step(model, torch.where(finite, z, 0), trained)
    least = float(torch.where(finite.squeeze(-1), largest, torch.inf).min())
    if step <= least:
        return ""
    return (
        f"The step {step:g} is unstable: weight decay and the curvature of the loss allow at most "
        f"{least:.3g} at this point of the run; take a shorter step."
    )

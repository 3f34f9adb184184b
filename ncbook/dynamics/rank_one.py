"""The flow of one class after the classes have separated: a rank-one linear network.

Once group k is active on class k alone, the loss splits, L = sum_k L_k, and class k is learned by a
two-layer linear network of its own (Proposition 1). Its invariant set of rank one is w_j = a_j w,
v_j = a_j r e~_k with sum a_j^2 = 1 and, balanced, r = ||w||. There f(x) = r <w, x> e~_k, a sample's
margin over every other class is m = c r <w, x> with c = sqrt(K/(K-1)) (c = 1 for a scalar output),
and its loss is exp(-m), 2 log(1 + exp(-m)) or log(1 + (K-1) exp(-m)). Along R = log(1/L_k),

    dw/dR = g / (c r (||g||^2 + <w/r, g>^2)),    g = -sum_i (dl/dm)(m_i) x_i / L_k.

On that set this is the flow itself, for each of the three losses: nothing is left out but what
keeps a state from the set. That is the start's distance from rank one and from balance, both of
the order of its scale eps.

Source: Min, Zhu and Vidal (2025), Propositions 1 and 2; worked out for this book.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from ncbook.dynamics.trajectory import DIVERGED, FINISHED, Observe, Recorder, Trajectory
from ncbook.models.shallow_relu import (
    EXPONENTIAL,
    ShallowReLU,
    log_sample_loss,
    log_sample_slope,
)
from ncbook.runtime import finer


def class_weights(model: ShallowReLU, theta: Tensor) -> Tensor:
    """Return each class's rank-one network, ``(*batch, K, D)``: the start of class_flow.

    With beta_k = sum_j <e~_k, v_j> w_j over the neurons of group k that are active on some sample
    of class k, it is beta_k / ||beta_k||^(1/2), which keeps the outputs along e~_k. Its norm is
    the scale s_k of Theorem 1, its direction tends to u_k. Zero where the group is empty.

    Source: Min, Zhu and Vidal (2025), Theorem 1 and Proposition 2.
    """
    W, V = model.unpack(theta)
    classes = torch.arange(model.K, device=theta.device)
    group = model.groups(theta).unsqueeze(-2) == classes[:, None]  # (*batch, K, h)
    own = (model.y == classes[:, None]).to(theta.dtype)  # (K, n)
    useful = group & ((own @ model.active(theta).to(theta.dtype)) > 0)
    beta = (model.pseudo_labels.T @ V * useful) @ W.mT
    root = beta.norm(dim=-1, keepdim=True).sqrt()
    return beta / root.clamp_min(torch.finfo(theta.dtype).tiny)


def class_flow(
    model: ShallowReLU,
    k: int,
    w: Tensor,
    levels: Sequence[float],
    observe: Observe | None = None,
    log_t: Tensor | None = None,
    rtol: float = 1e-10,
) -> Trajectory:
    """Integrate the rank-one flow of class k up to given levels of R = log(1/L_k).

    With SciPy's LSODA and the exact Jacobian, run by run. To R = 1e8 a run takes a fraction of a
    second; beyond, the rounding of the solver's linear algebra slows it, to seconds at 1e10.

    Parameters
    ----------
    model : ShallowReLU
        The network on its data: the samples of class k, the loss and the number of classes are
        read from it.
    k : int
        The class.
    w : Tensor
        Shape ``(*batch, D)``, positive on every sample of the class; see class_weights.
    levels : sequence of float
        Levels of R at which to observe, increasing, the last one being the end.
    observe : callable, optional
        w ``(*batch, D)`` to a dict of numbers a run, each of shape ``batch``. ``"log_t"``, the
        logarithm of real time, is observed in any case.
    log_t : Tensor, optional
        Its value at the start, shape ``batch``; without it, time starts there.
    rtol : float
        Error allowed on a step, relative to numbers above one and absolute below.

    Returns
    -------
    Trajectory
        ``times`` are the levels, ``final`` is w. A run that the solver gave up is ``"diverged"``.

    Raises
    ------
    ValueError
        The levels do not increase from R at the start on, there is no such class, or w is not
        positive on every sample of it.
    """
    levels = [float(level) for level in levels]
    if not levels or not all(a < b for a, b in pairwise(levels)) or not math.isfinite(levels[-1]):
        raise ValueError(f"The levels of R must be finite and increase; got {levels[:8]}.")
    X = model.X[..., model.y == k, :]
    if X.shape[-2] == 0:
        raise ValueError(f"Class {k} has no samples; the labels are 0 to {model.K - 1}.")
    began, batch = time.perf_counter(), w.shape[:-1]
    X = X.expand(*batch, *X.shape[-2:]).reshape(-1, *X.shape[-2:]).cpu().double().numpy()
    starts = w.reshape(-1, w.shape[-1]).cpu().double().numpy()
    log_t_0 = np.full(len(starts), -np.inf)
    if log_t is not None:
        log_t_0 = log_t.expand(batch).reshape(-1).cpu().double().numpy()
    others = 1 if model.outputs_size == 1 else model.K - 1
    states = np.full((len(starts), len(levels), w.shape[-1] + 1), np.nan)
    status, evaluations = np.full(len(starts), FINISHED, dtype=object), 0
    for run, (samples, start) in enumerate(zip(X, starts, strict=True)):
        flow = _ClassFlow(samples, model.label_scale, model.loss, others)
        margins = flow.margins(start)
        R, least = flow.level(margins), (samples @ start).min()
        if not least > 0 or levels[0] < R - 1e-9 * max(1, abs(R)):
            raise ValueError(
                f"Run {run} starts at R = {R:.6g} with <w, x_i> from {least:.3g} on, and the "
                f"first level is {levels[0]}: expected a w that is positive on every sample of "
                "the class, and levels from its R on."
            )
        norm = model.label_scale * np.linalg.norm(start)
        solved = solve_ivp(
            flow.field,
            (R, max(levels[-1], R)),
            np.concatenate([start, margins - R, [np.exp(log_t_0[run] - R) * norm**2]]),
            "LSODA",
            np.maximum(levels, R),
            jac=flow.jacobian,
            rtol=finer(rtol),
            atol=finer(rtol),
        )
        reached = solved.y.T[:, [*range(len(start)), -1]]
        states[run, : len(reached)] = reached
        evaluations += solved.nfev
        if not solved.success:
            status[run] = DIVERGED
    states = torch.from_numpy(states).to(w.device, w.dtype).reshape(*batch, *states.shape[1:])
    # log t rather than t, which overflows.
    norm = model.label_scale * states[..., :-1].norm(dim=-1)
    # -inf at a level that is the start's own.
    log_times = states[..., -1].log() - 2 * norm.log() + states.new_tensor(levels)
    states = states[..., :-1]
    recorder = Recorder(
        lambda w: {"log_t": log_times[..., index]} | (observe(w) if observe is not None else {}),
        len(levels),
    )
    for index in range(len(levels)):
        recorder.record(index, states[..., index, :])
    return Trajectory(
        times=torch.tensor(levels, dtype=torch.float64),
        observables=recorder.values,
        final=states[..., -1, :],
        status=status.reshape(tuple(batch)),
        statistics={
            "evaluations": evaluations,
            "seconds": time.perf_counter() - began,
            "device": str(w.device),
            "dtype": str(w.dtype).removeprefix("torch."),
        },
    )


def class_paths(
    model: ShallowReLU, w: Tensor, levels: Sequence[float], rtol: float = 1e-10
) -> Tensor:
    """Return where class_flow takes the vectors of all classes, each by itself.

    Parameters
    ----------
    model, rtol
        As in class_flow.
    w : Tensor
        One vector for each class, as rows, ``(*batch, K, D)``.
    levels : sequence of float
        T levels of R_k = log(1/L_k), for every class its own; as in class_flow.

    Returns
    -------
    Tensor
        Shape ``(T, *batch, K, D)``; NaN from where the solver gave a run up.

    Raises
    ------
    ValueError
        As in class_flow.
    """
    names = [f"entry {d}" for d in range(w.shape[-1])]
    paths = []
    for k in range(model.K):
        seen = class_flow(
            model,
            k,
            w[..., k, :],
            levels,
            lambda w: dict(zip(names, w.unbind(-1), strict=True)),
            rtol=rtol,
        ).observables
        paths.append(torch.stack([seen[name] for name in names], -1))
    return torch.stack(paths, -2).movedim(-3, 0)


@dataclass(frozen=True)
class _ClassFlow:
    """The right-hand side of (w, e, p) along R for one run.

    e_i = m_i - R are the excess margins, and p = t L_k (c ||w||)^2 follows time and stays of order
    one. The margins follow from w, but far out as differences of numbers of size R: their rounding
    would enter the weights of the samples and stop an implicit solver near R = 1e6. As variables
    of their own they are of order one.
    """

    X: np.ndarray
    c: float
    loss: str
    others: int  # classes whose outputs the margin is over

    def margins(self, w: np.ndarray) -> np.ndarray:
        """Return the margins c r <w, x_i>."""
        return self.c * np.linalg.norm(w) * (self.X @ w)

    def _excess(self, margins: np.ndarray) -> Tensor:
        return torch.from_numpy(math.log(self.others) - margins)

    def level(self, margins: np.ndarray) -> float:
        """Return log(1/L_k)."""
        return -float(log_sample_loss(self._excess(margins), self.loss).logsumexp(-1))

    def _parts(self, R: float, state: np.ndarray):
        """Split the state; add the weights, the slopes of their logarithms in M, and g."""
        w, e, p = np.split(state, [self.X.shape[1], len(state) - 1])
        M, near = self._excess(R + e), torch.from_numpy(-e)
        # M itself cancels between a sample and the sum: what is left of it is 0 far out.
        log_L = (near + (log_sample_loss(M, self.loss) - M)).logsumexp(-1)
        weights = (near + (log_sample_slope(M, self.loss) - M) - log_L).exp().numpy()
        bend = np.ones(len(e)) if self.loss == EXPONENTIAL else torch.sigmoid(-M).numpy()
        r = np.linalg.norm(w)
        g = weights @ self.X
        along = w @ g / r
        return w / r, r, float(p[0]), weights, bend, g, along, g @ g + along**2

    def field(self, R: float, state: np.ndarray) -> np.ndarray:
        """Return the rates along R; in rescaled time R' = (c r)^2 S."""
        unit, r, p, _, _, g, along, S = self._parts(R, state)
        margins = (self.X @ g + along * (self.X @ unit)) / S
        return np.concatenate(
            [g / (self.c * r * S), margins - 1, [1 / S - p + 2 * p * along / (self.c * r**2 * S)]]
        )

    def jacobian(self, R: float, state: np.ndarray) -> np.ndarray:
        """Return the derivative of the field in the state."""
        unit, r, p, weights, bend, g, along, S = self._parts(R, state)
        X, c, D, n = self.X, self.c, self.X.shape[1], len(self.X)
        b = X @ unit
        # Derivatives in (w, e), side by side: of g, of <w/r, g>, of log S and of the <w/r, x_i>.
        dg = np.hstack([np.zeros((D, D)), np.outer(g, weights) - weights * bend * X.T])
        dalong = unit @ dg
        dalong[:D] += (g - along * unit) / r
        dS = 2 * (g @ dg + along * dalong) / S
        db = np.hstack([(X - np.outer(b, unit)) / r, np.zeros((n, n))])
        dr = np.concatenate([unit / r, np.zeros(n)])  # of log r
        J = np.zeros((len(state), len(state)))
        J[:D, :-1] = (dg - np.outer(g, dr + dS)) / (c * r * S)
        rate = (X @ g + along * b) / S
        J[D:-1, :-1] = (X @ dg + along * db + np.outer(b, dalong)) / S - np.outer(rate, dS)
        J[-1, :-1] = 2 * p / (c * r**2 * S) * (dalong - along * (2 * dr + dS)) - dS / S
        J[-1, -1] = 2 * along / (c * r**2 * S) - 1
        return J

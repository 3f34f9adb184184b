"""The alignment phase: what small neurons do before the loss moves.

Min, Zhu and Vidal (2025), Lemmas 2 and 3; the shallow network f(x) = sum_j v_j relu(<w_j, x>) from
a balanced start w_j = eps w_j0, v_j = eps v_j0 under gradient flow of a sum of losses. Let r_i be
minus the loss's gradient in f(x_i). Then

- w_j' = sum over active i of <r_i, v_j> x_i and v_j' = sum over active i of <w_j, x_i> r_i, which
  keep ``|w_j|^2 - |v_j|^2``; at balance ``(|w_j|^2)' <= 2 |w_j|^2 X_max sum_i |r_i|``;
- ``|r_i| <= 2`` while outputs are small: 2/(1 + e^(y f)) for the logistic loss and at most sqrt 2
  for cross-entropy, always; e^(-y f) for the exponential loss, while ``|f| <= log 2``. So
  ``|w_j|^2`` grows at most by the factor e^(4 n X_max t), which is 1/(sqrt(h) eps) at the time T of
  Lemma 2: ``|w_j|^2 <= eps max_j |w_j0|^2 / sqrt(h)``, and ``|f| <= X_max sum_j |v_j| |w_j|``;
- at f = 0, r_i is y_i - 1/K = sqrt((K - 1)/K) e~_{y_i} for cross-entropy and y_i = +-1 for a scalar
  output. It does not depend on eps, and the directions then move at a rate that does not either.

Shapes: samples ``(*batch, n, D)`` by rows, labels ``(n,)`` from 0 to K - 1, W ``(*batch, D, h)``
and V ``(*batch, d_y, h)`` with neuron pairs in their columns; d_y = 1 (K = 2, y = +1 for class 0
and -1 for class 1) or d_y = K.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from ncbook.frames import centring
from ncbook.runtime import finer, label_tensor, tensors

RAMP = 1e-7


def labels_of(X: Tensor, y: Sequence[int] | Tensor) -> Tensor:
    """Return the labels as integers on the samples' device, ``(n,)``.

    Raises
    ------
    ValueError
        There is not one whole number from 0 on for each sample.
    """
    tensors(X=X)
    given = label_tensor(y, X.device)
    labels = given.long()
    if labels.shape != X.shape[-2:-1] or bool((labels != given).any()) or bool((labels < 0).any()):
        raise ValueError(
            f"The labels have shape {tuple(labels.shape)} and the samples {tuple(X.shape)}; "
            "expected one whole number from 0 to K - 1 for each of the n samples."
        )
    return labels


def _labels_below(X: Tensor, y: Sequence[int] | Tensor, outputs: int) -> tuple[Tensor, int]:
    """Return the labels and K, which is the number of outputs, or 2 for one output."""
    labels, K = labels_of(X, y), 2 if outputs == 1 else outputs
    if int(labels.max()) >= K:
        raise ValueError(
            f"The largest label is {int(labels.max())}; with {outputs} output(s) expected labels "
            f"from 0 to {K - 1}."
        )
    return labels, K


def unit_columns(matrix: Tensor) -> Tensor:
    """Return the columns divided by their norms; a column of zeros stays zero."""
    norms = torch.linalg.vector_norm(matrix, dim=-2, keepdim=True)
    return torch.where(norms > 0, matrix / norms, 0)


def pseudo_labels(K: int, outputs: int) -> Tensor:
    """Return the pseudo-labels e~_k as columns, ``(outputs, K)``, float64.

    E~ = sqrt(K/(K-1)) (I - 11^T/K), or (+1, -1) for a scalar output.

    Source: Min, Zhu and Vidal (2025), Assumption 4.

    Raises
    ------
    ValueError
        ``outputs`` is neither K nor, for K = 2, 1.
    """
    if outputs == 1 and K == 2:
        return torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    if outputs != K or K < 2:
        raise ValueError(
            f"K = {K} classes with {outputs} outputs: expected K outputs, or one if K = 2."
        )
    return math.sqrt(K / (K - 1)) * centring(K)


def label_pull(K: int, outputs: int) -> float:
    """Return ``|r|`` at f = 0: sqrt((K - 1)/K), and 1 for a scalar output.

    There r_i = pull e~_{y_i}, which is y_i - 1/K for cross-entropy.
    """
    return 1.0 if outputs == 1 else math.sqrt((K - 1) / K)


# --- Lemma 2 ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AlignmentWindow:
    """The guarantee of Lemma 2: up to ``time`` all norms and outputs stay below these.

    Attributes
    ----------
    time : Tensor
        T = log(1/(sqrt(h) eps)) / (4 n X_max).
    norm : Tensor
        Bound on max_j ``|w_j|^2``, 2 eps m / sqrt(h).
    output : Tensor
        Bound on max_i ``|f(x_i)|``, 2 eps m X_max sqrt(h).
    largest_eps : Tensor
        sqrt(K) / (16 m X_max sqrt(h)), up to which the paper has it.
    """

    time: Tensor
    norm: Tensor
    output: Tensor
    largest_eps: Tensor


def alignment_window(
    eps: Tensor | float, X: Tensor, K: int, h: int, size: Tensor | float = 1.0
) -> AlignmentWindow:
    """Return the window and the bounds of Lemma 2.

    The bounds scale with m = max_j ``|w_j0|^2``, the ``size`` of the start before eps; at m = 1
    they are the paper's. They need balance, ``|w_j0| = |v_j0|``, and nothing else of the
    start: the Frobenius norm of W_0 does not enter. The argument at the head of this module
    proves half of both bounds, with no bound on eps for the logistic and cross-entropy losses
    and eps <= log 2 / (m X_max sqrt(h)) for the exponential loss.

    T is sharp up to a factor of 2: if all samples are one x with ``|x| = X_max``, a neuron along
    it of its own class grows by e^(2 n X_max t pull) while outputs are small (``label_pull``).

    Source: Min, Zhu and Vidal (2025), Lemma 2.

    Parameters
    ----------
    eps : Tensor or float
        Any shape that broadcasts with ``batch``.
    X : Tensor
        ``(*batch, n, D)``.
    K, h : int
        Classes and neurons.
    size : Tensor or float
        max_j ``|w_j0|^2``.

    Raises
    ------
    ValueError
        eps is not in (0, 1/sqrt(h)): the window would be empty.
    """
    tensors(X=X)
    eps, size = (torch.as_tensor(value).to(X) for value in (eps, size))
    if not bool(((eps > 0) & (eps < h**-0.5)).all()):
        raise ValueError(
            f"eps is {eps.tolist()}, and with h = {h} neurons Lemma 2's window is empty from "
            f"eps = 1/sqrt(h) = {h**-0.5:.3g} on; expected 0 < eps below that."
        )
    reach = torch.linalg.vector_norm(X, dim=-1).amax(-1)
    root = math.sqrt(h)
    return AlignmentWindow(
        time=-torch.log(root * eps) / (4 * X.shape[-2] * reach),
        norm=2 * eps * size / root,
        output=2 * eps * size * reach * root,
        largest_eps=math.sqrt(K) / (16 * size * reach * root),
    )


# --- Lemma 3 ------------------------------------------------------------------------------------


def alignment_points(
    X: Tensor, y: Sequence[int] | Tensor, outputs: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return where neuron directions settle: class-mean directions, pseudo-labels, rates.

    On orthogonally separable data the pair (xbar_k, e~_k) is active on class k alone, a fixed
    point of the field of directions at which every small deviation decays at the rate
    ``pull |sum of class k|``, which is also the rate at which log ``|w_j|`` grows. The pair
    (xbar_k, -e~_k) is a repeller: everything runs backwards, and the neuron shrinks. For K = 2
    that is the mean of the other class. No other fixed point is active on one class alone.

    Source: Min, Zhu and Vidal (2025), the remarks on Lemma 3; the rate is worked out here.

    Parameters
    ----------
    X : Tensor
        ``(*batch, n, D)``.
    y : sequence of int or Tensor
        ``(n,)``, 0 to K - 1.
    outputs : int
        d_y, K or 1.

    Returns
    -------
    directions : Tensor
        xbar_k as unit columns, ``(*batch, D, K)``.
    labels : Tensor
        e~_k as columns, ``(outputs, K)``.
    rates : Tensor
        ``(*batch, K)``.

    Raises
    ------
    ValueError
        The labels do not fit the samples or the outputs.
    """
    tensors(X=X)
    labels, K = _labels_below(X, y, outputs)
    sums = X.mT @ torch.nn.functional.one_hot(labels, K).to(X)
    rates = label_pull(K, outputs) * torch.linalg.vector_norm(sums, dim=-2)
    return unit_columns(sums), pseudo_labels(K, outputs).to(X), rates


def direction_field(
    W: Tensor, V: Tensor, X: Tensor, y: Sequence[int] | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the motion of neuron directions while all outputs are zero.

    With w, v the directions and r_i = pull e~_{y_i}: w' = (I - w w^T) sum <r_i, v> x_i,
    v' = (I - v v^T) sum <w, x_i> r_i and (log ``|w_j|``)' = sum <r_i, v> <w, x_i>, each sum over
    the samples that w is active on. The flow of the network differs from it by O(f).

    Source: Min, Zhu and Vidal (2025), Lemma 3; the motion of v is its counterpart.

    Parameters
    ----------
    W, V : Tensor
        ``(*batch, D, h)`` and ``(*batch, d_y, h)``; only directions count. A dead neuron stands
        still.
    X : Tensor
        ``(*batch, n, D)``.
    y : sequence of int or Tensor
        ``(n,)``, 0 to K - 1.

    Returns
    -------
    dW, dV : Tensor
        ``(*batch, D, h)``, ``(*batch, d_y, h)``.
    growth : Tensor
        ``(*batch, h)``.

    Raises
    ------
    ValueError
        The labels do not fit the samples or the outputs.
    """
    tensors(X=X)
    outputs = V.shape[-2]
    pull = _pulls(X, y, outputs)
    w, v = unit_columns(W), unit_columns(V)
    seen = (X @ w).clamp_min(0)
    weight = (seen > 0) * (pull.mT @ v)
    push_w, push_v = X.mT @ weight, pull @ seen
    growth = (seen * weight).sum(-2)
    # <w, push_w> = <v, push_v> = growth, so the projections need no further product. Along a
    # scalar output nothing is left, which rounding must not blur.
    dV = push_v - v * growth.unsqueeze(-2) if outputs > 1 else torch.zeros_like(v * push_v)
    return push_w - w * growth.unsqueeze(-2), dV, growth


def _pulls(X: Tensor, y: Sequence[int] | Tensor, outputs: int) -> Tensor:
    """Return r_i at f = 0 as columns, ``(d_y, n)``."""
    labels, K = _labels_below(X, y, outputs)
    return label_pull(K, outputs) * pseudo_labels(K, outputs).to(X)[:, labels]


def turning_rate(W: Tensor, V: Tensor, dW: Tensor) -> Tensor:
    """Return the motion of the directions of W, given that of W itself, ``(*batch, D, h)``.

    (I - w w^T) dW / ``|v|``, the left-hand side of Lemma 3 where ``|w| = |v|``, as balance keeps
    it. Dividing by ``|v|`` leaves out what an integrator loses of the balance, a relative error
    that does not vanish with eps and would drown Lemma 3's.

    Source: Min, Zhu and Vidal (2025), Lemma 3.

    Parameters
    ----------
    W, V : Tensor
        ``(*batch, D, h)`` and ``(*batch, d_y, h)``, no column of V zero.
    dW : Tensor
        As W.
    """
    w = unit_columns(W)
    across = dW - w * (w * dW).sum(-2, keepdim=True)
    return across / torch.linalg.vector_norm(V, dim=-2, keepdim=True)


def turning_error(W: Tensor, V: Tensor, dW: Tensor, X: Tensor, y: Sequence[int] | Tensor) -> Tensor:
    """Return how far the directions of W are from moving as Lemma 3's field says, ``(*batch,)``.

    The largest norm, over the neurons, of the difference between ``turning_rate`` and
    ``direction_field``.

    Source: Min, Zhu and Vidal (2025), Lemma 3: the error term.

    Parameters
    ----------
    W, V : Tensor
        ``(*batch, D, h)`` and ``(*batch, d_y, h)``, no column of V zero.
    dW : Tensor
        The motion of W, as W.
    X : Tensor
        ``(*batch, n, D)``.
    y : sequence of int or Tensor
        ``(n,)``, 0 to K - 1.

    Raises
    ------
    ValueError
        X is no tensor, or the labels do not fit the samples or the outputs.
    """
    tensors(X=X)
    off = turning_rate(W, V, dW) - direction_field(W, V, X, y)[0]
    return off.norm(dim=-2).amax(-1)


@dataclass(frozen=True)
class DirectionFlow:
    """Neuron directions over time, in the limit of vanishing eps.

    Attributes
    ----------
    times : Tensor
        ``(T,)``.
    W, V : Tensor
        Unit columns, ``(T, *batch, D, h)`` and ``(T, *batch, d_y, h)``.
    log_growth : Tensor
        log(``|w_j(t)| / |w_j(0)|``), ``(T, *batch, h)``.
    """

    times: Tensor
    W: Tensor
    V: Tensor
    log_growth: Tensor


def direction_flow(
    W: Tensor,
    V: Tensor,
    X: Tensor,
    y: Sequence[int] | Tensor,
    times: Sequence[float] | Tensor,
) -> DirectionFlow:
    """Integrate the field of directions from a start: alignment without eps.

    Neurons do not see each other, so that each is integrated by itself, by LSODA (absolute
    tolerance 1e-11). With K > 2 a neuron can slide along the boundary of a sample: active on it,
    it is pushed off; inactive, the other samples push it back. There the solution is Filippov's,
    and an explicit method would chatter. So the step of relu' is a ramp here, from 0 at the
    boundary to 1 at the cosine ``RAMP`` inside. The error is of the size of ``RAMP``.

    Source: Min, Zhu and Vidal (2025), Lemma 3.

    Parameters
    ----------
    W, V : Tensor
        The start, ``(*batch, D, h)`` and ``(*batch, d_y, h)``; only directions count.
    X : Tensor
        ``(*batch, n, D)``, or ``(n, D)`` for all runs.
    y : sequence of int or Tensor
        ``(n,)``, 0 to K - 1.
    times : sequence of float or Tensor
        Ascending from 0 on, ``(T,)``.

    Raises
    ------
    ValueError
        The times do not ascend from 0 on, or the labels do not fit.
    RuntimeError
        The integration failed.
    """
    tensors(X=X)
    grid = np.asarray(torch.as_tensor(times).tolist(), dtype=float)
    if grid.ndim != 1 or not len(grid) or grid[0] < 0 or not (np.diff(grid) > 0).all():
        raise ValueError(f"times = {grid.tolist()}: expected times that ascend from 0 on.")
    (D, h), outputs = W.shape[-2:], V.shape[-2]
    pull = _pulls(X, y, outputs).cpu().double().numpy()
    batch = torch.broadcast_shapes(W.shape[:-2], V.shape[:-2], X.shape[:-2])
    w, v, x = (
        part.expand(*batch, *part.shape[-2:]).reshape(-1, *part.shape[-2:]).cpu().double().numpy()
        for part in (unit_columns(W), unit_columns(V), X)
    )
    z = np.empty((len(grid), len(w), D + outputs + 1, h))
    for run in range(len(w)):
        for j in range(h):
            start = np.concatenate([w[run, :, j], v[run, :, j], [0.0]])
            z[:, run, :, j] = _one_neuron(start, x[run], pull, grid)
    parts = torch.from_numpy(z).to(X).reshape(len(grid), *batch, D + outputs + 1, h)
    w, v, growth = parts.split([D, outputs, 1], dim=-2)
    return DirectionFlow(
        torch.from_numpy(grid), unit_columns(w), unit_columns(v), growth.squeeze(-2)
    )


def _one_neuron(start: np.ndarray, X: np.ndarray, pull: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return w, v and the log of the growth of one neuron at the times, ``(T, D + d_y + 1)``."""
    D, outputs = X.shape[1], len(pull)
    ramp = RAMP * np.linalg.norm(X, axis=1)

    def field(_, z):
        w, v = z[:D], z[D:-1]
        w, v = w / np.sqrt(w @ w), v / np.sqrt(v @ v)
        before = X @ w
        active = np.clip(before / ramp, 0, 1)
        seen, weight = active * before, active * (v @ pull)
        growth = before @ weight
        # Along a scalar output nothing moves, which rounding must not blur.
        dv = pull @ seen - v * growth if outputs > 1 else [0.0]
        return np.concatenate([weight @ X - w * growth, dv, [growth]])

    if not np.any(X @ start[:D] > 0) or grid[-1] == 0:  # dead: it stands still for ever
        return np.tile(start, (len(grid), 1))
    solution = solve_ivp(
        field, (0.0, grid[-1]), start, "LSODA", grid, rtol=finer(1e-9), atol=finer(1e-11)
    )
    if not solution.success:
        raise RuntimeError(f"The integration of the directions failed: {solution.message}")
    return solution.y.T

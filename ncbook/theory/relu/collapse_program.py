r"""Which data let a ReLU network of two layers collapse: a linear program for each class decides.

The network has the features H = relu(X A), ``(N, h)``, the outputs H W, ``(N, K)``, and the risk

.. math:: R(A, W) = \frac1{2N} \|HW - Y\|^2 + \frac{\lambda_W}2 \|W\|^2
    + \frac{\lambda_H}{2N} \|H\|^2

of N = K n samples, n of each class, with one-hot rows of Y. For all H and W

.. math:: R \ge \min_M \frac1{2N} \|M - Y\|^2 + \sqrt{\lambda_W \lambda_H / N}\, \|M\|_* = R^* ,

where M = H W has the nuclear norm :math:`\|M\|_* \le \|H\| \|W\|`. The singular values of Y are
sqrt(n), K times, so M = s Y with s = 1 - sqrt(K lambda_W lambda_H). Equality holds if and only if
W^T W = w^2 I and each row of H is s/w^2 times the column of W of its class. As H >= 0, each hidden
unit is then constant on one class and zero on all others. One unit of each class will do, so a
network has the risk R* if and only if for each class k the linear program

    X_k beta = 1,   X_l beta <= 0 for all other classes l

has a solution. Neither the width nor lambda_W, lambda_H enter while s > 0. A bias of the first
layer is a coordinate of X that is 1 (append it).

Source: Hong and Ling (2026) for the risk and the question; the criterion is derived here. Shapes:
data ``(*batch, N, d)`` by rows, labels ``(N,)`` from 0 to K - 1, each class at least once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import null_space
from scipy.optimize import linprog, nnls
from torch import Tensor

from ncbook.runtime import finer, tensors
from ncbook.theory.relu.one_class_svm import class_indices

OFF = 1e-9  # how far constraints may be from holding, of data with rows of norm 1


@dataclass(frozen=True)
class Program:
    """What the programs of some classes of a batch of data sets have.

    Attributes
    ----------
    feasible : Tensor
        Which have a solution, boolean, ``(*batch, classes)``.
    weights : Tensor
        A solution beta of each, ``(*batch, classes, d)``; NaN where there is none.
    """

    feasible: Tensor
    weights: Tensor


def collapse_program(
    X: Tensor, y: Sequence[int] | Tensor, classes: Sequence[int] | None = None
) -> Program:
    """Solve the linear program of each class, or of some, by HiGHS.

    Source: derived here; see the module.

    Parameters
    ----------
    X : Tensor
        ``(*batch, N, d)``.
    y : sequence of int or Tensor
        ``(N,)``, 0 to K - 1.
    classes : sequence of int, optional
        Of which classes; without it, of all.

    Raises
    ------
    ValueError
        The labels do not fit the samples, a class is not among them, or X is not finite.
    RuntimeError
        The solver gave neither a solution nor "infeasible".
    """

    def solve(own: np.ndarray, value: np.ndarray, others: np.ndarray) -> np.ndarray | None:
        found = linprog(
            np.zeros(own.shape[1]), A_ub=others, b_ub=np.zeros(len(others)), A_eq=own, b_eq=value,
            bounds=(None, None), method="highs",
            options={"primal_feasibility_tolerance": finer(OFF)},
        )  # fmt: skip
        if found.status not in (0, 2):
            raise RuntimeError(f"The linear program was not solved: {found.message}")
        return found.x if found.status == 0 else None

    return _each(X, y, classes, solve)


def smallest_weights(
    X: Tensor, y: Sequence[int] | Tensor, classes: Sequence[int] | None = None
) -> Program:
    """Return the solution of least norm of each class's program.

    Least-distance programming of Lawson and Hanson: on the solutions of X_k beta = 1, a point and
    a linear space, the shortest beta with X_l beta <= 0 is that of one problem of nonnegative
    least squares. Its residual is zero if there is no such beta, and only then: the multipliers
    are a certificate. So this decides, too, by another way than :func:`collapse_program`.

    Source: Lawson and Hanson (1974) for the method; its use is ours.

    Parameters
    ----------
    X, y, classes
        As of :func:`collapse_program`.

    Raises
    ------
    ValueError
        As of :func:`collapse_program`.
    """
    return _each(X, y, classes, _shortest)


def _shortest(own: np.ndarray, value: np.ndarray, others: np.ndarray) -> np.ndarray | None:
    point = np.linalg.lstsq(own, value, rcond=None)[0]
    if np.abs(own @ point - value).max() > OFF * value.max():
        return None
    size = np.linalg.norm(point)
    space = null_space(own)  # where there is none, (d, 0)
    # In units of the point's norm: the shortest z with -others space z >= others point.
    target = np.zeros(space.shape[1] + 1)
    target[-1] = 1
    system = np.vstack([-(others @ space).T, others @ point / size])
    multipliers, _ = nnls(system, target, maxiter=30 * len(others))
    rest = system @ multipliers - target
    if -rest[-1] < OFF:
        return None
    return point - size * space @ (rest[:-1] / rest[-1])


def _each(
    X: Tensor, y: Sequence[int] | Tensor, classes: Sequence[int] | None, solve: Callable
) -> Program:
    """Solve one problem for each data set and class, on the CPU in float64, rows at norm 1."""
    tensors(X=X)
    members = class_indices(y, X.shape[-2])
    chosen = list(range(len(members))) if classes is None else [int(k) for k in classes]
    if len(members) < 2 or not chosen or not set(chosen) <= set(range(len(members))):
        raise ValueError(
            f"classes = {chosen} of {len(members)}: expected at least two classes of labels, and "
            "some of them by number."
        )
    data = X.detach().cpu().double().reshape(-1, *X.shape[-2:]).numpy()
    if not np.isfinite(data).all():
        raise ValueError("X has numbers that are not finite; expected finite samples.")
    norms = np.linalg.norm(data, axis=-1)
    norms[norms == 0] = 1.0
    weights = np.full((len(data), len(chosen), data.shape[-1]), np.nan)
    for b, (sample, norm) in enumerate(zip(data, norms, strict=True)):
        rows, unit = sample / norm[:, None], norm.min()
        for place, k in enumerate(chosen):
            own = members[k]
            found = solve(rows[own], unit / norm[own], np.delete(rows, own, axis=0))
            if found is not None:
                weights[b, place] = found / unit
    solved = torch.from_numpy(weights).reshape(*X.shape[:-2], *weights.shape[1:])
    return Program(solved.isfinite().all(-1).to(X.device), solved.to(X))


def shrinkage(K: int, decay: float, feature_decay: float) -> float:
    """Return s = 1 - sqrt(K lambda_W lambda_H), or 0: outputs at the least risk are s Y.

    Raises
    ------
    ValueError
        K < 2, or a decay is not positive.
    """
    if K < 2 or not (0 < decay < math.inf and 0 < feature_decay < math.inf):
        raise ValueError(
            f"K = {K}, decays {decay} and {feature_decay}: expected K >= 2 and positive decays."
        )
    return max(0.0, 1 - math.sqrt(K * decay * feature_decay))


def least_risk(K: int, decay: float, feature_decay: float) -> float:
    """Return R*, below which no network has a risk, (1 - s)^2 / 2 + s sqrt(K lambda_W lambda_H).

    Source: derived here; see the module.

    Parameters
    ----------
    K : int
        Classes.
    decay, feature_decay : float
        lambda_W and lambda_H.

    Raises
    ------
    ValueError
        As of :func:`shrinkage`.
    """
    s = shrinkage(K, decay, feature_decay)
    return (1 - s) ** 2 / 2 + s * math.sqrt(K * decay * feature_decay)


def collapsed_network(weights: Tensor, decay: float, feature_decay: float) -> tuple[Tensor, Tensor]:
    """Return the network with one hidden unit a class that has the risk R*.

    W = w I with w^4 = s^2 lambda_H / (K lambda_W), and unit k is s/w on its class: A has the
    columns (s/w) beta_k.

    Source: derived here; see the module.

    Parameters
    ----------
    weights : Tensor
        A solution beta_k of each class's program, ``(*batch, K, d)``.
    decay, feature_decay : float
        lambda_W and lambda_H.

    Returns
    -------
    A : Tensor
        ``(*batch, d, K)``.
    W : Tensor
        ``(*batch, K, K)``.

    Raises
    ------
    ValueError
        As of :func:`shrinkage`; or s is 0, where the best network is zero.
    """
    tensors(weights=weights)
    K = weights.shape[-2]
    s = shrinkage(K, decay, feature_decay)
    if s == 0:
        raise ValueError(
            f"With K lambda_W lambda_H = {K * decay * feature_decay:g} the best network is zero; "
            "expected less than 1."
        )
    w = (s * s * feature_decay / (K * decay)) ** 0.25
    eye = torch.eye(K).to(weights).expand(*weights.shape[:-2], K, K)
    return (s / w) * weights.mT, w * eye

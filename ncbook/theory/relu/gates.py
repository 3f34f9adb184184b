r"""The level at which a network with given gates comes to rest: a convex problem.

The network of :mod:`ncbook.theory.relu.collapse_program`, where each hidden unit serves one class:
its output weight is w_j towards it, and it is on, its gate open, at some samples of this class and
at no others. Given the w_j, the features of a sample with the open gates G are those of a ridge
regression, h_j = w_j / (lambda_H + sum over G of w^2), and the sample's part of the risk is
lambda_H / (lambda_H + sum over G of w^2) / (2 N). So the least risk with these gates is that of

.. math:: \min_{u \ge 0}\; \frac1{2N} \sum_i \frac{\lambda_H}{\lambda_H + \sum_{j \in G_i} u_j}
    + \frac{\lambda_W}2 \sum_j u_j , \qquad u_j = w_j^2 ,

which is convex. A network that attains it with all u_j > 0, and whose closed gates are closed
strictly, is a local minimum of the risk: nearby networks have the same gates, and where a gate is
closed nothing pulls at it. If one unit of each class is on at all of its samples, the level is R*.

Source: derived here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from ncbook.runtime import tensors
from ncbook.theory.relu.one_class_svm import class_indices

# Shares of the largest feature and of the largest output weight: what is less is going to 0.
OFF, UNUSED = 1e-6, 1e-2


@dataclass(frozen=True)
class Rest:
    """Where networks with given gates come to rest.

    Attributes
    ----------
    risk : Tensor
        The least risk, P_G, shape ``batch``.
    squares : Tensor
        u_j, the squared output weights, ``(*batch, h)``; 0 of a unit that is not needed.
    features : Tensor
        H, ``(*batch, N, h)``.
    """

    risk: Tensor
    squares: Tensor
    features: Tensor


def rest_with_gates(
    gates: Tensor, decay: float, feature_decay: float, dtype: torch.dtype = torch.float64
) -> Rest:
    """Return the least risk of networks with given gates, and the features there.

    By L-BFGS-B in u; the problem is convex, so there is one level.

    Source: derived here; see the module.

    Parameters
    ----------
    gates : Tensor
        Which unit is on at which sample, boolean, ``(*batch, N, h)``. A sample without an open
        gate is at zero. What is returned is meant for gates of one class a unit
        (:func:`one_class_each`).
    decay, feature_decay : float
        lambda_W and lambda_H, positive.
    dtype
        Of the result, which a device must have.

    Raises
    ------
    ValueError
        The gates are not boolean matrices, or a decay is not positive.
    """
    _check(gates)
    if not 0 < min(decay, feature_decay) <= max(decay, feature_decay) < math.inf:
        raise ValueError(f"The decays are {decay} and {feature_decay}: expected positive numbers.")
    tables = gates.cpu().numpy().astype(float).reshape(-1, *gates.shape[-2:])
    N, h = tables.shape[1:]
    start = np.full(h, math.sqrt(feature_decay / decay) / h)
    options = {"ftol": 0.0, "gtol": 1e-13, "maxiter": 10_000, "maxcor": 30}

    def risk(u: np.ndarray, G: np.ndarray) -> tuple[float, np.ndarray]:
        share = feature_decay / (feature_decay + G @ u)
        slope = decay / 2 - G.T @ share**2 / (2 * N * feature_decay)
        return share.sum() / (2 * N) + decay * u.sum() / 2, slope

    found = [
        minimize(risk, start, (G,), "L-BFGS-B", jac=True, bounds=[(0, None)] * h, options=options)
        for G in tables
    ]
    u = np.stack([one.x for one in found])
    features = tables * np.sqrt(u)[:, None] / (feature_decay + tables @ u[:, :, None])
    batch = gates.shape[:-2]
    parts = (
        torch.tensor([one.fun for one in found], dtype=torch.float64).reshape(batch),
        torch.from_numpy(u).reshape(*batch, h),
        torch.from_numpy(features).reshape(gates.shape),
    )
    return Rest(*(part.to(dtype).to(gates.device) for part in parts))


def open_gates(features: Tensor, W: Tensor) -> Tensor:
    """Return which units are on at which samples, boolean, ``(*batch, N, h)``.

    At the end of a descent: features up to ``OFF`` times the largest one and units whose output
    weights have norms up to ``UNUSED`` times the largest count as off, as they are on their way to
    zero.

    Parameters
    ----------
    features : Tensor
        H, ``(*batch, N, h)``.
    W : Tensor
        ``(*batch, h, K)``.
    """
    norms = torch.linalg.vector_norm(W, dim=-1, keepdim=True).mT
    return (features > OFF * features.amax((-2, -1), keepdim=True)) & (
        norms > UNUSED * norms.amax(-1, keepdim=True)
    )


def one_class_each(gates: Tensor, y: Sequence[int] | Tensor) -> Tensor:
    """Return whether no unit is on at samples of two classes, boolean, ``batch``.

    Raises
    ------
    ValueError
        The gates are not boolean matrices, or the labels do not fit.
    """
    return (_by_class(gates, y).any(-2).sum(-2) <= 1).all(-1)


def each_class_covered(gates: Tensor, y: Sequence[int] | Tensor) -> Tensor:
    """Return whether each class has a unit that is on at all of its samples, boolean, ``batch``.

    If so, and only then, the level of the gates is R*.

    Raises
    ------
    ValueError
        The gates are not boolean matrices, or the labels do not fit.
    """
    return _by_class(gates, y, others=True).all(-2).any(-1).all(-1)


def _by_class(gates: Tensor, y: Sequence[int] | Tensor, others: bool = False) -> Tensor:
    """Return the gates at each class's samples, ``others`` elsewhere, ``(*batch, K, N, h)``."""
    _check(gates)
    members = class_indices(y, gates.shape[-2])
    own = torch.zeros(len(members), gates.shape[-2], dtype=torch.bool)
    for k, indices in enumerate(members):
        own[k, indices] = True
    own = own.to(gates.device).unsqueeze(-1)
    return gates.unsqueeze(-3) | ~own if others else gates.unsqueeze(-3) & own


def _check(gates: Tensor) -> None:
    tensors(gates=gates)
    if gates.ndim < 2 or gates.dtype != torch.bool:
        raise ValueError(
            f"gates have shape {tuple(gates.shape)} and dtype {gates.dtype}: expected boolean "
            "numbers of shape (..., N, h)."
        )

r"""Late training: one class alone, and the slow turn to its max-margin direction.

Once the classes are separated, the balanced neurons of group k act on class k alone, as one vector
w with f(x) = ``|w|`` <w, x> e~_k (Min, Zhu and Vidal, 2025, Proposition 2). A small loss is
factor exp(-c z) with z = ``|w|`` <w, x> and c = 1 for a scalar output, sqrt(K/(K-1)) for
cross-entropy, so that

.. math:: w' = c |w| \sum_i p_i x_i, \qquad
    p_i = \text{factor} \cdot e^{-c |w| \langle w, x_i \rangle} .

What follows is worked out here. Write w = rho u + w_perp + d with u the max-margin direction,
w_perp outside the span of the samples on the margin and d inside it, orthogonal to u; L = sum p_i,
R = log(1/L).

- w_perp stands still up to terms e^{-const R}, as only samples on the margin still count.
- Growth along u asks for p_i in proportion to the duals alpha_i. Hence ``|w|`` d tends to the
  delta orthogonal to u with <delta, x_i> = (kappa - log alpha_i)/c on the support vectors: the
  minimiser of sum_i exp(-c <delta, x_i>) over the samples on the margin. Whatever d was is
  forgotten, like e^{-forgetting R}.
- c gamma ``|w|`` rho = R + log(factor sum_i exp(-c <delta, x_i>)) + O(1/R), the sum over the
  margin.

So tan(angle of w and u) = sqrt(``|w_perp|^2`` + ``|delta|^2 / |w|^2``) / rho. The parts are
orthogonal and add in squares:

.. math:: \text{angle}^2 = \frac{C_\perp^2}{R} + \frac{C_\delta^2}{R^2}, \qquad
    C_\perp = |w_\perp| \sqrt{c \gamma}, \quad C_\delta = c \gamma |\delta| ,

to a relative O(1/R): as 1/sqrt(R) where C_perp > 0, and as 1/R where all of w is in the span.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import orth
from scipy.optimize import root
from torch import Tensor

from ncbook.runtime import tensors
from ncbook.theory.relu.one_class_svm import MaxMargin, class_indices, one_class_svm


def loss_tail(loss: str, K: int) -> tuple[float, float]:
    """Return (factor, c) of the loss factor exp(-c z) of an output z e~_k, z large.

    (1, 1) for the exponential loss, (2, 1) for the logistic loss 2 log(1 + exp(-z)),
    (K - 1, sqrt(K/(K-1))) for cross-entropy.

    Raises
    ------
    ValueError
        The loss is unknown, or has a scalar output and K > 2.
    """
    tails = {"exponential": (1.0, 1.0), "logistic": (2.0, 1.0)} if K == 2 else {}
    tails["cross-entropy"] = (K - 1.0, math.sqrt(K / (K - 1)))
    if loss not in tails:
        raise ValueError(
            f"There is no loss {loss!r} for K = {K} classes; there is {', '.join(tails)}."
        )
    return tails[loss]


@dataclass(frozen=True)
class LateTraining:
    """How each class's vector w ends, as R = log(1/L) of the class's own loss grows.

    Attributes
    ----------
    C_perp, C_delta : Tensor
        Of the angle to the max-margin direction, ``(*batch, K)``.
    offset : Tensor
        delta, the limit of ``|w|`` times the part of w in the span of the margin's samples and
        orthogonal to u, ``(*batch, K, D)``.
    shift : Tensor
        c gamma ``|w|^2`` - R in the limit, ``(*batch, K)``.
    forgetting : Tensor
        Another offset decays like exp(-forgetting R), ``(*batch, K)``; infinity where the margin
        has one sample. The prediction holds from R of many times 1/forgetting on.
    margins : Tensor
        gamma, ``(*batch, K)``.
    c : float
        The rate of the loss.
    """

    C_perp: Tensor
    C_delta: Tensor
    offset: Tensor
    shift: Tensor
    forgetting: Tensor
    margins: Tensor
    c: float

    def angle(self, R: Tensor | float) -> Tensor:
        """Return the predicted angle between w and u at R, right to a relative O(1/R).

        Parameters
        ----------
        R : Tensor or float
            Broadcasts with ``(*batch, K)``.
        """
        R = torch.as_tensor(R).to(self.C_perp)
        return (self.C_perp.square() / R + self.C_delta.square() / R.square()).sqrt()

    def squared_scale(self, R: Tensor | float) -> Tensor:
        """Return the predicted s^2 = ``|w|^2``, (R + shift) / (c gamma), right to O(1/R).

        Hence c s^2 gamma / R = 1 + shift/R + O(1/R^2).

        Parameters
        ----------
        R : Tensor or float
            Broadcasts with ``(*batch, K)``.
        """
        return (torch.as_tensor(R).to(self.C_perp) + self.shift) / (self.c * self.margins)


def late_training(
    X: Tensor, y: Sequence[int] | Tensor, found: MaxMargin, w: Tensor, loss: str
) -> LateTraining:
    """Return the constants of the convergence to the max-margin directions.

    Source: Min, Zhu and Vidal (2025), Proposition 2, for the limit; the constants are derived here.

    Parameters
    ----------
    X : Tensor
        ``(*batch, n, D)``.
    y : sequence of int or Tensor
        ``(n,)``, 0 to K - 1.
    found : MaxMargin
        Of X and y.
    w : Tensor
        The classes' vectors late in training, as rows, ``(*batch, K, D)`` (``class_vectors``):
        C_perp depends on what is left of them outside the span of the margin.
    loss : {"exponential", "logistic", "cross-entropy"}
        The first two are for K = 2.

    Raises
    ------
    ValueError
        The loss does not fit K; or a class is degenerate: a sample on its margin has the dual 0
        for any choice of duals, and there is no limit offset (its drift is logarithmic).
    """
    tensors(X=X)
    if found.directions.dtype != torch.float64:
        # To single precision rounded, a direction is no longer that of the samples on its margin.
        found = one_class_svm(X.detach().cpu().double(), y)
    factor, c = loss_tail(loss, found.margins.shape[-1])
    classes = class_indices(y, X.shape[-2])
    K, D = found.directions.shape[-2:]
    points = X.detach().cpu().double().reshape(-1, *X.shape[-2:]).numpy()
    u = found.directions.cpu().double().reshape(-1, K, D).numpy()
    gamma = found.margins.cpu().double().reshape(-1, K).numpy()
    touching = found.on_margin.cpu().reshape(-1, X.shape[-2]).numpy()
    duals = found.duals.cpu().double().reshape(-1, X.shape[-2]).numpy()
    vectors = w.detach().cpu().double().expand(*X.shape[:-2], K, D).reshape(-1, K, D).numpy()
    offset = np.zeros_like(u)
    C_perp, log_sum, forgetting = np.zeros_like(gamma), np.zeros_like(gamma), np.zeros_like(gamma)
    for b in range(len(points)):
        for k, members in enumerate(classes):
            near = members[touching[b, members]]
            margin = points[b, near]
            try:
                offset[b, k], weights = _offset(margin, u[b, k], duals[b, near], c)
            except ValueError as error:
                raise ValueError(f"Class {k}: {error}") from None
            log_sum[b, k] = np.log(np.exp(-c * (margin @ offset[b, k])).sum())
            forgetting[b, k] = _forgetting(margin, weights, gamma[b, k])
            span = orth(margin.T)
            outside = vectors[b, k] - span @ (span.T @ vectors[b, k])
            C_perp[b, k] = np.linalg.norm(outside) * math.sqrt(c * gamma[b, k])
    shift = log_sum + math.log(factor) + C_perp**2 / 2
    C_delta = c * gamma * np.linalg.norm(offset, axis=-1)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.reshape(*X.shape[:-2], *values.shape[1:])).to(X)

    parts = (C_perp, C_delta, offset, shift, forgetting)
    return LateTraining(*map(tensor, parts), margins=found.margins.to(X), c=c)


def _offset(
    margin: np.ndarray, u: np.ndarray, duals: np.ndarray, c: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return delta and the shares exp(-c <delta, x_i>) / sum, which are dual weights."""
    across = margin - np.outer(margin @ u, u)
    basis = orth(across.T, rcond=1e-8)
    if not basis.shape[1] or len(margin) == 1:
        return np.zeros_like(u), np.full(len(margin), 1 / len(margin))
    z = across @ basis

    def shares(v: np.ndarray) -> np.ndarray:
        exponents = -c * (z @ v)
        p = np.exp(exponents - exponents.max())
        return p / p.sum()

    def gradient(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = shares(v)
        mean = p @ z
        return -c * mean, c**2 * ((z.T * p) @ z - np.outer(mean, mean))

    # Where the duals are unique this is the solution; where not, a start that is close to one.
    logs = np.log(np.maximum(duals, 1e-3 * duals.max()))
    start = np.linalg.lstsq(np.column_stack([z, np.ones(len(z))]), -logs / c, rcond=None)[0][:-1]
    solution = root(gradient, start, jac=True, tol=1e-14)
    v = solution.x
    size = np.linalg.norm(z, axis=1).max()
    p = shares(v)
    if np.linalg.norm(p @ z) > 1e-10 * size or p.min() < 1e-9:
        raise ValueError(
            "a sample on its margin has the dual weight 0, so that the offset from the max-margin "
            "direction has no limit. Move that sample a little."
        )
    return basis @ v, p


def _forgetting(margin: np.ndarray, shares: np.ndarray, gamma: float) -> float:
    """Return lambda / (2 gamma^2), lambda the least variance of the margin's samples in their span.

    In the time s of theta' = -grad L / L, dR = 2 c^2 gamma^2 ``|w|^2`` ds and
    d' = -c^2 ``|w|^2`` Cov (d - delta/``|w|``).
    """
    centred = (margin - shares @ margin) * np.sqrt(shares)[:, None]
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    spread = values[values > 1e-16 * (margin**2).sum(1).max()]
    return float(spread.min() / (2 * gamma**2)) if len(spread) else math.inf


def loss_shares(margins: Tensor) -> Tensor:
    """Return which share of the loss each class has in the limit, ``(*batch, K)``.

    Class k alone has dR_k/dt = 2 c gamma_k R_k e^{-R_k}, so e^{R_k} = 2 c gamma_k t R_k and the
    shares are as 1/gamma_k: R_k - R tends to log(gamma_k sum_l 1/gamma_l), at the rate 1/R.

    Source: worked out here from Proposition 2 of Min, Zhu and Vidal (2025).

    Parameters
    ----------
    margins : Tensor
        gamma_k, ``(*batch, K)``.
    """
    return (1 / margins) / (1 / margins).sum(-1, keepdim=True)


def class_vectors(W: Tensor, X: Tensor, y: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
    """Return the vector w_k that the network is on class k, and its direction phi_k in features.

    phi_k is the direction of the class mean of the features, w_k = W phi_k. After separation,
    and for neurons of one direction, W = sum_k w_k phi_k^T but for dead neurons.

    Source: Min, Zhu and Vidal (2025), Proposition 2 and Theorem 1.

    Parameters
    ----------
    W : Tensor
        ``(*batch, D, h)``.
    X : Tensor
        ``(*batch, n, D)``.
    y : sequence of int or Tensor
        ``(n,)``, 0 to K - 1.

    Returns
    -------
    w : Tensor
        As rows, ``(*batch, K, D)``.
    phi : Tensor
        Unit rows, ``(*batch, K, h)``; zero, as w is, for a class on which no neuron is active.

    Raises
    ------
    ValueError
        X is no tensor, or the labels do not fit the samples.
    """
    tensors(X=X)
    features = (X @ W).clamp_min(0)
    classes = class_indices(y, X.shape[-2])
    means = torch.stack([features[..., members, :].mean(-2) for members in classes], dim=-2)
    norms = torch.linalg.vector_norm(means, dim=-1, keepdim=True)
    phi = torch.where(norms > 0, means / norms, 0)
    return phi @ W.mT, phi

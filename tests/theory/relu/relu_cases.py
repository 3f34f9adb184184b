"""What the tests of Part III's theory share: cone data and the shallow network, written out."""

import math

import numpy as np
import torch
from scipy.integrate import solve_ivp
from theory_cases import normal
from torch import Tensor


def simplex_rows(K: int) -> Tensor:
    """K unit vectors at cosines -1/(K-1), in R^K."""
    centred = torch.eye(K, dtype=torch.float64) - 1 / K
    return centred / centred.norm(dim=1, keepdim=True)


def cone_data(
    seed: int, K: int, per_class: int, extra: int = 2, radii=None
) -> tuple[Tensor, Tensor]:
    """Orthogonally separable points in cones about a simplex, in K + extra dimensions.

    Norms between 1 and 2, or those given for each class. The half-angle is four fifths of what
    orthogonal separability allows for sure.
    """
    spread = 0.4 * math.asin(1 / (K - 1))
    axes = torch.cat([simplex_rows(K), torch.zeros(K, extra, dtype=torch.float64)], dim=1)
    y = torch.arange(K).repeat_interleave(per_class)
    noise = normal(seed, len(y), K + extra)
    noise[:, :K] -= noise[:, :K].mean(1, keepdim=True)
    noise = noise - (noise * axes[y]).sum(1, keepdim=True) * axes[y]
    noise = noise / noise.norm(dim=1, keepdim=True)
    size = normal(seed + 1, len(y), 2).sigmoid()
    X = axes[y] + math.tan(spread) * size[:, :1] * noise
    X = X / X.norm(dim=1, keepdim=True)
    if radii is None:
        return X * (1 + size[:, 1:]), y
    return X * torch.tensor(radii, dtype=torch.float64)[y, None], y


def residual(f: np.ndarray, y: np.ndarray, loss: str) -> np.ndarray:
    """Minus the gradient of the loss in the outputs, ``(n, d_y)``."""
    if loss == "cross-entropy":
        p = np.exp(f - f.max(1, keepdims=True))
        return np.eye(f.shape[1])[y] - p / p.sum(1, keepdims=True)
    sign = np.where(y == 0, 1.0, -1.0)[:, None]
    return sign * (np.exp(-sign * f) if loss == "exponential" else 2 / (1 + np.exp(sign * f)))


def train(W: Tensor, V: Tensor, X: Tensor, y: Tensor, loss: str, times, rtol=1e-10):
    """The network's gradient flow: W ``(T, D, h)``, V ``(T, d_y, h)`` and f ``(T, n, d_y)``."""
    (D, h), outputs = W.shape, len(V)
    data, labels = X.numpy(), y.numpy()

    def field(_, z):
        w, v = z[: D * h].reshape(D, h), z[D * h :].reshape(outputs, h)
        before = data @ w
        features = np.maximum(before, 0)
        r = residual(features @ v.T, labels, loss)
        return np.concatenate(
            [(data.T @ ((before > 0) * (r @ v))).ravel(), (r.T @ features).ravel()]
        )

    start = torch.cat([W.flatten(), V.flatten()])
    grid = np.asarray(times, dtype=float)
    size = float(start.abs().max())
    solution = solve_ivp(
        field, (0, grid[-1]), start.numpy(), "DOP853", grid, rtol=rtol, atol=rtol * size / 100
    )
    z = torch.from_numpy(solution.y.T.copy())
    w, v = z[:, : D * h].unflatten(-1, (D, h)), z[:, D * h :].unflatten(-1, (outputs, h))
    return w, v, (X @ w).clamp_min(0) @ v.mT


def unit(columns: Tensor) -> Tensor:
    return columns / columns.norm(dim=-2, keepdim=True)


def random_start(seed: int, D: int, h: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Balanced: directions of W and V uniform, all norms 1."""
    W, V = unit(normal(seed, D, h)), unit(normal(seed + 1, outputs, h))
    return W, V


def one_class_flow(X: Tensor, u: Tensor, w: Tensor, factor: float, c: float, scales) -> tuple:
    """One separated class, w' along sum_i p_i x_i with p_i = factor exp(-c |w| <w, x_i>).

    The variable is rho = <w, u>, which only grows, and the state the part of w across u by itself,
    so that it keeps its digits. Returns w's part across u ``(T, D)`` at <w, u> = ``scales``, |w|
    and R = -log sum_i p_i.
    """
    u = u.numpy()
    Q = np.linalg.svd(u[None])[2][1:].T
    x = X.numpy()
    along, across = x @ u, x @ Q

    def exponents(rho, y):
        return c * math.hypot(rho, np.linalg.norm(y)) * (rho * along + across @ y)

    def field(s, y):
        rho = math.exp(s)
        e = exponents(rho, y)
        p = np.exp(e.min() - e)
        return rho * (p @ across) / (p @ along)

    grid = np.concatenate([[float(w.numpy() @ u)], np.asarray(scales, dtype=float)])
    start = Q.T @ w.numpy()
    logs = np.log(grid)
    solution = solve_ivp(field, (logs[0], logs[-1]), start, "LSODA", logs, rtol=1e-9, atol=1e-12)
    assert solution.success
    y = solution.y.T[1:]
    R = []
    for rho, part in zip(grid[1:], y, strict=True):
        e = exponents(rho, part)
        R.append(e.min() - math.log(factor) - math.log(np.exp(e.min() - e).sum()))
    norms = np.hypot(grid[1:], np.linalg.norm(y, axis=1))
    return torch.from_numpy(y @ Q.T), torch.from_numpy(norms), torch.tensor(R, dtype=torch.float64)

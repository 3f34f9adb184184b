r"""The exact limit of infinitely many particles, for inputs in the plane.

For the model f(x) = gamma W^T h(x), h(x) = E_rho[a sigma(<u, x>)], and a fixed W, the free energy

.. math:: \frac1{2n} \lVert \gamma W^T H - Y \rVert_F^2 + \frac{\lambda_\rho}2 E|\theta|^2
    + \frac{\lambda_W}2 \lVert W \rVert_F^2 + \frac1\beta \int \rho \log \rho

is convex in rho. Writing the square as the maximum over R (K x n) of
``<R, gamma W^T H - Y>/n - |R|^2/(2n)`` and exchanging minimum and maximum, rho minimises a linear
functional plus entropy: it is a Gibbs density (:mod:`~ncbook.theory.mean_field.gibbs`), and what
is left is to maximise the concave

.. math:: D(R) = -\frac{\langle R, Y \rangle}n - \frac{\lVert R \rVert^2}{2n}
    - \frac1\beta \log Z(R), \qquad
    Z = \int e^{-\beta [\frac\gamma n a^T W R s(u) + \frac{\lambda_\rho}2 |\theta|^2]} d\theta ,
    \quad s(u) = \sigma(X u) .

The integral over a is Gaussian. The one over u stays, on a grid of the plane, where the
trapezoidal rule converges faster than any power once the grid is finer than what it must show: it
is made finer until the solution no longer changes, and what cannot be resolved is refused. In R
Newton's method converges in a few steps, or a few tens where beta is large. At the maximum
R = gamma W^T H - Y, the residual; for any R the duality gap of its Gibbs density is
``|gamma W^T H(R) - Y - R|^2 / (2n)``. W enters by W^T W alone. The gradient of the least free
energy in W is W (lambda_W I - gamma^2/(n^2 lambda_rho) R K R^T).

Source: derived here, for the free energy of Wu and Mondelli (2025).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize, root
from torch import Tensor

from ncbook.runtime import halved, tensors
from ncbook.theory.mean_field.gibbs import Gibbs

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}

_EDGE = 1e-12  # The largest mass that the law of u may have in the outermost cells of the grid.
# A solution is resolved if it differs by so little from that on three quarters the points along
# each axis. As the rule converges, it is then itself right to far more.
_RESOLVED = 1e-4
_FINEST = 501  # Points along an axis; beyond, memory and time grow out of proportion.


@dataclass(frozen=True)
class Limit:
    """The law rho of least free energy for one W, and what follows from it.

    Tensors are like the inputs X; the search itself is in float64 on the CPU.

    Attributes
    ----------
    W : Tensor
        ``(p, K)``.
    residual : Tensor
        R = gamma W^T H - Y, ``(K, n)``.
    H : Tensor
        Features as columns, ``(p, n)``.
    kernel : Tensor
        E[sigma(X u) sigma(X u)^T], ``(n, n)``.
    second_moment : Tensor
        E[a a^T], ``(p, p)``.
    data_loss, loss, free_energy : float
        L_n; L_n with both regularisers; and with the negative entropy over beta.
    u, law : Tensor
        The grid, ``(G, 2)``, and the law of u on it, ``(G,)``, which sums to 1.
    beta, gamma, decay, decay_W : float
        The setting.
    gap : float
        Free energy less its dual bound: at most by so much it is not the least for this W.
    edge : float
        Mass of u in the outermost cells of the grid.
    change : float
        Largest relative difference, in R, the kernel and L_n, from the solution on a grid of three
        quarters the points along each axis: at most 1e-4, and far more than this is wrong by.
    gradient : Tensor
        Of the least free energy in W, ``(p, K)``.
    steps : int
        Newton steps.
    """

    W: Tensor
    residual: Tensor
    H: Tensor
    kernel: Tensor
    second_moment: Tensor
    data_loss: float
    loss: float
    free_energy: float
    u: Tensor
    law: Tensor
    beta: float
    gamma: float
    decay: float
    decay_W: float
    gap: float
    edge: float
    change: float
    gradient: Tensor
    steps: int

    def share_below(self, values: Tensor, axis: int) -> Tensor:
        """Return the share of the law with the coordinate ``axis`` of u below each value.

        Parameters
        ----------
        values : Tensor
            Any shape.
        axis : int
            0 or 1.
        """
        points = round(len(self.law) ** 0.5)
        lines = self.u.cpu().reshape(points, points, 2)[:, 0, 0]
        masses = self.law.cpu().reshape(points, points).sum(1 - axis)
        # Half of a line's mass lies on either side of it.
        cumulated = masses.cumsum(0) - masses / 2
        found = np.interp(values.cpu().double().numpy(), lines.numpy(), cumulated.numpy())
        return torch.from_numpy(np.asarray(found)).to(values)


def fixed_limit(
    X: Tensor,
    Y: Tensor,
    W: Tensor,
    *,
    activation: str,
    beta: float,
    gamma: float = 1.0,
    decay: float,
    decay_W: float | None = None,
    points: int = 61,
    reach: float = 10.0,
    start: Limit | None = None,
) -> Limit:
    """Return the law of the particles of least free energy for a fixed W.

    Source: derived here; that there is one such law is Proposition 5.1 of Wu and Mondelli (2025).

    Parameters
    ----------
    X : Tensor
        ``(n, 2)``.
    Y : Tensor
        One-hot labels as columns, ``(K, n)``.
    W : Tensor
        ``(p, K)``.
    activation : {"tanh", "sigmoid"}
        A bounded one: for ReLU the integral over u need not exist.
    beta, gamma, decay, decay_W : float
        1/temperature, the factor, lambda_rho and lambda_W (without it, lambda_rho): positive.
    points : int
        Of the first grid along each axis; the grid is refined from there. Two laws that are to be
        mixed need one grid: let both begin at a fine one.
    reach : float
        The grid's half-width, in standard deviations 1/sqrt(beta lambda) of u without data.
    start : Limit
        Of a similar setting, to begin Newton's method at its R, scaled by lambda.

    Raises
    ------
    ValueError
        The inputs are not in the plane; a shape or number does not fit; or the law of u reaches
        the edge of the grid.
    RuntimeError
        Newton's method does not converge, or no grid of at most 501 points resolves the law.
    """
    tensors(X=X)
    R = None if start is None else start.residual.cpu().double() * (decay / start.decay)

    def solve(points: int, coarser: Limit | None) -> Limit:
        problem = _Problem(X, Y, activation, beta, gamma, decay, decay_W, points, reach)
        problem.check_weights(W)
        return problem.solve(W, R if coarser is None else coarser.residual)

    return _like(_refined(solve, points), X)


def stationary_limit(
    X: Tensor,
    Y: Tensor,
    W: Tensor,
    *,
    activation: str,
    beta: float,
    gamma: float = 1.0,
    decay: float,
    decay_W: float | None = None,
    points: int = 61,
    reach: float = 10.0,
    start: Limit | None = None,
    tolerance: float = 1e-8,
) -> Limit:
    """Return a joint stationary point of the free energy in rho and W: a minimum over W, near W.

    The least free energy over rho is a function of W^T W, which is minimised over the K x K
    factors of it by BFGS. W's range stays that of the start.

    Source: derived here.

    Parameters
    ----------
    X, Y, activation, beta, gamma, decay, decay_W, points, reach
        As for :func:`fixed_limit`.
    W : Tensor
        Where to begin, ``(p, K)`` of full rank.
    start : Limit
        Of a similar setting: begin at its W instead.
    tolerance : float
        The largest entry of the gradient in W may be tolerance * lambda_W.

    Raises
    ------
    ValueError, RuntimeError
        As :func:`fixed_limit`; the start has not full rank; or the descent in W ends with a larger
        gradient.
    """
    tensors(X=X)
    R = None if start is None else start.residual.cpu().double() * (decay / start.decay)

    def solve(points: int, coarser: Limit | None) -> Limit:
        problem = _Problem(X, Y, activation, beta, gamma, decay, decay_W, points, reach)
        problem.check_weights(W)
        begin = W if start is None else start.W
        if coarser is None:
            return _stationary(problem, begin, R, tolerance)
        # Where directions of W vanish, the descent could not come to them again.
        if float(torch.linalg.svdvals(coarser.W)[-1]) > 1e-6:
            begin = coarser.W
        return _stationary(problem, begin, coarser.residual, tolerance)

    return _like(_refined(solve, points), X)


def _stationary(problem: "_Problem", W: Tensor, R: Tensor | None, tolerance: float) -> Limit:
    """Return the stationary point near W, on the grid of the problem."""
    K = W.shape[1]
    frame, factor = torch.linalg.qr(W.cpu().double())
    if float(factor.diagonal().abs().min()) < 1e-12:
        raise ValueError(
            "W has not full rank, and the descent in W could not leave its range. Start from a W "
            "of full rank, such as one with orthonormal columns."
        )

    def weights(flat: np.ndarray) -> Tensor:
        return frame @ torch.from_numpy(flat.reshape(K, K).copy())

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal R
        found = problem.solve(weights(flat), R)
        R = found.residual
        slope = frame.mT @ found.gradient / problem.decay_W
        return found.free_energy / problem.decay_W, slope.numpy().ravel()

    # An entry in W is at most sqrt(K) times the largest within the frame; and solving again at the
    # end changes it by rounding.
    aim = tolerance / (2 * math.sqrt(K))
    near = minimize(value, factor.numpy().ravel(), jac=True, method="BFGS", options={"gtol": aim})
    flat = near.x
    if np.abs(near.jac).max() > aim:
        # Values show a gradient down to the root of their rounding; itself it shows it all.
        flat = root(lambda z: value(z)[1], flat, method="lm", options={"xtol": 1e-14}).x
    found = problem.solve(weights(flat), R)
    worst = float(found.gradient.abs().max()) / problem.decay_W
    if not worst <= tolerance:
        raise RuntimeError(
            f"The descent in W ended with a gradient of {worst:.1e} lambda_W; expected at most "
            f"{tolerance:.1e} ({near.message}). Begin closer, with the limit of a similar beta "
            "or gamma as start, or allow a larger tolerance."
        )
    return found


def _refined(solve: Callable[[int, Limit | None], Limit], points: int) -> Limit:
    """Return the solution on the first grid that resolves it.

    ``solve`` takes the points of a grid along an axis, and the solution on a coarser one.
    """
    if halved():
        points = min(2 * points - 1, 3 * _FINEST // 4)
    found = solve(points, None)
    while 4 * points // 3 <= _FINEST:
        points = 4 * points // 3
        coarser, found = found, solve(points, found)
        names = ("residual", "kernel", "data_loss")
        pairs = [
            [torch.as_tensor(getattr(one, name)) for one in (found, coarser)] for name in names
        ]
        # A residual that is 0, as without labels, is so on every grid.
        moved = [(a - b).abs().max() / (a.abs().max() + (a == 0).all()) for a, b in pairs]
        found = replace(found, change=float(torch.stack(moved).max()))
        if found.change <= _RESOLVED:
            return found
    raise RuntimeError(
        f"The law of u is not resolved by a grid of {points} points along each axis: on it the "
        f"solution is another by {found.change:.1e} than on one of three quarters the points; "
        f"expected at most {_RESOLVED:.0e}. Give a smaller reach or beta, or fewer points to "
        "begin with."
    )


@dataclass(frozen=True)
class Moments:
    """Moments of a law, like the limit's tensors: see :func:`integrated_moments`.

    Attributes
    ----------
    H : Tensor
        ``(p, n)``.
    kernel : Tensor
        E[sigma(X u) sigma(X u)^T], ``(n, n)``.
    second_moment : Tensor
        E[a a^T], ``(p, p)``.
    """

    H: Tensor
    kernel: Tensor
    second_moment: Tensor


def integrated_moments(found: Limit, X: Tensor, activation: str) -> Moments:
    """Return the moments of a law as sums over its density, without its closed forms.

    With R the residual the density of (a, u) is that of
    ``exp(-beta [gamma/n a^T W R sigma(X u) + lambda/2 |theta|^2])``: for a given u a sum over a
    grid for each entry of a, and then the sum over u.

    Parameters
    ----------
    found : Limit
        Its W, residual and grid of u.
    X : Tensor
        ``(n, 2)``, the inputs of the limit.
    activation : {"tanh", "sigmoid"}
        That of the limit.

    Raises
    ------
    ValueError
        X is no tensor.
    """
    tensors(X=X)
    X, W, R, u = (one.cpu().double() for one in (X, found.W, found.residual, found.u))
    u = u[found.law.cpu() > 1e-18]
    beta, decay = found.beta, found.decay
    # In standard deviations of an entry given u: steps of 3/4, and 10 beyond any u.
    width = (beta * decay) ** -0.5
    far = float(found.u.max()) + 10 * width
    grid = torch.arange(-far, far, 0.75 * width, dtype=torch.float64)
    hidden = ACTIVATIONS[activation](X @ u.mT)
    log, means, squares = -beta * decay / 2 * u.square().sum(1), [], []
    for pull in found.gamma * (W @ R @ hidden) / len(X):
        exponent = -beta * (pull[:, None] * grid + decay / 2 * grid.square())
        chance = exponent.softmax(-1)
        means.append(chance @ grid)
        squares.append(chance @ grid.square())
        log = log + exponent.logsumexp(-1)
    law, mean = log.softmax(0), torch.stack(means)
    second = (mean * law) @ mean.mT
    second.diagonal().copy_(torch.stack(squares) @ law)
    moments = (mean * law) @ hidden.mT, (hidden * law) @ hidden.mT, second
    return Moments(*(one.to(found.W) for one in moments))


def mixture_free_energy(
    X: Tensor, Y: Tensor, one: Limit, two: Limit, shares: Sequence[float], *, activation: str
) -> Tensor:
    """Return the free energy of (1 - t) rho_1 + t rho_2 for two laws of one W and one setting.

    H and the regulariser are linear in the law. In the entropy only the direction from one mean
    of a given u to the other does not factor: one integral for each u, by Gauss and Hermite.

    Source: derived here; Proposition 5.1 of Wu and Mondelli (2025) says that it is convex in t.

    Parameters
    ----------
    X : Tensor
        ``(n, 2)``.
    Y : Tensor
        One-hot labels of the free energy, ``(K, n)``; those behind the laws may be others.
    one, two : Limit
        Of the same W, beta, gamma, decays and grid.
    shares : sequence of float
        t, within [0, 1].
    activation : {"tanh", "sigmoid"}
        That of both laws.

    Returns
    -------
    Tensor
        ``(len(shares),)``.

    Raises
    ------
    ValueError
        The two laws are of different settings.
    """
    tensors(X=X)
    same = all(
        getattr(one, name) == getattr(two, name) for name in ("beta", "gamma", "decay", "decay_W")
    )
    if not same or not torch.equal(one.W, two.W) or not torch.equal(one.u, two.u):
        raise ValueError(
            "The two laws differ in W, beta, gamma, the decays or the grid; mix two laws of one "
            "setting, such as the limits for two sets of labels."
        )
    beta, n, p = one.beta, len(X), len(one.W)
    hidden = ACTIVATIONS[activation](one.u @ X.mT).mT
    forms = [Gibbs(law.W, law.residual, beta, law.gamma, law.decay) for law in (one, two)]
    apart = torch.linalg.vector_norm(forms[1].whitened(forms[0].mean(hidden), hidden), dim=0)
    nodes, weights = (torch.from_numpy(x).to(X) for x in np.polynomial.hermite_e.hermegauss(64))
    weights = weights / weights.sum()
    cell = math.log(float(one.u[1, 1] - one.u[0, 1]) ** 2)
    gaussian = p / 2 * math.log(2 * math.pi / (beta * one.decay))
    theta = [law.second_moment.trace() + law.law @ law.u.square().sum(1) for law in (one, two)]
    regulariser = one.decay_W / 2 * one.W.square().sum()
    values = []
    for t in shares:
        H = (1 - t) * one.H + t * two.H
        data = (one.gamma * (one.W.mT @ H) - Y).square().sum() / (2 * n)
        spread = one.decay / 2 * ((1 - t) * theta[0] + t * theta[1])
        logs = [((1 - t) * one.law).log(), (t * two.law).log()]
        entropy = 0.0
        for this, other in ((0, 1), (1, 0)):
            # From the mean of this law, in standard deviations towards the other's.
            shift = nodes.unsqueeze(1) - apart
            here = logs[this] - nodes.unsqueeze(1).square() / 2
            there = logs[other] - shift.square() / 2
            # Across that direction the mixture is one Gaussian.
            inside = weights @ torch.logaddexp(here, there) - cell - gaussian - (p - 1) / 2
            entropy = entropy + torch.where(logs[this] > -700, logs[this].exp() * inside, 0).sum()
        values.append(data + spread + regulariser + entropy / beta)
    return torch.stack(values)


def _like(found: Limit, X: Tensor) -> Limit:
    tensors = {name: value for name, value in vars(found).items() if isinstance(value, Tensor)}
    return replace(found, **{name: value.to(X) for name, value in tensors.items()})


class _Problem:
    """Data and setting, with the grid; solves for R given W."""

    def __init__(self, X, Y, activation, beta, gamma, decay, decay_W, points, reach) -> None:
        decay_W = decay if decay_W is None else decay_W
        if X.ndim != 2 or X.shape[1] != 2:
            raise ValueError(
                f"The inputs have shape {tuple(X.shape)}; the exact limit is for one data set in "
                "the plane, (n, 2), because it integrates over u on a grid."
            )
        if Y.ndim != 2 or Y.shape[1] != len(X):
            raise ValueError(
                f"The labels have shape {tuple(Y.shape)}; expected one-hot columns, (K, {len(X)})."
            )
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"There is no limit for the activation {activation!r}; it must be bounded: "
                f"{', '.join(ACTIVATIONS)}."
            )
        named = {"beta": beta, "gamma": gamma, "decay": decay, "decay_W": decay_W, "reach": reach}
        wrong = {name: value for name, value in named.items() if not 0 < value < math.inf}
        if wrong or not 11 <= points <= _FINEST:
            raise ValueError(
                f"Expected positive finite numbers and a grid of 11 to {_FINEST} points an axis; "
                f"got {wrong or {'points': points}}."
            )
        self.X, self.Y = X.detach().cpu().double(), Y.detach().cpu().double()
        self.beta, self.gamma, self.decay, self.decay_W = map(float, (beta, gamma, decay, decay_W))
        half = reach / math.sqrt(beta * decay)
        axis = torch.linspace(-half, half, points, dtype=torch.float64)
        self.u = torch.cartesian_prod(axis, axis)
        self.columns = self.u.mT.contiguous()
        self.edge = self.u.abs().amax(1) >= half * (1 - 1e-9)
        self.hidden = ACTIVATIONS[activation](self.X @ self.u.mT)  # (n, G)
        self.log_cell = 2 * math.log(2 * half / (points - 1))

    def check_weights(self, W: Tensor) -> None:
        if W.ndim != 2 or W.shape[1] != len(self.Y) or W.shape[0] < W.shape[1]:
            K = len(self.Y)
            raise ValueError(
                f"W has shape {tuple(W.shape)}; expected one matrix (p, {K}) with p >= {K}."
            )

    def law(self, W: Tensor, R: Tensor) -> tuple[Tensor, float]:
        """Return the law of u on the grid and the log of its integral, without that of a."""
        gibbs = Gibbs(W, R, self.beta, self.gamma, self.decay)
        exponent = gibbs.log_marginal(self.columns, self.hidden)
        top = exponent.max()
        weights = (exponent - top).exp()
        total = weights.sum()
        return weights / total, float(top + total.log()) + self.log_cell

    def dual(self, R: Tensor, log_integral: float) -> float:
        """D(R), without the constant of the integral over a."""
        n = len(self.X)
        inner = (R * self.Y).sum() / n + R.square().sum() / (2 * n)
        return -float(inner) - log_integral / self.beta

    def miss(self, W: Tensor, R: Tensor, kernel: Tensor) -> Tensor:
        """gamma W^T H(R) - Y - R: n times the gradient of the dual."""
        ratio = self.gamma**2 / (len(self.X) * self.decay)
        return -(self.Y + R + ratio * (W.mT @ W @ R @ kernel))

    def kernel(self, law: Tensor) -> Tensor:
        return (self.hidden * law) @ self.hidden.mT

    def solve(self, W: Tensor, R: Tensor | None) -> Limit:
        W = W.detach().cpu().double()
        S, n = W.mT @ W, len(self.X)
        root = torch.linalg.qr(W, mode="r").R  # the law depends on W^T W alone
        # From 0 Newton's method always came through; from a guess it is quicker, if that is good.
        starts = [torch.zeros_like(self.Y)] + ([] if R is None else [R])
        tried = [(R, *self.law(root, R)) for R in starts]
        R, law, log_integral = max(tried, key=lambda one: self.dual(one[0], one[2]))
        value = self.dual(R, log_integral)
        best = math.inf
        for step in range(100):
            kernel = self.kernel(law)
            miss = self.miss(W, R, kernel)
            worst = float(miss.abs().max())
            # Near the end each step squares the error: stop where only rounding is left.
            if worst < 1e-9 and not worst < best / 2:
                return self.limit(W, R, law, log_integral, kernel, miss, step)
            best = min(best, worst)
            direction = self.newton(S, R, law, kernel, miss)
            decrement = float((direction * miss).sum()) / n
            size = 1.0
            while size > 1e-8:
                trial = R + size * direction
                law, log_integral = self.law(root, trial)
                new = self.dual(trial, log_integral)
                # Below rounding of the dual a full step is taken as it is.
                if new >= value + 0.1 * size * decrement or decrement < 1e-13 * abs(value):
                    break
                size /= 2
            R, value = trial, new
        raise RuntimeError(
            f"Newton's method for R did not converge: after {step + 1} steps "
            f"max |gamma W^T H - Y - R| = {worst:.1e}, expected less than 1e-9. "
            "Begin closer, with the limit of a similar beta or gamma as start."
        )

    def newton(self, S: Tensor, R: Tensor, law: Tensor, kernel: Tensor, miss: Tensor) -> Tensor:
        """Solve (I + ratio S (x) K + c Cov[S R s s^T]) step = miss."""
        n, size = len(self.X), self.Y.numel()
        ratio = self.gamma**2 / (n * self.decay)
        near = law > 1e-18  # What is left out of the Hessian is below its rounding.
        s, p = self.hidden[:, near], law[near]
        g = ((S @ R @ s).unsqueeze(1) * s).reshape(size, -1)
        g = (g - (g @ p).unsqueeze(1)) * p.sqrt()
        hessian = torch.eye(size, dtype=torch.float64) + ratio * torch.kron(S, kernel)
        hessian += self.beta * ratio**2 / n * (g @ g.mT)
        return torch.linalg.solve(hessian, miss.reshape(-1)).reshape(miss.shape)

    def limit(self, W, R, law, log_integral, kernel, miss, steps) -> Limit:
        n, p = len(self.X), len(W)
        edge = float(law[self.edge].sum())
        if edge > _EDGE:
            raise ValueError(
                f"The law of u has the mass {edge:.1e} at the edge of the grid; expected at most "
                f"{_EDGE:.0e}. Give a larger reach, and points in proportion."
            )
        H = -self.gamma / (n * self.decay) * (W @ R @ kernel)
        spread = self.gamma**2 / (n * self.decay) ** 2 * (R @ kernel @ R.mT)
        second = torch.eye(p, dtype=torch.float64) / (self.beta * self.decay) + W @ spread @ W.mT
        regulariser = self.decay_W / 2 * float(W.square().sum())
        residual = self.gamma * (W.mT @ H) - self.Y
        data_loss = float(residual.square().sum()) / (2 * n)
        theta = float(second.trace() + law @ self.u.square().sum(1))
        log_gaussian = p / 2 * math.log(2 * math.pi / (self.beta * self.decay))
        return Limit(
            W=W,
            residual=R,
            H=H,
            kernel=kernel,
            second_moment=second,
            data_loss=data_loss,
            loss=data_loss + self.decay / 2 * theta + regulariser,
            free_energy=self.dual(R, log_integral) - log_gaussian / self.beta + regulariser,
            u=self.u,
            law=law,
            beta=self.beta,
            gamma=self.gamma,
            decay=self.decay,
            decay_W=self.decay_W,
            gap=float(miss.square().sum()) / (2 * n),
            edge=edge,
            change=math.inf,  # until it is compared
            gradient=W @ (self.decay_W * torch.eye(len(R)).to(W) - self.decay * spread),
            steps=steps,
        )

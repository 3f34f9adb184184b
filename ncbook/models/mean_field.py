"""The three-layer network with N particles in its feature layer, for a batch of runs.

Wu, Mondelli, Neural collapse beyond the unconstrained features model: landscape, dynamics, and
generalization in the mean-field regime (2025).

The feature of a sample is an average over particles theta_j = (a_j, u_j),

    h(x) = (1/N) sum_j tau(a_j) sigma(<u_j, x>)  in R^p,      f(x) = gamma W^T h(x)  in R^K,

so that h depends on the particles through their law alone; with N to infinity the law may have a
density, which the paper calls rho. Time is scaled as the paper does it: a gradient flow moves W by
-dL/dW and a particle by -N dL/dtheta_j. A single particle's share in the loss is 1/N, and the
factor N makes it move at a rate that does not depend on N.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ncbook.runtime import Runtime, label_tensor, tensors, whole

ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
# The derivative of an activation, from its value.
SLOPES = {
    "tanh": lambda s: 1 - s.square(),
    "sigmoid": lambda s: s * (1 - s),
    "relu": lambda s: (s > 0).to(s.dtype),
}
STARTS = ("orthonormal", "normal")

# Numbers in one block of activations: particles are taken a block at a time.
_BLOCK = 2**20


class MeanField:
    """The network f(x) = gamma W^T h(x) on its data, with square loss and weight decay.

    A state is a flat tensor of shape ``(*batch, P)``, P = p K + p N + d N, holding W (p x K), A
    (p x N) and U (d x N), each by rows; column j of A and U is particle j. With Y (K x n) the
    one-hot labels and H (p x n) the features,

        L_n = ||gamma W^T H - Y||_F^2 / (2 n),
        L = L_n + (lambda_W / 2) ||W||_F^2 + (lambda_rho / 2) E||theta||^2,

    where E is the mean over the particles. sigma'(0) of the ReLU is 0.

    Parameters
    ----------
    X : Tensor
        The samples, ``(n, d)`` shared by all runs, or ``(*b, n, d)``, one data set a run, where b
        broadcasts against the batch of a state. Its dtype and device are the model's.
    y : sequence of int or Tensor
        Their labels, 0 to K - 1, ``(n,)`` or ``(*b, n)``. The paper's classes are balanced; here
        they need not be.
    K : int
        Classes, at least 2 (the paper's q).
    p : int
        Dimension of the features, at least 1.
    N : int
        Particles, at least 1.
    activation : {"tanh", "sigmoid", "relu"}
        sigma. The paper's theorems are for the first two.
    gamma : float or Tensor
        The factor in front of the output, positive.
    decay, decay_W : float or Tensor
        lambda_rho and lambda_W, at least 0; without the second both are ``decay``. These three
        may be tensors that broadcast against the batch of a state, so that a sweep is a batch.
    truncation : float or Tensor, optional
        R of tau(a) = R tanh(a / R), entry by entry: smooth, odd, bounded by R and equal to a up
        to a relative (a/R)^2/3. Without it tau(a) = a. The paper truncates a by some tau_R;
        its main text does not say which, and this one is ours.

    Raises
    ------
    ValueError
        An argument is not as described.
    """

    def __init__(
        self,
        X: Tensor,
        y: Sequence[int] | Tensor,
        K: int,
        p: int,
        N: int,
        activation: str = "tanh",
        *,
        gamma: float | Tensor = 1.0,
        decay: float | Tensor = 1e-3,
        decay_W: float | Tensor | None = None,
        truncation: float | Tensor | None = None,
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"Unknown activation {activation!r}; known are {', '.join(ACTIVATIONS)}."
            )
        K, p, N = whole("K", K, 2), whole("p", p, 1), whole("N", N, 1)
        tensors(X=X)
        if X.ndim < 2 or not X.is_floating_point():
            raise ValueError(
                f"X has shape {tuple(X.shape)} and dtype {X.dtype}; expected floating point "
                "numbers of shape (n, d), or (..., n, d) for one data set a run."
            )
        self.X, self.K, self.p, self.N, self.activation = X, K, p, N, activation
        self.y = self._labels(y, X)
        self.n, self.d = X.shape[-2:]
        self.size = self.p * self.K + (self.p + self.d) * self.N
        self.gamma = self._number("gamma", gamma, positive=True)
        self.decay = self._number("decay", decay)
        self.decay_W = self.decay if decay_W is None else self._number("decay_W", decay_W)
        self.truncation = (
            None if truncation is None else self._number("truncation", truncation, positive=True)
        )
        self._sigma, self._slope = ACTIVATIONS[activation], SLOPES[activation]
        self._Y = one_hot(self.y, self.K).mT.to(X.dtype)

    def _labels(self, y: Sequence[int] | Tensor, X: Tensor) -> Tensor:
        """Return the labels of the samples X as int64, or raise ``ValueError``."""
        y = label_tensor(y, X.device)
        fits = y.shape in (X.shape[-2:-1], X.shape[:-1]) and y.numel() > 0
        if not fits or not bool(((y == y.long()) & (y >= 0) & (y < self.K)).all()):
            raise ValueError(
                f"The labels have shape {tuple(y.shape)} and the samples {tuple(X.shape)}; "
                f"expected one whole number from 0 to {self.K - 1} for each of the samples, of "
                "which there is at least one."
            )
        return y.long()

    def _number(self, name: str, value: float | Tensor, positive: bool = False) -> Tensor:
        """Return a number, or one a run, as a tensor like X, or raise ``ValueError``."""
        value = torch.as_tensor(value, dtype=self.X.dtype, device=self.X.device)
        if not bool(((value > 0 if positive else value >= 0) & value.isfinite()).all()):
            raise ValueError(
                f"{name} is {value.tolist()}; expected finite numbers "
                f"{'above' if positive else 'of at least'} 0."
            )
        return value

    # --- The state ------------------------------------------------------------------------------

    def unpack(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return views W ``(*batch, p, K)``, A ``(*batch, p, N)`` and U ``(*batch, d, N)``."""
        sizes = [self.p * self.K, self.p * self.N, self.d * self.N]
        W, A, U = state.split(sizes, dim=-1)
        shapes = (self.p, self.K), (self.p, self.N), (self.d, self.N)
        W, A, U = (z.unflatten(-1, shape) for z, shape in zip((W, A, U), shapes, strict=True))
        return W, A, U

    def pack(self, W: Tensor, A: Tensor, U: Tensor) -> Tensor:
        """Return the flat state of W, A and U, shape ``(*batch, P)``."""
        return torch.cat([W.flatten(-2), A.flatten(-2), U.flatten(-2)], dim=-1)

    def start(
        self,
        seeds: Sequence[int],
        run: Runtime,
        *,
        W: str = "orthonormal",
        s_a: float = 1.0,
        s_u: float = 1.0,
    ) -> Tensor:
        """Return random starts; a seed has the same directions at every s_a and s_u.

        a_j ~ N(0, s_a^2 I) and u_j ~ N(0, s_u^2 I), independent; the paper's rho_0 is N(0, I).

        Source: Wu and Mondelli (2025), Assumption A1.

        Parameters
        ----------
        seeds : sequence of int
            R seeds.
        run : Runtime
            Draws the numbers.
        W : {"orthonormal", "normal"}
            W_0^T W_0 = I with a uniform column space, as the assumption has it, or entries that
            are independent N(0, 1).
        s_a, s_u : float
            Standard deviations, at least 0.

        Returns
        -------
        Tensor
            Shape ``(R, P)``.

        Raises
        ------
        ValueError
            W is unknown or a deviation negative, or W cannot be orthonormal as p < K.
        """
        if W not in STARTS or s_a < 0 or s_u < 0:
            raise ValueError(
                f"W = {W!r}, s_a = {s_a}, s_u = {s_u}: expected W to be one of "
                f"{', '.join(STARTS)}, and deviations of at least 0."
            )
        W_0, A, U = self.unpack(run.normal(seeds, self.size))
        if W == "orthonormal":
            if self.p < self.K:
                raise ValueError(
                    f"p = {self.p} features cannot hold K = {self.K} orthonormal columns; take "
                    'p >= K, or W = "normal".'
                )
            Q, R = torch.linalg.qr(W_0)
            # With the signs of R's diagonal the columns are uniform, whatever QR's convention.
            W_0 = Q * R.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        return self.pack(W_0, s_a * A, s_u * U)

    # --- The network ----------------------------------------------------------------------------

    def hidden(self, state: Tensor, X: Tensor | None = None) -> Tensor:
        """Return sigma(<u_j, x_i>), shape ``(*batch, n, N)``, of the model's samples or of X."""
        return self._sigma((self.X if X is None else X) @ self.unpack(state)[2])

    def features(self, state: Tensor, X: Tensor | None = None) -> Tensor:
        """Return H, whose columns are the features h(x_i): shape ``(*batch, p, n)``."""
        X = self.X if X is None else X
        _, A, U = self.unpack(state)
        H = 0
        for block in self._blocks(U, X):
            H = H + self._truncated(A[..., block]) @ self._sigma(X @ U[..., block]).mT
        return H / self.N

    def outputs(self, state: Tensor, X: Tensor | None = None) -> Tensor:
        """Return gamma W^T H, whose columns are the outputs f(x_i): shape ``(*batch, K, n)``."""
        return _matrix(self.gamma) * (self.unpack(state)[0].mT @ self.features(state, X))

    def error(self, state: Tensor, X: Tensor, y: Tensor) -> Tensor:
        """Return the share of samples whose largest output is not their label's, shape ``batch``.

        Parameters
        ----------
        state : Tensor
            ``(*batch, P)``.
        X, y : Tensor
            The samples, ``(m, d)`` or ``(*b, m, d)``, and their labels, ``(m,)`` or ``(*b, m)``.

        Raises
        ------
        ValueError
            The labels do not fit the samples.
        """
        wrong = self.outputs(state, X).argmax(-2) != self._labels(y, X)
        return wrong.to(state.dtype).mean(-1)

    # --- The loss -------------------------------------------------------------------------------

    def data_loss(self, state: Tensor) -> Tensor:
        """Return L_n, shape ``batch``."""
        return (self.outputs(state) - self._Y).square().sum((-2, -1)) / (2 * self.n)

    def loss(self, state: Tensor) -> Tensor:
        """Return the regularised loss L = L_{lambda,n}, shape ``batch``."""
        W, A, U = self.unpack(state)
        spread = (_squares(A) + _squares(U)) / self.N
        return self.data_loss(state) + (self.decay_W * _squares(W) + self.decay * spread) / 2

    def gradient(self, state: Tensor) -> Tensor:
        """Return the mean-field scaled gradient of L, ``(*batch, P)``, weight decay included.

        The block of W is dL/dW. The blocks of A and U are N times the gradient in the parameters:
        column j is the gradient, in theta_j = (a_j, u_j), of the first variation of L with
        respect to the particles' law. With G = gamma W (gamma W^T H - Y) / n in R^{p x n} it is

            tau'(a_j) G sigma(X u_j) + lambda_rho a_j,
            X^T [sigma'(X u_j) * (G^T tau(a_j))] + lambda_rho u_j.

        The particles are taken a block at a time: memory does not grow with n N.

        Source: Wu and Mondelli (2025), the noisy gradient flow, for a law of N points.

        Parameters
        ----------
        state : Tensor
            ``(*batch, P)``.
        """
        W, A, U = self.unpack(state)
        blocks, saved = list(self._blocks(U, self.X)), None
        H = 0
        for block in blocks:
            saved = self._sigma(self.X @ U[..., block])
            H = H + self._truncated(A[..., block]) @ saved.mT / self.N
        gamma = _matrix(self.gamma)
        residual = gamma * (W.mT @ H) - self._Y
        G = gamma / self.n * (W @ residual)
        out = torch.empty_like(state)
        out_W, out_A, out_U = self.unpack(out)
        out_W.copy_(gamma / self.n * (H @ residual.mT) + _matrix(self.decay_W) * W)
        decay = _matrix(self.decay)
        for block in blocks:
            # One block alone is still there from the features.
            s = saved if len(blocks) == 1 else self._sigma(self.X @ U[..., block])
            a, u = A[..., block], U[..., block]
            out_A[..., block] = G @ s * self._truncated_slope(a) + decay * a
            pull = self._slope(s) * (G.mT @ self._truncated(a))
            out_U[..., block] = self.X.mT @ pull + decay * u
        return out

    # --- The law of the particles ---------------------------------------------------------------

    def second_moment(self, state: Tensor) -> Tensor:
        """Return E[a a^T], shape ``(*batch, p, p)``."""
        A = self.unpack(state)[1]
        return A @ A.mT / self.N

    def layer_difference(self, state: Tensor) -> Tensor:
        """Return E[a a^T] - W W^T, shape ``(*batch, p, p)``."""
        W = self.unpack(state)[0]
        return self.second_moment(state) - W @ W.mT

    def kernel(self, state: Tensor) -> Tensor:
        """Return K = E[sigma(X u) sigma(X u)^T], shape ``(*batch, n, n)``.

        Source: Wu and Mondelli (2025), the kernel K_rho(X, X).
        """
        return self._mean_product(state, self._sigma)

    def slope_kernel(self, state: Tensor) -> Tensor:
        """Return K' = E[sigma'(X u) sigma'(X u)^T] * X X^T, shape ``(*batch, n, n)``.

        It is what the motion of u adds to K where E[a a^T] = I, whatever u is: there the residual
        moves as -gamma^2 W^T W R (K + K') / n.
        """
        slopes = self._mean_product(state, lambda z: self._slope(self._sigma(z)))
        return slopes * (self.X @ self.X.mT)

    def _mean_product(self, state: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the mean over the particles of of(X u) of(X u)^T."""
        U = self.unpack(state)[2]
        K = 0
        for block in self._blocks(U, self.X):
            s = of(self.X @ U[..., block])
            K = K + s @ s.mT
        return K / self.N

    def _blocks(self, U: Tensor, X: Tensor) -> Iterator[slice]:
        """Yield slices of particles whose activations on X are about _BLOCK numbers."""
        runs = max(1, U[..., 0, 0].numel())
        step = max(1, _BLOCK // (runs * X.shape[-2]))
        yield from (slice(at, min(at + step, self.N)) for at in range(0, self.N, step))

    def _truncated(self, a: Tensor) -> Tensor:
        """Return tau(a)."""
        if self.truncation is None:
            return a
        R = _matrix(self.truncation)
        return R * (a / R).tanh()

    def _truncated_slope(self, a: Tensor) -> Tensor | float:
        """Return tau'(a)."""
        if self.truncation is None:
            return 1.0
        return 1 - (a / _matrix(self.truncation)).tanh().square()


def _matrix(value: Tensor) -> Tensor:
    """Return a number a run in a shape that broadcasts against its matrices."""
    return value[..., None, None]


def _squares(x: Tensor) -> Tensor:
    """Return the squared Frobenius norm of each matrix."""
    return x.square().sum((-2, -1))

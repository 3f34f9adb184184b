"""The two-layer ReLU network without biases, its losses in the log domain.

Min, Zhu, Vidal, Neural collapse under gradient flow on shallow ReLU networks for orthogonally
separable data (2025).
"""

import math
from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from ncbook.frames import centring
from ncbook.runtime import Runtime, generator, label_tensor, tensors, whole

EXPONENTIAL, LOGISTIC, CROSS_ENTROPY = LOSSES = ("exponential", "logistic", "cross-entropy")


def log_sample_loss(excess: Tensor, loss: str) -> Tensor:
    """Return the logarithm of a sample's loss, given the log odds M against its label.

    The loss is exp(M), 2 log(1 + exp(M)) or log(1 + exp(M)) for the exponential, logistic and
    cross-entropy loss. M is -y f for a scalar output, and the log of the sum over the other
    classes of exp(f_k - f_y) for K outputs.

    Source: Min, Zhu and Vidal (2025), the losses of both cases.
    """
    if loss == EXPONENTIAL:
        return excess
    # Below -37 the double 1 + exp(M) is 1, and log log(1 + exp(M)) = M to rounding.
    soft = torch.where(excess < -37, excess, torch.log(-logsigmoid(-excess.clamp_min(-37))))
    return soft + math.log(2) if loss == LOGISTIC else soft


def log_sample_slope(excess: Tensor, loss: str) -> Tensor:
    """Return the logarithm of the derivative of a sample's loss in M; see log_sample_loss."""
    if loss == EXPONENTIAL:
        return excess
    return logsigmoid(excess) + (math.log(2) if loss == LOGISTIC else 0.0)


def _unit(columns: Tensor) -> Tensor:
    """Return the columns divided by their norms."""
    return columns / columns.norm(dim=-2, keepdim=True)


class ShallowReLU:
    """The network f(x) = V relu(W^T x) = sum_j v_j relu(<w_j, x>) on its data, for a batch of runs.

    A state is a flat tensor of shape ``(*batch, P)``, P = h (D + d_y), holding W (D x h) and V
    (d_y x h), each by rows; column j of both is neuron pair j. The loss is a sum over the samples.
    Two classes with a scalar output (d_y = 1): exponential, exp(-y f), or logistic,
    2 log(1 + exp(-y f)), where y is +1 for class 0 and -1 for class 1. K classes (d_y = K):
    cross-entropy. ReLU'(0) = 0.

    Parameters
    ----------
    X : Tensor
        The samples, ``(n, D)`` shared by all runs, or ``(*b, n, D)``, one data set a run, where b
        broadcasts against the batch of a state. Its dtype and device are the model's.
    y : sequence of int or Tensor
        The n labels, 0 to K - 1.
    K : int
        Classes, at least 2.
    width : int
        Neurons h, at least 1.
    loss : {"exponential", "logistic", "cross-entropy"}
        The first two are for K = 2.

    Raises
    ------
    ValueError
        An argument is not as described.

    Examples
    --------
    Two classes on the axes of the plane, up to L = exp(-30): the features lie on two rays.

    >>> from ncbook import metrics, runtime
    >>> from ncbook.dynamics.rescaled import rescaled_flow
    >>> run = runtime.start("cpu")
    >>> X = run.tensor([[2.0, 0.2], [1.0, 0.1], [-1.0, 0.1], [-2.0, -0.3]])
    >>> network = ShallowReLU(X, [0, 0, 1, 1], K=2, width=16, loss="logistic")
    >>> starts = network.balanced_start(run.tensor([1e-4]), seeds=range(3), run=run)
    >>> ended = rescaled_flow(network, starts, levels=[30.0])
    >>> ended.status.tolist()
    [['finished', 'finished', 'finished']]
    >>> angles = metrics.largest_angle(network.features(ended.final), network.y)
    >>> bool((angles < 1e-2).all())
    True
    """

    def __init__(self, X: Tensor, y: Sequence[int] | Tensor, K: int, width: int, loss: str) -> None:
        if loss not in LOSSES:
            raise ValueError(f"Unknown loss {loss!r}; known are {', '.join(LOSSES)}.")
        K, width = whole("K", K, 2), whole("width", width, 1)
        tensors(X=X)
        if loss != CROSS_ENTROPY and K > 2:
            raise ValueError(
                f"The {loss} loss has a scalar output, for K = 2 classes, and K is {K}; "
                "choose the cross-entropy loss."
            )
        if X.ndim < 2 or not X.is_floating_point():
            raise ValueError(
                f"X has shape {tuple(X.shape)} and dtype {X.dtype}; expected floating point "
                "numbers of shape (n, D), or (..., n, D) for one data set a run."
            )
        y = label_tensor(y, X.device)
        fits = y.shape == X.shape[-2:-1] and bool((y == y.long()).all())
        if not fits or len(y) == 0 or int(y.min()) < 0 or int(y.max()) >= K:
            raise ValueError(
                f"The labels have shape {tuple(y.shape)} and the samples {tuple(X.shape)}; "
                f"expected one whole number from 0 to {K - 1} for each of the n samples."
            )
        self.X, self.y, self.K, self.width, self.loss = X, y.long(), K, width, loss
        self.D = X.shape[-1]
        self.outputs_size = 1 if loss != CROSS_ENTROPY else self.K
        self.size = self.width * (self.D + self.outputs_size)
        self._own = one_hot(self.y, self.K).bool()
        self._sign = (1 - 2 * self.y).to(X.dtype)  # read for a scalar output alone

    @property
    def pseudo_labels(self) -> Tensor:
        """The pseudo-labels e~_k as columns, ``(d_y, K)``, of unit norm.

        E~ = sqrt(K/(K-1)) (I - 11^T/K), or (+1, -1) for a scalar output: the directions in which
        the classes pull the output weights while the outputs are small.

        Source: Min, Zhu and Vidal (2025), Assumption 4.
        """
        if self.outputs_size == 1:
            return self.X.new_tensor([[1.0, -1.0]])
        return self.label_scale * centring(self.K, self.X)

    @property
    def label_scale(self) -> float:
        """The c of f = a e~_k having margin c a: sqrt(K/(K-1)), and 1 for a scalar output."""
        return 1.0 if self.outputs_size == 1 else math.sqrt(self.K / (self.K - 1))

    def unpack(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return views W ``(*batch, D, h)`` and V ``(*batch, d_y, h)``."""
        W, V = theta.split([self.D * self.width, self.outputs_size * self.width], dim=-1)
        return W.unflatten(-1, (self.D, self.width)), V.unflatten(-1, (-1, self.width))

    def pack(self, W: Tensor, V: Tensor) -> Tensor:
        """Return the flat state of W and V, shape ``(*batch, P)``."""
        return torch.cat([W.flatten(-2), V.flatten(-2)], dim=-1)

    def on_rays(self, w: Tensor, phi: Tensor) -> Tensor:
        """Return the network that Theorem 1 ends at, of one vector w_k for each class.

        W = sum_k w_k phi_k^T and V = sum_k s_k e~_k phi_k^T with s_k = ``|w_k|``: rank one a class,
        balanced, and f(x) = s_k <w_k, x> e~_k on class k once the classes are separated.

        Source: Min, Zhu and Vidal (2025), Theorem 1.

        Parameters
        ----------
        w : Tensor
            As rows, ``(*batch, K, D)``.
        phi : Tensor
            Unit rows, orthogonal and not negative, ``(*batch, K, h)``.

        Returns
        -------
        Tensor
            Shape ``(*batch, P)``.
        """
        return self.pack(w.mT @ phi, self.pseudo_labels @ (w.norm(dim=-1, keepdim=True) * phi))

    def for_runs(self, batch: Sequence[int], index: Tensor) -> "ShallowReLU":
        """Return the network on the data of some runs of a batch: itself if all share the data.

        Parameters
        ----------
        batch : sequence of int
            Shape of the batch of runs.
        index : Tensor
            Numbers of the runs in the flattened batch, shape ``(R,)``.
        """
        if self.X.ndim == 2:
            return self
        net = copy(self)
        net.X = self.X.expand(*batch, *self.X.shape[-2:]).reshape(-1, *self.X.shape[-2:])[index]
        return net

    # --- The network ----------------------------------------------------------------------------

    def preactivations(self, theta: Tensor, X: Tensor | None = None) -> Tensor:
        """Return <w_j, x_i>, shape ``(*batch, n, h)``, of the model's samples or of ``X``."""
        return (self.X if X is None else X) @ self.unpack(theta)[0]

    def active(self, theta: Tensor, X: Tensor | None = None) -> Tensor:
        """Return which neurons are active on which samples, boolean ``(*batch, n, h)``."""
        return self.preactivations(theta, X) > 0

    def features(self, theta: Tensor, X: Tensor | None = None) -> Tensor:
        """Return the features phi(x_i) = relu(W^T x_i), shape ``(*batch, n, h)``."""
        return self.preactivations(theta, X).relu()

    def outputs(self, theta: Tensor, X: Tensor | None = None) -> Tensor:
        """Return f(x_i), shape ``(*batch, n, d_y)``."""
        return self.features(theta, X) @ self.unpack(theta)[1].mT

    # --- The loss -------------------------------------------------------------------------------

    def _excess(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log odds M against the label, ``(*batch, n)``, and -dM/df."""
        if self.outputs_size == 1:
            return -self._sign * f.squeeze(-1), self._sign.unsqueeze(-1)
        own = f.gather(-1, self.y.expand(f.shape[:-1]).unsqueeze(-1))
        others = (f - own).masked_fill(self._own, -torch.inf)
        M = others.logsumexp(-1)
        return M, self._own.to(f.dtype) - (others - M.unsqueeze(-1)).exp()

    def sample_log_losses(self, theta: Tensor) -> Tensor:
        """Return the logarithm of each sample's loss, shape ``(*batch, n)``; it cannot underflow.

        Its absolute error is the rounding of the outputs: 1e-11 where they are of size 1e5.
        """
        return log_sample_loss(self._excess(self.outputs(theta))[0], self.loss)

    def class_log_losses(self, theta: Tensor) -> Tensor:
        """Return the logarithm of each class's share of the loss, shape ``(*batch, K)``."""
        samples = self.sample_log_losses(theta).unsqueeze(-1)
        return samples.masked_fill(~self._own, -torch.inf).logsumexp(-2)

    def sample_shares(self, theta: Tensor) -> Tensor:
        """Return each sample's share of its own class's loss, shape ``(*batch, n)``.

        Late in training it is the weight with which the sample pulls its class's neurons.
        """
        own = self.class_log_losses(theta)[..., self.y]
        return (self.sample_log_losses(theta) - own).exp()

    def log_loss(self, theta: Tensor) -> Tensor:
        """Return log L, shape ``batch``, right at any size of L."""
        return self.sample_log_losses(theta).logsumexp(-1)

    def field(self, theta: Tensor) -> Tensor:
        """Return minus the gradient of the loss as a flat tensor."""
        log_L, field = self.log_loss_and_rescaled_field(theta)
        return log_L.exp().unsqueeze(-1) * field

    def rescaled_field(self, theta: Tensor) -> Tensor:
        """Return -grad L / L = grad log(1/L) as a flat tensor; it underflows at no size of L."""
        return self.log_loss_and_rescaled_field(theta)[1]

    def log_loss_and_rescaled_field(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return log L and -grad L / L in one pass; see rescaled_field."""
        log_L, dW, dV, _ = self.gated_field(theta, self.active(theta))
        return log_L, self.pack(dW, dV)

    def gated_field(self, theta: Tensor, active: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return log L and -grad L / L of the network whose neurons are active where it is said.

        Parameters
        ----------
        theta : Tensor
            ``(*batch, P)``.
        active : Tensor
            ``(*batch, n, h)``, boolean or 0 and 1: neuron j gives <w_j, x_i> where it is, and 0
            elsewhere.

        Returns
        -------
        tuple of Tensor
            log L, shape ``batch``; the field of W ``(*batch, D, h)`` and of V ``(*batch, d_y, h)``;
            and the pull of each sample on each neuron, <-dL/df_i / L, v_j>, ``(*batch, n, h)``,
            whether it is active or not. None of them underflows at any size of L.
        """
        W, V = self.unpack(theta)
        features = (self.X @ W) * active
        M, towards = self._excess(features @ V.mT)
        log_L = log_sample_loss(M, self.loss).logsumexp(-1)
        # Divided by L before leaving the log domain.
        slope = (log_sample_slope(M, self.loss) - log_L.unsqueeze(-1)).exp()
        G = slope.unsqueeze(-1) * towards
        pull = G @ V
        return log_L, self.X.mT @ (pull * active), G.mT @ features, pull

    def loss_gradient(
        self, theta: Tensor, X: Tensor, y: Tensor, gates: Tensor | None = None
    ) -> Tensor:
        """Return the gradient of the mean cross-entropy over given samples, for SGD.

        Parameters
        ----------
        theta : Tensor
            ``(R, P)``.
        X : Tensor
            A mini-batch, ``(b, D)`` shared by all runs, or one a run, ``(R, b, D)``.
        y : Tensor
            Their labels, ``(b,)`` or ``(R, b)``, int64.
        gates : Tensor, optional
            Vectors g_j, ``(R, D, h)``, that decide in the weights' place: neuron j gives
            <w_j, x> where <g_j, x> > 0 and 0 elsewhere. With it the network is linear in W.

        Returns
        -------
        Tensor
            ``(R, P)``, each run by itself.

        Raises
        ------
        ValueError
            The model has another loss.
        """
        if self.loss != CROSS_ENTROPY:
            raise ValueError(
                f"The model has the {self.loss} loss; the gradient over mini-batches is there for "
                "the cross-entropy loss."
            )
        W, V = self.unpack(theta)
        runs = len(theta)
        # Neurons by rows: on shared samples those of all runs are one matrix, and one product.
        shared = X.ndim == 2
        W = W.mT.reshape(-1, self.D) if shared else W.mT
        features = (W @ X.mT).reshape(runs, self.width, -1)
        if gates is None:
            active = features > 0
        else:
            gates = gates.mT.reshape(-1, self.D) if shared else gates.mT
            active = (gates @ X.mT).reshape(features.shape) > 0
        features = features.mul_(active)
        slope = (V @ features).softmax(-2) - one_hot(y, self.K).mT
        slope = slope.div_(X.shape[-2])
        towards = (V.mT @ slope).mul_(active)
        towards = towards.flatten(0, 1) if shared else towards
        grad_W = (towards @ X).reshape(runs, self.width, self.D)
        return self.pack(grad_W.mT, slope @ features.mT)

    # --- What the neurons do --------------------------------------------------------------------

    def groups(self, theta: Tensor) -> Tensor:
        """Return each neuron's group, the k of largest <e~_k, v_j>, integers ``(*batch, h)``.

        For a scalar output it is 0 where v_j > 0 and 1 where v_j < 0. A tie goes to the first.

        Source: Min, Zhu and Vidal (2025), the sets N_k of Assumption 4 and Figure 3.
        """
        return (self.pseudo_labels.T @ self.unpack(theta)[1]).argmax(-2)

    def dead(self, theta: Tensor) -> Tensor:
        """Return which neurons no sample activates, boolean ``(*batch, h)``; they never move."""
        return ~self.active(theta).any(-2)

    def separated(self, theta: Tensor) -> Tensor:
        """Return whether each neuron is active on its own class alone, boolean ``batch``.

        A neuron must be active on every sample of its group's class and on no other, or be dead.
        From then on the loss splits into one linear network a class.

        Source: Min, Zhu and Vidal (2025), Proposition 1.
        """
        active = self.active(theta)
        own = self.y.unsqueeze(-1) == self.groups(theta).unsqueeze(-2)
        return ((active == own).all(-2) | ~active.any(-2)).all(-1)

    def covered(self, theta: Tensor) -> Tensor:
        """Return which classes activate some neuron of their own group, boolean ``(*batch, K)``."""
        own = self.y.unsqueeze(-1) == self.groups(theta).unsqueeze(-2)
        useful = (self.active(theta) & own).any(-1)
        return (useful.unsqueeze(-1) & self._own).any(-2)

    # --- Starts ---------------------------------------------------------------------------------

    def balanced_start(self, eps: Tensor, seeds: Sequence[int], run: Runtime) -> Tensor:
        """Return small, balanced random starts: w_j = eps w_j0, v_j = eps v_j0 of unit norms.

        w_j0 is uniform on the sphere; v_j0 is uniform on the unit sphere of the pseudo-labels'
        span, which for a scalar output means a random sign. A seed has the same directions at
        every eps.

        Source: Min, Zhu and Vidal (2025), Assumption 2.

        Parameters
        ----------
        eps : Tensor or sequence of float
            Shape ``(A,)``.
        seeds : sequence of int
            S seeds.
        run : Runtime
            Draws the numbers.

        Returns
        -------
        Tensor
            Shape ``(A, S, P)``.
        """
        W, V = self.unpack(run.normal(seeds, self.size))
        V = V if self.outputs_size == 1 else V - V.mean(-2, keepdim=True)
        W, V = W / W.norm(dim=-2, keepdim=True), V / V.norm(dim=-2, keepdim=True)
        return run.tensor(eps)[:, None, None] * self.pack(W, V)

    def semi_local_start(self, eps: Tensor, seeds: Sequence[int], run: Runtime) -> Tensor:
        """Return small, balanced starts at random pairs (x_i, e~ of its label), scaled to eps.

        The first K neurons take one sample of each class, so that every class is covered; the
        others take any. A seed has the same directions at every eps.

        Source: Min, Zhu and Vidal (2025), Assumption 4 and the remark after it.

        Parameters
        ----------
        eps : Tensor or sequence of float
            Shape ``(A,)``.
        seeds : sequence of int
            S seeds. With one data set a run, the last batch dimension of X must fit them.
        run : Runtime
            Moves the numbers.

        Returns
        -------
        Tensor
            Shape ``(A, S, P)``.

        Raises
        ------
        ValueError
            There are fewer neurons than classes, or a class has no samples.
        """
        sizes = self._own.sum(0)
        if self.width < self.K or int(sizes.min()) == 0:
            raise ValueError(
                f"{self.width} neurons and classes of {sizes.tolist()} samples: covering every "
                f"class takes at least {self.K} neurons, and a sample in each class."
            )
        chosen = []
        for seed in seeds:
            g = generator(seed)
            # In a random order, the first sample of each class, and then any.
            order = torch.randperm(len(self.y), generator=g)
            labels = self.y.cpu()[order]
            first = torch.stack([order[labels == k][0] for k in range(self.K)])
            free = torch.randint(len(order), (self.width - self.K,), generator=g)
            chosen.append(torch.cat([first, free]))
        index = torch.stack(chosen).to(self.X.device)
        X = self.X if self.X.ndim > 2 else self.X.unsqueeze(0)
        W = torch.take_along_dim(X, index.unsqueeze(-1), -2).mT
        W = W / W.norm(dim=-2, keepdim=True)
        V = self.pseudo_labels[:, self.y[index]].movedim(0, -2)
        return run.tensor(eps)[:, None, None] * self.pack(W, V)

    def edge_start(self, eps: Tensor, seeds: Sequence[int], run: Runtime, cosine: float) -> Tensor:
        """Return starts at the edge of Assumption 4, on the way between two others, scaled to eps.

        From semi_local_start each neuron turns towards balanced_start of the same seed: w_j for as
        long as A_k, the sum of <x_i, w_j> over its own class's samples that it is active on,
        exceeds twice that over all others; v_j for as long as its cosine to e~_k exceeds
        ``cosine`` and its group stays k; both to 1e-12 of the way. A seed has the same directions
        at every eps.

        Source: Min, Zhu and Vidal (2025), Assumption 4; starts at its edge are made for this book.

        Parameters
        ----------
        eps : Tensor or sequence of float
            Shape ``(A,)``.
        seeds : sequence of int
            S seeds. With one data set a run, the last batch dimension of X must fit them.
        run : Runtime
            Draws the numbers.
        cosine : float
            The threshold of B_k, below 1.

        Returns
        -------
        Tensor
            Shape ``(A, S, P)``.

        Raises
        ------
        ValueError
            The output is a scalar, or a pair (x_i, e~ of its label) itself does not satisfy the
            assumption; and as in semi_local_start.
        """
        if self.outputs_size == 1:
            raise ValueError(
                "Assumption 4 is for K outputs, and this network has one; choose the cross-entropy "
                "loss, or another start."
            )
        one = run.tensor([1.0])
        W, V = map(_unit, self.unpack(self.semi_local_start(one, seeds, run)[0]))
        far_W, far_V = map(_unit, self.unpack(self.balanced_start(one, seeds, run)[0]))
        group = self.groups(self.pack(W, V)).unsqueeze(-2)

        def inside(W: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
            """Return which w_j and which v_j satisfy the assumption, ``(S, 1, h)`` each."""
            A = self._own.T.to(W) @ (self.X @ W).relu()  # (S, K, h)
            own = A.gather(-2, group)
            top, nearest = (self.pseudo_labels.T @ V).max(-2, keepdim=True)
            return own > 2 * (A.sum(-2, keepdim=True) - own), (top > cosine) & (nearest == group)

        if not all(bool(fine.all()) for fine in inside(W, V)):
            raise ValueError(
                f"Some pairs (x_i, e~ of its label) do not satisfy Assumption 4 with the cosine "
                f"{cosine:g}; expected orthogonally separable data and a cosine below 1."
            )
        share_w, share_v = W.new_zeros(2, *group.shape)
        for halving in range(1, 41):
            step = 0.5**halving
            w = _unit(torch.lerp(W, far_W, share_w + step))
            v = _unit(torch.lerp(V, far_V, share_v + step))
            fine_w, fine_v = inside(w, v)
            share_w, share_v = share_w + step * fine_w, share_v + step * fine_v
        theta = self.pack(
            _unit(torch.lerp(W, far_W, share_w)), _unit(torch.lerp(V, far_V, share_v))
        )
        return run.tensor(eps)[:, None, None] * theta

    def random_start(self, sigma: Tensor, seeds: Sequence[int], run: Runtime) -> Tensor:
        """Return starts with i.i.d. N(0, sigma^2) weights, which are not balanced.

        A seed has the same directions at every sigma.

        Source: Min, Zhu and Vidal (2025), the experiment of Figure 3.

        Parameters
        ----------
        sigma : Tensor or sequence of float
            Standard deviations, shape ``(A,)``.
        seeds : sequence of int
            S seeds.
        run : Runtime
            Draws the numbers.

        Returns
        -------
        Tensor
            Shape ``(A, S, P)``.
        """
        return run.tensor(sigma)[:, None, None] * run.normal(seeds, self.size)

"""What the tests of the theory share: sizes, states, starts on S."""

import math

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)

# (C, N, p): the paper's, and some with N = 1, p = C - 1, two classes.
GRID = [(3, 3, 15), (4, 5, 6), (2, 7, 3), (5, 1, 5), (4, 2, 3)]

few = settings(max_examples=20)
seeds = st.integers(0, 2**32)


@st.composite
def sizes(draw, roomy: bool = False) -> tuple[int, int, int]:
    """Small (C, N, p); ``roomy`` leaves room for the simplex, p >= C - 1."""
    C = draw(st.integers(2, 5))
    return C, draw(st.integers(1, 4)), draw(st.integers(C - 1 if roomy else 1, 6))


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def random_parts(C: int, N: int, p: int, seed: int, *batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """A random (H, W, b)."""
    model = UnconstrainedFeatures(C, N, p)
    return model.unpack(normal(seed, *batch, model.size))


def start_on_S(
    C: int, N: int, p: int, seed: int, norm: float = 0.5, beta: float = 0.0, rank: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """A start (H, W, b) on S, written out here: no function of the theory takes part.

    ``rank`` limits the rank of W.
    """
    W = normal(seed, C, p)
    if rank is not None:
        W = normal(seed, C, rank) @ normal(seed + 1, rank, p)
    W = W - W.mean(0)
    W = W * (norm / W.norm())
    H = torch.kron(W, torch.ones(N, 1, dtype=torch.float64)).T / math.sqrt(N)
    return H, W, torch.full((C,), beta, dtype=torch.float64)


def centred_identity(C: int) -> Tensor:
    return torch.eye(C, dtype=torch.float64) - torch.ones(C, C, dtype=torch.float64) / C


def collapse_errors(model: UnconstrainedFeatures, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three quantities of Figure 1, from its caption."""
    H, W, b = model.unpack(z)
    C, N = model.C, model.N
    lifted = torch.kron(W, torch.ones(N, 1, dtype=W.dtype)).mT / math.sqrt(N)
    frame = torch.linalg.matrix_norm(W @ W.mT - math.sqrt(N) * centred_identity(C))
    duality = torch.linalg.matrix_norm(H - lifted) / torch.linalg.matrix_norm(H)
    return frame, duality, (b - 1 / C).norm(dim=-1)


def relative_distance_from_S(model: UnconstrainedFeatures, z: Tensor) -> Tensor:
    """||Z - P_S Z||_E / ||Z||_E, from the parts that are orthogonal to S."""
    H, W, b = model.unpack(z)
    grouped = H.unflatten(-1, (model.C, model.N))
    means = grouped.mean(-1)
    across = centred_identity(model.C) @ (W - math.sqrt(model.N) * means.mT)
    outside = (
        (grouped - means.unsqueeze(-1)).flatten(-3).square().sum(-1)
        + model.n * H.mean(-1).square().sum(-1)
        + model.C * W.mean(-2).square().sum(-1)
        + across.square().sum(dim=(-2, -1)) / 2
        + (b - b.mean(-1, keepdim=True)).square().sum(-1)
    )
    return outside.sqrt() / z.norm(dim=-1)


def distance(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> float:
    """Largest entry of the difference of two states in parts."""
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))

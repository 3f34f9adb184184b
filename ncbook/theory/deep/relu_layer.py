r"""What two layers with a ReLU between leave undetermined: the features, but for a cone.

Where the layer after the ReLU is an orthogonal frame of length a, the cheapest pre-activations are,
in the frame's coordinates, all :math:`a P` with P positive semidefinite, of unit diagonal, and
without positive entry beside it; the features' Gram matrix is a multiple of P.

Source: derived here, after Tirer, Bruna (2022).
"""

import torch
from torch import Tensor

from ncbook.theory.deep.classes import ClassProblem


def state(P: Tensor, problem: ClassProblem) -> tuple[Tensor, list[Tensor]]:
    """Return H and [W_1, W_2] with the pre-activation a P, at the collapsed minimum.

    Parameters
    ----------
    P : Tensor
        Positive semidefinite of unit diagonal, shape ``(*batch, K, K)``; it costs the least where
        no other entry is positive.
    problem : ClassProblem
        Of K classes of one size, two layers.

    Raises
    ------
    ValueError
        The problem has other sizes or layers, or P is not K x K.
    """
    K = len(problem.sizes)
    if len(set(problem.sizes)) > 1 or problem.layers != 2 or P.shape[-2:] != (K, K):
        raise ValueError(
            f"P has shape {tuple(P.shape)}, the problem {problem.layers} layers and classes of "
            f"{problem.sizes}: expected K x K, two layers and classes of one size."
        )
    first, _, of_features = problem.decays
    s = problem.output()
    w = float(problem.weights(s)[0].sqrt())
    a = float(s[0]) / w
    values, vectors = torch.linalg.eigh(P)
    root = vectors @ (values.clamp(min=0).sqrt().unsqueeze(-1) * vectors.mT)
    ratio = (problem.sizes[0] * of_features / first) ** 0.25
    eye = torch.eye(K).to(P)
    return root * a**0.5 / ratio, [root * a**0.5 * ratio, (w * eye).expand_as(P)]


def crossed(K: int) -> Tensor:
    """Return the P of least rank, K/2 up: pairs of classes with opposite features, ``(K, K)``.

    No more than 2 r vectors in r dimensions have no positive inner product.
    """
    P = torch.eye(K, dtype=torch.float64)
    first = torch.arange(0, K - 1, 2)
    P[first, first + 1] = P[first + 1, first] = -1.0
    return P

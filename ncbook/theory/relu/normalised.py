r"""Rays behind a normalisation: RMS makes them points, LayerNorm points that are not orthogonal.

Both normalisations forget a feature's length, so that the ray of phi_k becomes one point.

- RMS: sqrt(h) phi_k. The points stay orthogonal.
- LayerNorm subtracts the mean over the h coordinates first, which is the projection P = I - ee^T
  with e = 1/sqrt(h): sqrt(h) P phi_k / ``|P phi_k|``. With a_k = <e, phi_k> and c_k =
  sqrt(1 - a_k^2), as <P phi_k, P phi_l> = -a_k a_l, the cosines between classes are
  -a_k a_l / (c_k c_l): negative, since phi_k >= 0. They are -1/(K - 1), a simplex, if all a_k^2 are
  1/K, as with equally many neurons of one size for each class.

Source: the remark on Theorem 1 of Min, Zhu and Vidal (2025) for RMS; LayerNorm is derived here.
"""

import torch
from torch import Tensor


def layer_norm_shares(phi: Tensor) -> Tensor:
    """Return a_k^2 = <1, phi_k>^2 / h, ``(*batch, K)``; they add up to at most 1.

    h_k / h for a class with h_k equally large neurons of h.

    Parameters
    ----------
    phi : Tensor
        Orthonormal rows, ``(*batch, K, h)``.
    """
    return phi.sum(-1).square() / phi.shape[-1]


def layer_norm_cosines(phi: Tensor) -> Tensor:
    """Return the cosines between the classes' points behind LayerNorm, ``(*batch, K, K)``.

    Parameters
    ----------
    phi : Tensor
        Orthonormal rows that are not negative, ``(*batch, K, h)``.
    """
    shares = layer_norm_shares(phi)
    slope = (shares / (1 - shares)).sqrt()
    cosines = -slope.unsqueeze(-1) * slope.unsqueeze(-2)
    return cosines.diagonal_scatter(torch.ones_like(shares), dim1=-2, dim2=-1)

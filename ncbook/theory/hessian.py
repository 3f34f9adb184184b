"""Curvature without its matrix: products with a Hessian, and their extreme eigenvalues.

A product takes a vector ``(P,)`` to a vector ``(P,)``, as a symmetric matrix does. Where the matrix
is small, :func:`ncbook.theory.linear.jacobian` has it whole.
"""

from collections.abc import Callable

import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from ncbook.runtime import generator

Product = Callable[[Tensor], Tensor]
SIDES = ("largest", "smallest")


def hessian(function: Callable[[Tensor], Tensor], z: Tensor) -> Product:
    """Return the product with the Hessian of a function of one state at z.

    The gradient's graph is made once, and a product is one pass back through it: a tenth of what
    torch.func takes, which makes all anew for each.

    Parameters
    ----------
    function : callable
        ``(P,)`` to a number, twice differentiable by torch at z. On either side of a ReLU's kink
        there is no curvature, and what the kink itself has is left out.
    z : Tensor
        Shape ``(P,)``.
    """
    at = z.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(at), at, create_graph=True)
    return lambda v: _back(gradient, at, v)


def gauss_newton(outputs: Callable[[Tensor], Tensor], z: Tensor) -> Product:
    """Return the product with J^T J, J the Jacobian of a function of one state at z.

    It is the Hessian of half the square norm of the outputs, linearised about z.
    """
    at = z.detach().clone().requires_grad_()
    found = outputs(at)
    above = torch.zeros_like(found, requires_grad=True)
    (pulled,) = torch.autograd.grad(found, at, above, create_graph=True)  # linear in what is above
    return lambda v: _back(found, at, _back(pulled, above, v))


def _back(of: Tensor, at: Tensor, v: Tensor) -> Tensor:
    """Return the transposed derivative of ``of`` at ``at``, applied to v; 0 without one."""
    if not of.requires_grad:
        return torch.zeros_like(at)
    (found,) = torch.autograd.grad(of, at, v, retain_graph=True, materialize_grads=True)
    return found


def block(product: Product, part: slice, size: int) -> Product:
    """Return the product with a diagonal block: that of the coordinates ``part`` of ``size``."""

    def within(v: Tensor) -> Tensor:
        whole = v.new_zeros(size)
        whole[part] = v
        return product(whole)[part]

    return within


def extreme(product: Product, like: Tensor, side: str = "largest", tol: float = 1e-8) -> Tensor:
    """Return the largest or the smallest eigenvalue of a product, by ARPACK's Lanczos method.

    Parameters
    ----------
    product : callable
    like : Tensor
        Shape ``(P,)``: of the vectors that it takes, with their dtype and device.
    side : {"largest", "smallest"}
        By value, not by modulus, as a power iteration would have it.
    tol : float
        Accuracy relative to the greatest modulus of an eigenvalue. So an end at 0 is found: asked
        for an eigenvalue of 0 to a share of itself, ARPACK would not end.

    Returns
    -------
    Tensor
        Without dimensions; not finite where what the product gives is not.

    Raises
    ------
    ValueError
        ``side`` is neither, or ``like`` is no vector.
    """
    if side not in SIDES or like.ndim != 1:
        raise ValueError(
            f"side = {side!r} of vectors of shape {tuple(like.shape)}: expected one of "
            f"{', '.join(SIDES)}, and one vector."
        )
    size, dtype = len(like), like.new_zeros(()).cpu().numpy().dtype
    tol = max(tol, 64 * torch.finfo(like.dtype).eps)
    first = torch.randn(size, generator=generator(0), dtype=torch.float64).numpy()

    def farthest(shift: float, vectors: int) -> float:
        """Return the eigenvalue that is farthest from the shift, less the shift."""

        def times(v):
            there = torch.from_numpy(v.reshape(-1).copy()).to(like)
            return (product(there) - shift * there).detach().cpu().numpy()

        matrix = LinearOperator((size, size), matvec=times, dtype=dtype)
        options = {"tol": tol, "v0": first, "ncv": min(size, vectors)}
        return float(eigsh(matrix, 1, which="LM", return_eigenvectors=False, **options)[0])

    if size < 3:  # ARPACK needs room
        rows = torch.stack([product(one) for one in torch.eye(size).to(like)])
        return torch.linalg.eigvalsh(rows)[-1 if side == "largest" else 0]
    pushed = torch.linalg.vector_norm(product(torch.from_numpy(first).to(like)))
    if not bool(pushed.isfinite()) or float(pushed) == 0:  # ARPACK takes neither
        return pushed.detach()
    far = farthest(0.0, 12)
    if (far > 0) != (side == "largest"):  # it is the other end, and the farthest from that is ours
        far = farthest(far, 20) + far
    return like.new_tensor(far)


def extremes(
    function: Callable[[Tensor], Tensor],
    z: Tensor,
    side: str = "largest",
    part: slice | None = None,
    tol: float = 1e-8,
) -> Tensor:
    """Return the largest or the smallest eigenvalue of a function's Hessian at every state.

    Parameters
    ----------
    function : callable
        ``(P,)`` to a number.
    z : Tensor
        Shape ``(*batch, P)``.
    part : slice, optional
        Take the diagonal block of these coordinates in place of the whole.
    side, tol
        As of :func:`extreme`.

    Returns
    -------
    Tensor
        Shape ``batch``; NaN where the state is not finite.
    """

    def of(state: Tensor) -> Tensor:
        if not bool(state.isfinite().all()):
            return state.new_tensor(torch.nan)
        product = hessian(function, state)
        if part is None:
            return extreme(product, state, side, tol)
        return extreme(block(product, part, len(state)), state[part], side, tol)

    return torch.stack([of(one) for one in z.reshape(-1, z.shape[-1])]).view(z.shape[:-1])

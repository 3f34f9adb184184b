"""Sentences for arguments that cannot be measured."""

import math
import operator

import torch
from torch import Tensor


def floating(name: str, tensor: Tensor, layout: str) -> Tensor:
    """Return ``tensor`` if it holds real floating-point numbers in enough dimensions.

    Parameters
    ----------
    name
        The argument's name, for the message.
    tensor
        The argument.
    layout
        The expected shape, as in ``"(..., K, D)"``.

    Raises
    ------
    ValueError
        Not a tensor, not real floating point, or too few dimensions.
    """
    is_tensor(name, tensor, layout)
    if not tensor.is_floating_point():
        raise ValueError(
            f"{name} has dtype {tensor.dtype}, but real floating-point numbers are expected; "
            f"convert it with .double() or .float()."
        )
    dims = layout.count(",")
    if tensor.dim() < dims:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, but {layout} is expected; "
            f"give it at least {dims} dimension{'s' if dims > 1 else ''}."
        )
    return tensor


def is_tensor(name: str, value: Tensor, layout: str) -> Tensor:
    """Return ``value`` if it is a tensor (else ``ValueError``)."""
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{name} is a {type(value).__name__}, but a torch tensor {layout} is expected; "
            f"convert it with torch.as_tensor."
        )
    return value


def count(name: str, value: int, least: int) -> int:
    """Return an integer of any library as an int, if it is at least that (else ``ValueError``)."""
    try:
        # A tensor of one boolean calls itself an index.
        boolean = isinstance(value, bool) or getattr(value, "dtype", None) is torch.bool
        number = least - 1 if boolean else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(
            f"{name} is {value!r}, but an integer of at least {least} is expected; give a count."
        )
    return number


def rows(name: str, tensor: Tensor, layout: str = "(..., K, D)") -> Tensor:
    """Return ``tensor`` if it is a stack of at least two rows to compare (else ``ValueError``)."""
    floating(name, tensor, layout)
    if tensor.shape[-2] < 2:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, that is {tensor.shape[-2]} row(s), "
            f"but a geometry needs at least 2; give one row for each class."
        )
    return tensor


def weighting(value: str) -> str:
    """Return ``value`` if it is ``"class"`` or ``"sample"`` (else ``ValueError``)."""
    if value not in ("class", "sample"):
        raise ValueError(
            f'weighting is {value!r}, but "class" or "sample" is expected; use "class" for '
            f'averages in which each class counts once, "sample" for averages over all samples.'
        )
    return value


def one_device(**tensors: Tensor) -> None:
    """Check that the named tensors share a device and a dtype (else ``ValueError``)."""
    (first, *others) = tensors.items()
    for name, tensor in others:
        if (tensor.device, tensor.dtype) != (first[1].device, first[1].dtype):
            raise ValueError(
                f"{name} is {tensor.dtype} on {tensor.device}, but {first[0]} is "
                f"{first[1].dtype} on {first[1].device}; bring both to one dtype and device "
                f"with .to()."
            )


def scale(tensor: Tensor, dtype: torch.dtype | None = None, power: int = 2) -> Tensor:
    """Return what to divide each matrix of a stack by, so that powers can be summed: (...).

    A power of 2 near its largest entry; 1 where that power of it keeps well within the range of
    the dtype (by default the tensor's), and where an entry is not finite. The least number where
    all are 0.
    """
    info = torch.finfo(dtype or tensor.dtype)
    largest = tensor.abs().flatten(-2).amax(-1).to(dtype or tensor.dtype)
    mantissa, exponent = torch.frexp(largest)
    within = exponent.abs() <= math.log2(info.max) / (2 * power)
    found = torch.ldexp(torch.ones_like(mantissa), exponent - 1)
    found = torch.where(within | ~largest.isfinite(), 1.0, found)
    return torch.where(largest == 0, info.tiny, found)


def finite(tensor: Tensor) -> Tensor:
    """Return, for each matrix of a stack, whether all its entries are finite: (...)."""
    return torch.isfinite(tensor).all(-1).all(-1)

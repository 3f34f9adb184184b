"""A second device for machines that have none: what is on it refuses what a real one refuses.

A tensor on it computes on the CPU, and says that it is elsewhere. It does not mix with tensors on
the CPU, nor with numpy; under ``torch.use_deterministic_algorithms`` it raises where CUDA does; and
whatever makes the host wait for it is counted. Two kinds are emulated: ``"cuda"``, and ``"mps"``,
which has no float64 and lacks some decompositions, and refuses besides all that CUDA refuses, so
that what runs on it runs on both.

What each operator does is seen where PyTorch dispatches it, below the functions that are made of
several; only what asks for a device by name is seen where it is called.

    with emulated("cuda") as device:
        x = torch.ones(3, device="cuda")
        float(x.sum())
    assert device.syncs == 1
"""

import contextlib
import functools
import os
from collections import Counter
from typing import NamedTuple
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
KINDS = ("cuda", "mps")

# What raises on CUDA under use_deterministic_algorithms(True), as torch 2.13 documents it, of what
# this package could come to use: operator -> whether these arguments do.
NOT_DETERMINISTIC = {
    "median": lambda args: len(args) > 1,  # with indices
    "nanmedian": lambda args: len(args) > 1,
    "cumsum": lambda args: args[0].is_floating_point(),
    "histc": lambda args: True,
    "bincount": lambda args: len(args) > 1 and args[1] is not None,  # with weights
    "put_": lambda args: True,
    "nll_loss_forward": lambda args: False,  # only the one of images, which is another operator
    "nll_loss2d_forward": lambda args: True,
    "scatter_reduce": lambda args: args[4:5] == ("prod",),
}
# What gives a result whose size the host must know, or whose success it looks up.
WAITS = {
    "_local_scalar_dense",  # item, bool, int, float
    "equal",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "repeat_interleave",
    "_linalg_check_errors",
    "_linalg_eigh",
    "_linalg_svd",
    "linalg_lstsq",
}
# What torch 2.6 to 2.12 have no kernel for on MPS, of the decompositions.
NOT_ON_MPS = {"_linalg_eigh", "linalg_qr", "_linalg_eigvals", "linalg_eig", "linalg_lstsq"}
# What may take one number from the CPU beside tensors of the device, and is not pointwise.
TAKES_A_NUMBER = {"fill", "fill_", "masked_fill", "masked_fill_"}
INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_"}  # whose indices may be elsewhere
# Functions made of several operators, that make tensors of their own beside those of the device.
WHOLE = {"one_hot", "quantile", "nanquantile", "linalg_matrix_rank", "linalg_pinv"}
NAMES = {*WHOLE, "to", "type_as", "as_tensor", "asarray", "new_tensor", "grad", "backward"}
FLOAT64 = (torch.float64, torch.complex128)


class OnDevice(torch.Tensor):
    """A tensor that says it is on the emulated device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor, home: "Device"):
        if home.kind == "mps" and inner.dtype in FLOAT64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support "
                "float64. Please use float32 instead."
            )
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
        )
        made.inner, made.home = inner, home
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        # Of a chapter's millions of operators most have their tensors first: look no further.
        first = args[0] if args and type(args[0]) is cls else None
        if first is None:
            first = next(x for x in _tensors((args, kwargs or {})) if type(x) is cls)
        return first.home.compute(func, args, kwargs)

    # Asked of a tensor, rather than of an operator.

    @property
    def device(self):
        return self.home.device

    @property
    def is_cuda(self):
        return self.home.kind == "cuda"

    @property
    def is_mps(self):
        return self.home.kind == "mps"

    @property
    def is_cpu(self):
        return False

    def to(self, *args, **kwargs):
        return self.home.moved(self, args, kwargs)

    def cpu(self, **kwargs):
        return self.to(CPU)

    def cuda(self, *args, **kwargs):
        return self.to("cuda")

    def numpy(self, **kwargs):
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy "
            "the tensor to host memory first."
        )

    def __array__(self, *args, **kwargs):
        return self.numpy()

    def tolist(self):
        return self.cpu().tolist()

    def __repr__(self):
        return f"{self.detach().cpu()!r} on {self.device}"

    def __format__(self, spec):
        return format(self.detach().cpu(), spec)

    def __reduce_ex__(self, protocol):
        raise NotImplementedError("an emulated tensor is not written to files")

    def __deepcopy__(self, memo):
        return self.detach().clone()


class Device(TorchFunctionMode):
    """The device itself, while it is there.

    Attributes
    ----------
    kind : "cuda" or "mps"
    waits : Counter
        How often the host waited for it, by the operator that it waited for.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.device = kind, torch.device(kind, 0)
        self.waits = Counter()
        # A real one looks once, when torch is imported.
        self.falls_back = os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK", "0") != "0"

    @property
    def syncs(self) -> int:
        """How often the host waited."""
        return self.waits.total()

    def names(self, place) -> bool:
        """Tell whether an argument names this device."""
        return isinstance(place, str | torch.device) and torch.device(place).type == self.kind

    def wrap(self, out):
        """Put what was computed on the device."""
        return _mapped(out, lambda x: x if isinstance(x, OnDevice) else OnDevice(x, self))

    # Where a device is named: before PyTorch looks for it.

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name not in NAMES and not (kwargs and "device" in kwargs):
            return func(*args, **kwargs) if kwargs else func(*args)
        kwargs = kwargs or {}
        if name == "to":
            return self.moved(args[0], args[1:], kwargs)
        if name == "type_as":
            return self.moved(args[0], args[1:], {})
        if name in ("as_tensor", "asarray") and isinstance(args[0], OnDevice):
            return self.moved(args[0], args[1:], kwargs)
        if name in WHOLE and isinstance(args[0], OnDevice):
            return self.whole(func, args, kwargs)
        if name in ("grad", "backward"):
            with Factories(self):
                return func(*args, **kwargs)
        place = kwargs.get("device")
        if place is None and name == "new_tensor" and isinstance(args[0], OnDevice):
            place = self.device
        if place is None:
            return func(*args, **kwargs)
        if not self.names(place):
            if any(isinstance(x, OnDevice) for x in _tensors(args)):
                out = func(*args, **{**kwargs, "device": CPU})
                return _mapped(out, lambda x: x.inner if isinstance(x, OnDevice) else x)
            return func(*args, **kwargs)
        if kwargs.get("generator") is not None:
            raise RuntimeError(
                f"Expected a '{self.kind}' device type for generator but found 'cpu'"
            )
        return self.wrap(func(*args, **{**kwargs, "device": CPU}))

    def whole(self, func, args, kwargs):
        """Do a function that is made of several operators, as if it were one."""
        tensors = list(_tensors((args, kwargs)))
        if any(not isinstance(x, OnDevice) for x in tensors):
            raise RuntimeError("Expected all tensors to be on the same device.")
        if any(x.requires_grad for x in tensors):
            raise NotImplementedError(f"{func.__name__} is not emulated with gradients.")
        if func.__name__ == "one_hot" and len(args) == 1 and not kwargs:
            self.waits["one_hot of a number of classes to be found"] += 1
        if func.__name__.startswith("linalg"):
            self.waits[func.__name__] += 1
        return self.wrap(func(*_mapped(args, _inner), **_mapped(kwargs, _inner)))

    def moved(self, x: torch.Tensor, args, kwargs):
        """Do ``x.to(...)``, whose arguments may name a device, a dtype, both, or a tensor."""
        place, dtype = x.device, x.dtype
        named = [*args, *(kwargs.get(name) for name in ("device", "dtype", "other"))]
        for value in named:
            if isinstance(value, torch.Tensor):
                place, dtype = value.device, value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, str | torch.device):
                place = torch.device(value)
        rest = {"copy": True} if kwargs.get("copy") else {}
        here, there = isinstance(x, OnDevice), self.names(place)
        if here and not there:
            self.waits["to the CPU"] += 1
            # Autograd would have to know of this way home; no chapter goes it.
            return x.detach().inner.clone().to(dtype)
        if here and not rest and dtype == x.dtype:
            return x
        with torch._C.DisableTorchFunctionSubclass():
            out = torch.Tensor.to(x, dtype, **rest)
        if there and not here:
            return self.wrap(out.clone() if out is x else out)
        return out

    # Where an operator is dispatched.

    def compute(self, func, args, kwargs):
        """Do an operator of which some tensor is on the device, or refuse it."""
        rule, others = _rule(func), []
        plain = _stripped(args, others)
        named = {name: _stripped((x,), others)[0] for name, x in kwargs.items()} if kwargs else {}
        if others:
            self.refuse_to_mix(rule, args, others)
        if rule.special:
            self.refuse(rule, args)
            self.count(rule, args)
        out = func(*plain, **named)
        if rule.writes:
            # It returns the tensors that it was given.
            given = {id(x.inner): x for x in _tensors((args, kwargs or {})) if type(x) is OnDevice}
            return _mapped(out, lambda x: given.get(id(x), x))
        if type(out) is torch.Tensor:
            return OnDevice(out, self)
        return self.wrap(out)

    def refuse_to_mix(self, rule, args, others) -> None:
        """Raise where tensors of two devices meet that may not."""
        if rule.name == "copy_":
            return
        if rule.indexes:
            if not isinstance(args[0], OnDevice):
                raise RuntimeError(
                    "indices should be either on cpu or on the same device as the indexed tensor "
                    "(cpu)"
                )
            others = [x for x in _tensors(args[2:]) if not isinstance(x, OnDevice)]
        for x in others:
            if x.dim() > 0 or not rule.takes_numbers:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, {self.device} and cpu! (when checking the arguments of "
                    f"{rule.name}, one of shape {tuple(x.shape)})"
                )

    def refuse(self, rule, args) -> None:
        """Raise what the kind of device has no way of doing."""
        random = NOT_DETERMINISTIC.get(rule.name)
        if random and torch.are_deterministic_algorithms_enabled() and random(args):
            raise RuntimeError(
                f"{rule.name} does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'."
            )
        if self.kind == "mps" and rule.name in NOT_ON_MPS:
            if not self.falls_back:
                raise NotImplementedError(
                    f"The operator 'aten::{rule.name}' is not currently implemented for the MPS "
                    "device. As a temporary fix, you can set the environment variable "
                    "`PYTORCH_ENABLE_MPS_FALLBACK=1`."
                )
            self.waits[f"{rule.name} on the CPU"] += 1

    def count(self, rule, args) -> None:
        """Count where the host waits."""
        if rule.waits or (rule.name == "copy_" and not isinstance(args[0], OnDevice)):
            self.waits[rule.name] += 1
        elif rule.indexes:
            # How many numbers a mask lets through, the host must know; one value for all of them
            # is filled in without.
            masks = any(
                isinstance(x, OnDevice) and x.dtype in (torch.bool, torch.uint8)
                for x in _tensors(args[1])
            )
            fills = rule.name != "index" and args[2].dim() == 0 and len(args[1]) == 1
            if masks and not fills:
                self.waits[f"{rule.name} by a mask"] += 1


class Factories(TorchDispatchMode):
    """Puts on the device what a derivative makes of nothing: zeros where no gradient came."""

    def __init__(self, home: Device) -> None:
        super().__init__()
        self.home = home

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made_of = next(_tensors((args, kwargs or {})), None)
        return self.home.wrap(out) if made_of is None else out


class _Rule(NamedTuple):
    """What there is to know of an operator."""

    name: str
    waits: bool
    indexes: bool
    takes_numbers: bool  # one number from the CPU beside tensors of the device
    writes: bool  # to tensors that it is given, and returns them
    special: bool  # it may be refused, or the host may wait for it


@functools.cache
def _rule(func) -> _Rule:
    name = func.overloadpacket.__name__
    waits, indexes = name in WAITS, name in INDEXES
    return _Rule(
        name,
        waits,
        indexes,
        torch.Tag.pointwise in func.tags or name in TAKES_A_NUMBER or indexes,
        func._schema.is_mutable,
        waits or indexes or name in {"copy_", *NOT_DETERMINISTIC, *NOT_ON_MPS},
    )


@contextlib.contextmanager
def emulated(kind: str):
    """Let this process have a device of the kind; yield it."""
    device = Device(kind)
    with (
        mock.patch.object(torch.cuda, "is_available", lambda: kind == "cuda"),
        mock.patch.object(torch.cuda, "device_count", lambda: int(kind == "cuda")),
        mock.patch.object(torch.cuda, "get_device_name", lambda device=None: "emulated"),
        mock.patch.object(torch.backends.mps, "is_available", lambda: kind == "mps"),
        device,
    ):
        yield device


def _inner(x: torch.Tensor) -> torch.Tensor:
    return x.inner if isinstance(x, OnDevice) else x


def _stripped(args, others: list) -> list:
    """Return an operator's arguments as they are on the CPU; note tensors of no device."""
    plain = []
    for x in args:
        if type(x) is OnDevice:
            x = x.inner
        elif isinstance(x, torch.Tensor):
            others.append(x)
        elif isinstance(x, (list, tuple)):
            x = _stripped(x, others)
        plain.append(x)
    return plain


def _tensors(tree):
    """Yield the tensors in nested sequences and mappings."""
    for part in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(part, torch.Tensor):
            yield part
        elif isinstance(part, list | tuple | dict):
            yield from _tensors(part)


def _mapped(tree, function):
    """Return nested sequences and mappings with a function done to their tensors."""
    if isinstance(tree, torch.Tensor):
        return function(tree)
    if isinstance(tree, list | tuple):
        if not tree or isinstance(tree, torch.Size):
            return tree
        parts = [_mapped(part, function) for part in tree]
        return parts if type(tree) is list else type(tree)(parts)
    if isinstance(tree, dict):
        return {name: _mapped(part, function) for name, part in tree.items()}
    return tree

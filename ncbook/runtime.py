"""Device, dtype, random numbers and provenance of a run."""

import operator
import os
import platform
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch

DEVICES = ("cuda", "mps", "cpu")
HALVED = "NCBOOK_HALVED"  # the variable that halves steps and tolerances; set by ncbook halve alone


class UnresolvedWarning(UserWarning):
    """Some runs stopped where no step led on; from there on they have no result."""


@dataclass(frozen=True)
class Runtime:
    """Where a run computes: one device, one dtype, one number of CPU threads."""

    device: torch.device
    dtype: torch.dtype
    threads: int

    def __str__(self) -> str:
        return f"{self._device_name()}, {str(self.dtype).removeprefix('torch.')}"

    def _device_name(self) -> str:
        """Return the device with the card's name, where it is one."""
        if self.device.type != "cuda":
            return str(self.device)
        return f"{self.device} ({torch.cuda.get_device_name(self.device)})"

    def tensor(self, values) -> torch.Tensor:
        """Return ``values`` as a tensor of this run's dtype on its device."""
        if not isinstance(values, torch.Tensor):  # from numbers nothing is lost on the way
            values = torch.as_tensor(values, dtype=torch.float64)
        return values.to(self.device, self.dtype)

    def tolerance(self, number: float) -> float:
        """Return a relative tolerance, or 64 eps where that is more: what this dtype can hold."""
        return max(number, 64 * torch.finfo(self.dtype).eps)

    def normal(self, seeds: Sequence[int], *shape: int) -> torch.Tensor:
        """Draw standard normal numbers, one generator a seed.

        They are drawn on the CPU in float64 and then moved, so that every device sees the same
        numbers; and a seed's numbers do not depend on which other seeds are drawn beside it.

        Parameters
        ----------
        seeds : sequence of int
            One run each.
        *shape : int
            Shape of one run's draw.

        Returns
        -------
        Tensor
            Shape ``(len(seeds), *shape)``.
        """
        draws = [
            torch.randn(shape, generator=generator(seed), dtype=torch.float64) for seed in seeds
        ]
        return self.tensor(torch.stack(draws))

    def provenance(self) -> dict[str, str]:
        """Return what a record needs to name the machine and the versions that made it."""
        return {
            "device": self._device_name(),
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": str(self.threads),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(terse=True),
        }


def halved() -> bool:
    """Whether steps and tolerances are to be halved here, to check another run."""
    return os.environ.get(HALVED) == "1" and not _GIVEN.get()


_GIVEN = ContextVar("whether steps and tolerances are as given", default=False)


@contextmanager
def as_given():
    """Take steps and tolerances as they are given: here they are what the experiment is about."""
    mark = _GIVEN.set(True)
    try:
        yield
    finally:
        _GIVEN.reset(mark)


def finer(number: float) -> float:
    """Return a step or a tolerance of a method, or half of it in a run with all of them halved.

    It is for what a method's accuracy depends on and the mathematics does not: neither for the
    step of a descent nor for the rate of a training, which are part of the experiment.
    """
    return number / 2 if halved() else number


def generator(seed: int) -> torch.Generator:
    """Return a CPU generator seeded with ``seed``, an integer (else ``ValueError``)."""
    return torch.Generator(device="cpu").manual_seed(whole("seed", seed))


def whole(name: str, value, least: int | None = None) -> int:
    """Return a count, a size or a seed as an int, from whichever library the integer is.

    Raises
    ------
    ValueError
        It is no integer (True is none, nor is 3.0), or less than ``least``.
    """
    try:
        # A tensor of one boolean calls itself an index.
        number = None if _is_bool(value) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" of at least {least}"
        raise ValueError(f"{name} is {value!r}: expected an integer{bound}.")
    return number


def _is_bool(value) -> bool:
    return isinstance(value, bool) or getattr(value, "dtype", None) is torch.bool


def tensors(**given) -> None:
    """Check that the named arguments are tensors (else ``ValueError``)."""
    for name, value in given.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(
                f"{name} is a {type(value).__name__}: expected a torch tensor; convert it with "
                "torch.as_tensor."
            )


def label_tensor(y, device: torch.device) -> torch.Tensor:
    """Return labels as a tensor on a device, int64 where they are integers of any kind.

    Raises
    ------
    ValueError
        They are no numbers, or no sequence.
    """
    try:
        given = torch.as_tensor(y, device=device)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"y is a {type(y).__name__} that makes no tensor: expected whole numbers, one a "
            "sample; number the classes with numpy.unique(y, return_inverse=True)[1]."
        ) from error
    return given if given.is_floating_point() or given.is_complex() else given.long()


def available_devices() -> tuple[str, ...]:
    """Return the kinds of device that this machine offers, the preferred first."""
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and decomposes("mps"),
        "cpu": True,
    }
    return tuple(kind for kind in DEVICES if present[kind])


def decomposes(device: str) -> bool:
    """Tell whether matrices on a device can be decomposed.

    On MPS some of torch's decompositions have no kernel. It does them on the CPU where
    ``PYTORCH_ENABLE_MPS_FALLBACK`` is 1 already when torch is imported, as it is for a chapter that
    the pipeline runs; later it has no effect.
    """
    try:
        symmetric = torch.eye(2, device=device)
        torch.linalg.eigh(symmetric)
        torch.linalg.qr(symmetric)
    except NotImplementedError:
        return False
    return True


def start(device: str | None = None, threads: int = 1) -> Runtime:
    """Choose the device of a run, make it deterministic, and an unresolved result an error.

    Parameters
    ----------
    device : str, optional
        ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"cpu"``. Without it the environment variable
        ``NCBOOK_DEVICE`` decides; without that, the first that is there of CUDA, MPS and CPU.
    threads : int
        CPU threads. One by default: on the small tensors of the chapters two threads were
        measured to be slower than one, at times 80 times.

    Returns
    -------
    Runtime
        Its dtype is float64, or float32 on MPS, which has no float64.

    Raises
    ------
    ValueError
        The device is unknown (an empty name is), or is not there on this machine; or ``threads``
        is not a positive integer.
    """
    threads = whole("threads", threads, 1)
    asked, origin = device, ""
    if device is None and "NCBOOK_DEVICE" in os.environ:
        asked, origin = os.environ["NCBOOK_DEVICE"], " (from NCBOOK_DEVICE)"
    if asked is None:
        asked = available_devices()[0]
    kind, colon, index = asked.partition(":")
    if kind not in DEVICES or (colon and not index.isdigit()):
        raise ValueError(
            f"Unknown device {asked!r}{origin}; known are {', '.join(DEVICES)}, "
            "with an index behind a colon where there are several, as in cuda:1. Choose one of "
            "these, or unset NCBOOK_DEVICE to let the package choose."
        )
    there = available_devices()
    if kind == "mps" and kind not in there and torch.backends.mps.is_available():
        raise ValueError(
            f"Device {asked!r}{origin} is here, but torch {torch.__version__} cannot decompose "
            "matrices on it. Set PYTORCH_ENABLE_MPS_FALLBACK=1 before Python starts, so that the "
            "CPU does it; or choose another device."
        )
    if kind not in there:
        raise ValueError(
            f"Device {asked!r}{origin} is not available here; available: {', '.join(there)}. "
            "Choose one of these, or unset NCBOOK_DEVICE to let the package choose."
        )
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"Device {asked!r}{origin} is not available here; "
            f"this machine has {torch.cuda.device_count()} CUDA device(s), counted from 0."
        )
    if kind == "cuda":
        # cuBLAS sums in a fixed order only with a fixed workspace.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    warnings.simplefilter("error", UnresolvedWarning)
    # As use_deterministic_algorithms, but for torch's compiler, which no run here uses: to be told,
    # it is imported, which takes a second.
    torch.set_deterministic_debug_mode("error")
    torch.set_num_threads(threads)
    dtype = torch.float32 if kind == "mps" else torch.float64
    return Runtime(torch.device(asked), dtype, threads)

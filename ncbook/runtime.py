"""Device, dtype, random numbers and provenance of a run."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import torch

DEVICES = ("cuda", "mps", "cpu")


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
        return torch.as_tensor(values, dtype=torch.float64).to(self.device, self.dtype)

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


def generator(seed: int) -> torch.Generator:
    """Return a CPU generator seeded with ``seed``."""
    return torch.Generator(device="cpu").manual_seed(int(seed))


def available_devices() -> tuple[str, ...]:
    """Return the kinds of device that this machine offers, the preferred first."""
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    return tuple(kind for kind in DEVICES if present[kind])


def start(device: str | None = None, threads: int = 1) -> Runtime:
    """Choose the device of a run and make it deterministic.

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
        The device is unknown, or is not there on this machine; or ``threads`` is not positive.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; give a positive number of CPU threads.")
    asked = device or os.environ.get("NCBOOK_DEVICE") or available_devices()[0]
    origin = "" if device else " (from NCBOOK_DEVICE)" if os.environ.get("NCBOOK_DEVICE") else ""
    kind, colon, index = asked.partition(":")
    if kind not in DEVICES or (colon and not index.isdigit()):
        raise ValueError(
            f"Unknown device {asked!r}{origin}; known are {', '.join(DEVICES)}, "
            "with an index behind a colon where there are several, as in cuda:1."
        )
    there = available_devices()
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
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    dtype = torch.float32 if kind == "mps" else torch.float64
    return Runtime(torch.device(asked), dtype, threads)

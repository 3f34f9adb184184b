"""The emulated device itself: it refuses what a real one refuses, and counts what waits for it."""

import numpy as np
import pandas as pd
import pytest
import torch
from emulated_device import KINDS, emulated

from ncbook import runtime
from ncbook.dynamics.ensemble import STRIDE
from ncbook.dynamics.flow import adaptive_flow
from ncbook.dynamics.rescaled import rescaled_flow
from ncbook.models.shallow_relu import ShallowReLU


@pytest.fixture(params=KINDS)
def device(request, monkeypatch):
    monkeypatch.delenv("PYTORCH_ENABLE_MPS_FALLBACK", raising=False)
    with emulated(request.param) as device:
        yield device


@pytest.fixture
def cuda():
    with emulated("cuda") as device:
        yield device


@pytest.fixture
def deterministic():
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def numbers(device, *shape: int) -> torch.Tensor:
    """Numbers on the device, 0, 1, ..."""
    return torch.arange(float(np.prod(shape))).to(device.device).view(shape)


# --- It computes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda place: torch.zeros(2, device=place),
        lambda place: torch.tensor([1.0, 2.0], device=place),
        lambda place: torch.arange(3, device=place),
        lambda place: torch.linspace(0, 1, 3, device=place),
        lambda place: torch.eye(2, device=place),
        lambda place: torch.ones(2).to(place),
        lambda place: torch.ones(2).to(place, torch.int64),
        lambda place: torch.ones(2, dtype=torch.float16).to(torch.ones(1, device=place)),
        lambda place: torch.ones(2, device=place).new_zeros(3),
        lambda place: torch.ones(2, device=place).new_tensor([1.0]),
        lambda place: torch.zeros_like(torch.ones(2, device=place)),
        lambda place: torch.as_tensor(np.ones(2, dtype=np.float32), device=place),
        lambda place: torch.nn.functional.one_hot(torch.arange(2, device=place), 3),
    ],
)
def test_what_is_made_there_is_there_and_comes_home(device, make):
    for place in (device.kind, device.device, f"{device.kind}:0"):
        made = make(place)
        assert made.device == device.device and made.device.type == device.kind
        assert made.is_cuda == (device.kind == "cuda") and not made.is_cpu
        home = made.cpu()
        assert type(home) is torch.Tensor and home.device.type == "cpu"
        assert torch.equal(home, make("cpu").cpu())
    assert torch.zeros(2).device.type == "cpu"


def test_it_computes_what_the_cpu_does(device):
    x, there = torch.linspace(0, 1, 12).view(3, 4), torch.linspace(0, 1, 12).view(3, 4)
    there = there.to(device.device)
    for work in (
        lambda x: x @ x.mT + 2,
        lambda x: x.sort(-1, descending=True).values.quantile(0.3, -1),
        lambda x: torch.where(x > 0.5, x, 0.0).logsumexp(0),
        lambda x: x[x > 0.5],
        lambda x: torch.linalg.svdvals(x),
        lambda x: torch.stack([x, -x]).flatten(1),
    ):
        torch.testing.assert_close(work(there).cpu(), work(x))


def test_it_changes_tensors_in_place_and_through_views(device):
    x = torch.zeros(2, 3, device=device.device)
    same, part = x.add_(1), x[:, 1]
    part.mul_(5)
    x[0, 2] = 7
    x[1] = torch.tensor([8.0, 9.0, 10.0])  # a copy to the device
    assert same is x
    assert x.tolist() == [[1, 5, 7], [8, 9, 10]]


def test_it_derives(device):
    x = numbers(device, 4)
    state = x.clone().requires_grad_()
    head, _ = state.split([1, 3])  # of the rest the derivative is made of nothing
    (slope,) = torch.autograd.grad(head.square().sum(), state)
    assert slope.device == device.device and slope.tolist() == [0, 0, 0, 0]
    jacobian = torch.autograd.functional.jacobian(lambda z: z**2, x)
    assert jacobian.cpu().diagonal().tolist() == [0, 2, 4, 6]


# --- It refuses ---------------------------------------------------------------------------------


def test_it_does_not_mix_with_the_cpu(device):
    x, here = numbers(device, 2, 3), torch.ones(2, 3)
    for mixed in (
        lambda: x + here,
        lambda: here * x,
        lambda: here.add_(x),
        lambda: x @ here.mT,
        lambda: torch.cat([x, here]),
        lambda: torch.where(here > 0, x, 0),
        lambda: torch.where(x > 0, here, x),
        lambda: torch.trapezoid(x, torch.arange(3.0)),
        lambda: x[0].index_put_((x[0] > 0,), torch.ones(2)),
        lambda: here + x.sum(),  # nor does one number of it
        lambda: torch.stack([x.sum(), torch.tensor(1.0)]),
    ):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            mixed()


def test_one_number_from_the_cpu_is_let_through(device):
    x = numbers(device, 3)
    one = torch.tensor(1.0)
    for fine in (x + one, one * x, torch.where(x > one, x, one), x.clamp(max=one)):
        assert fine.device == device.device
    x[:2] = one
    x[x > 1] = one
    assert x.tolist() == [1, 1, 1]


def test_indices_go_to_the_device_but_not_from_it(device):
    x, rows = numbers(device, 3), torch.tensor([0, 2])
    assert x[rows].tolist() == x[rows.to(device.device)].tolist() == x[[0, 2]].tolist() == [0, 2]
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same"):
        torch.arange(3)[rows.to(device.device)]


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x.numpy(),
        np.asarray,
        lambda x: np.sqrt(x),
        lambda x: pd.DataFrame({"x": x}),
    ],
)
def test_numpy_and_pandas_cannot_have_it(device, take):
    with pytest.raises(TypeError, match="device type tensor to numpy"):
        take(torch.ones(2, device=device.device))


def test_generators_of_the_cpu_do_not_draw_there(device):
    with pytest.raises(RuntimeError, match="device type for generator"):
        torch.randn(2, generator=torch.Generator(), device=device.device)


RANDOM = {
    "median with indices": lambda x: x.median(0),
    "nanmedian with indices": lambda x: x.nanmedian(dim=0),
    "cumsum": lambda x: x.cumsum(0),
    "histc": lambda x: x.histc(3),
    "bincount with weights": lambda x: x.long().bincount(x),
    "put_": lambda x: x.put_(x.long(), x + 1),
}
FIXED = {
    "median": lambda x: x.median(),
    "cumsum of integers": lambda x: x.long().cumsum(0),
    "bincount": lambda x: x.long().bincount(),
    "quantile": lambda x: x.quantile(0.5, 0),
    "scatter_add": lambda x: x.scatter_add(0, x.long(), x),
    "gather": lambda x: x.gather(0, x.long()),
}


@pytest.mark.parametrize("work", RANDOM.values(), ids=RANDOM)
def test_what_is_not_deterministic_raises_on_cuda(cuda, work, deterministic):
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        work(numbers(cuda, 3))
    torch.use_deterministic_algorithms(False)
    work(numbers(cuda, 3))


@pytest.mark.parametrize("work", FIXED.values(), ids=FIXED)
def test_what_is_deterministic_does_not(cuda, work, deterministic):
    work(numbers(cuda, 3))


def test_mps_has_no_float64(monkeypatch):
    with emulated("mps"):
        for make in (
            lambda: torch.zeros(2, dtype=torch.float64, device="mps"),
            lambda: torch.ones(2).double().to("mps"),
            lambda: torch.ones(2, device="mps").double(),
            lambda: torch.ones(2, device="mps") + torch.tensor(1.0, dtype=torch.float64).to("mps"),
        ):
            with pytest.raises(TypeError, match="doesn't support float64"):
                make()
        assert runtime.Runtime(torch.device("mps"), torch.float32, 1).tensor([1.0]).is_mps


def test_mps_decomposes_only_with_the_fallback(monkeypatch):
    monkeypatch.delenv("PYTORCH_ENABLE_MPS_FALLBACK", raising=False)
    with emulated("mps"):
        assert not runtime.decomposes("mps")
        assert runtime.available_devices() == ("cpu",)
    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    with emulated("mps") as device:
        assert runtime.available_devices() == ("mps", "cpu")
        assert device.waits["_linalg_eigh on the CPU"] == device.waits["linalg_qr on the CPU"] == 1


# --- It counts ----------------------------------------------------------------------------------

WAITING = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[1]),
    "bool": lambda x: bool((x > 0).any()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "format": lambda x: f"{x.sum():.2f}",
    "index": lambda x: [1, 2, 3][x[1].long()],
    "mask": lambda x: x[x > 1],
    "values at a mask": lambda x: x.index_put((x >= 0,), x),
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "copy": lambda x: torch.zeros(4).copy_(x),
    "assign": lambda x: torch.zeros(2, 4)[0].copy_(x),
    "one_hot": lambda x: torch.nn.functional.one_hot(x.long()),
    "svd": lambda x: torch.linalg.svdvals(x.view(2, 2)),
    "repeat": lambda x: x.repeat_interleave(x.long()),
}
AHEAD = {
    "arithmetic": lambda x: (x + 1).exp().sum() / x.norm(),
    "copy to": lambda x: torch.ones(3).to(x),
    "number at a mask": lambda x: x.index_put((x > 1,), torch.tensor(0.0)),
    "masked_fill": lambda x: x.masked_fill(x > 1, 0),
    "where": lambda x: torch.where(x > 1, x, 0),
    "rows": lambda x: x[torch.tensor([0, 1])],
    "sort": lambda x: x.sort().values.quantile(0.5),
    "one_hot of 4": lambda x: torch.nn.functional.one_hot(x.long(), 4),
    "size": lambda x: (len(x), x.shape, x.device, x.dtype),
    "repeat": lambda x: x.repeat_interleave(2),
}


@pytest.mark.parametrize("work", WAITING.values(), ids=WAITING)
def test_waiting_is_counted(cuda, work):
    x = numbers(cuda, 4)
    assert cuda.syncs == 0
    work(x)
    assert cuda.syncs == 1


@pytest.mark.parametrize("work", AHEAD.values(), ids=AHEAD)
def test_computing_ahead_is_not(cuda, work):
    work(numbers(cuda, 4))
    assert cuda.syncs == 0


# --- How often the drivers wait -----------------------------------------------------------------

LEVELS = [0.5 * i for i in range(21)]


def spiral(z: torch.Tensor) -> torch.Tensor:
    """z' of a slow turn inwards, shape ``(R, 2)``: some hundred steps to time 10."""
    return torch.stack([-z[:, 1] - 0.1 * z[:, 0], z[:, 0] - 0.1 * z[:, 1]], -1) * 5


OBSERVED = {
    "nothing": (None, 0),
    "a norm": (lambda z: {"norm": z.norm(dim=-1)}, 0),
    "what waits": (lambda z: {"norm": z.norm(dim=-1) * float(z.abs().max() > 0)}, len(LEVELS)),
}


@pytest.mark.parametrize(("observe", "own"), OBSERVED.values(), ids=OBSERVED)
def test_the_adaptive_flow_waits_once_in_16_steps(cuda, observe, own):
    start = torch.linspace(1, 2, 6).view(3, 2).double().to("cuda")
    before = cuda.syncs
    run = adaptive_flow(spiral, start, LEVELS, observe, "RK23", rtol=1e-3)
    steps = int(run.statistics["steps"].max())
    assert run.status.tolist() == ["finished"] * 3 and steps > 10 * STRIDE
    # The last look, at which all runs have ended, is part of a stride.
    assert cuda.syncs - before - own <= steps / STRIDE + 1, cuda.waits


def rescaled_pair(X, labels, width: int, loss: str, start: str, levels, rtol: float):
    """The flow in rescaled time here and on the device, and how often the host waited there."""
    here = ShallowReLU(X, labels, 2, width, loss)
    state = getattr(here, start)(torch.tensor([1e-2]).double(), range(3), runtime.start("cpu"))[0]
    with emulated("cuda") as device:
        there = ShallowReLU(X.to("cuda"), labels, 2, width, loss)
        moved, before = state.to("cuda"), device.syncs
        run = rescaled_flow(there, moved, levels, rtol=rtol)
        waits = device.syncs - before
        seen = {name: values.cpu() for name, values in run.observables.items()}
        return rescaled_flow(here, state, levels, rtol=rtol), run, run.final.cpu(), seen, waits


def same(reference, run, final, seen) -> bool:
    """Whether a run is that of the CPU to rounding, step by step."""
    torch.testing.assert_close(final, reference.final, rtol=1e-10, atol=1e-10)
    for name, values in reference.observables.items():
        torch.testing.assert_close(seen[name], values, rtol=1e-10, atol=1e-10)
    counted = ("steps", "rejected", "events", "slides")
    return (run.status == reference.status).all() and all(
        (run.statistics[name] == reference.statistics[name]).all() for name in counted
    )


@pytest.mark.parametrize(("end", "constant"), [(35.0, 10), (100.0, 20)])
def test_without_events_the_flow_in_rescaled_time_waits_once_in_16_steps(end, constant):
    """By Runge-Kutta alone, or by Chebyshev from R = 40 on; and it is the flow of the CPU."""
    X = torch.tensor([[2.0, 1.0], [1.0, 2.0], [-1.0, -2.0], [-2.0, -1.0]]).double()
    options = (X, [0, 0, 1, 1], 4, "cross-entropy", "semi_local_start", [1.0, 10.0, end], 1e-6)
    *found, waits = rescaled_pair(*options)
    assert same(*found)
    steps = int(found[0].statistics["steps"].max())
    assert found[0].statistics["events"].max() == 0 and steps > 80
    assert waits <= steps / STRIDE + constant


def test_with_events_the_flow_in_rescaled_time_waits_a_handful_of_times_an_event():
    """Not more than a few a step where it was 12; the looks are as often as it pays."""
    angle = torch.deg2rad(torch.linspace(20, 60, 8).double())
    angle = torch.cat([angle, -angle])
    X = torch.stack([angle.cos(), angle.sin()], -1)
    labels = [0] * 8 + [1] * 8
    *found, waits = rescaled_pair(X, labels, 6, "logistic", "semi_local_start", [5.0, 20.0], 1e-6)
    assert same(*found)
    counts = found[0].statistics
    assert counts["events"].min() > 20 and counts["slides"].min() > 0
    assert waits <= 2.5 * counts["steps"].max()

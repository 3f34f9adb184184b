"""Every method on an equation with a closed form: its order, in any dtype, on any device."""

import contextlib
import math

import pytest
import torch
from emulated_device import emulated
from scipy.special import expi

from ncbook.dynamics import methods
from ncbook.dynamics import rescaled as module
from ncbook.dynamics.descent import descent
from ncbook.dynamics.flow import adaptive_flow, flow
from ncbook.dynamics.langevin import langevin
from ncbook.dynamics.minibatch import minibatch_sgd
from ncbook.dynamics.rescaled import rescaled_flow
from ncbook.dynamics.training import sgd_momentum
from ncbook.models.mean_field import MeanField
from ncbook.models.shallow_relu import ShallowReLU

PLACES = [
    ("cpu", torch.float64),
    ("cpu", torch.float32),
    ("cuda", torch.float64),
    ("cuda", torch.float32),
    ("mps", torch.float32),
]
NAMES = [f"{kind}-{str(dtype).removeprefix('torch.')}" for kind, dtype in PLACES]
EVERYWHERE = pytest.mark.parametrize(("kind", "dtype"), PLACES, ids=NAMES)
STAGES = 12  # that the stiff equation needs at most
DECAY, SIZE = 0.5, 1e3  # of the particles, which start at one place


def device(kind: str):
    return contextlib.nullcontext() if kind == "cpu" else emulated(kind)


# --- Methods of given steps ---------------------------------------------------------------------


def growing(z: torch.Tensor) -> torch.Tensor:
    """z' = z (1 - z), whose solution from z_0 is 1 / (1 + (1 / z_0 - 1) exp(-t))."""
    return z * (1 - z)


def starts(kind: str, dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor([[0.1, 0.3], [0.6, 1.5]], dtype=dtype).to(kind)


def solution(z: torch.Tensor) -> torch.Tensor:
    """At t = 1."""
    return 1 / (1 + (1 / z - 1) * math.exp(-1))


def by_flow(method: str):
    return lambda z, n: flow(growing, z, 1 / n, [1.0], method=method).final


def by_steps(make):
    """Take n steps of a method that chooses none itself."""

    def solve(z: torch.Tensor, n: int) -> torch.Tensor:
        method, slope = make(z), growing(z)
        h = torch.full_like(z[:, :1], 1 / n)
        for _ in range(n):
            z, slope, *_ = method.step(lambda z: (growing(z), None), z, slope, h)
        return z

    return solve


def stiffly(z: torch.Tensor, n: int) -> torch.Tensor:
    """Chebyshev with a third entry that decays at 1000 and at 60: other stages for each run."""
    rates = torch.tensor([[1000.0], [60.0]]).to(z)

    def field(z):
        return torch.cat([growing(z[:, :2]), rates * (1 - z[:, 2:])], -1), None

    z = torch.cat([z, 1.5 * torch.ones_like(z[:, :1])], -1)
    method, slope = methods.Chebyshev(z), field(z)[0]
    h = torch.full_like(z[:, :1], 1 / n)
    method.allow(STAGES)
    for _ in range(n):
        z, slope, *_ = method.step(field, z, slope, h)
        assert bool(method.taken.all())
    return z[:, :2]


def by_training(z: torch.Tensor, n: int) -> torch.Tensor:
    x, labels = torch.zeros(1, 1).to(z), torch.zeros(1, dtype=torch.long).to(z.device)
    plain = {"momentum": 0.0, "decay": 0.0, "drops": ()}
    run = sgd_momentum(lambda z, *_: -growing(z), z, x, labels, epochs=n, rate=1 / n, **plain)
    return run.final


def particles(solve):
    """With W = 0 they feel weight decay alone, and noise, which leaves their mean: z' = -z / 2."""

    def mean(z: torch.Tensor, n: int) -> torch.Tensor:
        X = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).to(z)
        model = MeanField(X, [0, 1], 2, 3, 50, decay=DECAY)
        theta = torch.full((1, model.size), SIZE, dtype=z.dtype).to(z.device)
        theta[:, : model.p * model.K] = 0
        _, A, U = model.unpack(solve(model, theta, n))
        return torch.cat([A.flatten(), U.flatten()]).mean() / SIZE

    return mean


@particles
def by_langevin(model, theta, n):
    options = {"temperature": 0.1, "seeds": [0], "trained": "particles"}
    return langevin(model, theta, step=1 / n, steps=n, **options).final


@particles
def by_minibatches(model, theta, n):
    rates = torch.full((n,), 1 / n, dtype=torch.float64)
    return minibatch_sgd(model, theta, rates, seeds=[0], batch=1).final


STEPPED = {  # the order, a number of steps, and the method
    "Euler": (1, 100, by_flow("Euler")),
    "RK4": (4, 10, by_flow("RK4")),
    "DOP853": (8, 4, by_flow("DOP853")),
    "pair RK23": (3, 20, by_steps(lambda z: methods.Embedded("RK23", z))),
    "pair RK45": (5, 24, by_steps(lambda z: methods.Embedded("RK45", z))),
    "pair DOP853": (8, 4, by_steps(lambda z: methods.Embedded("DOP853", z))),
    "Chebyshev": (2, 40, by_steps(methods.Chebyshev)),
    "Chebyshev, stiff": (2, 40, stiffly),
    "descent": (1, 100, lambda z, n: descent(growing, z, 1 / n, n).final),
    "training": (1, 100, by_training),
    "langevin": (1, 10, by_langevin),
    "mini-batches": (1, 10, by_minibatches),
}
BY_STEPS = pytest.mark.parametrize(("order", "n", "solve"), STEPPED.values(), ids=STEPPED)


def error(solve, n: int) -> float:
    """Largest distance at t = 1 from the closed form, in double precision on the CPU."""
    z = starts("cpu", torch.float64)
    found = solve(z, n)
    exact = solution(z) if found.ndim else torch.tensor(math.exp(-DECAY)).double()
    return float((found - exact).abs().max())


@BY_STEPS
def test_the_order_of_the_steps(order, n, solve):
    coarse, fine = error(solve, n), error(solve, 2 * n)
    assert fine > 1e-13, "the error must not be rounding"
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.08 * order)


@BY_STEPS
@EVERYWHERE
def test_the_steps_are_the_same_to_rounding(order, n, solve, kind, dtype):
    reference = solve(starts("cpu", torch.float64), n)
    with device(kind):
        found = solve(starts(kind, dtype), n)
        assert found.device.type == kind and found.dtype == dtype
        found = found.cpu().double()
    if (kind, dtype) == PLACES[0]:
        assert torch.equal(found, reference)
    # Langevin's noise is drawn in float64, and is the same, too.
    torch.testing.assert_close(found, reference, rtol=64 * torch.finfo(dtype).eps, atol=0)


def test_a_wrong_weight_loses_the_order(monkeypatch):
    """The check of the order finds a tableau that is off in one place, by a hundredth."""
    A, b = methods.FIXED["RK4"]
    monkeypatch.setitem(methods.FIXED, "RK4", (A, [b[0] + 0.01, b[1] - 0.01, b[2], b[3]]))
    _, n, solve = STEPPED["RK4"]
    assert math.log2(error(solve, n) / error(solve, 2 * n)) < 2.5


def test_a_run_that_needs_more_stages_waits_until_they_are_allowed():
    """On a device, whose stages the host does not ask for; the step is that of the CPU."""

    def stiff(z):
        return -1e4 * z, None

    def steps(kind: str):
        z = starts(kind, torch.float64)
        method, h = methods.Chebyshev(z), torch.tensor([[1e-5], [1.0]]).double().to(kind)
        if kind != "cpu":
            method.allow(5)
        first = method.step(stiff, z, stiff(z)[0], h)[0].cpu()
        taken = method.taken.tolist()
        method.hear({"stages": method.asks["stages"].cpu().numpy()})
        again = method.step(stiff, z, stiff(z)[0], h)[0].cpu()
        return first, taken, again, method.taken.tolist()

    expected, at_once, *_ = steps("cpu")
    with emulated("cuda"):
        first, taken, again, then = steps("cuda")
    assert at_once == then == [True, True] and taken == [True, False]
    assert torch.equal(first[0], expected[0])
    torch.testing.assert_close(again[1], expected[1], rtol=1e-6, atol=1e-9)


# --- Methods that choose their steps ------------------------------------------------------------


def adaptively(method: str):
    """Largest relative error at t = 1."""

    def solve(kind: str, dtype: torch.dtype, rtol: float) -> float:
        z = starts(kind, dtype)
        run = adaptive_flow(growing, z, [0.3, 1.0], None, method, rtol, atol=0.0)
        assert (run.status == "finished").all() and run.final.device.type == kind
        exact = solution(starts("cpu", torch.float64))
        return float((run.final.cpu().double() / exact - 1).abs().max())

    return solve


def in_rescaled_time(stiff: float):
    """Error of log t at levels of R, from a start at margin m = 0.01: m' = 2 m e^(-m)."""

    def solve(kind: str, dtype: torch.dtype, rtol: float) -> float:
        X = torch.tensor([[1.0], [-1.0]], dtype=dtype).to(kind)
        model = ShallowReLU(X, [0, 1], 2, 2, "exponential")
        theta = torch.tensor([[0.1, -0.1, 0.1, -0.1]], dtype=dtype).to(kind)
        levels = [0.0, 1.0, 3.0, 8.0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "STIFF", stiff)
            run = rescaled_flow(model, theta, levels, rtol=rtol)
        assert (run.status == "finished").all() and run.final.device.type == kind
        m = [R + math.log(2) for R in levels]
        exact = torch.tensor([math.log((expi(x) - expi(0.01)) / 2) for x in m]).double()
        return float((run.observables["log_t"].cpu().double() - exact).abs().max())

    return solve


# The error is about size * rtol^exponent; the pairs allow an error of rtol on each step, RKC, whose
# estimate is of one order more than its error, one of rtol^(2/3).
CHOOSING = {
    "RK23": (adaptively("RK23"), 1, 0.2, 2),
    "RK45": (adaptively("RK45"), 1, 0.2, 2),
    "DOP853": (adaptively("DOP853"), 0.75, 0.25, 1),
    "rescaled, Runge-Kutta": (in_rescaled_time(math.inf), 1, 0.2, 3),
    "rescaled, Chebyshev": (in_rescaled_time(-math.inf), 2 / 3, 0.05, 0.7),
}


@pytest.mark.parametrize(("solve", "exponent", "within", "size"), CHOOSING.values(), ids=CHOOSING)
@EVERYWHERE
def test_the_error_follows_the_tolerance(solve, exponent, within, size, kind, dtype):
    single = dtype == torch.float32
    tolerances = [1e-3, 1e-4] if single else [1e-4, 1e-6]
    with device(kind):
        errors = [solve(kind, dtype, rtol) for rtol in tolerances]
    for rtol, found in zip(tolerances, errors, strict=True):
        assert found < size * rtol**exponent
    measured = math.log(errors[0] / errors[1]) / math.log(tolerances[0] / tolerances[1])
    if not single:
        assert measured == pytest.approx(exponent, abs=within)
    else:  # rounding may be the greater part of the second
        assert measured > exponent / 2 or errors[1] < 16 * torch.finfo(dtype).eps

"""Mini-batch SGD of the mean-field network: against torch.optim.SGD, its noise, its reports."""

import math

import pytest
import torch
from torch.nn.functional import one_hot

from ncbook.dynamics.minibatch import FeatureTrajectory, minibatch_sgd, paper_rates
from ncbook.dynamics.training import example_orders
from ncbook.dynamics.trajectory import DIVERGED, FINISHED
from ncbook.models.mean_field import MeanField
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
N, P, K, D = 7, 4, 3, 6


def network(activation="tanh", dtype=torch.float64, n=20, **settings) -> MeanField:
    """A small network; two of the six features are never non-zero."""
    X = torch.rand(n, D, generator=generator(0), dtype=torch.float64)
    X[:, [1, 4]] = 0
    y = torch.arange(n) % K
    X += 0.5 * X.ne(0) * torch.eye(K, D, dtype=torch.float64)[y]
    return MeanField(X.to(dtype), y, K, P, N, activation, **{"decay": 1e-2} | settings)


def start(model, seeds=(0, 1), run=RUN):
    return model.start(seeds, run, W="normal")


def train(model, rates, seeds=(0, 1), **settings):
    settings = {"batch": 8} | settings
    return minibatch_sgd(model, start(model, seeds), rates, seeds=seeds, **settings)


def plain(model, z, rates, seed, batch, both):
    """Train one run with autograd and torch.optim.SGD, in the same order of examples."""
    W, A, U = (part.clone().requires_grad_() for part in model.unpack(z))
    groups = [{"params": [A, U], "weight_decay": float(model.decay) / model.N}]
    if both:
        groups.append({"params": [W], "weight_decay": float(model.decay_W)})
    optimiser = torch.optim.SGD(groups, lr=1.0)
    (draw,), parts = example_orders([seed]), []
    Y = one_hot(model.y, model.K).to(model.X)
    for rate in rates.tolist():
        if not parts:
            parts = list(torch.randperm(model.n, generator=draw).split(batch))
        part = parts.pop(0)
        for group, scale in zip(optimiser.param_groups, (model.N, 1), strict=False):
            group["lr"] = rate * scale
        sigma = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
        hidden = sigma[model.activation](model.X[part] @ U)
        outputs = model.gamma * hidden @ A.T @ W / model.N
        optimiser.zero_grad()
        ((outputs - Y[part]).square().sum() / (2 * len(part))).backward()
        optimiser.step()
    return model.pack(W, A, U).detach()


RATES = torch.tensor([0.02, 0.05, 0.3, 0.1, 0.2, 0.4, 0.1, 0.25], dtype=torch.float64)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("both", [False, True])
def test_steps_are_those_of_torch_optim(activation, both):
    model = network(activation, gamma=1.7, decay_W=3e-2)
    found = train(model, RATES, trained="both" if both else "particles").final
    for run, seed in enumerate((0, 1)):
        expected = plain(model, start(model)[run], RATES, seed, 8, both)
        torch.testing.assert_close(found[run], expected, rtol=1e-12, atol=1e-13)
        # Controls: another order, a rate that is wrong once, another decay.
        for wrong in (
            plain(model, start(model)[run], RATES, seed + 7, 8, both),
            plain(model, start(model)[run], RATES.flip(0), seed, 8, both),
            plain(network(activation, gamma=1.7), start(model)[run], RATES * 1.01, seed, 8, both),
        ):
            assert (found[run] - wrong).abs().max() > 1e-4
    W, _, _ = model.unpack(found)
    assert torch.equal(W, model.unpack(start(model))[0]) is not both


def test_one_step_on_all_examples_is_the_models_gradient():
    model = network(decay_W=3e-2)
    z = start(model)
    for trained in ("both", "particles"):
        found = train(model, [0.1], batch=model.n, trained=trained).final
        W, A, U = model.unpack(model.gradient(z))
        gradient = model.pack(W if trained == "both" else 0 * W, A, U)
        torch.testing.assert_close(found, z - 0.1 * gradient, rtol=1e-12, atol=1e-13)


def test_pixels_that_are_never_non_zero_only_decay():
    model = network()
    idle = [1, 4]
    _, _, before = model.unpack(start(model))
    course = train(model, RATES, test_inputs=torch.ones(3, D, dtype=torch.float64))
    U = model.unpack(course.final)[2]
    factor = (1 - RATES * 1e-2).prod()
    torch.testing.assert_close(U[:, idle], factor * before[:, idle], rtol=1e-13, atol=0)
    assert (U[:, 0] - factor * before[:, 0]).abs().max() > 1e-3  # control: the others learn
    # They count where a test example is not zero, and in the gradient's norm.
    expected = model.features(course.final, torch.ones(3, D, dtype=torch.float64))
    torch.testing.assert_close(course.test_features[:, -1], expected, rtol=1e-12, atol=1e-14)


def test_measures_are_the_models_own(monkeypatch):
    from ncbook.dynamics import minibatch

    monkeypatch.setattr(minibatch, "_BLOCK", 3 * N)  # three examples at a time, of 20
    test = torch.rand(5, D, generator=generator(3), dtype=torch.float64)
    for trained in ("particles", "both"):
        model = network(gamma=1.7, decay_W=3e-2)
        course = train(model, RATES, trained=trained, test_inputs=test, record=[0, 3, 8])
        assert isinstance(course, FeatureTrajectory) and course.status.tolist() == [FINISHED] * 2
        times = [0, 0.37, float(RATES.sum())]
        torch.testing.assert_close(course.times, torch.tensor(times, dtype=torch.float64))
        early = train(model, RATES[:3], trained=trained)
        for at, z in ((0, start(model)), (1, early.final), (2, course.final)):
            parts = model.unpack(model.gradient(z))
            squares = [part.square().sum((-2, -1)) for part in parts]
            mean = (squares[1] + squares[2]) / N + (squares[0] if trained == "both" else 0)
            for found, expected in (
                (course.observables["loss"][:, at], model.data_loss(z)),
                (course.observables["gradient"][:, at], mean.sqrt()),
                (course.features[:, at], model.features(z)),
                (course.test_features[:, at], model.features(z, test)),
                (course.second_moment[:, at], model.second_moment(z)),
                (course.W[:, at], model.unpack(z)[0]),
            ):
                torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)
        assert (course.features[:, 0] - course.features[:, 2]).abs().max() > 1e-3  # control
        assert course.test_features.shape == (2, 3, P, 5)
    runs = course.runs("t", seed=[0, 1])
    assert {"loss", "gradient"} <= set(runs) and dict(runs.sizes) == {"seed": 2, "t": 3}


def test_nothing_is_measured_where_nothing_is_asked_for(monkeypatch):
    from ncbook.dynamics import minibatch

    expected = train(network(), RATES).final
    monkeypatch.setattr(minibatch._Run, "measure", None)
    course = train(network(), RATES, record=[])
    assert torch.equal(course.final, expected) and course.status.tolist() == [FINISHED] * 2
    assert course.times.numel() == 0 and course.observables == {} and course.features is None
    with pytest.raises(TypeError):  # control: a record does call it
        train(network(), RATES, record=[8])


def test_a_run_does_not_depend_on_those_beside_it():
    model = network()
    together = train(model, RATES, seeds=(0, 1, 5))
    again = train(model, RATES, seeds=(0, 1, 5))
    assert torch.equal(together.final, again.final)
    for run, seed in enumerate((0, 1, 5)):
        alone = train(model, RATES, seeds=(seed,))
        torch.testing.assert_close(together.final[run], alone.final[0], rtol=1e-12, atol=1e-14)


def test_runs_of_one_seed_and_numbers_a_run():
    gammas, decays = torch.tensor([1.0, 3.0]).double(), torch.tensor([0.0, 0.1]).double()
    z = start(network()).expand(2, -1)
    sweep = network(gamma=gammas, decay=decays)
    both = minibatch_sgd(sweep, z, RATES, seeds=(4, 4), batch=8, record=[0, 8])
    for run in range(2):
        one = network(gamma=float(gammas[run]), decay=float(decays[run]))
        alone = minibatch_sgd(one, z[[run]], RATES, seeds=(4,), batch=8)
        torch.testing.assert_close(both.final[run], alone.final[0], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(both.observables["loss"][run], alone.observables["loss"][0])
        assert (both.final[1 - run] - alone.final[0]).abs().max() > 1e-3  # control


def test_in_one_batch_the_order_does_not_matter():
    model = network()
    one, other, small = (
        minibatch_sgd(model, start(model), RATES, seeds=seeds, batch=batch).final
        for seeds, batch in (((0, 1), model.n), ((8, 9), model.n), ((8, 9), 5))
    )
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert (small - one).abs().max() > 1e-3  # control: in small ones it does


# --- Noise --------------------------------------------------------------------------------------

WIDE = 4000


@pytest.fixture(scope="module")
def free() -> MeanField:
    """A network without a force: all samples are 0, and tanh(0) = 0."""
    return MeanField(torch.zeros(6, 3).double(), [0, 1, 2] * 2, K, P, WIDE, decay=0.2)


@pytest.mark.parametrize("every", [1, 5])
def test_the_noise_has_the_variance_of_langevin_dynamics(free, every):
    rates = torch.tensor([0.1, 0.3] * 5, dtype=torch.float64)
    zero = torch.zeros(1, free.size, dtype=torch.float64)
    zero[:, : P * K] = 1.0
    settings = {"seeds": (3,), "batch": 2, "temperature": 0.7}
    course = minibatch_sgd(free, zero, rates, noise_every=every, **settings)
    W, A, U = free.unpack(course.final)
    # z <- (1 - rate lambda) z + noise, the noise of several steps added after the last of them.
    expected, waiting = 0.0, 0.0
    for step, rate in enumerate(rates.tolist(), 1):
        expected, waiting = expected * (1 - 0.2 * rate) ** 2, waiting + rate
        if step % every == 0:
            expected, waiting = expected + 2 * 0.7 * waiting, 0.0
    for part in (A, U):
        # Four standard deviations of the variance of so many normal numbers.
        allowed = 4 * math.sqrt(2 / part.numel())
        assert abs(float(part.square().mean()) / expected - 1) < allowed
        assert abs(float(part.square().mean()) / (expected * 1.15) - 1) > allowed  # control
        assert abs(float(part.mean())) < 4 * math.sqrt(expected / part.numel())
    assert bool((W == 1).all())
    # No two particles, and no two runs, share their noise; a run's repeats itself.
    again = minibatch_sgd(free, zero, rates, noise_every=every, **settings).final
    other = minibatch_sgd(free, zero, rates, noise_every=every, **settings | {"seeds": (4,)}).final
    assert torch.equal(again, course.final)
    z, w = course.final[0, P * K :], other[0, P * K :]
    for left, right in ((z[1:], z[:-1]), (z, w)):
        assert abs(float(torch.corrcoef(torch.stack([left, right]))[0, 1])) < 4 / math.sqrt(len(z))


def test_without_temperature_there_is_no_noise(free):
    zero = torch.zeros(1, free.size, dtype=torch.float64)
    assert not minibatch_sgd(free, zero, RATES, seeds=(3,), batch=2).final.any()


def test_noise_moves_idle_pixels_too():
    model = network()
    course = train(model, RATES, temperature=0.1)
    _, _, U = model.unpack(course.final)
    _, _, quiet = model.unpack(train(model, RATES).final)
    assert (U - quiet)[:, [1, 4]].abs().min() > 1e-4


# --- Precision, divergence, arguments -----------------------------------------------------------


def test_float32_follows_float64():
    rates = torch.full((300,), 0.2)
    runs = []
    for dtype in (torch.float64, torch.float32):
        model = network(dtype=dtype)
        z = start(model, run=Runtime(torch.device("cpu"), dtype, 1))
        runs.append(minibatch_sgd(model, z, rates, seeds=(0, 1), batch=8))
    torch.testing.assert_close(runs[1].final.double(), runs[0].final, rtol=1e-3, atol=1e-4)
    assert runs[1].statistics["dtype"] == "float32" and runs[1].statistics["steps"] == 300
    loss = runs[0].observables["loss"]
    assert (loss[:, 1] < 0.7 * loss[:, 0]).all()


def test_divergence_is_reported_and_stays_alone():
    model = network()
    z = start(model, seeds=(0, 1, 2))
    z[1] = torch.inf
    mixed = minibatch_sgd(model, z, RATES, seeds=(0, 1, 2), batch=8)
    good = train(model, RATES, seeds=(0, 2))
    assert mixed.status.tolist() == [FINISHED, DIVERGED, FINISHED]
    torch.testing.assert_close(mixed.final[[0, 2]], good.final, rtol=1e-12, atol=1e-14)
    assert not mixed.observables["loss"][1].isfinite().any()
    over = train(model, torch.full((400,), 1e3), record=[0, 200, 400])
    assert over.status.tolist() == [DIVERGED] * 2 and over.statistics["steps"] == 200  # not 400
    assert not over.observables["loss"][:, 1:].isfinite().any() and len(over.times) == 3


def test_noise_that_waits_is_added_before_a_look_and_at_the_end():
    """Else a run of 9 steps with noise every 10 would have none."""
    model, rates = network(), RATES.repeat(2)[:9]
    z, some = start(model), {"seeds": (0, 1), "batch": 8, "temperature": 0.1}
    few = [minibatch_sgd(model, z, rates, noise_every=every, **some) for every in (9, 10, 100)]
    none = minibatch_sgd(model, z, rates, **some | {"temperature": 0.0})
    for run in few:
        assert torch.equal(run.final, few[0].final)
        assert float((run.final - none.final).abs().max()) > 1e-3
    looked = minibatch_sgd(model, z, rates, noise_every=10, record=[4, 9], **some)
    again = minibatch_sgd(model, z, rates[:4], noise_every=10, **some)
    assert torch.equal(looked.W[:, 0], again.W[:, -1])
    assert torch.equal(looked.features[:, 0], again.features[:, -1])


def test_the_papers_rates():
    rates = paper_rates(40, 469)
    assert len(rates) == 40 * 469
    assert rates.unique_consecutive().tolist() == [1e-3, 1e-2]
    assert float(rates.sum()) == pytest.approx(20 * 469 * 0.011)
    assert paper_rates(3, 2, 0.5, 0.25).tolist() == [0.5] * 2 + [0.25] * 4
    for epochs, steps in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="expected both to be positive"):
            paper_rates(epochs, steps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (0,)}, "1 seeds are given for 2 runs"),
        ({"batch": 0}, "mini-batches of 1 to 20"),
        ({"batch": 21}, "mini-batches of 1 to 20"),
        ({"temperature": -1.0}, "a temperature of at least 0"),
        ({"noise_every": 0}, "noise every"),
        ({"trained": "W"}, "expected one of particles, both"),
        ({"test_inputs": torch.zeros(2, 5)}, r"test examples, \(m, 6\)"),
        ({"record": [3, 1]}, "must increase"),
        ({"record": [0, 9]}, r"within 0\.\.8"),
        ({"rates": torch.zeros(3)}, "one positive rate"),
        ({"rates": torch.tensor(0.1)}, "one positive rate"),
        ({"start": torch.zeros(2, 5).double()}, r"start has shape \(2, 5\)"),
        ({"start": torch.zeros(2, 82)}, "dtype torch.float32"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, message):
    model = network()
    settings = {"start": start(model), "rates": RATES, "seeds": (0, 1), "batch": 8} | changes
    with pytest.raises(ValueError, match=message):
        minibatch_sgd(model, settings.pop("start"), settings.pop("rates"), **settings)


def test_models_that_are_not_supported_are_refused():
    with pytest.raises(ValueError, match="not truncated"):
        train(network(truncation=2.0), RATES)
    X = network().X.expand(2, -1, -1)
    with pytest.raises(ValueError, match="one data set for all runs"):
        train(MeanField(X, network().y, K, P, N), RATES)

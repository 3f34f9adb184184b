"""Noisy gradient flow: its iterates, its noise, its step, its two stages."""

import math

import pytest
import torch

from ncbook.dynamics.descent import descent
from ncbook.dynamics.langevin import langevin, largest_step, stationary_variance, two_stage
from ncbook.models.mean_field import MeanField
from ncbook.runtime import HALVED, Runtime, UnresolvedWarning, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
Y = torch.arange(9) % 3


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def network(N: int = 6, **kwargs) -> MeanField:
    return MeanField(normal(9, 2), Y, 3, 4, N, **{"decay": 0.1, **kwargs})


def test_without_noise_it_is_gradient_descent():
    model = network()
    start = model.start([0, 1], RUN)
    record = [0, 3, 10]
    ours = langevin(
        model, start, step=0.1, steps=20, observe=lambda z: {"L": model.loss(z)}, record=record
    )
    expected = descent(
        lambda z: -model.gradient(z), start, 0.1, 20, lambda z: {"L": model.loss(z)}, record
    )
    assert torch.allclose(ours.final, expected.final, 1e-13, 1e-14)
    assert torch.allclose(ours.observables["L"], expected.observables["L"], 1e-13)
    assert ours.times.tolist() == pytest.approx([0, 0.3, 1.0])
    assert ours.status.tolist() == ["finished"] * 2
    other = langevin(model, start, step=0.11, steps=20).final
    assert float((other - ours.final).abs().max()) > 1e-3


def test_one_step_adds_noise_of_the_right_size_to_the_particles_alone():
    model, T, step = network(N=4000), 0.3, 0.01
    start = model.start([0, 1], RUN)
    after = langevin(model, start, step=step, steps=1, temperature=T, seeds=[0, 1]).final
    W, A, U = model.unpack(after - start + step * model.gradient(start))
    assert float(W.abs().max()) < 1e-15
    for x in (A, U):
        n = x[0].numel()
        for run in range(2):
            assert float(x[run].mean()) == pytest.approx(0, abs=5 * (2 * step * T / n) ** 0.5)
            share = float(x[run].square().mean()) / (2 * step * T)
            assert share == pytest.approx(1, abs=5 * (2 / n) ** 0.5)
    # The numbers are not those that made the start.
    _, A_0, _ = model.unpack(start)
    assert abs(float((A * A_0).mean() / (A.std() * A_0.std()))) < 5 / (2 * A[0].numel()) ** 0.5


def test_states_are_kept_where_asked_for():
    model = network()
    start = model.start([0, 1], RUN)
    kwargs = {"step": 0.1, "temperature": 0.1, "seeds": [0, 1]}
    path = langevin(model, start, steps=5, record=[0, 2, 5], save_states=True, **kwargs)
    assert path.states.shape == (2, 3, model.size)
    assert torch.equal(path.states[:, 0], start) and torch.equal(path.states[:, 2], path.final)
    assert torch.equal(path.states[:, 1], langevin(model, start, steps=2, **kwargs).final)
    assert langevin(model, start, steps=5, **kwargs).states is None


def test_a_seeds_noise_depends_on_nothing_else():
    model = network(decay=torch.tensor([[0.1], [0.2]], dtype=torch.float64))
    start = model.start([5, 7], RUN).expand(2, 2, -1)
    T = torch.tensor([[0.1], [0.3]], dtype=torch.float64)
    together = langevin(model, start, step=0.1, steps=30, temperature=T, seeds=[5, 7]).final
    for i in range(2):
        one = network(decay=(0.1, 0.2)[i])
        for j, seed in enumerate((5, 7)):
            alone = langevin(
                one, start[i, j], step=0.1, steps=30, temperature=(0.1, 0.3)[i], seeds=[seed]
            ).final
            assert float((together[i, j] - alone).abs().max()) < 1e-13
            # Control: another seed's noise is another run.
            other = langevin(
                one, start[i, j], step=0.1, steps=30, temperature=(0.1, 0.3)[i], seeds=[6]
            ).final
            assert float((together[i, j] - other).abs().max()) > 0.1


def test_the_start_is_not_changed():
    model = network()
    start = model.start([0], RUN)
    copy = start.clone()
    langevin(model, start, step=0.1, steps=5, temperature=0.1, seeds=[0])
    langevin(model, start.expand(1, -1), step=0.1, steps=5)
    assert torch.equal(start, copy)


def test_the_stationary_variance_and_its_bias():
    """With W = 0 the particles feel weight decay and noise alone: a linear equation, solved."""
    model, T, step = network(N=3000, decay=0.5), 0.2, 1.0
    start = torch.zeros(1, model.size, dtype=torch.float64)
    end = langevin(model, start, step=step, steps=60, temperature=T, seeds=[3], trained="particles")
    _, A, U = model.unpack(end.final)
    measured = float(torch.cat([A.flatten(), U.flatten()]).square().mean())
    exact = stationary_variance(step, 0.5, T)
    error = (2 / (A.numel() + U.numel())) ** 0.5
    assert measured / exact == pytest.approx(1, abs=5 * error)
    # Control: the flow's own variance, without the step's bias of 4/3, is far off.
    assert exact / (T / 0.5) == pytest.approx(4 / 3)
    assert abs(measured / (T / 0.5) - 1) > 20 * error


def plain_hessian(model: MeanField, z: torch.Tensor) -> torch.Tensor:
    """The Hessian in the flow's metric, from autograd: P^(1/2) H P^(1/2), P = (1, N, ..., N)."""

    def loss(z):
        W, A, U = model.unpack(z)
        H = A @ torch.tanh(model.X @ U).T / model.N
        onehot = torch.nn.functional.one_hot(model.y, 3).T
        fit = (model.gamma * W.T @ H - onehot).square().sum() / (2 * model.n)
        decay = (A.square().sum() + U.square().sum()) / model.N
        return fit + model.decay / 2 * decay + model.decay_W / 2 * W.square().sum()

    root = torch.full((model.size,), model.N**0.5, dtype=torch.float64)
    root[: model.p * model.K] = 1
    return root[:, None] * torch.autograd.functional.hessian(loss, z) * root


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_the_largest_step_is_that_of_the_hessian(scale):
    model = network(gamma=2.0, decay_W=0.3)
    states = scale * model.start([0, 1, 2], RUN)
    for trained, first in (("both", 0), ("particles", model.p * model.K)):
        found = largest_step(model, states, trained)
        exact = torch.stack(
            [2 / torch.linalg.eigvalsh(plain_hessian(model, z)[first:, first:])[-1] for z in states]
        )
        assert found.shape == (3,)
        assert bool(((found / exact - 1).abs() < 0.05).all()), (found, exact)
        assert bool((found >= exact * (1 - 1e-5)).all()), "power iteration comes from below"
        # Control: the parameters' own Hessian has other eigenvalues.
        assert not torch.allclose(found, exact * model.N, 0.5)


def test_a_long_step_is_refused_with_the_largest_stable_one():
    model = network(decay=0.5)
    zero = torch.zeros(1, model.size, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"step 4.01 is unstable.*at most 4 "):
        langevin(model, zero, step=4.01, steps=5, trained="particles")
    langevin(model, zero, step=3.99, steps=5, trained="particles")
    # The data's curvature: large features in front of a large W.
    start = 4 * model.start([0], RUN)
    limit = float(largest_step(model, start)[0])
    assert limit < 1
    with pytest.raises(ValueError, match="weight decay and the curvature of the loss allow"):
        langevin(model, start, step=1.01 * limit, steps=1)
    langevin(model, start, step=0.9 * limit, steps=1)
    # Only what is trained counts.
    heavy = network(decay=0.5, decay_W=10.0)
    langevin(heavy, zero, step=3.99, steps=5, trained="particles")
    with pytest.raises(ValueError, match=r"at most 0.2 "):
        langevin(heavy, zero, step=3.99, steps=5)


def test_a_step_that_becomes_unstable_is_found_at_the_end():
    """From a small start the weights grow, and with them the curvature."""
    model = network(N=40, gamma=5.0, decay=1e-3)
    start = 0.1 * model.start([0], RUN)
    step = 0.3 * float(largest_step(model, start)[0])
    with pytest.warns(UnresolvedWarning, match="is unstable"):
        run = langevin(model, start, step=step, steps=10)
    assert run.status.tolist() == ["finished"]  # and what it came to is not lost
    # A few more such steps, and the run is no longer finite; a shorter step stays stable.
    assert langevin(model, start, step=step, steps=60).status.tolist() == ["diverged"]
    assert langevin(model, start, step=step / 20, steps=200).status.tolist() == ["finished"]


def test_two_stages():
    model, seeds = network(N=20), [0, 1]
    start = model.start(seeds, RUN)
    W_0 = model.unpack(start)[0]
    first = langevin(model, start, step=0.1, steps=30, trained="particles")
    second = langevin(model, first.final, step=0.1, steps=20)
    both = two_stage(model, start, step=0.1, steps=(30, 20), observe=lambda z: {"L": model.loss(z)})
    assert torch.equal(both.final, second.final)
    assert torch.equal(model.unpack(first.final)[0], W_0)
    assert not torch.allclose(model.unpack(second.final)[0], W_0, 1e-3)
    assert both.times.tolist() == pytest.approx([0, 3, 5])
    losses = torch.stack([model.loss(z) for z in (start, first.final, second.final)], -1)
    assert torch.allclose(both.observables["L"], losses, 1e-13)
    # With noise the first stage is that of the particles alone, and the second draws anew.
    noise = {"step": 0.1, "temperature": 0.1, "seeds": seeds}
    one = langevin(model, start, steps=30, trained="particles", **noise)
    two = two_stage(model, start, steps=(30, 20), observe=lambda z: {"a": z[..., -1]}, **noise)
    assert torch.equal(two.observables["a"][:, 1], one.final[:, -1])
    assert not torch.allclose(langevin(model, one.final, steps=20, **noise).final, two.final, 1e-3)


def test_a_run_that_is_not_finite_touches_no_other():
    model = network()
    start = model.start([0, 1, 2], RUN)
    bad = start.clone()
    bad[1, -1] = torch.inf
    observe = lambda z: {"L": model.loss(z)}  # noqa: E731
    kwargs = {"step": 0.1, "steps": 5, "temperature": 0.1, "seeds": [0, 1, 2], "observe": observe}
    good, ran = (langevin(model, z, **kwargs) for z in (start, bad))
    assert ran.status.tolist() == ["finished", "diverged", "finished"]
    assert torch.equal(ran.final[[0, 2]], good.final[[0, 2]])
    assert bool(ran.observables["L"][1].isnan().all())


def test_wrong_arguments_are_refused():
    model = network()
    start = model.start([0, 1], RUN)
    for step, steps in ((0.0, 5), (torch.inf, 5), (0.1, 0)):
        with pytest.raises(ValueError, match="expected both to be positive"):
            langevin(model, start, step=step, steps=steps)
    with pytest.raises(ValueError, match="1 seeds are given for the 2 runs"):
        langevin(model, start, step=0.1, steps=5, temperature=0.1, seeds=[0])
    with pytest.raises(ValueError, match="expected at least 0"):
        langevin(model, start, step=0.1, steps=5, temperature=-0.1, seeds=[0, 1])
    with pytest.raises(ValueError, match=r"that increase within 0..5"):
        langevin(model, start, step=0.1, steps=5, record=[0, 6])
    with pytest.raises(ValueError, match="trained is 'W'"):
        langevin(model, start, step=0.1, steps=5, trained="W")
    with pytest.raises(ValueError, match="expected states of the model's"):
        langevin(model, start[:, 1:], step=0.1, steps=5)
    with pytest.raises(ValueError, match="both stages need"):
        two_stage(model, start, step=0.1, steps=(5, 0))


def test_a_run_with_steps_halved_follows_the_same_noise(monkeypatch):
    """So that it comes nearer to the same path, and the difference is the step's alone."""
    model = network(N=12)
    start = model.start([0, 1], RUN)

    def final(step, halved):
        monkeypatch.setenv(HALVED, "1" if halved else "0")
        settings = {"temperature": 0.05, "seeds": [0, 1]}
        run = langevin(model, start, step=step, steps=round(2 / step), **settings)
        assert run.times.tolist() == pytest.approx([0, 2])
        return run.final

    for step in (0.1, 0.01):
        ordinary, fine = final(step, False), final(step, True)
        assert 1e-6 < float((ordinary - fine).abs().max()) < 0.8 * step
    # Another step draws other noise: this is how far the paths of two motions are apart.
    assert float((final(0.02, False) - final(0.01, False)).abs().max()) > 0.1
    # Without noise it is the run of half the step.
    monkeypatch.setenv(HALVED, "1")
    fine = langevin(model, start, step=0.1, steps=20).final
    monkeypatch.setenv(HALVED, "0")
    assert torch.equal(fine, langevin(model, start, step=0.05, steps=40).final)


def test_noise_in_halves_has_the_variance_of_the_whole(monkeypatch):
    model = MeanField(torch.zeros(6, 3).double(), [0, 1, 2] * 2, 3, 4, 4000, decay=0.2)
    zero = torch.zeros(1, model.size, dtype=torch.float64)
    zero[:, :12] = 1.0
    monkeypatch.setenv(HALVED, "1")
    run = langevin(model, zero, step=0.5, steps=30, temperature=0.7, seeds=[3])
    expected = 0.0
    for _ in range(60):
        expected = expected * (1 - 0.2 * 0.25) ** 2 + 2 * 0.25 * 0.7
    variance = float(run.final[0, 12:].square().mean())
    assert abs(variance / expected - 1) < 4 * math.sqrt(2 / 28000)

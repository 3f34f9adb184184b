"""Stochastic gradient descent: against torch.optim.SGD, its seeds, its reports."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ncbook.dynamics.training import sgd_momentum
from ncbook.dynamics.trajectory import DIVERGED, FINISHED, Trajectory
from ncbook.models.deep import MLP, scores
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
MODEL = MLP((5, 8, 3))


@pytest.fixture(scope="module")
def examples() -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(0)
    labels = torch.arange(3).repeat(10)
    x = torch.randn(30, 5, generator=draw, dtype=torch.float64)
    return x + 1.5 * torch.eye(3, 5, dtype=torch.float64)[labels], labels


def course(examples, seeds=(0, 1, 2), **changes):
    settings = {"epochs": 9, "rate": 0.05, "batch": 8, "seeds": seeds, "decay": 1e-3}
    return sgd_momentum(
        MODEL.loss_gradient, MODEL.start(seeds, RUN), *examples, **settings | changes
    )


def test_full_batch_steps_are_those_of_torch_optim(examples):
    x, labels = examples
    ours = course(examples, batch=None, drops=(0.5,))
    plain = MLP(MODEL.sizes, normalise=False)
    ours_plain = sgd_momentum(
        plain.loss_gradient, plain.start([7], RUN), x, labels,
        epochs=9, rate=0.05, decay=1e-3, drops=(0.5,),
    )  # fmt: skip
    z = plain.start([7], RUN)[0].requires_grad_()
    optimiser = torch.optim.SGD([z], lr=0.05, momentum=0.9, weight_decay=1e-3)
    for epoch in range(9):
        optimiser.param_groups[0]["lr"] = 0.05 if epoch < 4.5 else 0.005
        optimiser.zero_grad()
        hidden, (weight, shift) = plain.unpack(z)
        h = x
        for layer in hidden:
            h = torch.relu(h @ layer[0].T + layer[1])
        torch.nn.functional.cross_entropy(h @ weight.T + shift, labels).backward()
        optimiser.step()
    torch.testing.assert_close(ours_plain.final[0], z.detach(), rtol=1e-12, atol=1e-13)
    assert ours.statistics["steps"] == 9
    # Control: another weight decay is not taken for this one.
    other = sgd_momentum(
        plain.loss_gradient, plain.start([7], RUN), x, labels,
        epochs=9, rate=0.05, decay=0.0, drops=(0.5,),
    )  # fmt: skip
    assert (other.final[0] - z.detach()).abs().max() > 1e-5


def test_an_epoch_shows_every_example_once(examples):
    x, labels = examples
    seen = []

    def gradient(z, part, targets):
        assert part.shape[:2] == targets.shape == (2, part.shape[1])
        seen.append((part, targets))
        return torch.zeros_like(z)

    sgd_momentum(gradient, torch.zeros(2, 4), x, labels, epochs=2, rate=1.0, batch=8, seeds=[0, 1])
    assert [part.shape[1] for part, _ in seen] == [8, 8, 8, 6] * 2
    orders = []
    for epoch in (seen[:4], seen[4:]):
        for run in range(2):
            order = torch.cat([part[run] for part, _ in epoch])
            index = (order.unsqueeze(1) == x).all(-1).int().argmax(1)
            assert sorted(index.tolist()) == list(range(30))
            assert torch.equal(labels[index], torch.cat([targets[run] for _, targets in epoch]))
            orders.append(tuple(index.tolist()))
    assert len(set(orders)) == 4  # another order in each epoch and for each run


def test_the_order_is_not_drawn_from_the_starts_numbers(examples):
    x, labels = examples
    seen = []

    def gradient(z, part, targets):
        seen.append(part)
        return torch.zeros_like(z)

    sgd_momentum(gradient, torch.zeros(2, 4), x, labels, epochs=1, rate=1.0, batch=30, seeds=[5, 6])
    for run, seed in enumerate((5, 6)):
        order = (seen[0][run].unsqueeze(1) == x).all(-1).int().argmax(1)
        assert sorted(order.tolist()) == list(range(30))
        assert not torch.equal(order, torch.randperm(30, generator=generator(seed)))


def test_a_batch_is_a_loop_over_seeds_and_repeats_itself(examples):
    together = course(examples, save_states=True)
    again = course(examples)
    assert torch.equal(together.final, again.final)
    for run, seed in enumerate((0, 1, 2)):
        alone = course(examples, seeds=(seed,))
        torch.testing.assert_close(together.final[run], alone.final[0], rtol=1e-9, atol=1e-11)
    assert not torch.allclose(together.final[0], together.final[1])


def test_a_rate_a_run(examples):
    start, seeds = MODEL.start((0, 1, 2), RUN), (0, 1, 2)
    rates = torch.tensor([0.01, 0.05, 0.1], dtype=torch.float64)
    together = sgd_momentum(
        MODEL.loss_gradient, start, *examples, epochs=4, rate=rates, batch=8, seeds=seeds
    )
    for run, rate in enumerate(rates.tolist()):
        alone = course(examples, seeds=seeds, rate=rate, epochs=4, decay=5e-4, drops=(1 / 3, 2 / 3))
        torch.testing.assert_close(together.final[run], alone.final[run], rtol=1e-9, atol=1e-11)
        assert (together.final[run - 1] - alone.final[run - 1]).abs().max() > 1e-4  # control


def test_runs_of_one_seed_share_their_mini_batches(examples):
    start = MODEL.start((0, 1, 2), RUN)
    settings = {"epochs": 5, "rate": 0.05, "batch": 8}
    shapes = set()

    def gradient(z, part, targets):
        shapes.add((part.dim(), targets.dim()))
        return MODEL.loss_gradient(z, part, targets)

    shared = sgd_momentum(gradient, start, *examples, seeds=(7, 7, 7), **settings)
    assert shapes == {(2, 1)}
    for run in range(3):
        alone = sgd_momentum(gradient, start[[run]], *examples, seeds=(7,), **settings)
        torch.testing.assert_close(shared.final[run], alone.final[0], rtol=1e-9, atol=1e-11)
    other = sgd_momentum(gradient, start, *examples, seeds=(7, 8, 7), **settings)
    assert shapes == {(2, 1), (3, 2)}
    torch.testing.assert_close(shared.final[::2], other.final[::2], rtol=1e-9, atol=1e-11)
    assert (shared.final[1] - other.final[1]).abs().max() > 1e-4  # control: its order matters


def test_records_observables_and_states_at_chosen_epochs(examples):
    x, labels = examples
    observe = MODEL.progress(x, labels)
    whole = course(examples, observe=observe, record=[0, 1, 4, 9], save_states=True)
    assert isinstance(whole, Trajectory)
    assert whole.times.tolist() == [0, 1, 4, 9]
    assert whole.states.shape == (3, 4, MODEL.size)
    assert torch.equal(whole.states[:, 0], MODEL.start((0, 1, 2), RUN))
    assert torch.equal(whole.states[:, -1], whole.final)
    for time in range(4):
        later = scores(MODEL.forward(whole.states[:, time], x)[1], labels)["loss"]
        torch.testing.assert_close(whole.observables["loss"][:, time], later)
    assert (whole.observables["loss"][:, -1] < whole.observables["loss"][:, 0]).all()
    runs = whole.runs("epoch", seed=[0, 1, 2])
    assert runs["loss"].dims == runs["error"].dims == ("seed", "epoch") and runs["loss"].size == 12
    # What is recorded does not touch the run, and nothing is kept unasked.
    bare = course(examples)
    assert torch.equal(bare.final, whole.final) and bare.states is None
    # The run goes on behind the last recorded epoch.
    early = course(examples, record=[0, 4], save_states=True)
    assert torch.equal(early.final, whole.final)
    assert torch.equal(early.states[:, 1], whole.states[:, 2])
    more = replace(whole, observables={"one": torch.ones(3, 4)})
    assert more.runs("epoch", seed=[0, 1, 2])["one"].sum() == 12


def test_divergence_is_reported_and_stays_alone(examples):
    start = MODEL.start((0, 1, 2), RUN)
    good = course(examples, seeds=(0, 2), rate=0.05)
    start[1] = torch.inf
    mixed = sgd_momentum(
        MODEL.loss_gradient, start, *examples, epochs=9, rate=0.05, batch=8, seeds=(0, 1, 2),
        decay=1e-3, observe=MODEL.progress(*examples),
    )  # fmt: skip
    assert mixed.status.tolist() == [FINISHED, DIVERGED, FINISHED]
    torch.testing.assert_close(mixed.final[[0, 2]], good.final, rtol=1e-9, atol=1e-11)
    assert good.status.tolist() == [FINISHED, FINISHED]
    assert not mixed.observables["loss"][1].isfinite().any()


def test_a_learning_rate_that_is_too_large_diverges():
    def field(z, x, labels):  # the gradient of 50 |z|^2: stable below a rate of 0.02
        return 100.0 * z

    def end(rate):
        return sgd_momentum(
            field, torch.ones(1, 2, dtype=torch.float64), torch.zeros(4, 1), torch.zeros(4),
            epochs=5000, rate=rate, momentum=0.0, decay=0.0, drops=(), record=[0, 2500, 5000],
        )  # fmt: skip

    small, large = end(0.015), end(0.03)
    assert small.status.tolist() == [FINISHED] and small.final.abs().max() < 1e-300
    assert large.status.tolist() == [DIVERGED]
    assert large.statistics["steps"] == 2500  # ended early: nothing was left to train
    assert large.times.tolist() == [0, 2500, 5000]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.0}, "rate > 0"),
        ({"rate": torch.tensor([0.1, 0.0, 0.1])}, "rate > 0"),
        ({"rate": torch.tensor([0.1, 0.1])}, r"rate has shape \(2,\)"),
        ({"momentum": 1.0}, "momentum = 1.0"),
        ({"decay": -1e-3}, "decay >= 0"),
        ({"epochs": 0}, "at least 1 epoch"),
        ({"batch": 31}, "mini-batches of 1 to 30"),
        ({"seeds": (0,)}, "1 seeds are given for 3 runs"),
        ({"drops": (0.5, 50)}, "fractions of the epochs"),
        ({"record": [0, 10]}, r"within 0\.\.9"),
        ({"record": [3, 1]}, "must be whole numbers that increase"),
    ],
)
def test_arguments_out_of_range_are_refused(examples, changes, message):
    settings = {"epochs": 9, "rate": 0.05, "batch": 8, "seeds": (0, 1, 2)} | changes
    with pytest.raises(ValueError, match=message):
        sgd_momentum(MODEL.loss_gradient, MODEL.start((0, 1, 2), RUN), *examples, **settings)


def test_statistics(examples):
    statistics = course(examples).statistics
    assert statistics["steps"] == statistics["evaluations"] == 36
    assert statistics["dtype"] == "float64" and statistics["device"] == "cpu"
    assert statistics["seconds"] > 0
    assert isinstance(course(examples).status, np.ndarray)

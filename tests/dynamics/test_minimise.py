"""Minima from many starts: closed forms, what rounding allows, what is refused."""

import pytest
import torch

from ncbook.dynamics.minimise import minimise
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


def double_well(z):
    """Least, 0, at -1 and at 1 on the first axis."""
    return (z[..., 0].square() - 1).square() + z[..., 1:].square().sum(-1)


def factorisation(target):
    """|u v - target|^2/2 + (u^2 + v^2)/10, least at u v = target - 1/5."""

    def risk(z):
        return (z.prod(-1) - target).square() / 2 + z.square().sum(-1) / 10

    return risk


def test_each_start_ends_in_a_minimum_of_its_own():
    found = minimise(
        double_well, RUN.tensor([[[2.0, 1.0], [-0.5, 3.0]], [[0.1, 0.0], [-3.0, 1.0]]])
    )
    signs = RUN.tensor([[1.0, -1.0], [1.0, -1.0]])
    assert found.status.tolist() == [["converged"] * 2] * 2
    assert float((found.final[..., 0] - signs).abs().max()) < 1e-9
    assert float(found.final[..., 1].abs().max()) < 1e-9


def test_a_run_may_have_a_risk_of_its_own():
    target = RUN.tensor([0.1, 1.0, 3.0])  # below 1/5 the product is lost
    found = minimise(
        factorisation(target), RUN.normal(range(3), 2).abs(),
        observe=lambda z: {"risk": factorisation(target)(z)},
    )  # fmt: skip
    kept = (target - 0.2).clamp(min=0)
    assert float((found.final.prod(-1) - kept).abs().max()) < 1e-8
    least = (kept - target).square() / 2 + kept / 5
    assert float((found.observables["risk"][:, 1] - least).abs().max()) < 1e-15
    wrong = (target - 0.1).clamp(min=0)
    assert float((found.final.prod(-1) - wrong).abs().max()) > 0.05


def test_unconstrained_features_reach_zero_loss():
    model = UnconstrainedFeatures(3, 4, 5)
    found = minimise(model.risk, RUN.normal(range(6), model.size))
    assert (found.status == "converged").all()
    assert float(model.risk(found.final).max()) < 1e-15
    assert found.statistics["gradient"] < 1.5e-8
    assert found.times.tolist() == [0, found.statistics["steps"]]
    assert 0 < found.statistics["steps"] < found.statistics["evaluations"]


def test_what_is_easy_takes_few_steps():
    found = minimise(lambda z: z.square().sum(-1), RUN.normal(range(2), 3))
    assert found.statistics["steps"] <= 10 and found.statistics["evaluations"] <= 30


def test_the_start_is_not_changed_and_few_steps_are_said():
    start = RUN.normal(range(4), 10)
    before = start.clone()
    scale = torch.linspace(1, 1e4, 10, dtype=torch.float64)
    found = minimise(lambda z: (scale * z.square().square()).sum(-1), start, steps=3)
    assert torch.equal(start, before)
    assert (found.status == "out of steps").all()
    assert found.statistics["steps"] == 3


def test_where_rounding_lets_nothing_get_lower_it_ends():
    start = RUN.normal(range(2), 3)
    found = minimise(lambda z: 1e8 + (z.square() - 2).square().sum(-1), start, tolerance=1e-30)
    assert found.statistics["steps"] < 5000
    assert (found.status == "out of steps").all()


def test_a_run_in_single_precision_ends_by_its_own_threshold():
    run = Runtime(torch.device("cpu"), torch.float32, 1)
    found = minimise(double_well, run.tensor([[2.0, 1.0], [-2.0, 0.3]]))
    assert (found.status == "converged").all()
    assert found.final.dtype == torch.float32
    assert float((found.final[:, 0].abs() - 1).abs().max()) < 1e-4


@pytest.mark.parametrize("options", [{"steps": 0}, {"tolerance": 0.0}, {"tolerance": float("nan")}])
def test_what_is_no_number_of_steps_or_tolerance_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        minimise(double_well, torch.ones(1, 2), **options)


def test_a_start_whose_risk_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        minimise(lambda z: 1 / z.sum(-1), torch.zeros(2, 3))


def test_where_a_risk_ceases_to_be_a_number_it_ends_and_says_so():
    found = minimise(lambda z: z.sqrt().sum(-1), torch.ones(2, 1, dtype=torch.float64))
    assert found.statistics["steps"] <= 100
    assert "converged" not in found.status.tolist()

"""Deep unconstrained features: risk against sums over samples, field against differences."""

import pytest
import torch

from ncbook.models.deep_ufm import DeepUnconstrainedFeatures
from ncbook.runtime import Runtime, generator
from ncbook.theory.deep.classes import ClassProblem

RUN = Runtime(torch.device("cpu"), torch.float64, 1)

MODELS = {
    "one layer": DeepUnconstrainedFeatures([3, 1, 2], [4], [0.1, 0.2]),
    "bias": DeepUnconstrainedFeatures([3, 1, 2], [4, 5], [0.1, 0.3, 0.2], bias_decay=0.4),
    "free bias": DeepUnconstrainedFeatures([3, 1], [2], [0.1, 0.3], bias_decay=0),
    "relu": DeepUnconstrainedFeatures([2, 3], [4, 3, 5], [0.1, 0.3, 0.2, 0.5], relu=True),
    "single": DeepUnconstrainedFeatures(
        [2, 3], [4, 3], [0.1, 0.3, 0.2], relu=True, bias_decay=0.1, single=True
    ),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def states(model, *batch, seed=0):
    return torch.randn(*batch, model.size, generator=generator(seed), dtype=torch.float64)


def risk_by_samples(model, z):
    """The definition, one sample at a time, for one state of shape (P,)."""
    H, W, b = model.unpack(z)
    total = (model.bias_decay or 0) / 2 * (b @ b)
    for decay, one in zip(model.decays[:-1], W, strict=True):
        total = total + decay / 2 * sum(float(x) ** 2 for x in one.flatten())
    column = 0
    for k, size in enumerate(model.sizes):
        target = torch.eye(model.K).double()[k]
        for _ in range(size):
            h = H[:, column if model.single else k]
            out = h
            for index, one in enumerate(W):
                out = one @ (torch.clamp(out, min=0) if model.relu and index else out)
            error = out + b - target
            total = total + (error @ error) / (2 * model.N) + model.decays[-1] / 2 * (h @ h)
            column += 1
    return total


@each_model
def test_the_risk_is_the_sum_over_samples(model):
    z = states(model)
    assert float(model.risk(z)) == pytest.approx(float(risk_by_samples(model, z)), rel=1e-13)


@each_model
def test_the_field_is_minus_the_gradient(model):
    z = states(model, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(model.risk(z).sum(), z)
    field = model.field(z.detach())
    assert torch.allclose(field, -gradient, rtol=1e-12, atol=1e-14)
    one, step = z.detach()[0], 1e-6
    for index in range(0, model.size, 5):
        shift = torch.zeros_like(one)
        shift[index] = step
        difference = (model.risk(one + shift) - model.risk(one - shift)) / (2 * step)
        assert float(-difference) == pytest.approx(float(field[0, index]), abs=1e-8)


@each_model
def test_a_batch_is_a_loop(model):
    z = states(model, 2, 3)
    for f in (model.risk, model.field):
        alone = torch.stack([torch.stack([f(row) for row in rows]) for rows in z])
        assert torch.allclose(f(z), alone, rtol=1e-13, atol=1e-15)
    assert torch.equal(model.pack(*model.unpack(z)), z)
    shapes = [tuple(layer.shape[-2:]) for layer in model.layers_of(z)]
    assert shapes == [(w, len(model.labels)) for w in (*model.widths, model.K)]


def test_one_feature_a_class_stands_for_all_its_samples():
    options = {"widths": [4, 3], "decays": [0.1, 0.3, 0.2], "relu": True, "bias_decay": 0.1}
    classes = DeepUnconstrainedFeatures([2, 3], **options)
    single = DeepUnconstrainedFeatures([2, 3], **options, single=True)
    H, W, b = classes.unpack(states(classes, 4))
    repeated = single.pack(H[..., single.labels], W, b)
    assert torch.allclose(classes.risk(classes.pack(H, W, b)), single.risk(repeated), rtol=1e-14)


@pytest.mark.parametrize("decays", [[0.02, 0.03], [0.02, 0.03, 0.01], [0.01, 0.02, 0.03, 0.01]])
def test_the_minimum_in_closed_form_has_no_gradient(decays):
    """A state built from the scalar problem: its risk is the closed one, and it is stationary."""
    problem = ClassProblem([40, 25, 10], decays)
    M = problem.layers
    model = DeepUnconstrainedFeatures([40, 25, 10], [4] * M, decays)
    s = problem.output()
    assert int((s > 0).sum()) > 1
    H = torch.zeros(4, 3).double()
    H[:3] = problem.features(s).sqrt().diag()
    W = []
    for decay in decays[:-1]:
        one = torch.zeros(4, 4).double()
        one[:3, :3] = (problem.shares(s) / decay).sqrt().diag()
        W.append(one)
    z = model.pack(H, [*W[:-1], W[-1][:3]])
    assert float(model.risk(z)) == pytest.approx(float(problem.least_risk()), rel=1e-13)
    assert float(model.field(z).abs().max()) < 1e-13
    # Control: with a bias it is no longer a minimum.
    biased = DeepUnconstrainedFeatures([40, 25, 10], [4] * M, decays, bias_decay=0)
    assert float(biased.field(torch.cat([z, z.new_zeros(3)])).abs().max()) > 1e-3


def test_starts_have_the_scales_that_were_asked_for():
    model = DeepUnconstrainedFeatures([5] * 4, [60, 50], [0.1] * 3, bias_decay=0.0)
    first = model.start([0, 1], RUN, scale=2.0, weights=0.5)
    H, W, b = model.unpack(first)
    assert float(H.std()) == pytest.approx(2.0, rel=0.1)
    assert all(float(one.std()) == pytest.approx(0.5, rel=0.1) for one in W)
    assert (b == 0).all()
    assert torch.equal(model.start([1], RUN, scale=2.0, weights=0.5)[0], first[1])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (([3], [4], [0.1, 0.1]), "sizes"),
        ((3, [4], [0.1, 0.1]), "sizes"),
        (([3, 0], [4], [0.1, 0.1]), "class size"),
        (([3, 2], [4.5], [0.1, 0.1]), "width"),
        (([3, 2], [4], [0.1, 0.1, 0.1]), "decays"),
        (([3, 2], [4], [0.1, -0.1]), "decays"),
        (([3, 2], [4], [0.1, 0.1], False, -1.0), "bias_decay"),
    ],
)
def test_what_is_no_model_is_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        DeepUnconstrainedFeatures(*arguments)

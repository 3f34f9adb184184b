"""Shapes of collapsed solutions: their costs, and networks that are built of them."""

import math

import pytest
import torch

from ncbook.models.deep_ufm import DeepUnconstrainedFeatures
from ncbook.theory.deep import fan, graph, scalar, shapes

SHAPES = {
    "collapse": shapes.collapse(3),
    "complete": graph.complete(5),
    "tilted": graph.complete(5, 0.8),
    "path": graph.with_loops(2, 0.9),
    "loops": graph.with_loops(3, 0.8),
    "some": graph.graph(4, [0, 2], [(0, 1), (1, 2), (2, 3)], 0.7),
    "fan": fan.fan(5),
}


def test_collapse_costs_one():
    for K, L in ((2, 3), (5, 4), (7, 9)):
        assert float(shapes.kappa(shapes.collapse(K), L)) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("layers", [3, 4, 6])
def test_a_built_network_has_the_risk_of_its_cost(name, layers):
    shape, n = SHAPES[name], 3
    decays = [1e-3 * (k + 1) for k in range(layers + 1)]
    K, r = shape.classes, shape.dimensions
    c = shapes.kappa(shape, layers) * scalar.cost(n**0.5, K * n, math.prod(decays), layers)
    s = 0.7
    H, W = shapes.factors(shape, layers, s, decays, n)
    model = DeepUnconstrainedFeatures([n] * K, [*[r] * (layers - 1), K], decays, relu=True)
    z = model.pack(H, W)
    expected = scalar.risk(s, c, layers)
    torch.testing.assert_close(model.risk(z), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(model.layers_of(z)[-1], s * torch.eye(K).double())
    shares = [d * w.square().sum() for d, w in zip(decays, [*W, n**0.5 * H], strict=True)]
    assert max(shares) == pytest.approx(float(min(shares)), rel=1e-10)
    # Other multiples of the factors with the same output cost more.
    assert model.risk(model.pack(2 * H, [W[0] / 2, *W[1:]])) > expected


def test_lengths_of_units_do_not_matter():
    one = SHAPES["loops"]
    stretch = torch.arange(1, one.classes + 1).double()[:, None]
    other = shapes.Shape(one.points, stretch * one.units)
    assert float(shapes.kappa(other, 5)) == pytest.approx(float(shapes.kappa(one, 5)), rel=1e-13)


def test_bad_shapes_are_refused():
    eye = torch.eye(3).double()
    with pytest.raises(ValueError, match="expected \\(r, K\\)"):
        shapes.Shape(eye[:2], eye)
    with pytest.raises(ValueError, match="negative"):
        shapes.Shape(-eye, eye)
    with pytest.raises(ValueError, match="layers"):
        shapes.kappa(shapes.collapse(3), 2)
    with pytest.raises(ValueError, match="tell all classes apart"):
        shapes.kappa(shapes.Shape(eye, -eye), 3)
    for output, decays in ((0.0, [1.0] * 4), (1.0, [1.0] * 3), (1.0, [0.0] * 4)):
        with pytest.raises(ValueError, match="decays"):
            shapes.factors(shapes.collapse(3), 3, output, decays)

"""The perceptron: against torch.nn, its gradient, its batches, its starts."""

import pytest
import torch
from torch import nn

from ncbook.models.deep import MLP, PenalisedLoss, scores
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
SIZES = (7, 6, 5, 4)


@pytest.fixture
def examples() -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(3)
    x = torch.randn(23, SIZES[0], generator=draw, dtype=torch.float64)
    return x, torch.randint(SIZES[-1], (23,), generator=draw)


def states(model: MLP, runs: int = 3) -> torch.Tensor:
    """Starts, moved so that no shift is 0 and no gain is 1."""
    z = model.start(range(runs), RUN)
    return z + 0.3 * torch.randn(z.shape, generator=generator(9), dtype=torch.float64)


def as_modules(model: MLP, z: torch.Tensor) -> nn.Sequential:
    """One run as plain torch.nn modules in training mode; z has shape (P,)."""
    hidden, (weight, shift) = model.unpack(z)
    modules = []
    for layer in hidden:
        outputs, inputs = layer[0].shape
        linear = nn.Linear(inputs, outputs, bias=not model.normalise, dtype=torch.float64)
        linear.weight.data = layer[0].clone()
        modules.append(linear)
        if model.normalise:
            norm = nn.BatchNorm1d(outputs, dtype=torch.float64)
            norm.bias.data, norm.weight.data = layer[1].clone(), layer[2].clone()
            modules.append(norm)
        else:
            linear.bias.data = layer[1].clone()
        modules.append(nn.ReLU())
    last = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    last.weight.data, last.bias.data = weight.clone(), shift.clone()
    return nn.Sequential(*modules, last)


def module_gradient(model: MLP, network: nn.Sequential) -> torch.Tensor:
    """The gradients of the modules as one flat tensor in the model's layout."""
    parts = []
    for module in network:
        if isinstance(module, nn.Linear):
            parts.append(module.weight.grad.flatten())
            if module.bias is not None:
                parts.append(module.bias.grad)
        elif isinstance(module, nn.BatchNorm1d):
            parts += [module.bias.grad, module.weight.grad]
    return torch.cat(parts)


@pytest.mark.parametrize("normalise", [True, False])
def test_outputs_and_gradient_are_those_of_torch_nn(normalise, examples):
    x, labels = examples
    model = MLP(SIZES, normalise)
    z = states(model)
    features, logits = model.forward(z, x)
    gradient = model.loss_gradient(z, x, labels)
    assert features.shape == (3, 23, 5) and logits.shape == (3, 23, 4)
    for run in range(3):
        network = as_modules(model, z[run])
        expected = network(x)
        loss = nn.functional.cross_entropy(expected, labels)
        loss.backward()
        torch.testing.assert_close(logits[run], expected.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(features[run], network[:-1](x).detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            gradient[run], module_gradient(model, network), rtol=1e-10, atol=1e-13
        )


@pytest.mark.parametrize("normalise", [True, False])
def test_gradient_is_the_slope_of_the_loss(normalise, examples):
    x, labels = examples
    model = MLP(SIZES, normalise)
    z = states(model)
    direction = torch.randn(z.shape, generator=generator(1), dtype=torch.float64)
    step = 1e-6

    def loss(at: torch.Tensor) -> torch.Tensor:
        return scores(model.forward(at, x)[1], labels)["loss"]

    slope = (loss(z + step * direction) - loss(z - step * direction)) / (2 * step)
    expected = (model.loss_gradient(z, x, labels) * direction).sum(-1)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-8)
    # Control: without the terms through the mean and the variance it is another number.
    if normalise:
        moments = model.moments(z, x)

        def frozen(at: torch.Tensor) -> torch.Tensor:
            return scores(model.forward(at, x, moments)[1], labels)["loss"]

        wrong = (frozen(z + step * direction) - frozen(z - step * direction)) / (2 * step)
        assert ((wrong - expected).abs() > 1e-3).any()


@pytest.mark.parametrize("normalise", [True, False])
def test_a_batch_is_a_loop_over_its_runs(normalise, examples):
    x, labels = examples
    model = MLP(SIZES, normalise)
    z = states(model, 4)
    own = torch.stack([x.roll(run, 0) for run in range(4)])
    targets = torch.stack([labels.roll(run) for run in range(4)])
    together = model.loss_gradient(z, own, targets)
    features, logits = model.forward(z, own)
    for run in range(4):
        one = z[run : run + 1]
        torch.testing.assert_close(
            together[run : run + 1], model.loss_gradient(one, own[run], targets[run])
        )
        alone = model.forward(one, own[run])
        torch.testing.assert_close(features[run : run + 1], alone[0])
        torch.testing.assert_close(logits[run : run + 1], alone[1])


def test_further_batch_dimensions_and_no_batch_dimension(examples):
    x, labels = examples
    model = MLP(SIZES)
    z = states(model, 6)
    flat, grid = model.forward(z, x), model.forward(z.view(2, 3, -1), x)
    torch.testing.assert_close(grid[0], flat[0].view(2, 3, 23, 5))
    torch.testing.assert_close(grid[1], flat[1].view(2, 3, 23, 4))
    torch.testing.assert_close(model.forward(z[0], x)[1], flat[1][0])
    torch.testing.assert_close(
        model.loss_gradient(z.view(2, 3, -1), x, labels).view(6, -1),
        model.loss_gradient(z, x, labels),
    )


def test_moments_carry_the_training_normalisation_over(examples):
    x, _ = examples
    model = MLP(SIZES)
    z = states(model)
    moments = model.moments(z, x)
    torch.testing.assert_close(model.forward(z, x, moments)[1], model.forward(z, x)[1])
    # With fixed moments an example's output does not depend on the others.
    whole, part = model.forward(z, x, moments)[1], model.forward(z, x[:3], moments)[1]
    torch.testing.assert_close(whole[:, :3], part)
    assert not torch.allclose(model.forward(z, x[:3])[1], part)
    assert MLP(SIZES, False).moments(states(MLP(SIZES, False)), x) == []


@pytest.mark.parametrize("normalise", [True, False])
def test_starts(normalise):
    model = MLP((50, 80, 60, 10), normalise)
    z = model.start([4, 5], RUN)
    hidden, (weight, shift) = model.unpack(z)
    for layer in (*hidden, (weight, shift)):
        inputs = layer[0].shape[-1]
        assert layer[0].std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.05)
        assert (layer[1] == 0).all()
        assert len(layer) == 2 or (layer[2] == 1).all()
    assert torch.equal(z[1:], model.start([5], RUN))
    assert not torch.equal(z[0], z[1])
    W, b = model.classifier(z)
    assert W.shape == (2, 10, 60) and b.shape == (2, 10)


def test_scores_on_hand_made_logits():
    logits = torch.tensor([[[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    measured = scores(logits, torch.tensor([0, 1, 0]))
    expected = torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64)
    loss = torch.log1p(torch.exp(-expected)).mean()
    assert measured["loss"].item() == pytest.approx(loss.item(), abs=1e-14)
    assert measured["error"].item() == pytest.approx(2 / 3)  # of equals the first is taken


def test_progress_observes_states(examples):
    x, labels = examples
    model = MLP(SIZES)
    observed = model.progress(x, labels)(states(model))
    assert set(observed) == {"loss", "error"}
    assert observed["loss"].shape == observed["error"].shape == (3,)


@pytest.mark.parametrize("sizes", [(3, 2), ()])
def test_too_few_layers_are_refused(sizes):
    with pytest.raises(ValueError, match="expected the number of inputs"):
        MLP(sizes)


@pytest.mark.parametrize("size", [0, 2.0, True, "2"])
def test_sizes_that_are_no_counts_are_refused(size):
    with pytest.raises(ValueError, match=f"^a size is {size!r}: expected an integer of at least 1"):
        MLP((3, size, 2))


def test_the_penalised_loss_is_a_landscape(examples):
    model = MLP(SIZES, normalise=False)
    loss, z = PenalisedLoss(model, *examples, decay=0.1), states(model).requires_grad_()
    (gradient,) = torch.autograd.grad(loss.risk(z).sum(), z)
    torch.testing.assert_close(loss.field(z), -gradient)
    plain = PenalisedLoss(model, *examples)
    assert bool((loss.risk(z) > plain.risk(z)).all())
    assert not torch.allclose(plain.field(z), -gradient)
    for labels, decay in ((examples[1][1:], 0.1), (examples[1], -1.0)):
        with pytest.raises(ValueError, match="expected a label an example"):
            PenalisedLoss(model, examples[0], labels, decay)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_linear_network_and_its_layers(examples, normalise):
    x, labels = examples
    model = MLP(SIZES, normalise, linear=True)
    z = states(model)
    for run, gradient in enumerate(model.loss_gradient(z, x, labels)):
        modules = [one for one in as_modules(model, z[run]) if not isinstance(one, nn.ReLU)]
        network = nn.Sequential(*modules)
        nn.functional.cross_entropy(network(x), labels).backward()
        torch.testing.assert_close(gradient, module_gradient(model, network))
    assert not torch.allclose(MLP(SIZES, normalise).loss_gradient(z, x, labels)[-1], gradient)
    layers = model.layers(z, x)
    assert [layer.shape[-1] for layer in layers] == list(SIZES[:-1])
    assert torch.equal(layers[0], x.expand(3, *x.shape))
    torch.testing.assert_close(layers[-1], model.forward(z, x)[0])
    # Affine: a midpoint goes to the midpoint, if it is normalised by the moments of the others.
    moments = model.moments(z, x) if normalise else None
    ends = model.forward(z, x, moments)[1]
    middle = model.forward(z, (x[:1] + x[1:2]) / 2, moments)[1]
    torch.testing.assert_close(middle[:, 0], (ends[:, 0] + ends[:, 1]) / 2)
    bent = MLP(SIZES, normalise).layers(z, x)
    assert float(bent[1].min()) == 0 > float(layers[1].min())


def test_a_start_of_another_variance():
    model = MLP(SIZES, normalise=False)
    usual, torchs = model.start([1], RUN), model.start([1], RUN, variance=1 / 3)
    torch.testing.assert_close(torchs, usual / 6**0.5)

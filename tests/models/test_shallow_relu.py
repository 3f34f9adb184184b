"""The two-layer ReLU network: its losses, its gradients, its groups and its starts."""

import math
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.models.shallow_relu import LOSSES, ShallowReLU, log_sample_loss, log_sample_slope
from ncbook.runtime import Runtime, available_devices, generator, start

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
CASES = [(2, "exponential"), (2, "logistic"), (2, "cross-entropy"), (3, "cross-entropy")]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def network(K: int, loss: str, n: int = 3, D: int = 5, width: int = 7) -> ShallowReLU:
    """n samples a class, normal: not separable, so that every neuron meets every class."""
    labels = torch.arange(K).repeat_interleave(n)
    return ShallowReLU(normal(K * n, D), labels, K, width, loss)


def plain_loss(model: ShallowReLU, theta: torch.Tensor) -> torch.Tensor:
    """The loss as the paper writes it, sample by sample and neuron by neuron."""
    W, V = theta[: model.D * model.width], theta[model.D * model.width :]
    W, V = W.reshape(model.D, model.width), V.reshape(-1, model.width)
    total = theta.new_zeros(())
    for x, label in zip(model.X, model.y.tolist(), strict=True):
        f = sum(V[:, j] * torch.relu(W[:, j] @ x) for j in range(model.width))
        if model.loss == "exponential":
            total = total + torch.exp(-(1 if label == 0 else -1) * f[0])
        elif model.loss == "logistic":
            total = total + 2 * torch.log(1 + torch.exp(-(1 if label == 0 else -1) * f[0]))
        else:
            total = total - torch.log(torch.exp(f[label]) / torch.exp(f).sum())
    return total


# --- The loss and its gradient ------------------------------------------------------------------


@pytest.mark.parametrize(("K", "loss"), CASES)
def test_the_loss_is_the_papers(K, loss):
    model = network(K, loss)
    theta = normal(4, model.size, seed=1)
    exact = torch.stack([plain_loss(model, one) for one in theta])
    assert torch.allclose(model.log_loss(theta).exp(), exact, 1e-12)
    samples, classes = model.sample_log_losses(theta), model.class_log_losses(theta)
    assert torch.allclose(samples.exp().sum(-1), exact, 1e-12)
    assert torch.allclose(classes.exp(), samples.exp().unflatten(-1, (K, -1)).sum(-1), 1e-12)
    assert not torch.allclose(model.log_loss(1.01 * theta).exp(), exact, 1e-3)


@pytest.mark.parametrize(("K", "loss"), CASES)
def test_the_shares_are_of_the_own_classs_loss(K, loss):
    model = network(K, loss)
    theta = normal(4, model.size, seed=1)
    losses = model.sample_log_losses(theta).exp().unflatten(-1, (K, -1))
    shares = model.sample_shares(theta).unflatten(-1, (K, -1))
    assert torch.allclose(shares, losses / losses.sum(-1, keepdim=True), 1e-12)
    # Not of the whole loss; and far out, where no loss is left, they are there all the same.
    assert not torch.allclose(shares, losses / losses.sum((-2, -1), keepdim=True), 1e-2)
    far = model.sample_shares(1e4 * theta).unflatten(-1, (K, -1))
    assert torch.allclose(far.sum(-1), torch.ones(4, K, dtype=far.dtype), 1e-9)


def worst(measured: torch.Tensor, expected: torch.Tensor) -> float:
    return float((measured - expected).norm() / expected.norm())


@pytest.mark.parametrize(("K", "loss"), CASES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 3.0])
def test_the_field_is_minus_the_gradient(K, loss, scale):
    model = network(K, loss)
    theta = scale * normal(4, model.size, seed=1)
    for one in theta:
        one = one.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(plain_loss(model, one), one)
        value = plain_loss(model, one).detach()
        assert worst(model.field(one.detach()), -gradient) < 1e-13
        assert worst(model.rescaled_field(one.detach()), -gradient / value) < 1e-13
        # The check finds the gradient of exchanged labels.
        other = ShallowReLU(model.X, (model.y + 1) % K, K, model.width, loss)
        assert worst(other.field(one.detach()), -gradient) > 1e-3
    log_L, field = model.log_loss_and_rescaled_field(theta)
    assert torch.equal(log_L, model.log_loss(theta))
    assert torch.equal(field, model.rescaled_field(theta))


@pytest.mark.parametrize(("K", "loss"), CASES)
@pytest.mark.parametrize("R", [1e2, 1e5, 1e8])
def test_nothing_underflows(K, loss, R):
    """Far out the loss is homogeneous: log L is -(smallest margin), to the last digit but few."""
    D = K
    X = torch.eye(D, dtype=torch.float64)
    model = ShallowReLU(X, range(K), K, K, loss)
    s = math.sqrt(R)
    theta = model.pack(s * X, s * model.pseudo_labels)
    log_L = float(model.log_loss(theta))
    counted = {"exponential": 2.0, "logistic": 4.0, "cross-entropy": K * (K - 1.0)}[loss]
    assert log_L == pytest.approx(math.log(counted) - model.label_scale * R, abs=1e-15 * R + 1e-13)
    field = model.rescaled_field(theta)
    # grad R at equal margins c s^2: c s / K along each of the K w's and v's.
    each = model.label_scale * s / K
    W, V = model.unpack(field)
    assert torch.allclose(W, each * X, 1e-8)
    assert torch.allclose(V, each * model.pseudo_labels, 1e-8)
    if R > 1e3:
        assert float(model.field(theta).abs().max()) == 0, "here the plain gradient underflows"


@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_meet_across_their_branches(loss):
    """Around the switch to the asymptotic form, against the plain formula in longer arithmetic."""
    for value in (-800.0, -40.0, -37.0001, -36.9999, -30.0, -1.0, 0.0, 2.0, 50.0, 900.0):
        with localcontext(prec=900):  # for 1 + exp(-800)
            u = Decimal(value).exp()
            factor = 2 if loss == "logistic" else 1
            level, slope = (u, u) if loss == "exponential" else ((1 + u).ln(), u / (1 + u))
            exact = float((factor * level).ln()), float((factor * slope).ln())
        excess = torch.tensor(value, dtype=torch.float64)
        measured = float(log_sample_loss(excess, loss)), float(log_sample_slope(excess, loss))
        assert measured == pytest.approx(exact, rel=4e-16, abs=4e-16)


def test_the_derivative_of_relu_at_zero_is_zero():
    X = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    model = ShallowReLU(X, [0, 1], 2, 1, "exponential")
    theta = model.pack(X.new_tensor([[0.0], [1.0]]), X.new_tensor([[1.0]]))
    assert model.active(theta).tolist() == [[False], [True]]
    W, V = model.unpack(model.field(theta))
    e = math.exp(1)
    assert W.tolist() == [[0], [pytest.approx(-e)]]
    assert V.tolist() == [[pytest.approx(-e)]]


@pytest.mark.parametrize("K", [2, 3])
def test_the_gradient_over_a_mini_batch_is_autograds(K):
    model = network(K, "cross-entropy")
    theta = normal(4, model.size, seed=2)
    X, y = normal(4, 11, model.D, seed=3), torch.arange(44).reshape(4, 11) % K
    own = model.loss_gradient(theta, X, y)
    shared = model.loss_gradient(theta, X[0], y[0])
    for run in range(4):
        for gradient, sample in ((own, run), (shared, 0)):
            z = theta[run].clone().requires_grad_()
            W, V = model.unpack(z)
            logits = torch.relu(X[sample] @ W) @ V.T
            torch.nn.functional.cross_entropy(logits, y[sample]).backward()
            assert worst(gradient[run], z.grad) < 1e-13
            # Control: another run's samples give another gradient.
            assert sample == run or worst(own[run], z.grad) > 1e-3
    whole = model.loss_gradient(theta, model.X, model.y)
    assert worst(whole * len(model.y), -model.field(theta)) < 1e-12


def test_gates_decide_in_the_weights_place():
    model = network(3, "cross-entropy")
    theta, X = normal(2, model.size, seed=4), normal(2, 9, model.D, seed=5)
    y, gates = torch.arange(18).reshape(2, 9) % 3, normal(2, model.D, model.width, seed=6)
    own = model.loss_gradient(theta, X, y, gates)
    shared = model.loss_gradient(theta, X[0], y[0], gates)
    for run in range(2):
        for gradient, sample in ((own, run), (shared, 0)):
            z = theta[run].clone().requires_grad_()
            W, V = model.unpack(z)
            logits = ((X[sample] @ W) * (X[sample] @ gates[run] > 0)) @ V.T
            torch.nn.functional.cross_entropy(logits, y[sample]).backward()
            assert worst(gradient[run], z.grad) < 1e-13
    W, _ = model.unpack(theta)
    plain = model.loss_gradient(theta, X, y)
    assert worst(model.loss_gradient(theta, X, y, W), plain) < 1e-13
    assert worst(own, plain) > 1e-2  # control: other gates are other networks


def test_the_gradient_over_a_mini_batch_is_for_cross_entropy():
    model = network(2, "logistic")
    with pytest.raises(ValueError, match="has the logistic loss"):
        model.loss_gradient(normal(1, model.size), model.X, model.y)


# --- Batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("K", "loss"), CASES)
def test_one_data_set_a_run(K, loss):
    shared = network(K, loss)
    X = normal(3, *shared.X.shape, seed=5)
    model = ShallowReLU(X, shared.y, K, shared.width, loss)
    theta = normal(2, 3, model.size, seed=6)
    W, V = model.unpack(theta)
    assert torch.equal(model.pack(W, V), theta)
    alone = [ShallowReLU(one, model.y, K, model.width, loss) for one in X]
    for name in ("field", "outputs", "groups", "dead", "separated", "covered", "log_loss"):
        together = getattr(model, name)(theta)
        for s, one in enumerate(alone):
            assert torch.allclose(
                together[:, s].double(), getattr(one, name)(theta[:, s]).double(), 1e-12, 1e-14
            )
    some = torch.tensor([4, 0])  # flat numbers: run (1, 1) and run (0, 0)
    picked = model.for_runs((2, 3), some)
    assert torch.allclose(
        picked.field(theta.reshape(6, -1)[some]), model.field(theta).reshape(6, -1)[some], 1e-12
    )
    assert not torch.allclose(picked.X[0], picked.X[1])
    assert shared.for_runs((2, 3), some) is shared


def test_other_samples_than_the_models():
    model = network(3, "cross-entropy")
    theta, X = normal(2, model.size, seed=1), normal(4, model.D, seed=2)
    assert model.outputs(theta, X).shape == (2, 4, 3)
    assert torch.allclose(model.features(theta, X), (X @ model.unpack(theta)[0]).clamp_min(0))
    assert torch.equal(model.active(theta, X), model.features(theta, X) > 0)


@pytest.mark.parametrize("device", available_devices())
def test_every_device_has_the_same_field(device):
    run = start(device)
    exact = network(3, "cross-entropy")
    here = ShallowReLU(run.tensor(exact.X), exact.y, 3, exact.width, exact.loss)
    theta = normal(4, exact.size, seed=1)
    moved = here.rescaled_field(run.tensor(theta))
    assert moved.device.type == device
    within = 1e-4 if run.dtype == torch.float32 else 1e-12
    assert worst(moved.cpu().double(), exact.rescaled_field(theta)) < within


# --- Groups -------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(2, 7), st.integers(0, 10_000))
def test_the_pseudo_labels_are_a_simplex(K, seed):
    model = network(K, "cross-entropy", 1)
    E = model.pseudo_labels
    gram = (K * torch.eye(K, dtype=torch.float64) - 1) / (K - 1)
    assert torch.allclose(E.T @ E, gram, atol=1e-13)
    # v = a e~_k on a sample of class k: every other output lies c a below.
    f = E[:, 0] * 1.7
    assert torch.allclose(f[0] - f[1:], f.new_tensor(model.label_scale * 1.7).expand(K - 1))
    theta = normal(model.size, seed=seed)
    cosines = E.T @ model.unpack(theta)[1]
    assert torch.equal(model.groups(theta), cosines.argmax(0))


def test_groups_of_a_scalar_output_are_signs():
    model = network(2, "logistic", width=4)
    assert model.pseudo_labels.tolist() == [[1, -1]]
    V = torch.tensor([[0.5, -2.0, 1e-9, -1e-9]], dtype=torch.float64)
    assert model.groups(model.pack(normal(5, 4), V)).tolist() == [0, 1, 0, 1]


def test_separated_covered_and_dead():
    """Two classes along +-e_1, two samples each."""
    X = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]], dtype=torch.float64)
    model = ShallowReLU(X, [0, 0, 1, 1], 2, 3, "exponential")

    def state(*pairs):
        return model.pack(
            X.new_tensor([w for w, _ in pairs]).T, X.new_tensor([[v for _, v in pairs]])
        )

    good = state(([1, 0], 1), ([-1, 0], -1), ([1, 0], 1))
    assert model.separated(good) and model.covered(good).tolist() == [True, True]
    assert model.dead(good).tolist() == [False] * 3
    for wrong in (
        state(([1, 0], 1), ([-1, 0], -1), ([0.05, 1], 1)),  # meets the other class
        state(([1, 0], 1), ([-1, 0], -1), ([0.05, -1], 1)),  # misses one of its own
        state(([1, 0], 1), ([-1, 0], -1), ([1, 0], -1)),  # of the wrong sign
    ):
        assert not model.separated(wrong)
        assert model.covered(wrong).tolist() == [True, True]
    one_sided = state(([1, 0], 1), ([1, 0], 1), ([-1, 0], 1))
    assert not model.separated(one_sided)
    assert model.covered(one_sided).tolist() == [True, False]
    asleep = ShallowReLU(X[:2], [0, 1], 2, 3, "exponential")
    theta = state(([-1, 0], 1), ([0, 0], -1), ([1, 0], 1))
    assert asleep.dead(theta).tolist() == [True, True, False]
    W, V = asleep.unpack(asleep.field(theta))
    assert W[:, :2].abs().max() == 0 and V[:, :2].abs().max() == 0 and W[:, 2].norm() > 0


@pytest.mark.parametrize(("K", "loss"), CASES)
def test_on_rays_each_class_has_one_vector(K, loss):
    labels = torch.arange(K).repeat_interleave(3)
    # Class k along axis k, more or less, so that w_k is positive on class k alone.
    X = 2 * torch.eye(K, 5, dtype=torch.float64)[labels] - 1 / K + 0.05 * normal(3 * K, 5)
    model = ShallowReLU(X, labels, K, 7, loss)
    w = torch.eye(K, 5, dtype=torch.float64) * torch.tensor([2.0, 1.0, 3.0])[:K, None]
    phi = torch.eye(K, 7, dtype=torch.float64)
    phi[0, [0, 5, 6]] = torch.tensor([0.6, 0.64, 0.48], dtype=torch.float64)
    theta = model.on_rays(w, phi)
    assert model.separated(theta)
    along = (w.norm(dim=-1, keepdim=True) * (w @ X.T)).T.gather(1, labels[:, None])
    assert torch.allclose(model.outputs(theta), along * model.pseudo_labels.T[labels], 1e-12)
    W, V = model.unpack(theta)
    assert torch.allclose(W.norm(dim=0), V.norm(dim=0), 1e-12)
    assert not torch.allclose(W.norm(dim=0), V.norm(dim=0) * 1.01, 1e-3)
    assert torch.equal(model.on_rays(torch.stack([w, 2 * w]), phi)[0], theta)


# --- Starts -------------------------------------------------------------------------------------


def pair_norms(model, theta):
    W, V = model.unpack(theta)
    return W.norm(dim=-2), V.norm(dim=-2)


@pytest.mark.parametrize(("K", "loss"), CASES)
@pytest.mark.parametrize("name", ["balanced_start", "semi_local_start"])
def test_balanced_starts(K, loss, name):
    model = network(K, loss)
    eps = torch.tensor([1e-2, 1e-8], dtype=torch.float64)
    theta = getattr(model, name)(eps, [3, 4], RUN)
    assert theta.shape == (2, 2, model.size) and theta.dtype == torch.float64
    for norms in pair_norms(model, theta):
        assert torch.allclose(norms, eps[:, None, None].expand_as(norms), 1e-13)
    assert torch.allclose(theta[0] * 1e-6, theta[1], 1e-13)
    assert not torch.allclose(theta[:, 0], theta[:, 1], 0.1)
    assert torch.equal(theta[:, 1:], getattr(model, name)(eps, [4], RUN))
    V = model.unpack(theta)[1]
    E = model.pseudo_labels
    assert torch.allclose(E @ (E.T @ V) * (K - 1) / K if loss == "cross-entropy" else V, V, 1e-12)
    unbalanced = model.random_start(eps, [3, 4], RUN)
    w, v = pair_norms(model, unbalanced)
    assert float((w / v - 1).abs().max()) > 0.1


def test_a_random_start_is_normal():
    model = network(3, "cross-entropy", width=2000)
    theta = model.random_start(torch.tensor([0.5, 2.0]), [7], RUN)
    assert theta.shape == (2, 1, model.size)
    for sigma, draw in zip((0.5, 2.0), theta[:, 0], strict=True):
        assert float(draw.std()) == pytest.approx(sigma, rel=0.03)
        assert float(draw.mean()) == pytest.approx(0, abs=0.03 * sigma)


@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize("per_run", [False, True])
def test_a_semi_local_start_stands_at_pairs(K, per_run):
    loss = "exponential" if K == 2 else "cross-entropy"
    shared = network(K, loss, n=4, width=K + 2)
    X = normal(6, *shared.X.shape, seed=9) if per_run else shared.X
    model = ShallowReLU(X, shared.y, K, K + 2, loss)
    theta = model.semi_local_start(torch.tensor([1e-3, 1.0]), range(6), RUN)
    W, V = model.unpack(theta[1])
    groups = model.groups(theta[1])
    for s in range(6):
        data = X[s] if per_run else X
        unit = data / data.norm(dim=-1, keepdim=True)
        cosines = unit @ W[s]
        assert torch.allclose(cosines.max(0).values, cosines.new_ones(K + 2), 1e-12)
        assert torch.equal(model.y[cosines.argmax(0)], groups[s])
        assert sorted(groups[s].unique().tolist()) == list(range(K))
    assert torch.allclose(V, model.pseudo_labels[:, groups].movedim(0, -2))


# --- Wrong arguments ----------------------------------------------------------------------------


def separable(K: int) -> ShallowReLU:
    """Two samples a class, close to the corners of a simplex."""
    labels = torch.arange(K).repeat_interleave(2)
    X = (torch.eye(K, 5, dtype=torch.float64) - torch.eye(5)[:K].sum(0) / K)[labels]
    return ShallowReLU(X + 0.01 * normal(2 * K, 5), labels, K, K + 2, "cross-entropy")


def test_an_edge_start_is_balanced_and_batched():
    """What the edge is: see the tests of the theory."""
    model, eps = separable(3), torch.tensor([1e-2, 1e-8], dtype=torch.float64)
    theta = model.edge_start(eps, [3, 4], RUN, 0.9)
    assert theta.shape == (2, 2, model.size) and theta.dtype == torch.float64
    for norms in pair_norms(model, theta):
        assert torch.allclose(norms, eps[:, None, None].expand_as(norms), 1e-13)
    assert torch.allclose(theta[0] * 1e-6, theta[1], 1e-13)
    assert torch.equal(theta[:, 1:], model.edge_start(eps, [4], RUN, 0.9))
    assert not torch.allclose(theta[:, 0], theta[:, 1], 0.1)
    assert not torch.allclose(theta, model.semi_local_start(eps, [3, 4], RUN), 0.1)
    # One data set a run: each run as by itself.
    X = torch.stack([model.X, model.X.flip(-1)])
    both = ShallowReLU(X, model.y, 3, model.width, model.loss)
    assert torch.allclose(both.edge_start(eps, [3, 4], RUN, 0.9)[:, 0], theta[:, 0], 1e-9)


def test_an_edge_start_is_refused_where_there_is_no_edge():
    one = torch.ones(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="Assumption 4 is for K outputs"):
        network(2, "logistic").edge_start(one, [0], RUN, 0.9)
    with pytest.raises(ValueError, match=r"do not satisfy Assumption 4 with the cosine 0\.9"):
        network(3, "cross-entropy").edge_start(one, [0], RUN, 0.9)  # not separable
    with pytest.raises(ValueError, match="and a cosine below 1"):
        separable(3).edge_start(one, [0], RUN, 1.0 + 1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "hinge"}, "known are"),
        ({"K": 1}, "K is 1: expected an integer of at least 2"),
        ({"width": 0}, "width is 0: expected an integer of at least 1"),
        ({"width": 1.5}, "width is 1.5: expected an integer"),
        ({"loss": "logistic"}, "choose the cross-entropy"),
        ({"X": torch.ones(6)}, "shape"),
        ({"X": torch.ones(6, 2, dtype=torch.long)}, "floating"),
        ({"X": [[1.0, 0.0]] * 6}, "X is a list"),
        ({"y": list("aabbcc")}, "y is a list .* numpy.unique"),
        ({"y": [0, 1, 2]}, "one whole number"),
        ({"y": [0, 1, 2, 3, 0, 1]}, "from 0 to 2"),
        ({"y": [0, 1, 2, -1, 0, 1]}, "from 0 to 2"),
        ({"y": [0, 1, 2, 0.5, 0, 1]}, "whole"),
    ],
)
def test_wrong_arguments_are_named(changes, words):
    good = {"X": torch.ones(6, 2), "y": [0, 0, 1, 1, 2, 2], "K": 3, "width": 4}
    good["loss"] = "cross-entropy"
    ShallowReLU(**good)
    with pytest.raises(ValueError, match=words):
        ShallowReLU(**{**good, **changes})


def test_a_semi_local_start_needs_a_neuron_and_a_sample_for_each_class():
    eps = torch.ones(1)
    with pytest.raises(ValueError, match="at least 3 neurons"):
        network(3, "cross-entropy", width=2).semi_local_start(eps, [0], RUN)
    empty = ShallowReLU(torch.ones(2, 2), [0, 1], 3, 4, "cross-entropy")
    with pytest.raises(ValueError, match="a sample in each class"):
        empty.semi_local_start(eps, [0], RUN)

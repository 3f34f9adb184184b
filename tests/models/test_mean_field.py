"""The mean-field network: its formulas at finite width, its gradient, its starts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.models import mean_field
from ncbook.models.mean_field import ACTIVATIONS, MeanField
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def network(activation: str = "tanh", N: int = 7, **kwargs) -> MeanField:
    return MeanField(normal(8, 5), Y, 3, 4, N, activation, **kwargs)


def plain_loss(model: MeanField, state: torch.Tensor, X, y, gamma, decay, decay_W, truncation):
    """The regularised loss as it is written, sample by sample and particle by particle."""
    p, d, N = model.p, model.d, model.N
    W = state[: p * 3].reshape(p, 3)
    A = state[p * 3 : p * (3 + N)].reshape(p, N)
    U = state[p * (3 + N) :].reshape(d, N)
    sigma = ACTIVATIONS[model.activation]
    total = 0
    for x, label in zip(X, y.tolist(), strict=True):
        h = 0
        for j in range(N):
            a = A[:, j] if truncation is None else truncation * torch.tanh(A[:, j] / truncation)
            h = h + a * sigma(U[:, j] @ x)
        f = gamma * W.T @ (h / N)
        target = torch.zeros(3, dtype=torch.float64)
        target[label] = 1
        total = total + ((f - target) ** 2).sum()
    particles = sum((A[:, j] ** 2).sum() + (U[:, j] ** 2).sum() for j in range(N)) / N
    return total / (2 * len(X)) + decay_W / 2 * (W**2).sum() + decay / 2 * particles


def worst(measured: torch.Tensor, expected: torch.Tensor) -> float:
    return float((measured - expected).norm() / expected.norm())


# --- The loss and its gradient ------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("truncation", [None, 1.5])
def test_the_gradient_is_n_times_autograds_for_particles(activation, truncation):
    gamma, decay, decay_W = 1.7, 0.3, 0.2
    settings = {"gamma": gamma, "decay": decay, "decay_W": decay_W, "truncation": truncation}
    model = network(activation, **settings)
    states = normal(3, model.size, seed=1)
    measured = model.gradient(states)
    for state, gradient in zip(states, measured, strict=True):
        z = state.clone().requires_grad_()
        loss = plain_loss(model, z, model.X, Y, gamma, decay, decay_W, truncation)
        assert worst(model.loss(state), loss.detach()) < 1e-13
        (plain,) = torch.autograd.grad(loss, z)
        scale = torch.ones(model.size, dtype=torch.float64)
        scale[model.p * model.K :] = model.N
        assert worst(gradient, scale * plain) < 1e-12
        # Controls: the parameters' own gradient, and that of another decay.
        assert worst(gradient, plain) > 0.1
        other = network(activation, **settings | {"decay": 0.31})
        assert worst(other.gradient(state), scale * plain) > 1e-4


def test_every_run_may_have_its_own_numbers_and_data():
    gamma = torch.tensor([[0.5], [1.0], [4.0]], dtype=torch.float64)
    decay = torch.tensor([0.1, 0.01], dtype=torch.float64)
    decay_W = torch.tensor([[0.2, 0.3]] * 3, dtype=torch.float64)
    R = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    X, y = normal(3, 2, 8, 5, seed=2), torch.stack([Y, 2 - Y]).expand(3, 2, 8)
    both = {"gamma": gamma, "decay": decay, "decay_W": decay_W, "truncation": R}
    together = MeanField(X, y, 3, 4, 7, **both)
    states = normal(3, 2, together.size, seed=3)
    loss, gradient = together.loss(states), together.gradient(states)
    assert loss.shape == (3, 2) and gradient.shape == states.shape
    names = ("hidden", "features", "outputs", "kernel", "second_moment", "data_loss")
    for i in range(3):
        for j in range(2):
            own = {k: float(v.expand(3, 2)[i, j]) for k, v in both.items()}
            alone = MeanField(X[i, j], y[i, j], 3, 4, 7, **own)
            assert worst(loss[i, j], alone.loss(states[i, j])) < 1e-14
            assert worst(gradient[i, j], alone.gradient(states[i, j])) < 1e-13
            for name in names:
                batch, single = getattr(together, name)(states), getattr(alone, name)(states[i, j])
                assert worst(batch[i, j], single) < 1e-13, name
            # Control: the neighbour's numbers give another loss.
            assert worst(loss[i, 1 - j], alone.loss(states[i, j])) > 1e-3


@pytest.mark.parametrize("block", [1, 8 * 3, 8 * 3 * 2, 2**20])
def test_blocks_of_particles_change_nothing(monkeypatch, block):
    model = network("sigmoid", gamma=2.0)
    states = normal(3, model.size, seed=4)
    names = ("features", "outputs", "gradient", "kernel", "loss")
    expected = {name: getattr(model, name)(states) for name in names}
    taken = []
    monkeypatch.setattr(mean_field, "_BLOCK", block)
    model._sigma = lambda z: taken.append(z.numel()) or torch.sigmoid(z)
    for name in names:
        assert worst(getattr(model, name)(states), expected[name]) < 1e-14, name
    # No block is larger than asked for, but for the one particle that there must be.
    assert max(taken) <= max(block, 3 * 8)
    assert max(taken) == min(7 * 24, max(block, 24))


# --- The formulas at finite width ---------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_features_are_means_over_particles(activation):
    model = network(activation)
    state = normal(model.size, seed=5)
    W, A, U = model.unpack(state)
    sigma = ACTIVATIONS[activation]
    X = normal(2, 5, seed=6)
    for samples, given_X in ((model.X, None), (X, X)):
        H = torch.zeros(4, len(samples), dtype=torch.float64)
        for i, x in enumerate(samples):
            for j in range(7):
                H[:, i] += A[:, j] * sigma(U[:, j] @ x) / 7
        assert worst(model.features(state, given_X), H) < 1e-14
        assert worst(model.outputs(state, given_X), W.T @ H) < 1e-14
        assert worst(model.hidden(state, given_X), sigma(samples @ U)) < 1e-14
    K = sum(torch.outer(sigma(model.X @ u), sigma(model.X @ u)) for u in U.T) / 7
    assert worst(model.kernel(state), K) < 1e-14
    assert worst(model.second_moment(state), sum(torch.outer(a, a) for a in A.T) / 7) < 1e-14
    difference = model.second_moment(state) - model.unpack(state)[0] @ model.unpack(state)[0].T
    assert worst(model.layer_difference(state), difference) == 0


def test_doubled_particles_are_the_same_network():
    """The law of the particles is what counts: twice each particle, the same h, loss, motion."""
    one, two = network(N=7), network(N=14)
    state = normal(one.size, seed=7)
    W, A, U = one.unpack(state)
    double = two.pack(W, torch.cat([A, A], -1), torch.cat([U, U], -1))
    assert worst(two.features(double), one.features(state)) < 1e-14
    assert worst(two.loss(double), one.loss(state)) < 1e-14
    grad_W, grad_A, grad_U = two.unpack(two.gradient(double))
    single = one.unpack(one.gradient(state))
    assert worst(grad_W, single[0]) < 1e-13
    for doubled, alone in ((grad_A, single[1]), (grad_U, single[2])):
        assert worst(doubled[:, :7], alone) < 1e-13
        assert worst(doubled[:, 7:], alone) < 1e-13
    # Control: particles drawn anew are another network.
    other = two.pack(W, torch.cat([A, A.flip(0)], -1), torch.cat([U, U], -1))
    assert worst(two.features(other), one.features(state)) > 0.1


def test_the_truncation_is_bounded_and_nearly_the_identity_near_zero():
    free, bounded = network(), network(truncation=2.0)
    state = normal(free.size, seed=8)
    W, A, U = free.unpack(state)
    small = free.pack(W, 1e-3 * A, U)
    assert worst(bounded.features(small), free.features(small)) < 1e-6
    assert worst(bounded.features(state), free.features(state)) > 1e-2
    huge = free.pack(W, 1e9 * A, U)
    H = bounded.features(huge)
    assert worst(H, 2 * A.sign() @ free.hidden(state).mT / 7) < 1e-12
    minus = free.pack(W, -A, U)
    assert torch.equal(bounded.features(minus), -bounded.features(state))
    # Weight decay and the second moment are those of a itself.
    assert torch.equal(bounded.second_moment(state), free.second_moment(state))


def test_the_error_counts_wrong_labels():
    model = network(N=50)
    state = normal(2, model.size, seed=9)
    X, y = normal(6, 5, seed=10), torch.tensor([0, 1, 2, 0, 1, 2])
    f = model.outputs(state, X)
    expected = [sum(int(f[r, :, i].argmax()) != int(y[i]) for i in range(6)) / 6 for r in range(2)]
    assert model.error(state, X, y).tolist() == expected
    assert model.error(state, X, f[0].argmax(-2)).tolist()[0] == 0
    with pytest.raises(ValueError, match="expected one whole number from 0 to 2"):
        model.error(state, X, y + 1)


# --- States and starts --------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    st.integers(2, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2)
)
def test_packing_is_undone_by_unpacking(K, p, N, d, axes):
    model = MeanField(normal(K, d), range(K), K, p, N)
    state = normal(*[2] * axes, model.size)
    W, A, U = model.unpack(state)
    assert W.shape[-2:] == (p, K) and A.shape[-2:] == (p, N) and U.shape[-2:] == (d, N)
    assert torch.equal(model.pack(W, A, U), state)
    W.zero_()
    assert bool((state[..., : p * K] == 0).all()), "the parts are views"


def test_starts_are_those_of_the_assumption():
    model = network(N=4000)
    z = model.start([1, 2, 3], RUN)
    W, A, U = model.unpack(z)
    eye = torch.eye(3, dtype=torch.float64)
    assert float((W.mT @ W - eye).abs().max()) < 1e-14
    for x in (A, U):
        assert float(x.mean(-1).abs().max()) < 5 / 4000**0.5
        assert float((x @ x.mT / 4000 - torch.eye(x.shape[-2])).abs().max()) < 5 * 2**0.5 / 63
    scaled = model.unpack(model.start([1, 2, 3], RUN, s_a=0.1, s_u=3.0))
    assert torch.allclose(scaled[1], 0.1 * A, 1e-14) and torch.allclose(scaled[2], 3 * U, 1e-14)
    assert torch.equal(model.start([2], RUN)[0], z[1]), "a seed does not depend on the others"
    free = model.unpack(model.start([1, 2, 3], RUN, W="normal"))[0]
    assert float((free.mT @ free - eye).abs().max()) > 0.5
    # The orthonormal start keeps the signs of its draw: columns of either sign are as likely.
    assert bool(((free * W).sum(-2)[..., 0] > 0).all())


def test_wrong_arguments_are_refused():
    X = normal(8, 5)
    for bad in ({"K": 1}, {"p": 0}, {"N": 0}, {"N": 2.5}):
        sizes = {"K": 3, "p": 4, "N": 7} | bad
        with pytest.raises(
            ValueError, match=r"(K|p|N) is .*: expected an integer of at least [12]"
        ):
            MeanField(X, Y, **sizes)
    with pytest.raises(ValueError, match="Unknown activation 'selu'"):
        MeanField(X, Y, 3, 4, 7, "selu")
    with pytest.raises(ValueError, match="expected floating point"):
        MeanField(X.long(), Y, 3, 4, 7)
    for labels in (Y[:-1], Y + 1, Y - 0.5):
        with pytest.raises(ValueError, match="whole number from 0 to 2"):
            MeanField(X, labels, 3, 4, 7)
    for name, value in (("gamma", 0.0), ("decay", -1.0), ("decay_W", torch.inf), ("truncation", 0)):
        with pytest.raises(ValueError, match=f"{name} is .* expected finite numbers"):
            MeanField(X, Y, 3, 4, 7, **{name: value})
    with pytest.raises(ValueError, match="cannot hold K = 3 orthonormal columns"):
        MeanField(X, Y, 3, 2, 7).start([0], RUN)
    with pytest.raises(ValueError, match="expected W to be one of"):
        network().start([0], RUN, W="zero")

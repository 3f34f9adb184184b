"""Training of one network: against a plain loop, cut off and resumed, diverging, refused."""

import numpy as np
import pytest
import torch
from torch import nn

from ncbook.dynamics.networks import Schedule, train_network
from ncbook.dynamics.training import example_orders, sgd_momentum
from ncbook.models.deep import MLP
from ncbook.models.layers import TwoLayerHead, initialise
from ncbook.models.resnet import ResNet
from ncbook.runtime import generator

SCHEDULE = Schedule(epochs=4, rate=0.05, batch=16, momentum=0.9, decay=1e-3, drops=(2,))


@pytest.fixture
def examples() -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(3)
    return torch.randn(40, 1, 16, 16, generator=draw), torch.randint(4, (40,), generator=draw)


def network(seed: int = 0, dropout: bool = False) -> nn.Module:
    with torch.device("meta"):
        head = TwoLayerHead(64, 4, 20, "rms")
        if dropout:
            head = nn.Sequential(nn.Dropout(), head)
        made = ResNet(18, 4, width=8, channels=1, stem="3x3/2", head=head)
    return initialise(made, seed)


def weights(of: nn.Module) -> torch.Tensor:
    return torch.cat([one.double().flatten() for one in of.state_dict().values()])


def test_it_is_the_batched_training_of_a_perceptron(examples):
    """The other implementation in this package, in float64, for the same order of examples."""
    x, y = examples[0].flatten(1).double(), examples[1]
    model = MLP([256, 8, 4], normalise=False)
    z = torch.randn(1, model.size, generator=generator(0), dtype=torch.float64) * 0.05
    ended = sgd_momentum(
        model.loss_gradient, z, x, y, epochs=4, rate=0.05, batch=16, seeds=[7],
        momentum=0.9, decay=1e-3, drops=[0.5],
    )  # fmt: skip
    (hidden,), last = model.unpack(z[0])
    plain = nn.Sequential(nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    for layer, (weight, shift) in ((plain[0], hidden), (plain[2], last)):
        layer.weight.data, layer.bias.data = weight.clone(), shift.clone()
    train_network(plain, x, y, SCHEDULE, seed=7)
    (hidden,), last = model.unpack(ended.final[0])
    for layer, (weight, shift) in ((plain[0], hidden), (plain[2], last)):
        assert torch.allclose(layer.weight, weight, atol=1e-13)
        assert torch.allclose(layer.bias, shift, atol=1e-13)


def test_it_is_a_plain_loop(examples):
    x, y = examples
    # In one layout, since so small batches blow up the rounding in which two layouts differ.
    ours, plain = network(), network().train().to(memory_format=torch.channels_last)
    seen = train_network(
        ours, x, y, SCHEDULE, seed=1, observe=lambda one: {"size": weights(one).norm()}
    )
    optimiser = torch.optim.SGD(plain.parameters(), 0.05, 0.9, weight_decay=1e-3)
    order = example_orders([1])[0]
    for epoch in range(4):
        optimiser.param_groups[0]["lr"] = 0.05 if epoch < 2 else 0.005
        for part in torch.randperm(40, generator=order).split(16):
            optimiser.zero_grad()
            nn.functional.cross_entropy(plain(x[part]), y[part]).backward()
            optimiser.step()
    assert torch.equal(weights(ours), weights(plain))
    assert seen["epoch"].values.tolist() == [0, 1, 2, 3, 4]
    assert int(seen["steps"]) == 12 and seen["status"].item() == "finished"
    assert float(seen["size"][-1]) == float(weights(ours).norm())
    assert seen["loss"][0].isnull() and float(seen["loss"][-1]) < float(seen["loss"][1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_cut_off_ends_as_one_that_was_not(examples, tmp_path, precision):
    x, y = examples
    options = {"seed": 1, "precision": precision}
    look = lambda one: {"size": weights(one).norm(), "draw": torch.rand(())}  # noqa: E731

    whole = network(dropout=True)
    expected = train_network(whole, x, y, SCHEDULE, observe=look, **options)

    class Cut(Exception):
        pass

    def cut(after: int):
        left = [after]

        def observe(one):
            left[0] -= 1
            if left[0] < 0:
                raise Cut
            return look(one)

        return observe

    place = tmp_path / "state.pt"
    for after in (2, 1, 0):  # between two epochs, and twice in a row at once
        with pytest.raises(Cut):
            train_network(
                network(dropout=True),
                x,
                y,
                SCHEDULE,
                observe=cut(after),
                checkpoint=place,
                **options,
            )
    resumed = network(seed=5, dropout=True)  # whose own start must not matter
    found = train_network(resumed, x, y, SCHEDULE, observe=look, checkpoint=place, **options)
    assert torch.equal(weights(resumed), weights(whole))
    assert found.drop_vars(["seconds", "draw"]).identical(expected.drop_vars(["seconds", "draw"]))
    again = train_network(network(), x, y, SCHEDULE, observe=None, checkpoint=tmp_path / "new.pt",
                          **options)  # fmt: skip
    assert again["status"] == "finished"


def test_nobodys_random_numbers_are_touched(examples):
    before = torch.get_rng_state()
    train_network(network(dropout=True), *examples, SCHEDULE, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_looking_changes_nothing(examples):
    quiet, watched = network(dropout=True), network(dropout=True)
    train_network(quiet, *examples, SCHEDULE, seed=1, record=[4])

    def look(one):
        one.eval()
        torch.rand(7)
        return {}

    train_network(watched, *examples, SCHEDULE, seed=1, observe=look)
    assert torch.equal(weights(quiet), weights(watched))


def test_a_run_that_diverges_says_so(examples):
    wild = Schedule(epochs=4, rate=1e20, batch=16)
    seen = train_network(network(), *examples, wild, seed=1, observe=lambda _: {"one": 1.0})
    assert seen["status"].item() == "diverged"
    assert seen["one"].isnull().values.tolist() == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 2}, r"seed \(1, here 2\)"),
        ({"record": [0, 4]}, r"record \(\[0, 1, 2, 3, 4\], here \[0, 4\]\)"),
        ({"labels": "flipped"}, "examples"),
        ({"network": "wider"}, "network"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(examples, tmp_path, change, words):
    x, y = examples
    place = tmp_path / "state.pt"
    train_network(network(), x, y, SCHEDULE, seed=1, checkpoint=place)
    made = network()
    if change.pop("network", None):
        made.fc.first = nn.Linear(64, 21, bias=False)
        made.fc.last = nn.Linear(21, 4, bias=False)
    y = 3 - y if change.pop("labels", None) else y
    with pytest.raises(ValueError, match=f"another training.*{words}"):
        train_network(made, x, y, SCHEDULE, checkpoint=place, **{"seed": 1} | change)


def test_a_checkpoint_that_is_damaged_is_told(examples, tmp_path):
    place = tmp_path / "state.pt"
    train_network(network(), *examples, SCHEDULE, seed=1, checkpoint=place)
    place.write_bytes(place.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"no whole checkpoint of a training\. Delete it"):
        train_network(network(), *examples, SCHEDULE, seed=1, checkpoint=place)


def test_numpys_numbers_can_be_resumed(examples, tmp_path):
    given = Schedule(np.int64(2), np.float64(0.05), np.int64(16), drops=np.array([1]))
    for epochs in (2, 2):
        place = tmp_path / "state.pt"
        seen = train_network(network(), *examples, given, seed=np.int64(1), checkpoint=place)
        assert seen["epoch"].size == epochs + 1


def test_a_run_that_diverges_before_it_is_seen_has_a_loss(examples):
    wild = Schedule(epochs=4, rate=1e20, batch=16)
    seen = train_network(network(), *examples, wild, seed=1, record=[2, 3])
    assert seen["loss"].isnull().all() and seen["status"].item() == "diverged"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate": 0}, "rate = 0"),
        ({"momentum": 1}, "momentum = 1"),
        ({"decay": -1}, "decay = -1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch": 1}, "batch is 1"),
        ({"drops": (0,)}, "a drop is 0"),
    ],
)
def test_a_schedule_out_of_range_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Schedule(**{"epochs": 4, "rate": 0.1, "batch": 8} | change)


def test_examples_that_do_not_fit_are_refused(examples):
    x, y = examples
    with pytest.raises(ValueError, match="expected one int64"):
        train_network(network(), x, y[1:], SCHEDULE, seed=0)
    with pytest.raises(ValueError, match="batch is 13 for 40 images"):
        train_network(network(), x, y, Schedule(epochs=1, rate=0.1, batch=13), seed=0)
    with pytest.raises(ValueError, match=r"There are 4 classes of labels.*has 3 outputs"):
        small = network()
        small.fc.last = nn.Linear(20, 3)
        train_network(small, x, y, SCHEDULE, seed=0)
    with pytest.raises(ValueError, match="A label is -1"):
        train_network(network(), x, y - y.min() - 1, SCHEDULE, seed=0)
    with pytest.raises(ValueError, match="The network has no parameters"):
        train_network(nn.Flatten(), x, y, SCHEDULE, seed=0)
    with pytest.raises(ValueError, match="precision is 'half'"):
        train_network(network(), x, y, SCHEDULE, seed=0, precision="half")
    with pytest.raises(ValueError, match="images are on meta, the network on cpu"):
        train_network(network(), x.to("meta"), y, SCHEDULE, seed=0)

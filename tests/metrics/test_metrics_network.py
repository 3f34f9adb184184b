"""A reader's own network: one pass against the whole matrix, whatever wraps it; what it refuses."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from emulated_device import emulated
from torch import nn

from ncbook import metrics
from ncbook.metrics.definitions import DEFINITIONS
from ncbook.metrics.directional import directional_collapse
from ncbook.metrics.network import collapse_of

CLASSES, WIDTH = 4, 16


def network(seed=1, head=None):
    """Return a small network whose modes and running statistics matter."""
    made = nn.Sequential()
    made.body = nn.Sequential(nn.Linear(6, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())
    made.fc = nn.Linear(WIDTH, CLASSES) if head is None else head
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        made.body[1].running_mean.fill_(0.3)
        made.body[1].running_var.fill_(2.0)
    return made


def data(n=101, seed=2):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randperm(n, generator=generator) % CLASSES
    centres = torch.randn(CLASSES, 6, generator=generator)
    return centres[labels] + 0.3 * torch.randn(n, 6, generator=generator), labels


def batches(sizes=(40, 1, 33, 27), of=None):
    """Return mini-batches of uneven sizes."""
    x, labels = of or data(sum(sizes))
    return list(zip(x.split(sizes), labels.split(sizes), strict=True))


def whole(net, loader):
    """Return the measures of the whole matrix of the features that the mini-batches have."""
    features = torch.cat([net.body(x) for x, _ in loader]).detach().double()
    labels = torch.cat([labels for _, labels in loader])
    W, b = net.fc.weight.detach().double(), net.fc.bias.detach().double()
    statistics = metrics.class_statistics(features, labels)
    table = metrics.measures(statistics, W) | directional_collapse(features, labels)
    return table | {"nc4.papyan": metrics.nc4_papyan(statistics, W, b, features)}


def assert_equal(found, expected, rtol=1e-12):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=rtol, atol=1e-15, msg=name)


def test_one_pass_is_the_whole_matrix():
    net, loader = network().eval(), batches()
    found = collapse_of(net, "fc", iter(loader), CLASSES, test=loader)
    assert_equal(found.measures, whole(net, loader))
    assert all(value.dtype == torch.float64 for value in found.measures.values())
    assert found.statistics.samples == 101 and found.mode == "eval"
    right = (net(data()[0]).argmax(1) == data()[1]).double().mean()
    torch.testing.assert_close(found.accuracy, right, rtol=1e-14, atol=0)
    assert found.accuracy == found.test_accuracy
    # A mini-batch that is left out would be seen.
    less = collapse_of(net, "fc", loader[:3], CLASSES)
    assert abs(less.measures["nc1.papyan"] / found.measures["nc1.papyan"] - 1) > 1e-3


def test_every_measure_has_a_definition_and_every_definition_a_measure():
    found = collapse_of(network(), "fc", batches(), CLASSES, test=batches())
    assert set(found.measures) == set(DEFINITIONS)
    assert all(all(one) for one in DEFINITIONS.values())


def test_exactly_collapsed_features():
    # The classes' inputs are the rows of the identity, the classifier's too: a simplex.
    net = nn.Sequential(nn.Identity(), nn.Linear(3, 3))
    with torch.no_grad():
        net[1].weight.copy_(torch.eye(3) - 1 / 3)
        net[1].bias.zero_()
    loader = [(torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2))]
    found = collapse_of(net, "1", loader, 3, test=loader)
    zero = [name for name in found.measures if not name.startswith("lengths.zero")]
    for name in zero:
        assert 0 <= found.measures[name] < 1e-7, name  # the weights are rounded to float32
    assert found.accuracy == 1 and found.test_accuracy == 1


def test_two_classes_by_hand():
    net = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        net[1].bias.copy_(torch.tensor([0.0, 3.5]))
    x = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
    loader = [(x, torch.tensor([0, 0, 1, 1]))]
    found = collapse_of(net, "1", loader, 2, test=loader)
    # Means (3, 0), (0, 3); variances 1; half their difference squared 4.5 on either side.
    assert float(found.measures["nc1.min-zhu-vidal"]) == pytest.approx(2 / 9, rel=1e-14)
    assert float(found.measures["nc1.papyan"]) == pytest.approx(1 / 18, rel=1e-14)
    assert float(found.measures["nc1.min-zhu-vidal.unit"]) == 0
    assert float(found.measures["lengths.spread"]) == pytest.approx(2 / 18, rel=1e-14)
    # The bias takes (2, 0) from its class mean: 2 < 3.5.
    assert float(found.measures["nc4.papyan"]) == 0.25 and float(found.accuracy) == 0.75


def test_the_mode_is_said_and_the_network_left_as_it_was():
    net = network().train()
    net.body[1].eval()  # frozen by its owner
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    loader = batches((40, 33, 28))
    found = {t: collapse_of(net, "fc", loader, CLASSES, training=t) for t in (False, True)}
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.fc._forward_pre_hooks and torch.is_grad_enabled()
    assert "in eval mode" in str(found[False]) and "in train mode" in str(found[True])
    one, other = (found[t].measures["nc1.min-zhu-vidal"] for t in (False, True))
    assert abs(one / other - 1) > 0.01


def test_the_network_is_left_as_it_was_after_an_error():
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="a pair"):
        collapse_of(net, "fc", [*batches((40, 60)), 3], CLASSES, training=True)
    assert all(module.training for module in net.modules()) and not net.fc._forward_pre_hooks
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_table_names_every_measure():
    lines = str(collapse_of(network(), "fc", batches(), CLASSES)).splitlines()
    assert "101 samples, 4 classes, accuracy 0." in lines[0]
    expected = DEFINITIONS.keys() - {"nc4.papyan"}
    assert sorted(line.split()[0] for line in lines[1:]) == sorted(expected)


def test_without_scatter_only_one_measure_is_missing():
    full, lean = (collapse_of(network(), "fc", batches(), 4, scatter=s) for s in (True, False))
    assert full.measures.keys() - lean.measures.keys() == {"nc1.papyan"}
    assert_equal(lean.measures, {k: v for k, v in full.measures.items() if k != "nc1.papyan"})


# ---------------------------------------------------------------- what wraps a network


def test_behind_data_parallel():
    net = network()
    expected = collapse_of(net, "fc", batches(), CLASSES).measures
    wrapped = nn.DataParallel(net)
    assert_equal(collapse_of(wrapped, "module.fc", batches(), CLASSES).measures, expected, 0)


def test_behind_distributed_data_parallel(tmp_path, monkeypatch):
    """Its own forward waits for the other processes, of which none may measure."""
    net = network()
    expected = collapse_of(net, "fc", batches(), CLASSES).measures
    distributed = torch.distributed
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)

    def hang(*args, **kwargs):
        pytest.fail("The process waits.")

    try:
        wrapped = nn.parallel.DistributedDataParallel(net)
        monkeypatch.setattr(nn.parallel.DistributedDataParallel, "forward", hang)
        found = collapse_of(wrapped, "module.fc", batches(), CLASSES).measures
    finally:
        distributed.destroy_process_group()
    assert_equal(found, expected, 0)


COMPILED = """
import sys
sys.path.insert(0, {tests!r})
import torch
from test_metrics_network import CLASSES, assert_equal, batches, collapse_of, network
net = network()
expected = collapse_of(net, "fc", batches(), CLASSES).measures
wrapped = torch.compile(net, backend="eager")
inside = network()
inside.compile(backend="eager")
part = network()
part.body = torch.compile(part.body, backend="eager")
class Devices(torch.nn.DataParallel):
    def forward(self, x):  # as on two
        return torch.cat([self.module(half) for half in x.chunk(2)])
both = torch.compile(Devices(network()), backend="eager")
within = Devices(torch.compile(network(), backend="eager"))
for kind, layer in (
    (wrapped, "_orig_mod.fc"),
    (inside, "fc"),
    (part, "fc"),
    (both, "_orig_mod.module.fc"),
    (within, "module._orig_mod.fc"),
):
    kind.eval()
    kind(batches()[0][0])  # compiled before the hook comes
    assert_equal(collapse_of(kind, layer, batches(), CLASSES).measures, expected)
print("done")
"""


def test_behind_compile():
    # In a process of its own: what was compiled stays with it.
    code = COMPILED.format(tests=str(Path(__file__).parent))
    paths = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=paths)
    assert done.stdout.split() == ["done"], done.stderr


def test_under_autocast_the_features_are_rounded_and_the_measures_are_not():
    net = network().eval()
    expected = collapse_of(net, "fc", batches(), CLASSES, test=batches()).measures
    with torch.autocast("cpu", torch.bfloat16):
        found = collapse_of(net, "fc", batches(), CLASSES, test=batches()).measures
        features = torch.cat([net.body(x) for x, _ in batches()]).detach()
    assert features.dtype == torch.bfloat16
    for name in ("nc1.papyan", "nc1.min-zhu-vidal", "nc1.min-zhu-vidal.unit"):
        # Inputs, weights and features rounded to 2^-9 each, and squared.
        assert 1e-5 < abs(found[name] / expected[name] - 1) < 6 * 2**-9
    exact = metrics.measures(
        metrics.class_statistics(features.double(), data()[1]), net.fc.weight.detach().double()
    )
    assert_equal({name: found[name] for name in exact}, exact)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_on_another_device(kind, monkeypatch):
    if kind == "mps":
        monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    expected = collapse_of(network(), "fc", batches(), CLASSES, test=batches())
    with emulated(kind):
        net = network()
        for module in net.modules():
            for name, value in module._parameters.items():
                module._parameters[name] = nn.Parameter(value.detach().to(kind))
            for name, value in module._buffers.items():
                module._buffers[name] = value.to(kind)
        found = collapse_of(net, "fc", batches(), CLASSES, test=batches())
        values = {name: value.cpu() for name, value in found.measures.items()}
        assert all(value.device.type == kind for value in found.measures.values())
    for name, value in values.items():
        rtol = 1e-12 if kind == "cuda" else 1e-4
        torch.testing.assert_close(
            value.double(), expected.measures[name], rtol=rtol, atol=1e-6 if kind == "mps" else 0
        )


# ---------------------------------------------------------------- what there is no measure of


class Twice(nn.Module):
    """Calls its classifier on two views, as contrastive codes do."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.fc(x) + self.fc(-x)


class Never(Twice):
    """Uses its classifier's weight without calling it."""

    def forward(self, x):
        return nn.functional.linear(x, self.fc.weight)


class Pair(nn.Module):
    """A head that is given two tensors."""

    def forward(self, x, y):
        return x + y


class Given(nn.Module):
    """Gives its head whatever a function makes of x."""

    def __init__(self, *make):
        super().__init__()
        self.fc = nn.Identity() if len(make) == 1 else Pair()
        self.make = make

    def forward(self, x):
        return self.fc(*[one(x) for one in self.make])


def test_a_keyword_and_a_layer_that_works_in_place_are_as_good():
    class Keyword(Twice):
        def forward(self, x):
            return self.fc(input=x)

    x, labels = data()
    found = collapse_of(Keyword(), "fc", [(x, labels)], CLASSES)
    torch.testing.assert_close(
        found.statistics.means, metrics.class_statistics(x.double(), labels).means
    )
    head = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, CLASSES))
    found = collapse_of(nn.Sequential(nn.Linear(6, 6), head), "1", [(x, labels)], CLASSES)
    assert (found.statistics.means < 0).any()


def test_a_layer_that_is_no_classifier_has_features_alone():
    head = nn.Sequential(nn.Linear(WIDTH, 5), nn.Linear(5, CLASSES))
    found = collapse_of(network(head=head), "fc.0", batches(), CLASSES, test=batches())
    assert not [name for name in found.measures if "weights" in name or name[:3] in ("nc3", "nc4")]
    assert found.test_accuracy == found.accuracy <= 1
    # Five outputs are not four classes.
    five = collapse_of(network(head=nn.Linear(WIDTH, 5)), "fc", batches(), CLASSES)
    assert five.accuracy.isnan() and five.measures.keys() == found.measures.keys()


def test_empty_mini_batches_are_passed_over():
    (x, labels), *rest = loader = batches()
    empty = (x[:0], labels[:0])
    expected = collapse_of(network(), "fc", loader, CLASSES, test=loader)
    loader = [empty, (x, labels), empty, *rest]
    found = collapse_of(network(), "fc", loader, CLASSES, test=loader)
    assert_equal(found.measures, expected.measures, 0)
    assert found.accuracy == expected.accuracy == found.test_accuracy


def scripted(how, layer="fc"):
    """Return a call with a network that is made just then: torch.jit is slow to come."""

    def call():
        net = network().eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made = torch.jit.script(net) if how == "script" else torch.jit.trace(net, data()[0])
        collapse_of(made, layer, batches(), CLASSES)

    return call


def one_hot():
    return [(x, nn.functional.one_hot(labels, CLASSES)) for x, labels in batches()]


def measured(net=None, layer="fc", loader=None, classes=CLASSES, **options):
    return lambda: collapse_of(
        network() if net is None else net, layer, loader or batches(), classes, **options
    )


@pytest.mark.parametrize(
    "call, words",
    [
        (measured(layer="fcs"), r"no layer 'fcs'; .* such as 'fc'"),
        (measured(layer="body.linear"), "such as 'body.2', 'body.1', 'body.0'"),
        (measured(layer="qqqq"), r"such as 'body.0', 'fc'"),
        (measured(nn.DataParallel(network())), r"wrapper .* hides it; .*'module.fc'"),
        (measured(nn.ModuleDict({"module": nn.DataParallel(network())})), "'module.module.fc'"),
        (measured(layer=network().fc), "layer a Linear, but .* the name"),
        (measured(net=3), "network is a int"),
        (scripted("script"), "Layer 'fc' is a RecursiveScriptModule, .* before torch.jit"),
        (scripted("script", ""), "Layer '' is a RecursiveScriptModule"),
        (scripted("trace"), "Layer 'fc' is a .*Module, .* before torch.jit"),
        (measured(Twice()), "called 2 times in a pass, but once .* Name one that is called once"),
        (measured(Never()), r"called 0 times in a pass, .*functional"),
        (measured(Given(lambda x: x, lambda x: x)), r"given \(40, 6\), \(40, 6\), but one matrix"),
        (measured(Given(lambda x: (x, x))), "given tuple, but one matrix"),
        (measured(Given(lambda x: x[..., None, None])), r"given \(40, 6, 1, 1\), but one matrix"),
        (measured(Given(lambda x: x.long())), "features has dtype torch.int64"),
        (measured(Given(lambda x: x.repeat(2, 1))), r"labels has shape \(40,\), .* \(80, 6\)"),
        (measured(loader=one_hot()), r"labels has shape \(40, 4\).*argmax\(-1\)"),
        (measured(test=one_hot()), r"labels has shape \(40, 4\).*argmax\(-1\)"),
        (measured(classes=3), r"labels lie in 0..3, but 0..2"),
        (measured(classes=5), "No sample of class 4"),
        (measured(classes=1), "num_classes is 1"),
        (measured(loader=[data()[0]]), r"yielded a Tensor, but a pair \(x, labels\)"),
        (measured(loader=[({"x": data()[0]}, data()[1])]), "a pair .* with a tensor x"),
        (measured(loader=[(*data(), 1)]), "yielded a tuple, but a pair"),
        (measured(loader=iter([])), "No mini-batch"),
        (measured(test=[]), "test yielded no sample"),
    ],
)
def test_errors_are_sentences(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert str(caught.value).endswith(".")

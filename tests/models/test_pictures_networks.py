"""Networks for pictures: their sizes and names, what they compute, how they start."""

import pytest
import torch
from torch import nn

from ncbook.models.conv_stack import ConvStack
from ncbook.models.layers import TwoLayerHead, initialise
from ncbook.models.resnet import ResNet
from ncbook.models.vgg import VGG11
from ncbook.runtime import generator


def built(make, seed: int = 0) -> nn.Module:
    with torch.device("meta"):
        network = make()
    return initialise(network, seed).eval()


def pictures(count: int = 3, channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=generator(5))


@pytest.mark.parametrize(
    ("make", "parameters", "tensors"),
    [
        # As torchvision prints them of resnet18, resnet50 and vgg11.
        (lambda: ResNet(18, 1000), 11_689_512, 122),
        (lambda: ResNet(50, 1000), 25_557_032, 320),
        (lambda: VGG11(1000), 132_863_336, 22),
    ],
)
def test_the_sizes_are_torchvisions(make, parameters, tensors):
    with torch.device("meta"):
        network = make()
    assert sum(one.numel() for one in network.parameters()) == parameters
    assert len(network.state_dict()) == tensors


def test_the_names_are_torchvisions():
    with torch.device("meta"):
        names = {depth: ResNet(depth, 1000).state_dict() for depth in (18, 50)}
        vgg = VGG11(1000).state_dict()
    assert names[18]["conv1.weight"].shape == (64, 3, 7, 7)
    assert names[18]["layer4.0.downsample.0.weight"].shape == (512, 256, 1, 1)
    assert names[18]["layer2.1.bn2.running_var"].shape == (128,)
    assert "layer1.0.downsample.0.weight" not in names[18]
    assert names[50]["layer1.0.downsample.1.weight"].shape == (256,)
    assert names[50]["layer3.5.conv3.weight"].shape == (1024, 256, 1, 1)
    assert names[50]["fc.weight"].shape == (1000, 2048)
    assert [n for n in vgg if n.endswith("weight")] == [
        *(f"features.{i}.weight" for i in (0, 3, 6, 8, 11, 13, 16, 18)),
        *(f"classifier.{i}.weight" for i in (0, 3, 6)),
    ]


@pytest.mark.parametrize("depth", [18, 50])
def test_a_block_without_its_branch_is_its_shortcut(depth):
    network = built(lambda: ResNet(depth, 4, width=4, stem="3x3"))
    for block in (network.layer1[1], network.layer2[1]):
        last = block.bn2 if depth == 18 else block.bn3
        nn.init.zeros_(last.weight)
        x = torch.rand(2, last.num_features, 8, 8, generator=generator(1))
        assert torch.equal(block(x), x)


@pytest.mark.parametrize(("stem", "side"), [("7x7", 8), ("3x3", 32), ("3x3/2", 16)])
def test_a_stem_leaves_the_map_that_it_says(stem, side):
    network, sides = built(lambda: ResNet(18, 4, width=4, stem=stem)), []
    network.layer1.register_forward_pre_hook(lambda _, x: sides.append(x[0].shape[-1]))
    assert network(pictures()).shape == (3, 4)
    assert sides == [side]


def test_features_are_the_input_of_the_classifier():
    network = built(lambda: ResNet(50, 4, width=4, channels=1, stem="3x3/2"))
    x = pictures(channels=1)
    features = network.features(x)
    assert features.shape == (3, 128)
    assert torch.equal(network.fc(features), network(x))


@pytest.mark.parametrize("pool", [1, 2, 7])
def test_vgg_averages_as_torch_does(pool):
    network = built(lambda: VGG11(5, width=4, hidden=8, pool=pool))
    for size in (32, 64, 224):
        maps = network.features(pictures(1, size=size))
        expected = nn.AdaptiveAvgPool2d(pool)(maps)
        assert torch.allclose(network._pooled(maps), expected, atol=1e-6)
    assert network(pictures()).shape == (3, 5)


@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
def test_the_head_is_a_two_layer_relu_network(norm):
    head = built(lambda: TwoLayerHead(6, 3, 20, norm))
    x = 5 + 3 * torch.randn(8, 6, generator=generator(2))
    normalised = {
        "none": x,
        "layer": (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True),
        "rms": x / x.square().mean(-1, keepdim=True).sqrt(),
    }[norm]
    expected = (normalised @ head.first.weight.T).clamp(min=0) @ head.last.weight.T
    assert torch.allclose(head(x), expected, atol=1e-4)
    assert (sum(one.numel() for one in head.norm.parameters()) > 0) == (norm != "none")


def test_the_head_stays_in_single_precision_under_autocast():
    head = built(lambda: TwoLayerHead(6, 3, 20))
    x = torch.randn(8, 6, generator=generator(2))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(x), head(x.clone()))
        assert head(x.bfloat16()).dtype == torch.float32
    assert torch.equal(head(x.double().float()), head(x))


def test_a_start_is_its_seeds_alone():
    state = torch.get_rng_state()
    one, same, other = (built(lambda: ResNet(18, 4, width=8), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(one.state_dict().items(), same.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for (_, a), b in pairs)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


def test_a_start_has_the_spread_that_it_says():
    network = built(lambda: ResNet(18, 10, width=32))
    weight = network.layer3[0].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    assert abs(weight.mean().item()) < 1e-3
    assert network.fc.weight.abs().max().item() == pytest.approx(256**-0.5, rel=0.01)
    assert network.fc.weight.abs().max().item() <= 256**-0.5
    assert network.bn1.weight.eq(1).all() and network.bn1.running_var.eq(1).all()
    assert network.bn1.bias.eq(0).all() and int(network.bn1.num_batches_tracked) == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ResNet(34, 10), "depth is 34: expected 18 or 50"),
        (lambda: ResNet(18, 10, stem="5x5"), "stem is '5x5': expected '7x7', '3x3', '3x3/2'"),
        (lambda: ResNet(18, 0), "classes is 0: expected an integer of at least 1"),
        (lambda: ResNet(18, 10, width=1.5), "width is 1.5"),
        (lambda: VGG11(10, pool=0), "pool is 0"),
        (lambda: VGG11(10, hidden=0), "hidden is 0"),
        (lambda: TwoLayerHead(4, 2, norm="batch"), "norm is 'batch': expected 'none', 'layer'"),
        (lambda: TwoLayerHead(0, 2), "inputs is 0"),
        (lambda: initialise(nn.Sequential(nn.GRU(2, 2)), 0), "0 is a GRU with weight_ih_l0"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("normalise", [True, False])
def test_a_stack_of_convolutions_shows_its_layers(normalise):
    network = built(lambda: ConvStack(6, 4, depth=3, width=5, channels=2, normalise=normalise))
    x = pictures(7, 2, 6)
    layers = network.layers(x)
    assert [tuple(one.shape) for one in layers] == [(7, 72), *[(7, 180)] * 3]
    torch.testing.assert_close(layers[0], x.flatten(1))
    torch.testing.assert_close(network(x), network.fc(layers[-1]))
    # There is one mode: batches are normalised by themselves, and alone an image differs.
    torch.testing.assert_close(network.train()(x), network.eval()(x))
    assert torch.allclose(network(x[:2]), network(x)[:2], atol=1e-5) != normalise
    with pytest.raises(ValueError, match="width"):
        ConvStack(6, 4, width=0)

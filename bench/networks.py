"""Training of a ResNet: ours against the loop with a DataLoader that one would write first."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ncbook import runtime
from ncbook.data import pictures
from ncbook.dynamics.networks import Schedule, train_network
from ncbook.dynamics.training import example_orders
from ncbook.models.layers import TwoLayerHead, initialise
from ncbook.models.resnet import ResNet

SCHEDULE = Schedule(epochs=2, rate=0.01, batch=128, momentum=0.95)
# Relative difference of the weights: the two lay out images differently, so they round differently.
TOLERANCE = 5e-2

Say = Callable[[str], None]


class _Order:
    """The order of the examples that ours takes, as a sampler."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.draw = count, example_orders([seed])[0]

    def __iter__(self):
        return iter(torch.randperm(self.count, generator=self.draw).tolist())

    def __len__(self) -> int:
        return self.count


def network(width: int, device: torch.device) -> nn.Module:
    """Return the network of Figure 4, narrow, at its start."""
    with torch.device("meta"):
        made = ResNet(18, 10, width=width, channels=1, stem="3x3/2")
        made.fc = TwoLayerHead(8 * width, 10, 1000, "rms")
    return initialise(made, 0, device)


def ours(one: nn.Module, images: Tensor, labels: Tensor, precision: str) -> float:
    """Train as this book does; return the seconds."""
    run = train_network(one, images, labels, SCHEDULE, seed=0, record=[0], precision=precision)
    return float(run["seconds"])


def plain(one: nn.Module, images: Tensor, labels: Tensor, precision: str) -> float:
    """Train as one would write it; return the seconds."""
    device = next(one.parameters()).device
    data = TensorDataset(images.cpu(), labels.cpu())
    loader = DataLoader(data, SCHEDULE.batch, sampler=_Order(len(data), 0))
    optimiser = torch.optim.SGD(one.parameters(), SCHEDULE.rate, SCHEDULE.momentum)
    low = precision == "bfloat16"
    one.train()
    began = time.perf_counter()
    for _ in range(SCHEDULE.epochs):
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                loss = nn.functional.cross_entropy(one(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    loss.item()
    return time.perf_counter() - began


METHODS = {"ours": ours, "loop with a DataLoader": plain}


def rows(quick: bool, say: Say, repeats: int = 3) -> list[dict]:
    """Return a row a device, precision and method: images a second, the best of the repeats."""
    run = runtime.start()
    width, per_class = (4, 13) if quick else (16, 200)
    chosen = pictures.mnist("sample").balanced(per_class, 1)
    table = []
    for device in dict.fromkeys((torch.device("cpu"), run.device)):
        images, labels = chosen.standardised(device=device)[0], chosen.train_labels.to(device)
        for precision in ("float32", "bfloat16"):
            ends, seconds = {}, dict.fromkeys(METHODS, float("inf"))
            for _ in range(1 if quick else repeats):  # in turn, so that all see one machine
                for name, method in METHODS.items():
                    one = network(width, device)
                    seconds[name] = min(seconds[name], method(one, images, labels, precision))
                    ends[name] = torch.cat([p.detach().flatten() for p in one.parameters()])
            for name in METHODS:
                apart = float((ends[name] - ends["ours"]).norm() / ends["ours"].norm())
                speed = SCHEDULE.epochs * len(images) / seconds[name]
                table.append(
                    {
                        "device": str(device),
                        "precision": precision,
                        "method": name,
                        "width": width,
                        "images": speed,
                        "ratio": seconds[name] / seconds["ours"],
                        "apart": apart,
                        "agrees": apart <= TOLERANCE,
                    }
                )
                say(
                    f"ResNet18, width {width}, {device}, {precision}, {name}: {speed:.0f} images "
                    f"a second, {table[-1]['ratio']:.2f} times ours, apart {apart:.1e}"
                )
    return table

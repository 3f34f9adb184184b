"""A network's own collapse: the measures of what its classifier is given, in one pass.

>>> import torch
>>> from torch import nn
>>> generator = torch.Generator().manual_seed(1)
>>> labels = torch.arange(60) % 3
>>> inputs = torch.eye(3)[labels] + 0.1 * torch.randn(60, 3, generator=generator)
>>> network = nn.Sequential(nn.ReLU(), nn.Linear(3, 3))
>>> with torch.no_grad():
...     network[1].weight.copy_(torch.eye(3)), network[1].bias.zero_()  # doctest: +ELLIPSIS
(...)
>>> loader = list(zip(inputs.split(16), labels.split(16)))
>>> print(collapse_of(network, "1", loader, num_classes=3))  # doctest: +ELLIPSIS
The input of layer '1' in eval mode: 60 samples, 3 classes, accuracy 1.
nc1.papyan                  0.01...  within-class scatter, seen through the class means
...
"""

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ncbook.metrics.collapse import measures, nc4_papyan
from ncbook.metrics.definitions import DEFINITIONS
from ncbook.metrics.directional import DirectionalAccumulator
from ncbook.metrics.statistics import ClassAccumulator, ClassStatistics, _checked_labels

# What a wrapper calls the network in it: DataParallel and its kin, torch.compile.
_WRAPPERS = {"module", "_orig_mod"}


@dataclass(frozen=True, eq=False)
class Collapse:
    """What :func:`collapse_of` measured; printed, a table.

    Parameters
    ----------
    layer
        The name of the layer whose input the features are.
    mode
        ``"eval"`` or ``"train"``: how the network ran.
    measures
        Tensors () by name; :data:`~ncbook.metrics.definitions.DEFINITIONS` says what each is.
    statistics
        The class statistics of the features.
    accuracy
        The share of samples for which the largest of the network's outputs is that of their
        class: (); NaN where its outputs are not (b, K).
    test_accuracy
        The same of the test samples; None without them.
    """

    layer: str
    mode: str
    measures: dict[str, Tensor]
    statistics: ClassStatistics
    accuracy: Tensor
    test_accuracy: Tensor | None = None

    def __str__(self) -> str:
        accuracies = {"accuracy": self.accuracy, "test accuracy": self.test_accuracy}
        said = [f"{name} {x:.4g}" for name, x in accuracies.items() if x is not None]
        sizes = f"{self.statistics.samples} samples, {self.statistics.num_classes} classes"
        head = ", ".join([sizes, *said])
        lines = [f"The input of layer {self.layer!r} in {self.mode} mode: {head}."]
        for name, value in self.measures.items():
            lines.append(f"{name:<27} {value:<9.4g} {DEFINITIONS[name].title}")
        return "\n".join(lines)


def collapse_of(
    network: nn.Module,
    layer: str,
    loader: Iterable,
    num_classes: int,
    *,
    test: Iterable | None = None,
    scatter: bool = True,
    training: bool = False,
) -> Collapse:
    """Measure the collapse of a network's features in one pass over a loader.

    The features are what a layer, the classifier, is given. They are not kept: sums are in float64
    whatever the features are (in float32 on MPS), and equal those of the whole matrix. The network
    may be wrapped by DataParallel, DistributedDataParallel or torch.compile, or its parts by the
    last, and then runs without them: on one device, in one process, uncompiled. It may run under
    autocast, whose rounding the features then have. Afterwards it is as it was: its modes, its
    running statistics, its hooks.

    What cannot be seen from here: a loader that augments, drops or repeats samples measures just
    those. In a distributed run each process measures the samples of its own loader.

    Parameters
    ----------
    network
        Called with the x of each mini-batch, on the device of its first parameter.
    layer
        The classifier's name, as ``network.named_modules()`` has it. If it is a linear layer with
        one output for each class, its weight and bias give what concerns the classifier: NC2 of
        the weights, NC3, and, of test samples, NC4.
    loader
        Yields mini-batches (x, labels): x a tensor (b, ...), labels (b,) integers in 0..K-1. It
        is gone through once.
    num_classes
        K, at least 2.
    test
        Such a loader of test samples, for NC4 and the test accuracy.
    scatter
        Keep the square root of the within-class scatter, D rows or more, for ``nc1.papyan``;
        without it that measure is left out.
    training
        Run the network in train mode: normalised over each mini-batch, with dropout, which draws
        from torch's own generator. By default in eval mode.

    Returns
    -------
    Collapse
        With the measures of :func:`~ncbook.metrics.collapse.measures`, of
        :class:`~ncbook.metrics.directional.DirectionalAccumulator`, and ``nc4.papyan`` where there
        are test samples and a linear classifier.

    Raises
    ------
    ValueError
        The network has no such layer; the layer is a ScriptModule; it is not called just once a
        mini-batch, or with anything but one matrix, a row for each sample; a mini-batch is no pair
        with a tensor x; labels do not fit (one-hot ones do not); a class has no sample.
    """
    module = _layer(network, layer)
    seen = ClassAccumulator(num_classes, scatter=scatter)
    directional = DirectionalAccumulator(num_classes)
    right, test_right, disagree, tested = 0, 0, 0, 0
    with _running(network, layer, module, training) as run:
        for batch in loader:
            features, labels, correct = run(batch, num_classes)
            seen.update(features, labels)
            directional.update(features, labels)
            right = right + correct
        statistics = seen.statistics()
        weights, bias = _classifier(module, statistics.means)
        table = measures(statistics, weights) | directional.measures()
        for batch in test or ():
            features, labels, correct = run(batch, num_classes)
            tested, test_right = tested + len(features), test_right + correct
            if weights is not None and len(features):
                nc4 = nc4_papyan(statistics, weights, bias, features.to(weights))
                disagree = disagree + len(features) * nc4
    mode = "train" if training else "eval"
    accuracy = right.to(statistics.means) / statistics.samples
    if test is None:
        return Collapse(layer, mode, table, statistics, accuracy)
    if tested == 0:
        raise ValueError(
            "test yielded no sample, but at least one is expected; give a loader that can be gone "
            "through, or leave test out."
        )
    if weights is not None:
        table["nc4.papyan"] = disagree / tested
    test_accuracy = test_right.to(statistics.means) / tested
    return Collapse(layer, mode, table, statistics, accuracy, test_accuracy)


def _layer(network: nn.Module, layer: str) -> nn.Module:
    """Return the layer of that name, or raise ``ValueError``."""
    if not isinstance(network, nn.Module) or not isinstance(layer, str):
        raise ValueError(
            f"network is a {type(network).__name__} and layer a {type(layer).__name__}, but a "
            f"torch.nn.Module and the name of one of its layers are expected; "
            f"network.named_modules() lists the names."
        )
    modules = dict(network.named_modules(remove_duplicate=False))
    if layer in modules:
        if isinstance(modules[layer], torch.jit.ScriptModule):
            raise ValueError(
                f"Layer {layer!r} is a {type(modules[layer]).__name__}, but a module that still "
                f"runs in Python is expected; give the network as it was before torch.jit."
            )
        return modules[layer]
    for name in modules:
        if ".".join(part for part in name.split(".") if part not in _WRAPPERS) == layer:
            raise ValueError(
                f"The network has no layer {layer!r}, because a wrapper such as DataParallel or "
                f"torch.compile hides it; give its name in the wrapper, {name!r}."
            )
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    near = (
        difflib.get_close_matches(layer, modules, cutoff=0.5) or linear[-3:] or list(modules)[-3:]
    )
    raise ValueError(
        f"The network has no layer {layer!r}; give a name that network.named_modules() lists, such "
        f"as {', '.join(map(repr, near))}."
    )


def _classifier(module: nn.Module, means: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return weight and bias of a linear layer with an output for each class."""
    if not isinstance(module, nn.Linear) or module.weight.shape != means.shape:
        return None, None
    return module.weight.to(means), None if module.bias is None else module.bias.to(means)


def _unwrapped(network: nn.Module) -> nn.Module:
    """Return the network without what wraps it as a whole.

    On several devices DataParallel would call the layer once on each. DistributedDataParallel
    would wait for the buffers of other processes, which may not measure.
    """
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif "_orig_mod" in network._modules:  # of torch.compile
            network = network._orig_mod
        else:
            return network


@contextmanager
def _running(
    network: nn.Module, layer: str, module: nn.Module, training: bool
) -> Iterator[Callable[[Any, int], tuple[Tensor, Tensor, Tensor]]]:
    """Yield what runs the network on a mini-batch, and leave the network as it was.

    It returns what the layer was given (b, D), the labels (b,) there, and how many are right.
    """
    given: list[tuple] = []
    call = _unwrapped(network)
    place = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    kind = place.type
    autocast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    def hook(_module, args, kwargs):
        # As it is now: the layer may work in place.
        inputs = (*args, *kwargs.values())
        given.append(tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs))

    def run(batch, num_classes):
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not torch.is_tensor(batch[0]):
            raise ValueError(
                f"The loader yielded a {type(batch).__name__}, but a pair (x, labels) with a "
                f"tensor x is expected; wrap the loader, and the network if it takes more."
            )
        given.clear()
        with torch.autocast(kind, autocast[1], enabled=autocast[0]):
            outputs = call(batch[0].to(place))
        features = _features(given, layer)
        labels = _checked_labels(batch[1], features, num_classes)
        if torch.is_tensor(outputs) and outputs.shape == (len(labels), num_classes):
            return features, labels, (outputs.argmax(-1).to(labels.device) == labels).sum()
        return features, labels, torch.tensor(torch.nan, device=labels.device)

    modes = {part: part.training for part in network.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()] if training else []
    # What was compiled before the hook came does not call it.
    compiles = "torch._dynamo" in sys.modules
    eager = torch.compiler.set_stance("force_eager") if compiles else nullcontext()
    # Only the network runs under autocast: no measure loses digits to it.
    with torch.no_grad(), torch.autocast(kind, enabled=False), eager:
        handle = module.register_forward_pre_hook(hook, with_kwargs=True)
        try:
            network.train(training)
            yield run
        finally:
            handle.remove()
            network.train(modes[network])  # which may do more than to set the modes
            for part, mode in modes.items():
                part.training = mode
            for buffer, before in buffers:
                buffer.copy_(before)


def _features(given: list[tuple], layer: str) -> Tensor:
    """Return what the layer was given in a pass, if that is one matrix, or raise ``ValueError``."""
    if len(given) != 1:
        why = (
            "name one that the network's forward calls (torch.nn.functional calls none)"
            if not given
            else "features of which call would be meant? Name one that is called once"
        )
        raise ValueError(
            f"Layer {layer!r} was called {len(given)} times in a pass, but once is expected; {why}."
        )
    inputs = given[0]
    if len(inputs) != 1 or not torch.is_tensor(inputs[0]) or inputs[0].dim() != 2:
        kinds = [str(tuple(x.shape)) if torch.is_tensor(x) else type(x).__name__ for x in inputs]
        raise ValueError(
            f"Layer {layer!r} was given {', '.join(kinds) or 'nothing'}, but one matrix (b, D) is "
            f"expected, a row for each sample; name the layer behind the pooling or flattening, or "
            f"put a torch.nn.Flatten and a torch.nn.Identity of that name there."
        )
    return inputs[0]

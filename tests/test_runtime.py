"""The runtime: which device, which numbers, which record of both."""

import importlib
import inspect
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook import runtime


@pytest.fixture(autouse=True)
def _settings(monkeypatch):
    """No variable of the shell decides, and the process gets its settings back."""
    for name in ("NCBOOK_DEVICE", "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.setenv(name, "")  # first, so that what a test leaves there is undone
        monkeypatch.delenv(name)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def _offer(monkeypatch, cuda: int = 0, mps: bool = False, whole: bool = True) -> None:
    """Let the machine claim to have these devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(runtime, "decomposes", lambda device: whole)


# --- The device ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(1, True, "cuda"), (0, True, "mps"), (0, False, "cpu")]
)
def test_the_first_device_there_is_chosen(monkeypatch, cuda, mps, chosen):
    _offer(monkeypatch, cuda, mps)
    assert runtime.available_devices()[0] == chosen
    assert runtime.start().device.type == chosen


def test_the_environment_decides_and_the_argument_decides_over_it(monkeypatch):
    _offer(monkeypatch, cuda=2)
    monkeypatch.setenv("NCBOOK_DEVICE", "cpu")
    assert runtime.start().device == torch.device("cpu")
    assert runtime.start("cuda:1").device == torch.device("cuda:1")
    monkeypatch.setenv("NCBOOK_DEVICE", "")
    with pytest.raises(ValueError, match="Unknown device '' \\(from NCBOOK_DEVICE\\)"):
        runtime.start()  # a setting that is set wrong is none that is not set


@pytest.mark.parametrize(
    "name", ["tpu", "CPU", "cuda:x", "cuda:", "cpu:", "cuda:-1", ":0", " ", ""]
)
def test_an_unknown_device_is_refused_and_the_known_are_named(monkeypatch, name):
    _offer(monkeypatch, cuda=1, mps=True)
    with pytest.raises(ValueError, match="known are cuda, mps, cpu") as error:
        runtime.start(name)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_an_unavailable_device_is_refused_and_the_available_are_named(monkeypatch, name):
    _offer(monkeypatch)
    with pytest.raises(ValueError, match="not available here; available: cpu") as error:
        runtime.start(name)
    assert repr(name) in str(error.value)
    assert "from NCBOOK_DEVICE" not in str(error.value)
    monkeypatch.setenv("NCBOOK_DEVICE", name)
    with pytest.raises(ValueError, match=f"'{name}' \\(from NCBOOK_DEVICE\\) is not available"):
        runtime.start()


def test_a_cuda_index_beyond_the_last_is_refused(monkeypatch):
    _offer(monkeypatch, cuda=2)
    assert runtime.start("cuda:1").device.index == 1
    with pytest.raises(ValueError, match="'cuda:2' is not available here; this machine has 2 CUDA"):
        runtime.start("cuda:2")


def test_mps_without_decompositions_is_not_chosen_and_says_what_to_do(monkeypatch):
    _offer(monkeypatch, mps=True, whole=False)
    assert runtime.start().device.type == "cpu"
    with pytest.raises(ValueError, match="PYTORCH_ENABLE_MPS_FALLBACK=1 before Python starts"):
        runtime.start("mps")


def test_float64_where_the_device_has_it(monkeypatch):
    _offer(monkeypatch, cuda=1, mps=True)
    assert runtime.start("cpu").dtype == torch.float64
    assert runtime.start("cuda").dtype == torch.float64
    assert runtime.start("mps").dtype == torch.float32


@pytest.mark.parametrize("threads", [0, -2, 1.0])
def test_a_number_of_threads_that_is_not_positive_is_refused(threads):
    with pytest.raises(ValueError, match=f"threads is {threads}: expected an integer of at least"):
        runtime.start("cpu", threads=threads)


def test_a_start_sets_threads_and_determinism():
    torch.use_deterministic_algorithms(False)
    runtime.start("cpu", threads=2)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
    runtime.start("cpu")
    assert torch.get_num_threads() == 1
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_a_start_on_cuda_fixes_the_order_of_its_sums(monkeypatch):
    _offer(monkeypatch, cuda=1)
    runtime.start("cuda")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


# --- Random numbers -----------------------------------------------------------------------------


def test_a_seed_does_not_depend_on_its_neighbours():
    run = runtime.start("cpu")
    together = run.normal([3, 1, 4, 1], 5, 2)
    assert together.shape == (4, 5, 2)
    for seed, numbers in zip([3, 1, 4, 1], together, strict=True):
        assert torch.equal(numbers, run.normal([seed], 5, 2)[0])
    assert torch.equal(together[1], together[3])
    assert not torch.equal(together[0], together[1])


def test_the_numbers_are_standard_normal():
    draws = runtime.start("cpu").normal(range(50), 2000)
    # 1e5 numbers: the mean is known to 3e-3, the mean square to 4.5e-3 (one standard deviation).
    assert float(draws.mean().abs()) < 0.013
    assert float((draws.square().mean() - 1).abs()) < 0.018
    # Seeds are independent: correlations of 2000 pairs, 1225 of them, stay below 5 / sqrt(2000).
    correlation = draws @ draws.T / 2000 - torch.eye(50)
    assert float(correlation.fill_diagonal_(0).abs().max()) < 0.112


@pytest.mark.parametrize("device", runtime.available_devices())
def test_every_device_sees_the_same_numbers(device):
    run = runtime.start(device)
    numbers = run.normal(range(3), 7)
    assert numbers.device.type == device and numbers.dtype == run.dtype
    expected = runtime.start("cpu").normal(range(3), 7)
    assert torch.equal(numbers.cpu(), expected.to(run.dtype))


def test_single_precision_rounds_the_same_numbers():
    double = runtime.Runtime(torch.device("cpu"), torch.float64, 1).normal([7], 100)
    single = runtime.Runtime(torch.device("cpu"), torch.float32, 1).normal([7], 100)
    assert torch.equal(single, double.float())
    # Control: numbers drawn in float32 from the same generator are others.
    drawn = torch.randn(100, generator=runtime.generator(7), dtype=torch.float32)
    assert not torch.equal(single[0], drawn)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    run = runtime.start("cpu")
    run.normal(range(4), 3)
    runtime.generator(5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(0)
    first = run.normal([2], 3)
    torch.manual_seed(1)
    assert torch.equal(run.normal([2], 3), first), "a global seed must not change the numbers"


def test_a_generator_repeats_and_stays_on_the_cpu():
    a, b = runtime.generator(11), runtime.generator(11)
    assert a.device.type == "cpu"
    assert torch.equal(torch.randn(9, generator=a), torch.randn(9, generator=b))


def test_a_tensor_takes_the_dtype_of_the_run():
    single = runtime.Runtime(torch.device("cpu"), torch.float32, 1)
    assert single.tensor([1, 2]).dtype == torch.float32
    assert single.tensor(torch.ones(2, dtype=torch.float64)).dtype == torch.float32
    # 0.1 is not rounded on its way to float64.
    assert float(runtime.start("cpu").tensor(0.1)) == 0.1


# --- The record ---------------------------------------------------------------------------------


def test_the_provenance_names_machine_and_versions():
    run = runtime.start("cpu")
    record = run.provenance()
    assert set(record) == {"device", "dtype", "threads", "torch", "python", "platform"}
    assert all(isinstance(value, str) and value for value in record.values())
    assert (record["device"], record["dtype"], record["threads"]) == ("cpu", "float64", "1")
    assert record["torch"] == torch.__version__
    assert str(run) == "cpu, float64"


# --- Arguments ----------------------------------------------------------------------------------

INTEGERS = [4, np.int64(4), np.uint8(4), np.array(4), torch.tensor(4), torch.tensor(4).int()]
OTHERS = [True, np.True_, torch.tensor(True), 4.0, np.float64(4), torch.tensor(4.0), "4", None]


@pytest.mark.parametrize("value", INTEGERS, ids=repr)
def test_the_integers_of_every_library_are_integers(value):
    assert runtime.whole("K", value, 4) == 4 and type(runtime.whole("K", value)) is int
    with pytest.raises(ValueError, match=r"^K is .*: expected an integer of at least 5"):
        runtime.whole("K", value, 5)


@pytest.mark.parametrize("value", [*OTHERS, torch.tensor([1, 2])], ids=repr)
def test_other_values_are_no_integers(value):
    with pytest.raises(ValueError, match=r"^K is .*: expected an integer"):
        runtime.whole("K", value)


@pytest.mark.parametrize("seed", [1.5, True, "1"])
def test_a_seed_is_not_rounded(seed):
    with pytest.raises(ValueError, match=r"^seed is .*: expected an integer"):
        runtime.generator(seed)


@pytest.mark.parametrize("kind", [*("u" + f"int{b}" for b in (8, 16, 32, 64)), "int8", "int64"])
def test_labels_of_every_integer_kind_are_labels(kind):
    for y in (np.array([0, 2, 1], kind), torch.from_numpy(np.array([0, 2, 1], kind))):
        found = runtime.label_tensor(y, "cpu")
        assert found.dtype == torch.int64 and found.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    "y", [["b", "a", "b"], np.array(["b", "a", "b"]), pd.Categorical(["b", "a", "b"]),
          pd.Series(["b", "a", "b"], index=[7, 8, 9])], ids=lambda y: type(y).__name__
)  # fmt: skip
def test_labels_that_are_no_numbers_are_told_a_remedy_that_works(y):
    with pytest.raises(ValueError, match=r"numpy.unique\(y, return_inverse=True\)\[1\]"):
        runtime.label_tensor(y, "cpu")
    numbered = np.unique(y, return_inverse=True)[1]
    assert runtime.label_tensor(numbered, "cpu").tolist() == [1, 0, 1]


def _takers():
    """Every function of data and theory that a reader gives data to."""
    for room in ("data", "theory"):
        folder = Path(runtime.__file__).parent / room
        for file in sorted(folder.rglob("*.py")):
            inside = ".".join(file.relative_to(folder.parent).with_suffix("").parts)
            module = importlib.import_module(f"ncbook.{inside}")
            for name, function in vars(module).items():
                own = getattr(function, "__module__", None) == module.__name__
                public = inspect.isfunction(function) and own and name[0] != "_"
                if public and "X" in inspect.signature(function).parameters:
                    yield pytest.param(function, id=f"{inside}.{name}")


@pytest.mark.parametrize("function", list(_takers()))
def test_data_that_are_no_tensor_are_refused_with_a_sentence(function):
    others = dict.fromkeys(
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
    )
    for X in (np.ones((4, 2)), [[1.0, 0.0]] * 4):
        with pytest.raises(ValueError, match=f"^X is a {type(X).__name__}: expected a torch"):
            function(**others | {"X": X})


def test_there_are_such_functions():
    assert len(list(_takers())) > 25


def test_a_tolerance_is_what_the_dtype_can_hold():
    cpu = torch.device("cpu")
    double, single = (runtime.Runtime(cpu, one, 1) for one in (torch.float64, torch.float32))
    assert double.tolerance(1e-12) == 1e-12
    assert single.tolerance(1e-12) == 64 * torch.finfo(torch.float32).eps
    assert single.tolerance(1e-3) == 1e-3
    assert double.tolerance(0.0) == 64 * torch.finfo(torch.float64).eps

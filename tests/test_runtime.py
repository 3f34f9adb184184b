"""The runtime: which device, which numbers, which record of both."""

import os

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


def _offer(monkeypatch, cuda: int = 0, mps: bool = False) -> None:
    """Let the machine claim to have these devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


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
    assert runtime.start().device.type == "cuda", "an empty variable must count as none"


@pytest.mark.parametrize("name", ["tpu", "CPU", "cuda:x", "cuda:", "cpu:", "cuda:-1", ":0", " "])
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


def test_float64_where_the_device_has_it(monkeypatch):
    _offer(monkeypatch, cuda=1, mps=True)
    assert runtime.start("cpu").dtype == torch.float64
    assert runtime.start("cuda").dtype == torch.float64
    assert runtime.start("mps").dtype == torch.float32


@pytest.mark.parametrize("threads", [0, -2])
def test_a_number_of_threads_that_is_not_positive_is_refused(threads):
    with pytest.raises(ValueError, match=f"threads is {threads}; give a positive number"):
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

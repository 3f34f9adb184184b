"""The package as a wheel, without the repository: it measures, and says what it cannot do."""

import datetime
import json
import os
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

from ncbook import machine
from ncbook.pipeline import release

NETWORK = """
import torch
from ncbook.metrics.network import collapse_of
draw = torch.Generator().manual_seed(0)
labels = torch.arange(12) % 3
x = torch.eye(3)[labels] + 0.1 * torch.randn(12, 3, generator=draw)
network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, 3))
print(float(collapse_of(network, "1", [(x, labels)], num_classes=3).measures["nc1.papyan"]))
"""


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory):
    """Run Python in an environment that has the wheel, and the packages of this one."""
    if machine.checkout(root).problem:
        pytest.skip("The wheel is made of a commit, and this is no checkout.")
    folder = tmp_path_factory.mktemp("wheel")
    plan = release.Plan("ncbook-0", "0", datetime.date(2026, 1, 1), "", 10**9, folder)
    wheel, _ = release.package(root, plan, folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    place = next((folder / "env" / "lib").glob("python*")) / "site-packages"
    # A path in such a file is searched, and what lies there of other .pth files is not read: so
    # the repository, which this environment has by one, is not there.
    (place / "packages.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--disable-pip-version-check", wheel], check=True)

    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*arguments, expect=0):
        asked = dict(cwd=folder, env=own, capture_output=True, text=True, errors="replace")
        done = subprocess.run([python, *arguments], **asked)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    where = run("-c", "import ncbook; print(ncbook.__file__)").strip()
    assert where == str(place / "ncbook" / "__init__.py")
    return run, folder


def test_it_measures_features_in_a_file(installed):
    run, folder = installed
    labels = np.arange(30) % 3
    features = np.eye(3)[labels] + 0.1 * np.random.default_rng(0).normal(size=(30, 3))
    np.savez(folder / "features.npz", features=features, labels=labels)
    found = json.loads(run("-m", "ncbook", "measure", "features.npz", "--json"))
    assert "nc1.papyan" in json.dumps(found)


def test_it_measures_a_network(installed):
    run, _ = installed
    assert 0 < float(run("-c", NETWORK)) < 0.5


def test_it_has_the_data_that_ship(installed):
    _, folder = installed
    names = [p.relative_to(folder) for p in folder.glob("env/lib/*/site-packages/ncbook/data/*/*")]
    assert {"mnist_sample", "pretrained_features"} <= {path.parent.name for path in names}


@pytest.mark.parametrize("command", [("build",), ("claims",), ("run", "04-figure-1"), ("release",)])
def test_what_needs_the_book_says_so(installed, command):
    run, _ = installed
    said = run("-m", "ncbook", *command, expect=2)
    assert "Traceback" not in said and "checkout" in said

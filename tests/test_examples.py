"""The examples in the docstrings and in the README do what they show."""

import re
import subprocess
import sys

import torch

# What users call first has examples; any other module that has some is run, too.
FIRST = (
    "runs", "metrics", "models.ufm", "models.shallow_relu", "dynamics.flow", "dynamics.descent",
    "dynamics.langevin", "dynamics.training", "metrics.network", "metrics.directional",
)  # fmt: skip


def with_examples(root) -> list[str]:
    package = root / "ncbook"
    found = [path for path in package.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(package).with_suffix("").parts) for path in found]
    return sorted(name.removesuffix(".__init__") for name in names)


def test_what_users_call_first_has_examples(root):
    assert set(FIRST) <= set(with_examples(root))


def test_examples_do_what_they_show(root):
    # In a process of their own: they start runs, which set what holds for all of it.
    done = subprocess.run(
        [sys.executable, "-c", RUN, *with_examples(root)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readmes_code_measures_a_network(root, capsys):
    section = (root / "README.md").read_text().partition("## Measure your own network")[2]
    code = re.search(r"^```python\n(.*?)^```", section, re.M | re.S)[1]
    assert len([line for line in code.splitlines() if line]) <= 5
    network = torch.nn.Sequential()
    network.fc = torch.nn.Linear(20, 10)
    x = torch.randn(100, 20, generator=torch.Generator().manual_seed(1))
    names = {"network": network, "loader": [(x, torch.arange(100) % 10)]}
    exec(code, names)
    printed = capsys.readouterr().out
    assert printed.startswith(str(names["found"])) and "nc3.papyan" in printed
    assert printed.splitlines()[-1] == str(names["found"].measures["nc1.papyan"])


RUN = """
import doctest, importlib, sys
bad = 0
for name in sys.argv[1:]:
    failed, tried = doctest.testmod(importlib.import_module(f"ncbook.{name}"))
    bad += failed + (not tried)
sys.exit(bool(bad))
"""

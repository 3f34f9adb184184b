"""The import graph, on a small package made for it."""

import pytest

from ncbook.codegraph import Graph

SOURCES = {
    "__init__.py": "",
    "a.py": "import os\nfrom pkg import b",
    "b.py": "from pkg.sub import c",
    "sub/__init__.py": "from .names import NAME",
    "sub/names.py": "NAME = 1",
    "sub/c.py": "from . import d\nfrom ..e import thing\nimport numpy.linalg",
    "sub/d.py": "",
    "e.py": "thing = 1\n\ndef later():\n    import pkg.f\n    from torch import nn",
    "f.py": "import importlib\n\nimportlib.import_module('pkg.g')",
    "g.py": "",
    "star.py": "from pkg.sub import *",
    "attribute.py": "from pkg import VALUE",
    "alone.py": "if False:\n    from pkg.sub.names import NAME as N",
}


@pytest.fixture
def graph(tmp_path):
    folder = tmp_path / "pkg"
    for name, text in SOURCES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Graph(folder)


def short(names):
    return {name.removeprefix("pkg").removeprefix(".") for name in names}


@pytest.mark.parametrize(
    ("module", "imports"),
    [
        ("pkg.a", {"", "b"}),
        ("pkg.b", {"", "sub", "sub.c"}),
        ("pkg.sub", {"", "sub", "sub.names"}),
        ("pkg.sub.c", {"", "sub", "sub.d", "e"}),
        ("pkg.e", {"", "f"}),
        ("pkg.f", {"", "g"}),
        ("pkg.star", {"", "sub", "sub.c", "sub.d", "sub.names"}),
        ("pkg.attribute", {""}),
        ("pkg.alone", {"", "sub", "sub.names"}),
    ],
)
def test_every_form_of_import_is_seen(graph, module, imports):
    assert short(graph.imports(module)) == imports


def test_what_comes_from_elsewhere(graph):
    assert graph.externals("pkg.a") == {"os"}
    assert graph.externals("pkg.sub.c") == {"numpy"}
    assert graph.externals("pkg.e") == {"torch"}


def test_the_closure_follows_imports_to_the_end(graph):
    every = {"", "b", "sub", "sub.names", "sub.c", "sub.d", "e", "f", "g"}
    assert short(graph.closure(["pkg.a"])) == {"a"} | every
    # A module brings in the packages above it, and what these import.
    assert short(graph.closure(["pkg.sub.d"])) == {"", "sub", "sub.names", "sub.d"}
    assert short(graph.closure(["pkg.g"])) == {"", "g"}


def test_a_module_that_cannot_be_read_is_part_of_the_closure(graph):
    (graph.folder / "b.py").write_text("def broken(:")
    assert short(graph.closure(["pkg.a"])) == {"", "a", "b"}


def test_what_a_notebook_imports(graph):
    code = "%matplotlib inline\n!ls\nfrom pkg import e, VALUE\nimport pandas as pd"
    inside, outside = graph.used_by(code)
    assert short(inside) == {"", "e"}
    assert outside == {"pandas"}
    assert graph.used_by("print(1)") == (frozenset(), frozenset())


def test_code_that_cannot_be_read_depends_on_everything(graph):
    assert graph.used_by("x = (")[0] == set(graph.modules)

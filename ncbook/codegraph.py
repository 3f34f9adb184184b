"""Who imports whom, and what code does: read from sources without running them.

The build asks which modules a chapter's result depends on, and whether what they do has changed;
the architecture test asks whether the rooms keep to their rules.
"""

import ast
import hashlib
from functools import cached_property, lru_cache
from pathlib import Path

from ncbook.files import digest


@lru_cache(maxsize=1024)
def fingerprint(code: str) -> str:
    """Return a hash of what Python code does: of its syntax tree without docstrings.

    Comments, layout and docstrings do not count, nor does the version of Python that reads it.
    Code that cannot be parsed, such as a notebook's ``%magic``, is hashed as it is written.
    """
    try:
        plain = repr(_plain(ast.parse(code)))
    except SyntaxError:
        plain = code
    return hashlib.sha256(plain.encode()).hexdigest()


def _plain(node):
    # ast.dump differs from version to version in the fields that it knows and leaves out.
    if isinstance(node, ast.AST):
        fields = dict(ast.iter_fields(node))
        body = fields.get("body")
        if isinstance(body, list) and body and _is_text(body[0]):
            fields["body"] = body[1:]
        shown = [(name, _plain(v)) for name, v in fields.items() if v is not None and v != []]
        return [type(node).__name__, *shown]
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return repr(node)


def _is_text(node) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


class Graph:
    """The import graph of a package, or of a module that is in none.

    Imports count wherever they stand: at the top, inside a function, under ``if``. A module
    depends on the ``__init__`` of every package above it, because importing it runs them.

    Parameters
    ----------
    place : Path
        The package's own folder, the one that holds its ``__init__.py``; or the module's file.
    """

    def __init__(self, place: Path) -> None:
        self.folder = Path(place)
        self.name = self.folder.stem
        self._read: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self._digests: dict[Path, str] = {}

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Every module of the package: its dotted name -> its file."""
        if self.folder.is_file():
            return {self.name: self.folder}
        found = {}
        for path in sorted(self.folder.rglob("*.py")):
            parts = [self.name, *path.relative_to(self.folder).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            found[".".join(parts)] = path
        return found

    def imports(self, module: str) -> frozenset[str]:
        """The package's own modules that `module` imports directly."""
        return self._of(module)[0]

    def externals(self, module: str) -> frozenset[str]:
        """The top-level names of everything else that `module` imports directly."""
        return self._of(module)[1]

    def closure(self, modules) -> frozenset[str]:
        """`modules`, and all that importing them can bring in from the package."""
        seen: set[str] = set()
        waiting = [name for module in modules for name in self._with_parents(module)]
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += [n for name in self.imports(module) for n in self._with_parents(name)]
        return frozenset(seen)

    def contents(self, modules, data: bool = True) -> dict[str, str]:
        """The fingerprint of each file behind some modules: its path from above -> hash.

        With `data`, of what lies beside the code, too, but for what is beside the package's own
        ``__init__``.
        """
        code = {self.modules[name] for name in modules}
        folders = {path.parent for path in code} - {self.folder} if data else set()
        code |= {
            path
            for folder in folders
            for path in folder.iterdir()
            if path.is_file() and path.suffix != ".py" and not path.name.startswith(".")
        }
        for path in code:
            if path not in self._digests:
                is_code = path.suffix == ".py"
                self._digests[path] = fingerprint(path.read_text()) if is_code else digest(path)
        start = self.folder.parent
        return {path.relative_to(start).as_posix(): self._digests[path] for path in sorted(code)}

    def used_by(self, code: str) -> tuple[frozenset[str], frozenset[str]]:
        """What a piece of code imports: modules of the package, top-level names outside it.

        Lines for IPython (``%magic``, ``!command``) are skipped. Code that cannot be parsed is
        taken to import the whole package: too much is safe, too little is not.
        """
        lines = ("" if line.lstrip().startswith(("%", "!")) else line for line in code.split("\n"))
        try:
            tree = ast.parse("\n".join(lines))
        except SyntaxError:
            return frozenset(self.modules), frozenset()
        return self._names(tree, package=[])

    def _of(self, module: str) -> tuple[frozenset[str], frozenset[str]]:
        if module not in self._read:
            path = self.modules[module]
            parts = module.split(".")
            package = parts if path.name == "__init__.py" else parts[:-1]
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except SyntaxError:
                tree = ast.Module([], [])  # it imports nothing; whoever runs it will hear why
            self._read[module] = self._names(tree, package)
        return self._read[module]

    def _names(self, tree: ast.AST, package: list[str]):
        """Sort the names in a tree's import statements; `package` is where relative ones start."""
        inside: set[str] = set()
        outside: set[str] = set()
        for dotted in _imported(tree, package):
            top = dotted.split(".")[0]
            if top != self.name:
                outside.add(top)
            elif dotted.endswith(".*"):
                # ``from package import *`` may bring in any module of that package.
                start = dotted[:-1]
                inside |= {
                    n for n in self.modules if n.startswith(start) and "." not in n[len(start) :]
                }
                inside |= set(self._with_parents(dotted[:-2]))
            else:
                inside |= set(self._with_parents(dotted))
        return frozenset(inside), frozenset(outside)

    def _with_parents(self, dotted: str) -> list[str]:
        """`dotted` and the packages above it, as far as they are modules (not attributes)."""
        parts = dotted.split(".")
        names = (".".join(parts[: n + 1]) for n in range(len(parts)))
        return [name for name in names if name in self.modules]


def _imported(tree: ast.AST, package: list[str]):
    """Yield the dotted name of everything a tree imports; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            if node.module:
                base = [*base, node.module]
            yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif name := _dynamic(node):
            yield name


def _dynamic(node: ast.AST) -> str | None:
    """Return the name in ``importlib.import_module("name")``, where it is written out."""
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
        return None
    called = (
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    )
    value = node.args[0].value
    is_import = called in ("import_module", "__import__") and isinstance(value, str)
    return value if is_import and not value.startswith(".") else None

"""A chapter's source: a MyST Markdown notebook, its parameters and its profiles.

A chapter is ``notebooks/<paper>/NN-name.md``. Its one cell tagged ``parameters`` gives every
parameter its default, by the default its type, and in the comment its bound (see
`ncbook.pipeline.bounds`); the front matter's ``ncbook: profiles:`` gives each profile the values
that differ from these. The profile ``quick`` is the defaults.
"""

import ast
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncbook.files import BookError, UsageError
from ncbook.pipeline import bounds

QUICK = "quick"
NAME = re.compile(r"\d\d-[a-z0-9-]+")
EXECUTED = {"parameters", "raises-exception", "skip-execution"}  # tags that execution minds


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: name, default, bound, words, and where the default stands."""

    name: str
    default: Any
    bound: str
    words: str
    span: tuple[int, int, int, int]  # line, column, end line, end column of the default's text

    @property
    def kind(self) -> str:
        """The type in words: ``int``, ``float``, ``str``, ``bool`` or a list of one of these."""
        return _kind(self.default)

    @property
    def comment(self) -> str:
        """What the parameter is, and its bound."""
        return f"{self.words} ({self.bound})".strip() if self.bound else self.words

    def broken(self, values: dict[str, Any]) -> str | None:
        """Say what this parameter's value breaks of its bound, if anything."""
        try:
            return bounds.broken(self.bound, self.name, values) if self.bound else None
        except ValueError as error:
            return str(error)

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, default {self.default!r})"


@dataclass(frozen=True)
class Cell:
    """One code cell: its source, and those of its tags that change how it is executed."""

    source: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    """One chapter as its source has it."""

    id: str  # "<paper>/<NN-name>"
    path: Path
    text: str
    title: str
    parameters: dict[str, Parameter]
    profiles: dict[str, dict[str, Any]]
    cells: tuple[Cell, ...] = field(repr=False)
    parameters_source: str = field(repr=False)

    @property
    def paper(self) -> str:
        """The folder of the chapter's paper."""
        return self.id.split("/")[0]

    @property
    def name(self) -> str:
        """The chapter's own name, ``NN-name``."""
        return self.id.split("/")[1]

    @property
    def code(self) -> str:
        """All of the chapter's code."""
        return "\n".join(cell.source for cell in self.cells)

    def values(self, profile: str = QUICK, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the value of every parameter: defaults, then the profile's, then those given.

        Raises
        ------
        BookError
            The chapter has no such profile or parameter, or a value is not of its type or breaks
            its parameter's bound.
        """
        if profile not in self.profiles:
            raise UsageError(
                f"The chapter {self.id} has no profile {profile!r}. "
                f"Its profiles are: {', '.join(self.profiles)}."
            )
        values = {name: p.default for name, p in self.parameters.items()} | {"profile": profile}
        for origin, changes in ((profile, self.profiles[profile]), (None, given or {})):
            for name, value in changes.items():
                values[name] = self._checked(name, value, origin)
            for parameter in self.parameters.values():
                if said := parameter.broken(values):
                    error, where = self._refusal(origin)
                    raise error(f"{where}: {said}.")
        return values

    def _refusal(self, profile: str | None) -> tuple[type[BookError], str]:
        """Return how a value of the profile, or one that was given, is refused."""
        of_profile = f" (profile {profile!r})" if profile else ""
        return BookError if profile else UsageError, f"The chapter {self.id}{of_profile}"

    def _checked(self, name: str, value: Any, profile: str | None) -> Any:
        error, where = self._refusal(profile)
        known = "; ".join(str(p) for n, p in self.parameters.items() if n != "profile") or "none"
        if name == "profile":
            raise error(f"{where}: the profile is not a parameter. Choose it with --profile.")
        if name not in self.parameters:
            raise error(f"{where} has no parameter {name!r}. Its parameters are: {known}.")
        parameter = self.parameters[name]
        try:
            return _converted(value, parameter.default)
        except TypeError:
            raise error(
                f"{where}: the parameter {name!r} is {_with_article(parameter.kind)}, and "
                f"{value!r} is not. Its parameters are: {known}."
            ) from None

    def parsed(self, name: str, text: str) -> Any:
        """Read a value that was typed as text (``-p name=text``) by the parameter's type."""
        default = self.parameters[name].default if name in self.parameters else None
        if isinstance(default, str):
            quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
            return text[1:-1] if quoted else text
        if isinstance(default, bool) and text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
        return list(value) if isinstance(value, tuple) else value

    def rendered(self, values: dict[str, Any]) -> str:
        """Return the parameters cell with `values` for its defaults, comments kept."""
        lines = self.parameters_source.split("\n")
        for parameter in reversed(self.parameters.values()):
            value = values[parameter.name]
            if value == parameter.default and type(value) is type(parameter.default):
                continue  # as the author wrote it: 1e-4 stays 1e-4
            line, column, end_line, end_column = parameter.span
            first = lines[line - 1].encode()[:column].decode()
            last = lines[end_line - 1].encode()[end_column:].decode()
            lines[line - 1 : end_line] = [f"{first}{value!r}{last}"]
        return "\n".join(lines)


def discover(root: Path) -> list[Chapter]:
    """Return the book's chapters, in order.

    Raises
    ------
    BookError
        A source is not what a chapter must be.
    """
    folder = Path(root) / "notebooks"
    return [read(path) for path in sorted(folder.glob("*/*.md")) if NAME.fullmatch(path.stem)]


def find(chapters: list[Chapter], named: str) -> Chapter:
    """Return the chapter that `named` means: an id, a name, or a path to either."""
    short = named.removesuffix(".md").removesuffix(".ipynb").strip("/")
    matches = [c for c in chapters if short == c.id or short.endswith("/" + c.id)]
    matches = matches or [c for c in chapters if c.name == short]
    if len(matches) == 1:
        return matches[0]
    known = ", ".join(c.id for c in (matches or chapters)) or "none yet"
    problem = "is more than one chapter" if matches else "is no chapter"
    raise UsageError(f"{named!r} {problem}. The chapters are: {known}.")


def read(path: Path) -> Chapter:
    """Read one chapter's source.

    Raises
    ------
    BookError
        It cannot be read, or is not what a chapter must be.
    """
    chapter_id = f"{path.parent.name}/{path.stem}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BookError(f"Cannot read the chapter {chapter_id}: {error}.") from error
    return parse(chapter_id, text, path)


def parse(chapter_id: str, text: str, path: Path) -> Chapter:
    """Make a chapter of its source's text; see `read`."""
    import jupytext  # slow to import: only where a source is read

    try:
        notebook = jupytext.reads(text, fmt="md:myst")
    except Exception as error:  # whatever the parsers of YAML and MyST raise
        raise BookError(f"The chapter {chapter_id} is not a MyST notebook: {error}") from error
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise BookError(
            f"The chapter {chapter_id} has {len(tagged)} cells tagged 'parameters'; "
            'it needs one, whose first line is profile = "quick".'
        )
    source = tagged[0].source
    return Chapter(
        id=chapter_id,
        path=path,
        text=text,
        title=_title(notebook, path.stem),
        parameters=_parameters(source, chapter_id),
        profiles=_profiles(notebook.metadata, chapter_id),
        cells=tuple(
            Cell(cell.source, tuple(sorted(EXECUTED & set(cell.metadata.get("tags", [])))))
            for cell in code
        ),
        parameters_source=source,
    )


def _title(notebook, otherwise: str) -> str:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^# +(.+)$", cell.source, re.M)):
            return found[1].strip()
    return otherwise


def _profiles(metadata, chapter_id: str) -> dict[str, dict[str, Any]]:
    settings = metadata.get("ncbook") or {}
    profiles = settings.get("profiles") or {}
    if not all(isinstance(values, dict) for values in profiles.values()):
        raise BookError(
            f"The chapter {chapter_id}: each profile in the front matter must be a mapping of "
            "parameters to values, such as paper: {seeds: 200}; {} changes nothing."
        )
    if profiles.get(QUICK):
        raise BookError(
            f"The chapter {chapter_id}: the profile 'quick' is the defaults of the parameters "
            "cell, so its mapping must be empty. Change the defaults instead."
        )
    return {QUICK: {}} | {str(name): dict(values) for name, values in profiles.items()}


def _parameters(source: str, chapter_id: str) -> dict[str, Parameter]:
    """Read a parameters cell: assignments of simple literals, one a line, nothing else."""
    lines = source.split("\n")
    found: dict[str, Parameter] = {}
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise BookError(
            f"The parameters cell of {chapter_id} cannot be read: {error.msg}, "
            f"line {error.lineno}: {(error.text or '').strip()}"
        ) from None
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        try:
            if not isinstance(target, ast.Name) or len(node.targets) != 1:
                raise ValueError
            default = ast.literal_eval(node.value)
            _kind(default)
        except (ValueError, TypeError):
            raise BookError(
                f"The parameters cell of {chapter_id}, line {node.lineno}: "
                f"{lines[node.lineno - 1].strip()!r} is not name = value with a plain number, "
                "string, True, False or a list of these."
            ) from None
        value = node.value
        comment = lines[value.end_lineno - 1].encode()[value.end_col_offset :].decode()
        found[target.id] = Parameter(
            target.id,
            default,
            *bounds.split(comment.strip().lstrip("#").strip()),
            (value.lineno, value.col_offset, value.end_lineno, value.end_col_offset),
        )
    if next(iter(found), None) != "profile" or found["profile"].default != QUICK:
        raise BookError(
            f'The parameters cell of {chapter_id} must begin with the line profile = "quick".'
        )
    defaults = {name: parameter.default for name, parameter in found.items()}
    for parameter in found.values():
        if said := parameter.broken(defaults):
            raise BookError(f"The parameters cell of {chapter_id}: {said}.")
    return found


def _kind(value: Any) -> str:
    """Name a parameter's type; TypeError where it is not one that a parameter may have."""
    if isinstance(value, list):
        kinds = {_kind(item) for item in value}
        if kinds == {"int", "float"}:
            kinds = {"float"}
        if len(kinds) > 1 or any(kind.startswith("list") for kind in kinds):
            raise TypeError
        return f"list of {kinds.pop()}" if kinds else "list"
    if type(value) not in (bool, int, float, str):
        raise TypeError
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError
    return type(value).__name__


def _converted(value: Any, default: Any) -> Any:
    """Return `value` as the type of `default`; TypeError where it is not of it.

    An int stands for a float, a bool never for a number.
    """
    kind, wanted = _kind(value), _kind(default)
    if wanted.startswith("list"):
        if not kind.startswith("list"):
            raise TypeError
        if wanted == "list of float" and kind in ("list of int", "list of float"):
            return [float(item) for item in value]
        if kind not in (wanted, "list") and wanted != "list":
            raise TypeError
        return list(value)
    if wanted == "float" and kind == "int":
        return float(value)
    if kind != wanted:
        raise TypeError
    return value


def _with_article(kind: str) -> str:
    return ("an " if kind == "int" else "a ") + kind

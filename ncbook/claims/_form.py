"""The form of a claims.toml: what each field must be, and how a problem with it is said.

A field's description completes the sentence "expected ...". A validator that asks for more raises
a ValueError with another such completion. Every problem of a file is told, one line each.
"""

import json
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WrapValidator,
)
from pydantic import ValidationInfo as Info

from ncbook.claims import schema
from ncbook.claims.schema import MARKUP, Claim, ClaimsError

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_CHAPTER = r"[a-z0-9-]+/[a-z0-9-]+"


def _targets(text: str) -> list[str]:
    return [part["target"] for part in MARKUP.finditer(text) if part["target"]]


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("a text that is not empty")
    if "\n" in value.strip():
        raise ValueError("one line of text")
    return value


def _without_maths(value: str) -> str:
    if "$" in value:
        raise ValueError("plain words, without mathematics")
    return value


def _with_maths(value: str, info: Info) -> str:
    if value.count("$") % 2:
        raise ValueError("each $ of its mathematics to have its partner")
    chapters = info.context["chapters"]
    for target in _targets(value):
        page = target.partition("#")[0]
        if not page or page.startswith("https://"):
            continue
        if not re.fullmatch(_CHAPTER, page) or (chapters is not None and page not in chapters):
            raise ValueError(
                f"the target {target!r} to be #section, <chapter that exists>#section, or an "
                "address that begins with https://"
            )
    return value


def _new(value: str, info: Info) -> str:
    # Two ids that differ in dots and dashes alone would share one anchor in the ledger.
    anchor, taken = value.replace(".", "-"), info.context["taken"]
    if anchor in taken:
        raise ValueError(f"another than that of {taken[anchor]}")
    taken[anchor] = f"claim {value!r} of {info.context['file']}"
    return value


def _exists(value: str, info: Info) -> str:
    chapters, folder = info.context["chapters"], info.context["file"].parent.name
    if not value.startswith(folder + "/"):
        raise ValueError(f"a chapter of {folder}/, the folder of this file")
    if chapters is None or value in chapters or info.data.get("planned", "") is not None:
        return value
    known = ", ".join(sorted(one for one in chapters if one.startswith(folder + "/")))
    raise ValueError(f"a chapter that exists: {known or 'there is none yet'}")


def _explained(value: str, info: Info) -> str:
    if not _targets(value):
        raise ValueError("a link to its explanation, [words](#section-of-chapter)")
    if info.data.get("planned") is not None:
        raise ValueError("no such field beside 'planned': only a run finds a discrepancy")
    return value


def _side_and_value(value: Any, info: Info) -> tuple[str | None, float]:
    if "kind" not in info.data:
        return None, 1.0  # no more can be said of it
    adapter, expected = _EXPECT[info.data["kind"]]
    try:
        found = adapter.validate_python(value)
    except ValidationError as error:
        raise ValueError(expected) from error
    if isinstance(found, dict):
        return next(iter(found.items()))
    return None, 0.0 if found is None else found


def _share(value: float, info: Info) -> float:
    if info.context["expect"][1] == 0:
        raise ValueError("abs instead: a share of 0 allows nothing")
    return value


def _one_size(value: Any, check: Any, info: Info) -> float | None:
    rel = info.data.get("rel", "malformed")
    if value is not None and rel is not None:
        raise ValueError("either abs or rel, not both")
    if value is None and rel is None and info.context["kind"] != "bound":
        raise ValueError("a number, 0 or more (or rel, a share of expect)")
    return value if value is None else check(value)


def _fits_what_is_expected(value: Any, check: Any, info: Info) -> Any:
    if not isinstance(value, dict):
        return check(value)
    known = {"kind": info.data.get("kind"), "expect": info.data.get("expect", (None, 1.0))}
    return Tolerance.model_validate(value, context=info.context | known)


def _one_of(names: tuple[str, ...]) -> Any:
    return Annotated[Literal[names], Field(description=f"one of {', '.join(names)}")]


def _like(pattern: str, description: str, *more: Any) -> Any:
    return Annotated[str, Field(pattern=f"^(?:{pattern})$", description=description), *more]


_Id = _like(
    r"[a-z0-9]+([.-][a-z0-9]+)*",
    "letters a-z, digits, and single dots or dashes between them",
    AfterValidator(_new),
)
_Chapter = _like(
    _CHAPTER,
    "<paper's folder>/<NN-name>, such as mixon-parshall-pi/04-figure-1",
    AfterValidator(_exists),
)
_Key = _like(r"[A-Za-z][A-Za-z0-9_:.-]*", "a key of the bibliography, such as mixon2022neural")
_Text = Annotated[str, Field(description="a text that is not empty"), AfterValidator(_text)]
_Words = Annotated[_Text, AfterValidator(_without_maths)]
_Prose = Annotated[_Text, AfterValidator(_with_maths)]
_Size = Annotated[int | float, Field(ge=0, description="a finite number, 0 or more")]
_Side = Annotated[dict[Literal["max", "min"], int | float], Field(min_length=1, max_length=1)]
_Missing = Field(None, validate_default=True)  # TOML has no null: None is a field that is missing

# What a claim of each kind expects, and how that is said.
_NUMBER = (TypeAdapter(int | float, config=_STRICT), "a finite number")
_BOUND = (TypeAdapter(_Side, config=_STRICT), "{max = x} or {min = x} with a finite number x")
_IDENTITY = (TypeAdapter(None), "no such field: an identity expects 0")
_EXPECT = dict.fromkeys(schema.KINDS, _NUMBER) | {"bound": _BOUND, "identity": _IDENTITY}


class Tolerance(BaseModel):
    """How far beyond what is expected a value may lie, and why that far."""

    model_config = _STRICT
    reason: _Prose
    rel: Annotated[_Size, AfterValidator(_share)] = None
    abs: Annotated[_Size, WrapValidator(_one_size)] = _Missing


class Entry(BaseModel):
    """One ``[[claim]]`` table."""

    model_config = _STRICT
    id: _Id
    place: _Words
    origin: _one_of(schema.ORIGINS)
    kind: _one_of(schema.KINDS)
    sentence: _Prose
    planned: _Prose = None
    chapter: _Chapter
    statistic: _one_of(schema.STATISTICS)
    expect: Annotated[Any, AfterValidator(_side_and_value)] = _Missing
    tolerance: Annotated[Tolerance, WrapValidator(_fits_what_is_expected)] = Field(
        description='{abs = x, reason = "..."} or {rel = x, reason = "..."}'
    )
    profile: _one_of(schema.PROFILES) = "quick"
    discrepancy: Annotated[_Prose, AfterValidator(_explained)] = None


class Paper(BaseModel):
    """A claims.toml."""

    model_config = _STRICT
    paper: _Words
    citation: _Key
    part: _one_of(schema.PARTS)
    claim: list[Entry] = Field(min_length=1, description="at least one [[claim]] table")


def read(path: Path, chapters: Collection[str] | None, taken: dict[str, str]) -> list[Claim]:
    """Read one claims.toml; see :func:`ncbook.claims.schema.load`.

    ``taken`` holds which claim has an anchor already; those of this file are added.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClaimsError(
            f"{path}: cannot be read ({error.strerror}); expected the claims of a paper there."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClaimsError(f"{path}: is not valid TOML: {error}.") from error
    try:
        found = Paper.model_validate(
            table, context={"file": path, "chapters": chapters, "taken": taken}
        )
    except ValidationError as error:
        lines = dict.fromkeys(f"{path}: {_said(one, table)}." for one in error.errors())
        raise ClaimsError("\n".join(lines)) from error
    return [_claim(found, entry) for entry in found.claim]


def _claim(paper: Paper, entry: Entry) -> Claim:
    fields = dict(entry) | {name: getattr(paper, name) for name in ("paper", "citation", "part")}
    (side, expect), size = fields.pop("expect"), fields.pop("tolerance")
    return Claim(
        **fields,
        side=side,
        expect=expect,
        tolerance=next((one for one in (size.rel, size.abs) if one is not None), 0.0),
        relative=size.rel is not None,
        reason=size.reason,
    )


def _said(error: dict[str, Any], table: dict[str, Any]) -> str:
    """Say one of pydantic's errors: ``claim 'a.number': field 'kind' is "x"; expected ...``."""
    where, model, loc = "the paper", Paper, error["loc"]
    if len(loc) > 1 and isinstance(table["claim"][loc[1]], dict):
        name = table["claim"][loc[1]].get("id")
        where = f"claim {name!r}" if isinstance(name, str) else f"claim number {loc[1] + 1}"
        model, loc = Entry, loc[2:]
    path = loc[:1]
    if path == ("tolerance",) and len(loc) > 1:
        model, path = Tolerance, loc[:2]
    known = model.model_fields
    said = f"{where}: field '{'.'.join(path)}'"
    if error["type"] == "extra_forbidden":
        return f"{said} is not known; known fields are {', '.join(known)}"
    own = error["type"] == "value_error"
    expected = error["ctx"]["error"] if own else known[path[-1]].description
    missing = error["type"] == "missing" or error["input"] is None
    shown = json.dumps(error["input"], default=str, ensure_ascii=False)
    return f"{said} {'is missing' if missing else f'is {shown}'}; expected {expected}"

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
    ValidationInfo,
    field_validator,
)

from ncbook.claims import schema
from ncbook.claims.schema import MARKUP, Claim, ClaimsError

_CHAPTER = r"[a-z0-9-]+/[a-z0-9-]+"


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


def _with_maths(value: str, info: ValidationInfo) -> str:
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


def _targets(text: str) -> list[str]:
    return [part["target"] for part in MARKUP.finditer(text) if part["target"]]


def _one_of(names: tuple[str, ...]) -> Any:
    return Annotated[Literal[names], Field(description=f"one of {', '.join(names)}")]


def _like(pattern: str, description: str) -> Any:
    return Annotated[str, Field(pattern=f"^(?:{pattern})$", description=description)]


_Id = _like(
    r"[a-z0-9]+([.-][a-z0-9]+)*", "letters a-z, digits, and single dots or dashes between them"
)
_Key = _like(r"[A-Za-z][A-Za-z0-9_:.-]*", "a key of the bibliography, such as mixon2022neural")
_Chapter = _like(_CHAPTER, "<paper's folder>/<NN-name>, such as mixon-parshall-pi/04-figure-1")
_Text = Annotated[str, Field(description="a text that is not empty"), AfterValidator(_text)]
_Words = Annotated[_Text, AfterValidator(_without_maths)]
_Prose = Annotated[_Text, AfterValidator(_with_maths)]
_Finite = int | Annotated[float, Field(allow_inf_nan=False)]
_Size = Annotated[
    Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, allow_inf_nan=False)],
    Field(description="a finite number, 0 or more"),
]
# What a claim of each kind expects, and how that is said.
_STRICT = ConfigDict(strict=True)
_NUMBER = (TypeAdapter(_Finite, config=_STRICT), "a finite number")
_EXPECT = dict.fromkeys(schema.KINDS, _NUMBER) | {
    "identity": (TypeAdapter(None), "no such field: an identity expects 0"),
    "bound": (
        TypeAdapter(
            Annotated[dict[Literal["max", "min"], _Finite], Field(min_length=1, max_length=1)],
            config=_STRICT,
        ),
        "{max = x} or {min = x} with a finite number x",
    ),
}


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Tolerance(_Table):
    """How far beyond what is expected a value may lie, and why that far."""

    reason: _Prose
    # TOML has no null: None is a field that is missing.
    rel: _Size = None
    abs: _Size = Field(None, validate_default=True)

    @field_validator("rel")
    @classmethod
    def _share(cls, value, info: ValidationInfo):
        side_and_value = info.context["expect"]
        if side_and_value and side_and_value[1] == 0:
            raise ValueError("abs instead: a share of 0 allows nothing")
        return value

    @field_validator("abs", mode="wrap")
    @classmethod
    def _one_size(cls, value, check, info: ValidationInfo):
        rel = info.data.get("rel", "malformed")
        if value is not None and rel is not None:
            raise ValueError("either abs or rel, not both")
        if value is None and rel is None and info.context["kind"] != "bound":
            raise ValueError("a number, 0 or more (or rel, a share of expect)")
        return value if value is None else check(value)


class Entry(_Table):
    """One ``[[claim]]`` table."""

    id: _Id
    place: _Words
    origin: _one_of(schema.ORIGINS)
    kind: _one_of(schema.KINDS)
    sentence: _Prose
    planned: _Prose = None
    chapter: _Chapter
    statistic: _one_of(schema.STATISTICS)
    expect: Any = Field(None, validate_default=True)
    tolerance: Tolerance = Field(
        description='{abs = x, reason = "..."} or {rel = x, reason = "..."}'
    )
    profile: _one_of(schema.PROFILES) = "quick"
    discrepancy: _Prose = None

    @field_validator("id")
    @classmethod
    def _new(cls, value, info: ValidationInfo):
        # Two ids that differ in dots and dashes alone would share one anchor in the ledger.
        anchor, taken = value.replace(".", "-"), info.context["taken"]
        if anchor in taken:
            raise ValueError(f"another than that of {taken[anchor]}")
        taken[anchor] = f"claim {value!r} of {info.context['file']}"
        return value

    @field_validator("chapter")
    @classmethod
    def _exists(cls, value, info: ValidationInfo):
        chapters, folder = info.context["chapters"], info.context["file"].parent.name
        if not value.startswith(folder + "/"):
            raise ValueError(f"a chapter of {folder}/, the folder of this file")
        if chapters is None or value in chapters or info.data.get("planned", "") is not None:
            return value
        known = ", ".join(sorted(one for one in chapters if one.startswith(folder + "/")))
        raise ValueError(f"a chapter that exists: {known or 'there is none yet'}")

    @field_validator("expect")
    @classmethod
    def _fits_its_kind(cls, value, info: ValidationInfo):
        if "kind" not in info.data:
            return value
        adapter, expected = _EXPECT[info.data["kind"]]
        try:
            value = adapter.validate_python(value)
        except ValidationError as error:
            raise ValueError(expected) from error
        if isinstance(value, dict):
            return next(iter(value.items()))
        return None, 0.0 if value is None else value

    @field_validator("tolerance", mode="wrap")
    @classmethod
    def _fits_what_is_expected(cls, value, check, info: ValidationInfo):
        known = {name: info.data.get(name) for name in ("kind", "expect")}
        if not isinstance(value, dict):
            return check(value)
        return Tolerance.model_validate(value, context=info.context | known)

    @field_validator("discrepancy")
    @classmethod
    def _explained(cls, value, info: ValidationInfo):
        if not _targets(value):
            raise ValueError("a link to its explanation, [words](#section-of-chapter)")
        if info.data.get("planned") is not None:
            raise ValueError("no such field beside 'planned': only a run finds a discrepancy")
        return value


class Paper(_Table):
    """A claims.toml."""

    paper: _Words
    citation: _Key
    part: _one_of(schema.PARTS)
    claim: list[Entry] = Field(min_length=1, description="at least one [[claim]] table")

    def claims(self) -> list[Claim]:
        """Return the claims that the file registers, in its order."""
        return [self._claim(entry) for entry in self.claim]

    def _claim(self, entry: Entry) -> Claim:
        fields = dict(entry) | {name: getattr(self, name) for name in ("paper", "citation", "part")}
        (side, expect), size = fields.pop("expect"), fields.pop("tolerance")
        return Claim(
            **fields,
            side=side,
            expect=expect,
            tolerance=next((one for one in (size.rel, size.abs) if one is not None), 0.0),
            relative=size.rel is not None,
            reason=size.reason,
        )


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
    context = {"file": path, "chapters": chapters, "taken": taken}
    try:
        return Paper.model_validate(table, context=context).claims()
    except ValidationError as error:
        lines = dict.fromkeys(f"{path}: {_said(one, table)}." for one in error.errors())
        raise ClaimsError("\n".join(lines)) from error


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

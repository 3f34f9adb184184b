"""How what is read from a file is checked: each such thing is a frozen dataclass.

Its annotations and what its fields must be are the whole description. pydantic checks them, and is
imported for the first that is read: importing this room is light.
"""

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any

STRICT = {"strict": True, "extra": "forbid", "allow_inf_nan": False}  # __pydantic_config__ of each

_MEMBERS = ("int", "float", "literal['nan']")  # what pydantic adds to the place of a union


class MalformedError(ValueError):
    """What was read is not as it must be; ``problems`` has a sentence for each wrong field."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


def must_be(words: str, pattern: str | None = None, default: Any = MISSING, **more: Any) -> Any:
    """Return a field of a dataclass; its words complete "expected ...".

    The pattern and further constraints are those of ``pydantic.Field``.
    """
    return field(default=default, metadata={"description": words, "pattern": pattern, **more})


def one_of(names: Mapping[str, str] | tuple[str, ...], default: Any = MISSING) -> Any:
    """Return a field whose type is the literal of these names."""
    return must_be(f"one of {', '.join(names)}", default=default)


def mismatch(name: str, expected: Any, table: Any) -> str:
    """Say what a field of a table is, and what was expected of it; without a name, of it all."""
    found = table.get(name, MISSING) if name else table
    shown = json.dumps(found, default=str, ensure_ascii=False) if found is not MISSING else ""
    subject = f"field {name!r}" if name else "it"
    return f"{subject} is {shown or 'missing'}; expected {expected}"


def read(kind: type, table: Any, *within: type, **due: Any) -> Any:
    """Return a table, as JSON or TOML has it, as a dataclass.

    ``within`` are the dataclasses of its fields, ``due`` what some fields must be equal to: its
    own, or further ones.

    Raises
    ------
    MalformedError
        A field is missing, unknown or not as it must be.
    """
    from pydantic import ValidationError

    every = [one for of in (*within, kind) for one in fields(of)]
    known = {one.metadata.get("alias", one.name): one.metadata["description"] for one in every}
    if isinstance(table, dict):
        for name, value in due.items():
            if table.get(name) != value:
                raise MalformedError({name: mismatch(name, json.dumps(value), table)})
        table = {name: one for name, one in table.items() if name in known or name not in due}
    try:
        # In JSON, not in Python, a strict dataclass may be a mapping. A date of TOML is no text.
        return _adapter(kind).validate_json(json.dumps(table, default=lambda date: [str(date)]))
    except ValidationError as error:
        problems: dict[str, str] = {}
        for one in error.errors():
            name = ".".join(part for part in map(str, one["loc"]) if part not in _MEMBERS)
            problems.setdefault(name, _said(name, one, known))
        raise MalformedError(problems) from error


@functools.cache
def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _said(name: str, error: dict[str, Any], known: dict[str, str]) -> str:
    """Say one of pydantic's errors."""
    if error["type"] == "value_error":
        return ": ".join(filter(None, (name, str(error["ctx"]["error"]))))
    if error["type"] == "unexpected_keyword_argument":
        return mismatch(name, "no such field", {name: error["input"]})
    expected = known.get(name.rpartition(".")[2]) or error["msg"].removeprefix("Input should be ")
    if error["type"] == "missing":
        return mismatch(name, expected, {})
    return mismatch(name, expected, {name: error["input"]} if name else error["input"])


def plain(value: Any) -> Any:
    """Return a dataclass as JSON can hold it: a number that is not finite becomes a text."""
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value

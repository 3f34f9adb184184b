"""The bound of a parameter: what its value must be for the chapter to make sense.

It stands in the comment of the parameter's line, up to a colon: comparisons, joined by ``and``,

    seeds = 50           # seeds >= 1: random starts
    p = 15               # p >= C: dimension of the features
    source = "sample"    # source in ("sample", "full"): of MNIST
    norms = [0.6, 1.6]   # len(norms) == 2 and 0 < norms[0] <= norms[1]: least and greatest

    widths = [16, 64]    # widths >= 1 and widths == sorted(widths): numbers of particles

of parameters, numbers and texts. The name of a list stands for each of its items, of which there
must be one; beside ``==`` and behind ``in`` it stands for the list. A comment without a comparison
before its first colon is words alone.
"""

import ast
import itertools
import operator
import re
from collections.abc import Mapping
from typing import Any

COMPARED = re.compile(r"[<>]|[=!]=|\bin \(")
RELATIONS = {
    ast.GtE: (operator.ge, "at least "),
    ast.Gt: (operator.gt, "greater than "),
    ast.LtE: (operator.le, "at most "),
    ast.Lt: (operator.lt, "less than "),
    ast.Eq: (operator.eq, ""),
    ast.NotEq: (operator.ne, "other than "),
    ast.In: (lambda value, known: value in known, ""),
    "has": (operator.contains, ""),
}
TURNED = {
    ast.GtE: ast.LtE,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.Lt: ast.Gt,
    ast.Eq: ast.Eq,
    ast.NotEq: ast.NotEq,
    ast.In: "has",
}
ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Mod: operator.mod,
}


def split(comment: str) -> tuple[str, str]:
    """Return a comment's bound, which may be "", and its words."""
    bound, _, words = comment.partition(":")
    return (bound.strip(), words.strip()) if COMPARED.search(bound) else ("", comment)


def broken(bound: str, name: str, values: Mapping[str, Any]) -> str | None:
    """Say what a parameter must be, where its value breaks its bound; else return None.

    Parameters
    ----------
    bound : str
        As :func:`split` returns it.
    name : str
        The parameter.
    values : mapping
        The value of every parameter.

    Raises
    ------
    ValueError
        The text is no bound of this parameter, or compares what cannot be compared.
    """
    if values[name] == []:
        return f"the parameter {name!r} is [], and must have an item"
    try:
        for subject, kind, limit in _relations(bound, name):
            if must := _broken(subject, kind, limit, name, values):
                return f"the parameter {name!r} is {values[name]!r}, and {must}"
    except (SyntaxError, TypeError, KeyError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"{bound!r} cannot be read as a bound of {name!r}: {error}") from None
    return None


def _relations(bound: str, name: str):
    """Yield each comparison as (side with the parameter, relation, other side)."""
    whole = ast.parse(bound, mode="eval").body
    together = isinstance(whole, ast.BoolOp) and isinstance(whole.op, ast.And)
    for part in whole.values if together else [whole]:
        if not isinstance(part, ast.Compare):
            raise TypeError(f"{ast.unparse(part)!r} is no comparison")
        sides = [part.left, *part.comparators]
        for left, kind, right in zip(sides, map(type, part.ops), sides[1:], strict=False):
            if name not in _names(left):
                left, kind, right = right, TURNED.get(kind), left
            if name not in _names(left) or kind not in RELATIONS:
                raise TypeError(f"{ast.unparse(part)!r} does not say what {name!r} must be")
            yield left, kind, right


def _broken(subject, kind, limit, name: str, values: Mapping[str, Any]) -> str | None:
    holds, words = RELATIONS[kind]
    lists = sorted(n for n in _names(subject) | _names(limit) if isinstance(values.get(n), list))
    if isinstance(subject, ast.Name) and kind in (ast.Eq, ast.NotEq, "has"):
        lists = []
    for items in itertools.product(*(values[n] for n in lists)):
        each = dict(zip(lists, items, strict=True))
        least = _value(limit, values, each)
        if holds(_value(subject, values, each), least):
            continue
        text, said = ast.unparse(subject), repr(least)
        if kind is ast.In:
            said = " or ".join(map(repr, least))
        elif _names(limit):
            said = f"{ast.unparse(limit)} = {said}"
        if kind == "has":
            return f"{text} must have the item {said}"
        if text == name:
            text = "each item " if name in each else ""
        else:
            text = "its length " if text == f"len({name})" else f"{text} "
        return f"{text}must be {words}{said}"
    return None


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} - {"len", "sorted"}


def _value(node: ast.AST, values: Mapping[str, Any], each: Mapping[str, Any]) -> Any:
    """Compute a side of a comparison; `each` has the item that a list's name stands for."""
    match node:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            return each[name] if name in each else values[name]
        case ast.Call(ast.Name("len"), [ast.Name(name)], []):
            return len(values[name])
        case ast.Call(ast.Name("sorted"), [ast.Name(name)], []):
            return sorted(values[name])
        case ast.Subscript(ast.Name(name), index):
            return values[name][_value(index, values, each)]
        case ast.Tuple(items):
            return tuple(_value(item, values, each) for item in items)
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand, values, each)
        case ast.BinOp(left, sign, right) if type(sign) in ARITHMETIC:
            sides = (_value(side, values, each) for side in (left, right))
            return ARITHMETIC[type(sign)](*sides)
    raise TypeError(f"{ast.unparse(node)!r} is none of the things that a bound may name")

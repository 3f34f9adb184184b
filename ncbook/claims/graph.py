"""Which claim rests on which, as a picture: a row a chapter, a mark a claim, a curve a use."""

import html
from collections.abc import Sequence
from itertools import groupby

from ncbook.claims import wording
from ncbook.claims.check import Row

_STEP, _HEIGHT, _LEFT = 17, 44, 190  # of the marks and rows, and where the marks begin


def svg(rows: Sequence[Row]) -> str:
    """Return the graph of claims as SVG, in colours of the style sheet; empty if none uses another.

    Its text alternative is the number of claims and uses; what rests on what is said in words at
    each claim.
    """
    uses = [(row.claim.id, id) for row in rows for id in row.claim.uses]
    if not uses:
        return ""
    chapters = [list(group) for _, group in groupby(rows, key=lambda row: row.claim.chapter)]
    at = {
        row.claim.id: (_LEFT + _STEP * column, _HEIGHT * (line + 0.5))
        for line, group in enumerate(chapters)
        for column, row in enumerate(group)
    }
    width = max(x for x, _ in at.values()) + _STEP
    parts = [_curve(at[one], at[other]) for one, other in uses if other in at]
    for line, group in enumerate(chapters):
        name = html.escape(group[0].claim.chapter.partition("/")[2])
        parts.append(f'<text x="0" y="{_HEIGHT * (line + 0.5) + 4:g}">{name}</text>')
        parts += [_mark(row, *at[row.claim.id]) for row in group]
    label = f"{len(rows)} claims and the {len(uses)} uses of one by another."
    size = f'viewBox="0 0 {width:g} {_HEIGHT * len(chapters):g}" width="{width:g}"'
    return f'<svg role="group" aria-label="{label}" {size}>{"".join(parts)}</svg>'


def _mark(row: Row, x: float, y: float) -> str:
    claim, name = row.claim, row.verdict.name
    title = html.escape(f"{claim.id} ({name}): {wording.plain(claim.sentence)}")
    return (
        f'<a href="#{claim.anchor}"><title>{title}</title>'
        f'<circle data-verdict="{name}" cx="{x:g}" cy="{y:g}" r="5"/></a>'
    )


def _curve(one: tuple[float, float], other: tuple[float, float]) -> str:
    (x, y), (u, v) = one, other
    if y == v:  # an arc above the row
        rise = min(18, 6 + abs(x - u) / 8)
        bend = f"Q{(x + u) / 2:g} {y - 2 * rise:g} {u:g} {v:g}"
    else:
        bend = f"C{x:g} {(y + v) / 2:g} {u:g} {(y + v) / 2:g} {u:g} {v:g}"
    return f'<path d="M{x:g} {y:g}{bend}"/>'

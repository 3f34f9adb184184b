"""How the claims of a chapter are shown, the same in Jupyter, in the book and in the ledger.

A claim is a row of a table: its verdict, its sentence with what the control gives, what was
measured and what is expected. All else is folded into the sentence, in a ``details`` that needs no
script. The roles are written out because browsers drop those of a table that is laid out as a grid.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncbook.claims import check, schema, wording
from ncbook.claims.check import Row
from ncbook.claims.measured import Summary
from ncbook.claims.schema import ORIGINS, Claim

_TEMPLATES = Path(__file__).parent / "templates"


def bundle(rows: Sequence[Row]) -> dict[str, str]:
    """Return the claims of one chapter as a page shows them: MIME type -> content.

    It depends on the claims, the records and the kept run in ``rows`` alone, and not on the last
    digits of what was measured.
    """
    first = rows[0]
    caption = f"Claims of {first.claim.chapter}, measured in the {first.profile} profile"
    lines = [f"Claims of {first.claim.chapter}, {first.profile} profile", *map(text, rows)]
    return {
        "text/html": f"<style>{style()}</style>\n{table(rows, caption)}",
        "text/plain": "\n".join([*lines, str(first.kept)] if first.kept else lines),
    }


def table(
    rows: Sequence[Row],
    caption: str,
    in_ledger: bool = False,
    grounds: Mapping[str, Sequence[Row]] = {},
    carries: Mapping[str, Sequence[Row]] = {},
) -> str:
    """Return the claims of one chapter, at least one, as HTML; no line of it is blank.

    The caption is the table's name for those who do not see it. In the ledger, which is not
    compared from run to run, the run is shown and the digits of rounding errors, and links lead
    from its page, not from the chapter. ``grounds`` has for a claim those of which it rests on
    that do not hold, ``carries`` those that rest on it.
    """
    # What all measured claims share is said once.
    runs = [of_run(row).items() for row in rows if row.record] if in_ledger else []
    run = dict(one for one in runs[0] if all(one in other for other in runs)) if runs else {}
    about = {"caption": caption, "in_ledger": in_ledger, "grounds": grounds, "carries": carries}
    return render("claims.html", rows=rows, run=run, **about)


def of_run(row: Row) -> dict[str, str]:
    """Return the facts of the run in which a claim was measured, by their names."""
    found = {"Profile": row.profile, **row.record.provenance} if row.record else {}
    found |= {"Code": row.key[:12]} if row.key else {}
    return {name.capitalize(): str(value) for name, value in found.items()}


def tally(rows: Sequence[Row], what: str = "") -> str:
    """Return how many claims hold, then the other verdicts: ``3 of 5 claims hold · ◇ 2 planned``.

    Parameters
    ----------
    rows : sequence of Row
    what : str
        What they are called, between the numbers and the verb: "claims", or nothing.
    """
    names = [row.verdict.name for row in rows]
    called = f"{what} " if what else ""
    others = [
        f" · {wording.SYMBOLS[name]} {wording.counted(name, names.count(name))}"
        for name in wording.VERDICTS[1:]
        if name in names
    ]
    return f"{names.count('holds')} of {len(rows)} {called}hold" + "".join(others)


def text(row: Row) -> str:
    """Return one claim in plain text."""
    claim, verdict = row.claim, row.verdict
    lines = [
        f"{wording.SYMBOLS[verdict.name]} {verdict.name}: {claim.id} "
        f"({claim.place}; {ORIGINS[claim.origin]}; {claim.kind})",
        f"  {wording.plain(claim.sentence)}",
        f"  expected {wording.expected(claim)}; measured {_number(claim, row.record)}",
    ]
    if row.at_paper_size:
        found = check.judge(claim, row.at_paper_size, "paper").name
        found = "stale, not judged" if row.stale else found
        lines.append(f"  at paper size, {found}: {_number(claim, row.at_paper_size)}")
    if claim.control is not None:
        lines.append(f"  control, {wording.plain(claim.control)}: {_control(row)}")
    if claim.doubt is not None:
        lines.append(f"  {verdict.name}: {wording.plain(claim.doubt)}")
    if claim.planned is not None:
        lines.append(f"  planned: {wording.plain(claim.planned)}")
    if verdict.message:
        lines.append(f"  {verdict.message}")
    return "\n".join(lines)


def style() -> str:
    """Return the style sheet of a table of claims."""
    return (_TEMPLATES / "claims.css").read_text(encoding="utf-8").strip()


def render(template: str, **values: Any) -> str:
    """Return a template of this room, filled in. All values are escaped."""
    made = _environment().get_template(template).render(values)
    # Markdown ends a block of HTML at a blank line.
    return re.sub(r"\n\s*\n", "\n", made) if template.endswith(".html") else made


@functools.cache
def _environment():
    import jinja2
    from markupsafe import Markup

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"check": check, "schema": schema, "wording": wording}
    made.globals |= {"of_run": of_run, "tally": tally}
    made.filters |= {
        "number": lambda text: Markup(wording.number_html(text)),
        "unlinked": lambda text: Markup(wording.sentence_html(text)),
        "sentence": lambda text, *page: Markup(
            wording.sentence_html(text, lambda target: address(target, *page))
        ),
    }
    return made


def address(target: str, claim: Claim, in_ledger: bool) -> str:
    """Return where a link of claims.toml leads from the ledger, or from the claim's chapter."""
    # A section of the chapter itself is found in Jupyter too.
    if target.startswith("https://") or (target.startswith("#") and not in_ledger):
        return target
    page, mark, section = target.partition("#")
    return f"{'' if in_ledger else '../'}{page or claim.chapter}.html{mark}{section}"


def _control(row: Row) -> str:
    rival, decides = row.claim.rival, row.decides
    if decides is None:
        return "nothing was measured"
    said = f"expected {wording.expected(rival)}" if rival else _number(row.claim, decides.control)
    return f"{said}, {'passes' if check.passes(row.claim, decides) else 'fails'}"


def _number(claim: Claim, record: Summary | None) -> str:
    if record is None:
        return "nothing"
    value = check.value(claim, record)
    spread = wording.spread(claim, value, record)
    measured = wording.measured(claim, value)
    return f"{measured} ({spread})" if spread else measured

"""The HTML of a claim, the same in a chapter and in the ledger.

A claim is a row of a table: its sentence, then side by side what is expected, what was measured
and the verdict. On a narrow page they stand one below another. The roles are written out because
browsers drop those of a table that is laid out as a grid.
"""

import html
from collections.abc import Callable

from ncbook.claims import check, words
from ncbook.claims.check import Summary, Verdict
from ncbook.claims.schema import Claim

# The theme's variables come first, JupyterLab's second, then plain colours.
STYLE = """
.ncbook-claims {
  --line: var(--pst-color-border, var(--jp-border-color1, #c9c9c9));
  --quiet: var(--pst-color-text-muted, var(--jp-ui-font-color2, #5a5a5a));
  --surface: var(--pst-color-surface, var(--jp-layout-color2, #f5f5f5));
  container-type: inline-size; font-size: .9rem; line-height: 1.5; margin: 1rem 0;
}
.ncbook-claims table, .ncbook-claims thead, .ncbook-claims tbody { display: block; width: 100%; }
.ncbook-claims table { border: 0; margin: 0; }
.ncbook-claims thead {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap;
}
.ncbook-claims tbody tr {
  display: grid; grid-template-columns: 5fr 7fr 5fr; gap: .1rem 1rem;
  padding: .7rem .2rem .8rem .9rem; border: 0; border-left: 4px solid var(--line);
  background: none; margin: 0 0 .6rem; scroll-margin-top: 5rem;
}
.ncbook-claims tr[hidden] { display: none; }
.ncbook-claims tr:target { background: var(--surface); }
.ncbook-claims tr[data-verdict="holds"] { border-left-color: var(--pst-color-success, #2e7d32); }
.ncbook-claims tr[data-verdict="known discrepancy"] {
  border-left-color: var(--pst-color-warning, #c77700);
}
.ncbook-claims tr[data-verdict="fails"], .ncbook-claims tr[data-verdict="not measured"] {
  border-left-color: var(--pst-color-danger, #c62828);
}
.ncbook-claims th, .ncbook-claims td {
  display: block; padding: 0; border: 0; min-width: 0; overflow-wrap: anywhere;
  text-align: left; vertical-align: top; font-weight: normal; white-space: normal;
  max-width: none;
}
.ncbook-claims tbody th, .ncbook-claims tbody .notes { grid-column: 1 / -1; }
.ncbook-claims p { margin: 0; }
.ncbook-claims .sentence { font-size: 1rem; overflow-x: auto; overflow-y: hidden; }
.ncbook-claims .about, .ncbook-claims .label, .ncbook-claims .spread, .ncbook-claims .run {
  color: var(--quiet); font-size: .8rem;
}
.ncbook-claims .label { display: block; }
.ncbook-claims .about { margin-bottom: .35rem; }
.ncbook-claims .value { font-weight: 600; font-variant-numeric: tabular-nums; }
.ncbook-claims .spread, .ncbook-claims .kept { display: block; }
.ncbook-claims .value + .kept, .ncbook-claims .spread + .kept { margin-top: .35rem; }
.ncbook-claims .run { margin: 0 0 .7rem; overflow-wrap: anywhere; }
.ncbook-claims .note { margin: .35rem 0 0; }
.ncbook-claims sup { font-size: .75em; }
.ncbook-claims details { margin: .35rem 0 0; font-size: .8rem; }
.ncbook-claims summary { cursor: pointer; color: var(--quiet); width: fit-content; }
@container (max-width: 30rem) {
  .ncbook-claims tbody tr { grid-template-columns: 1fr; }
  .ncbook-claims td:not(.notes) {
    display: grid; grid-template-columns: 5rem 1fr; gap: .5rem;
  }
  .ncbook-claims .label { font-size: inherit; }
}
html[data-theme] .cell_output .text_html:has(> .ncbook-claims) {
  background: none !important; color: inherit !important; padding: 0 !important;
}
""".strip()


def table(rows: list[str], caption: str, note: str = "") -> str:
    """Return a table of claims with a note above it, on lines none of which is blank."""
    heads = "".join(
        f'<th role="columnheader" scope="col">{name}</th>'
        for name in ("Claim", "Expected", "Measured", "Verdict", "Notes")
    )
    label = html.escape(caption)
    # Markdown ends a block of HTML at a blank line.
    return "\n".join(
        (
            '<div class="ncbook-claims tex2jax_process">',
            *([f'<p class="run">{html.escape(note)}</p>'] if note else []),
            f'<table role="table" aria-label="{label}">',
            f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>',
            '<tbody role="rowgroup">',
            *rows,
            "</tbody></table></div>",
        )
    )


def row(
    claim: Claim,
    summary: Summary | None,
    verdict: Verdict,
    resolve: Callable[[str], str],
    *,
    kept: Summary | None = None,
    exact: bool = False,
    details: str = "",
    link: str = "",
    attributes: str = "",
) -> str:
    """Return one claim as a row.

    Parameters
    ----------
    claim, summary, verdict
        What is claimed, what was measured (None if nothing was), and what follows.
    resolve : function
        Turns the target of a link in claims.toml into an address as seen from the page.
    kept : Summary, optional
        What the kept paper-size run measured.
    exact : bool
        Show the digits of rounding errors; only where the page is not compared from run to run.
    details : str
        HTML to stand with the tolerance's reason, folded away.
    link : str
        HTML to stand below the verdict.
    attributes : str
        More attributes of the row, as HTML.
    """
    about = " · ".join((claim.place, words.ORIGINS[claim.origin], claim.kind))
    notes = []
    if claim.discrepancy is not None:
        why = words.sentence_html(claim.discrepancy, resolve)
        notes.append(f'<p class="note"><strong>Known discrepancy:</strong> {why}</p>')
    if claim.planned is not None:
        why = words.sentence_html(claim.planned, resolve)
        notes.append(f'<p class="note"><strong>Planned:</strong> {why}</p>')
    if verdict.message:
        notes.append(f'<p class="note">{html.escape(verdict.message)}</p>')
    reason = words.sentence_html(claim.reason, resolve)
    folded = "Why this tolerance, and the run" if details else "Why this tolerance"
    cells = (
        f'<th role="rowheader" scope="row"><p class="sentence">'
        f"{words.sentence_html(claim.sentence, resolve)}</p>"
        f'<p class="about">{html.escape(about)}</p></th>',
        _cell("Expected", words.number_html(words.expected(claim))),
        _cell("Measured", _measured(claim, summary, kept, exact)),
        _cell("Verdict", _verdict(verdict) + link),
        f'<td role="cell" class="notes">{"".join(notes)}'
        f"<details><summary>{folded}</summary><p>{reason}</p>{details}</details></td>",
    )
    return (
        f'<tr role="row" id="{claim.anchor}" data-verdict="{verdict.name}"{attributes}>\n'
        + "\n".join(cells)
        + "</tr>"
    )


def address(target: str, claim: Claim, base: str) -> str:
    """Return where a link of claims.toml leads, from a page whose way to book/ is ``base``."""
    if target.startswith("https://"):
        return target
    page, _, section = target.partition("#")
    return f"{base}{page or claim.chapter}.html" + (f"#{section}" if section else "")


def text(
    claim: Claim, summary: Summary | None, verdict: Verdict, kept: Summary | None = None
) -> str:
    """Return one claim in plain text; see :func:`row`."""
    lines = [
        f"{words.SYMBOLS[verdict.name]} {verdict.name}: {claim.id} "
        f"({claim.place}; {words.ORIGINS[claim.origin]}; {claim.kind})",
        f"  {words.plain(claim.sentence)}",
        f"  expected {words.expected(claim)}; measured {_measured_text(claim, summary)}",
    ]
    if kept is not None:
        found = check.judge(claim, kept, "paper").name
        lines.append(f"  at paper size, {found}: {_measured_text(claim, kept)}")
    if claim.discrepancy is not None:
        lines.append(f"  known discrepancy: {words.plain(claim.discrepancy)}")
    if claim.planned is not None:
        lines.append(f"  planned: {words.plain(claim.planned)}")
    if verdict.message:
        lines.append(f"  {verdict.message}")
    return "\n".join(lines)


def _cell(label: str, content: str) -> str:
    # The column's head is read out by the table; the label is for the eye.
    return (
        f'<td role="cell"><span class="label" aria-hidden="true">{label}</span>'
        f"<span>{content}</span></td>"
    )


def _verdict(verdict: Verdict) -> str:
    symbol = words.SYMBOLS[verdict.name]
    return f'<span class="value"><span aria-hidden="true">{symbol}</span> {verdict.name}</span>'


def _parts(claim: Claim, summary: Summary, exact: bool) -> tuple[str, str]:
    value = check.value(claim, summary)
    return (
        words.measured(claim, value, exact),
        words.spread(
            claim, value, summary.n, summary.min, summary.max, summary.not_finite, exact
        ),
    )


def _measured(claim: Claim, summary: Summary | None, kept: Summary | None, exact: bool) -> str:
    here = _number(claim, summary, exact) if summary else "nothing"
    if kept is None:
        return here
    if summary is None and claim.profile == "paper":
        here = ""
    found = check.judge(claim, kept, "paper").name
    return (
        f'{here}<span class="kept"><span class="about">at paper size, {words.SYMBOLS[found]} '
        f"{found}:</span> {_number(claim, kept, exact)}</span>"
    )


def _number(claim: Claim, summary: Summary, exact: bool) -> str:
    value, spread = _parts(claim, summary, exact)
    spread = f'<span class="spread">{words.number_html(spread)}</span>' if spread else ""
    return f'<span class="value">{words.number_html(value)}</span>{spread}'


def _measured_text(claim: Claim, summary: Summary | None) -> str:
    if summary is None:
        return "nothing"
    value, spread = _parts(claim, summary, exact=False)
    return f"{value} ({spread})" if spread else value

"""The ledger: every claim of the book beside what was measured, and the page that shows it.

The build collects the records of all chapters, stops if a claim is broken, and writes the page's
generated part and the same ledger for machines::

    rows = ledger.collect(registry(root), {chapter: (folder, key)}, "quick", {chapter: kept})
    ledger.write(rows, root)
    ledger.broken(rows)  # empty, or the book does not stand
"""

import html
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ncbook import files
from ncbook.claims import check, page, record, words
from ncbook.claims.check import Summary, Verdict
from ncbook.claims.kept import Kept
from ncbook.claims.record import Record
from ncbook.claims.schema import KINDS, ORIGINS, PROFILES, Claim, ClaimsError

FORMAT = 2  # of the JSON file; to be raised when a field changes its meaning

# What the summary calls several claims with a verdict.
_PLURALS = {
    check.HOLDS: "hold",
    check.FAILS: "fail",
    check.DISCREPANCY: "known discrepancies",
    check.NOT_MEASURED: "not measured",
    check.PLANNED: "planned",
}
_SINGULARS = _PLURALS | {
    check.HOLDS: "holds",
    check.FAILS: "fails",
    check.DISCREPANCY: "known discrepancy",
}


@dataclass(frozen=True)
class Row:
    """One claim of the ledger.

    Attributes
    ----------
    claim : Claim
    record : Record or None
        What was measured; None if nothing that can be used was.
    kept : Kept or None
        The kept paper-size run of the claim's chapter, in a quick build.
    verdict : Verdict
    profile : str
        The profile of the build.
    key : str
        The hash of the code, parameters and lock that made the chapter; empty if unknown.
    """

    claim: Claim
    record: Record | None
    kept: Kept | None
    verdict: Verdict
    profile: str
    key: str

    @property
    def at_paper_size(self) -> Summary | None:
        """What the kept run measured for the claim; None if nothing."""
        return self.kept.summary(self.claim.id) if self.kept else None


def collect(
    registry: Mapping[str, Claim],
    folders: Mapping[str, tuple[Path, str]],
    profile: str = "quick",
    kept: Mapping[str, Kept] | None = None,
) -> list[Row]:
    """Put the records of the chapters beside the claims.

    Parameters
    ----------
    registry : mapping
        id -> Claim, as :func:`ncbook.claims.registry` gives it.
    folders : mapping
        chapter -> (its output folder, its key); the records are ``<folder>/claims/<id>.json``.
    profile : "quick" or "paper"
        The profile of the build.
    kept : mapping, optional
        chapter -> its kept paper-size run.

    Returns
    -------
    list of Row
        One a claim, in the registry's order. A record that cannot be read, or that is of another
        claim, chapter or profile, measures nothing, and the row says so.
    """
    if profile not in PROFILES:
        raise ClaimsError(f"profile is {profile!r}; known profiles are {', '.join(PROFILES)}.")
    rows = []
    for claim in registry.values():
        folder, key = folders.get(claim.chapter, (None, ""))
        found, problem = None, f"No results of chapter {claim.chapter} were given."
        if folder is not None:
            try:
                path = Path(folder) / "claims" / f"{claim.id}.json"
                found = record.read(path, claim, profile)
            except FileNotFoundError:
                problem = ""
            except (OSError, ValueError) as error:
                problem = f"{error}."
        rows.append(_row(claim, found, (kept or {}).get(claim.chapter), problem, profile, key))
    return rows


def summary(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many claims have each verdict (all five, in a fixed order)."""
    names = [row.verdict.name for row in rows]
    return {name: names.count(name) for name in check.VERDICTS}


def summary_line(rows: Sequence[Row]) -> str:
    """Return the summary as a sentence: ``12 claims: 11 hold, 1 known discrepancy, 2 planned.``

    Planned claims are none of the 12: nothing is known of them yet.
    """
    found = summary(rows)
    counts = ", ".join(f"{count} {_called(name, count)}" for name, count in found.items() if count)
    due = len(rows) - found[check.PLANNED]
    return f"{_claims(due)}: {counts}." if rows else "No claims."


def broken(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that a book must not have: claims that fail or were not measured."""
    return [row for row in rows if row.verdict.breaks]


def to_json(rows: Sequence[Row]) -> str:
    """Return the ledger for machines; numbers that are not finite are the texts nan and inf."""
    table = {
        "format": FORMAT,
        "profile": rows[0].profile if rows else None,
        "summary": summary(rows),
        "kept": {
            row.claim.chapter: row.kept.as_dict() | {"changed": row.kept.changed}
            for row in rows
            if row.kept
        },
        "claims": [_as_dict(row) for row in rows],
    }
    return json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, registry: Mapping[str, Claim]) -> list[Row]:
    """Judge the measurements of a written ledger anew, by the claims registered now.

    Parameters
    ----------
    text : str
        What ``to_json`` made.
    registry : mapping
        id -> Claim.

    Returns
    -------
    list of Row
        One a registered claim, also of those that the ledger does not have.

    Raises
    ------
    ClaimsError
        The text is no ledger, or it has claims that are registered no more.
    """
    try:
        table = json.loads(text)
        profile, entries = table["profile"], {entry["id"]: entry for entry in table["claims"]}
        known = table["format"] == FORMAT and profile in PROFILES
        runs = {**table["kept"]} if known else {}
    except (ValueError, KeyError, TypeError) as error:
        raise ClaimsError(f"this is no ledger ({error!r}); make it anew with make book.") from error
    if not known:
        raise ClaimsError(
            f"this ledger has format {table['format']!r} and profile {profile!r}, expected "
            f"format {FORMAT} and one of {', '.join(PROFILES)}; make it anew with make book."
        )
    gone = [id for id in entries if id not in registry]
    if gone:
        raise ClaimsError(
            f"the ledger has claims that are registered no more: {', '.join(gone)}; "
            "make it anew with make book."
        )
    kept = {}
    for chapter, run in runs.items():
        claims = {claim.id: claim for claim in registry.values() if claim.chapter == chapter}
        try:
            changed = tuple(run.pop("changed"))
            kept[chapter] = replace(Kept.from_dict(run, chapter, claims), changed=changed)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ClaimsError(
                f"the ledger's kept results of {chapter}: {error}; make it anew with make book."
            ) from error
    rows = []
    for claim in registry.values():
        entry = entries.get(claim.id, {})
        found, problem = None, ""
        if entry.get("record") is not None:
            try:
                found = Record.from_dict(entry["record"], claim, profile)
            except ValueError as error:
                problem = f"The ledger's record is none of the claim: {error}."
        key = entry.get("key", "")
        rows.append(_row(claim, found, kept.get(claim.chapter), problem, profile, key))
    return rows


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the generated part of book/ledger.md.

    The chapters are cross-references that Sphinx checks; the claims are HTML, so that a reader
    can filter them, and each links to its row in its chapter.
    """
    rows = _ordered(rows)
    blocks = [
        "% Made by ncbook.claims.ledger from the claims.toml files and the records of a build.",
        f"{summary_line(rows)} Measured in the {rows[0].profile} profile.",
        _tiles(rows),
        _form(rows),
        f"<style>\n{page.STYLE}\n</style>",
    ]
    for (part, paper, citation), of_paper in _grouped(rows, lambda row: _paper(row.claim)):
        blocks.append(f"### {part}: {paper}")
        blocks.append(f"{{cite:p}}`{citation}`. {summary_line(of_paper)} {_origins(of_paper)}")
        for chapter, of_chapter in _grouped(of_paper, lambda row: row.claim.chapter):
            blocks.append(f'<div class="ledger-chapter" data-chapter="{chapter}">')
            exists = any(map(_has_page, of_chapter))
            blocks.append(f"{{doc}}`{chapter}`" if exists else f"{chapter} (not written yet)")
            note = str(of_chapter[0].kept or "")
            lines = [_html(row, exists) for row in of_chapter]
            blocks.append(page.table(lines, f"Claims of {chapter}", note))
            blocks.append("</div>")
    return "\n\n".join(blocks) + "\n"


def write(rows: Sequence[Row], root: Path) -> None:
    """Write the ledger: for the site, for its reader to download, and for the tests.

    A file whose content would stay the same is left alone, so that the site is not made anew.

    Raises
    ------
    ClaimsError
        There is no row.
    OSError
        A file cannot be written.
    """
    if not rows:
        raise ClaimsError("the ledger is empty; register claims in notebooks/<paper>/claims.toml.")
    table = to_json(rows)
    for path, content in (
        (Path(root) / "book" / "_generated" / "ledger.md", to_markdown(rows)),
        (Path(root) / "book" / "_generated" / "ledger.json", table),
        (Path(root) / "_build" / "ledger.json", table),
    ):
        data = content.encode()
        if not path.is_file() or path.read_bytes() != data:
            files.write_atomic(path, data)


def _row(
    claim: Claim, found: Record | None, kept: Kept | None, problem: str, profile: str, key: str
) -> Row:
    """Judge one claim; ``problem`` says why there is no record."""
    at_paper_size = kept.judged(claim.id) if kept else None
    verdict = check.judge(claim, found.summary if found else None, profile, at_paper_size)
    if verdict.name == check.NOT_MEASURED and problem and not check.elsewhere(claim, profile):
        verdict = Verdict(check.NOT_MEASURED, problem)
    return Row(claim, found, kept, verdict, profile, key)


def _as_dict(row: Row) -> dict[str, Any]:
    claim = row.claim
    return {
        "id": claim.id,
        "part": claim.part,
        "paper": claim.paper,
        "citation": claim.citation,
        "place": claim.place,
        "origin": claim.origin,
        "kind": claim.kind,
        "sentence": claim.sentence,
        "chapter": claim.chapter,
        "anchor": claim.anchor,
        "statistic": claim.statistic,
        "expect": {claim.side: claim.expect} if claim.side else claim.expect,
        "tolerance": {"rel" if claim.relative else "abs": claim.tolerance, "reason": claim.reason},
        "profile": claim.profile,
        "discrepancy": claim.discrepancy,
        "planned": claim.planned,
        "verdict": row.verdict.name,
        "message": row.verdict.message,
        "record": row.record.as_dict(claim) if row.record else None,
        "key": row.key,
    }


def _paper(claim: Claim) -> tuple[str, str, str]:
    return claim.part, claim.paper, claim.citation


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """Sort rows by paper, in the registry's order, and those of a paper by chapter."""
    papers = list(dict.fromkeys(_paper(row.claim) for row in rows))
    return sorted(rows, key=lambda row: (papers.index(_paper(row.claim)), row.claim.chapter))


def _grouped(rows: Sequence[Row], by: Callable[[Row], Any]) -> Iterator[tuple[Any, list[Row]]]:
    """Group neighbouring rows."""
    return ((name, list(group)) for name, group in itertools.groupby(rows, by))


def _claims(count: int) -> str:
    return f"{count} claim" if count == 1 else f"{count} claims"


def _called(name: str, count: int) -> str:
    return (_SINGULARS if count == 1 else _PLURALS)[name]


def _origins(rows: Sequence[Row]) -> str:
    counts = {origin: sum(row.claim.origin == origin for row in rows) for origin in ORIGINS}
    listed = [f"{words.ORIGINS[name]} ({count})" for name, count in counts.items() if count]
    return f"Who says it: {', '.join(listed)}."


def _tiles(rows: Sequence[Row]) -> str:
    tiles = "\n".join(
        f'<li data-verdict="{name if count else ""}"><span class="count">{count}</span> '
        f'<span aria-hidden="true">{words.SYMBOLS[name]}</span> {_called(name, count)}</li>'
        for name, count in summary(rows).items()
    )
    return f'<ul class="ledger-summary" aria-label="Claims by verdict">\n{tiles}\n</ul>'


def _form(rows: Sequence[Row]) -> str:
    """Return the filter; hidden, for it does nothing until the page's script runs."""
    parts = dict.fromkeys(row.claim.part for row in rows)
    chapters = dict.fromkeys(row.claim.chapter for row in rows)
    places = [(place, place) for place in (*parts, *chapters)]
    verdicts = [name for name, count in summary(rows).items() if count]
    kinds = [kind for kind in KINDS if any(row.claim.kind == kind for row in rows)]
    origins = [origin for origin in ORIGINS if any(row.claim.origin == origin for row in rows)]
    lines = [
        '<form id="ledger-filter" role="search" aria-label="Filter the claims" hidden>',
        '<p class="wide"><label for="ledger-text">Words in a claim</label>'
        '<input type="search" id="ledger-text" name="text" autocomplete="off"></p>',
        _select("place", "Part or chapter", places),
        _select("verdict", "Verdict", [(name, name) for name in verdicts]),
        _select("kind", "Kind", [(kind, kind) for kind in kinds]),
        _select("origin", "Who says it", [(name, words.ORIGINS[name]) for name in origins]),
        '<p class="wide foot"><output id="ledger-count" for="ledger-text ledger-place '
        'ledger-verdict ledger-kind ledger-origin" aria-live="polite"></output>'
        '<button type="reset">Show all</button></p>',
        "</form>",
    ]
    return "\n".join(lines)


def _select(name: str, label: str, options: list[tuple[str, str]]) -> str:
    choices = "".join(f'<option value="{value}">{shown}</option>' for value, shown in options)
    return (
        f'<p><label for="ledger-{name}">{label}</label><select id="ledger-{name}" name="{name}">'
        f'<option value="">all</option>{choices}</select></p>'
    )


def _has_page(row: Row) -> bool:
    """Whether the claim's chapter exists; that of planned claims need not."""
    return bool(row.key) or row.claim.planned is None


def _html(row: Row, linked: bool) -> str:
    claim = row.claim
    searched = " ".join((claim.id, claim.place, claim.sentence, claim.reason, row.verdict.name))
    attributes = "".join(
        f' data-{name}="{html.escape(value)}"'
        for name, value in (
            ("part", claim.part),
            ("chapter", claim.chapter),
            ("kind", claim.kind),
            ("origin", claim.origin),
            ("text", searched.lower()),
        )
    )
    link = (
        f'<a class="to-chapter" href="{claim.chapter}.html#{claim.anchor}" '
        f'aria-label="In its chapter: {html.escape(claim.place)}">In its chapter</a>'
    )
    return page.row(
        claim,
        row.record.summary if row.record else None,
        row.verdict,
        lambda target: page.address(target, claim, ""),
        kept=row.at_paper_size,
        exact=True,
        details=_run(row),
        link=link if linked else "",
        attributes=attributes,
    )


def _run(row: Row) -> str:
    """Return the claim's id and the run that measured it."""
    facts = [("Id", row.claim.id)]
    if row.record is not None:
        used = check.used(row.claim, row.record.summary)
        facts += [
            *([] if used is None else [("Tolerance used", f"{words.digits(100 * used)} %")]),
            ("Profile", row.record.profile),
            *((str(name).capitalize(), value) for name, value in row.record.provenance.items()),
            *((f"Parameter {name}", value) for name, value in row.record.parameters.items()),
        ]
    if row.key:
        facts.append(("Code", row.key[:12]))
    items = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>" for name, value in facts
    )
    return f"<dl>{items}</dl>"

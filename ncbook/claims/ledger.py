"""The ledger: every claim of the book beside what was measured, and the page that shows it.

The build collects the records of all chapters, stops if a claim is broken, and writes the page's
generated part and the same ledger for machines::

    rows = ledger.collect(registry(root), {chapter: (folder, key)}, "quick", {chapter: kept})
    ledger.to_markdown(rows), ledger.to_json(rows)
    ledger.broken(rows)  # empty, or the book does not stand
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ncbook.claims import _form, check, graph, kept, page, record, schema, wording
from ncbook.claims.check import Row
from ncbook.claims.kept import Kept
from ncbook.claims.measured import Record, Summary
from ncbook.claims.schema import ORIGINS, PROFILES, Claim, ClaimsError

FORMAT = 4  # of the JSON file; to be raised when a field changes its meaning


def collect(
    registry: Mapping[str, Claim],
    folders: Mapping[str, tuple[Path, str]],
    profile: str = "quick",
    kept: Mapping[str, Kept | None] | None = None,
    moved: Mapping[str, float] | None = None,
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
    moved : mapping, optional
        id -> how far its value moves with all steps halved, as a share of what is allowed.

    Returns
    -------
    list of Row
        One a claim, in the registry's order. A record that cannot be read, or that is of another
        claim, chapter or profile, measures nothing, and the row says so.

    Raises
    ------
    ClaimsError
        The profile is unknown, or a chapter measured what is not registered as a claim of it.
    """
    if profile not in PROFILES:
        raise ClaimsError(f"profile is {profile!r}; known profiles are {', '.join(PROFILES)}.")
    strange = [
        f"{chapter} measured {path.stem!r}, which claims.toml does not register as a claim of it. "
        "Register it, or measure it no longer."
        for chapter, (folder, _) in folders.items()
        for path in sorted((Path(folder) / "claims").glob("*.json"))
        if path.stem not in registry or registry[path.stem].chapter != chapter
    ]
    if strange:
        raise ClaimsError("\n".join(strange))
    rows = []
    for claim in registry.values():
        folder, key = folders.get(claim.chapter, (None, ""))
        found, problem = None, f"No results of chapter {claim.chapter} were given."
        if folder is not None:
            try:
                found = record.read(Path(folder) / "claims" / f"{claim.id}.json", claim, profile)
                problem = ""
            except (OSError, ValueError) as error:
                problem = f"{error}."
        beside = (kept or {}).get(claim.chapter), profile, key, problem
        rows.append(Row(claim, found, *beside, (moved or {}).get(claim.id)))
    return rows


def shown(
    root: Path, chapter: str, profile: str, folder: Path, stored: kept.Kept | None = None
) -> dict[str, str]:
    """Return the claims of an executed chapter as its page shows them: MIME type -> content.

    It is what :meth:`ncbook.claims.record.Chapter.show` displayed, made from claims.toml as it is
    now, the kept run that is stored, and the records ``<folder>/claims/<id>.json``. The output to
    replace has the chapter's name in its metadata, as
    ``{"ncbook": {"claims": "<paper's folder>/<NN-name>"}}``.

    Raises
    ------
    ClaimsError
        No claim of the chapter is registered, it measured one that is not, or a file is malformed.
    """
    claims = schema.of_chapter(root, chapter)
    folders = {chapter: (folder, "")}
    return page.bundle(collect(claims, folders, profile, {chapter: stored}))


def summary(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many claims have each verdict (all five, in a fixed order)."""
    names = [row.verdict.name for row in rows]
    return {name: names.count(name) for name in check.VERDICTS}


def summary_line(rows: Sequence[Row]) -> str:
    """Return the summary as a sentence: ``14 claims: 11 hold, 1 known discrepancy, 2 planned.``"""
    if not rows:
        return "No claims."
    found = summary(rows).items()
    counts = ", ".join(wording.counted(name, count) for name, count in found if count)
    return f"{len(rows)} {'claim' if len(rows) == 1 else 'claims'}: {counts}."


def broken(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that a book must not have: claims that fail or were not measured."""
    return [row for row in rows if row.verdict.breaks]


def to_json(rows: Sequence[Row]) -> str:
    """Return the ledger for machines; nan becomes a text."""
    runs = {row.claim.chapter: row.kept for row in rows if row.kept}
    table = {
        "format": FORMAT,
        "profile": rows[0].profile if rows else None,
        "summary": summary(rows),
        "kept": {id: run.as_dict() | {"changed": run.changed} for id, run in runs.items()},
        "claims": [
            {
                **vars(row.claim),
                "anchor": row.claim.anchor,
                "verdict": row.verdict.name,
                "message": row.verdict.message,
                "value": _form.plain(row.record and check.value(row.claim, row.record)),
                "record": _form.plain(row.record),
                "key": row.key,
                "moved": _form.plain(row.moved),
            }
            for row in rows
        ],
    }
    return json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, registry: Mapping[str, Claim]) -> list[Row]:
    """Judge the measurements of a written ledger anew, by the claims registered now.

    There is a row of each of them, also of those that the ledger does not have.

    Raises
    ------
    ClaimsError
        The text is no ledger, it is damaged, or it has claims that are registered no more.
    """
    rows, stored = [], {}
    try:
        table = json.loads(text)
        profile, entries = table["profile"], {entry["id"]: entry for entry in table["claims"]}
        if table["format"] != FORMAT or profile not in PROFILES:
            raise ValueError(f"its format is {table['format']!r} and its profile {profile!r}")
        if gone := [id for id in entries if id not in registry]:
            raise ValueError(f"it has claims that are registered no more: {', '.join(gone)}")
        for chapter, run in table["kept"].items():
            changed = tuple(run.pop("changed"))
            own = [claim.id for claim in registry.values() if claim.chapter == chapter]
            stored[chapter] = replace(Kept.from_dict(run, chapter, own), changed=changed)
        for claim in registry.values():
            entry = entries.get(claim.id, {"record": None, "key": "", "moved": None})
            found = entry["record"] and _form.read(Record, entry["record"], Summary)
            moved = None if entry["moved"] is None else float(entry["moved"])
            beside = stored.get(claim.chapter), profile, entry["key"], "", moved
            rows.append(Row(claim, found, *beside))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"field {error} is missing" if isinstance(error, KeyError) else error
        raise ClaimsError(
            f"this is no ledger of the book as it is now: {said}; expected one of format {FORMAT}. "
            "Make it anew with make book."
        ) from error
    return rows


def discretised(rows: Sequence[Row]) -> str:
    """Say how far the values move with all steps and tolerances halved; nothing if unknown."""
    moved = [row.moved for row in rows if row.moved is not None]
    if not moved:
        return ""
    still = moved.count(0)
    said = f"With all steps and tolerances halved, {still} of {len(moved)} claims do not move"
    if still == len(moved):
        return f"{said}."
    return f"{said}; the others move by at most {max(moved):.0%} of what they are allowed."


def grounds(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return, for each claim, those that it rests on, directly or by others, and that do not hold.

    A claim for which there are none is not there.
    """
    by_id = {row.claim.id: row for row in rows}

    @functools.cache
    def below(id: str) -> frozenset[str]:
        uses = [one for one in by_id[id].claim.uses if one in by_id]
        return frozenset(uses).union(*map(below, uses))

    found = {
        id: [row for one, row in by_id.items() if one in below(id) and row.verdict.name != "holds"]
        for id in by_id
    }
    return {id: shaky for id, shaky in found.items() if shaky}


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the generated part of book/ledger.md.

    The chapters are cross-references that Sphinx checks; the claims are HTML, so that a reader
    can filter them, and each links to its row in its chapter.
    """
    return page.render(
        "ledger.md",
        rows=rows,
        counts=[(name, n, wording.called(name, n)) for name, n in summary(rows).items()],
        origins=_origins,
        style=page.style(),
        summary=summary_line,
        discretised=discretised(rows),
        graph=graph.svg(rows),
        table=functools.partial(
            page.table, in_ledger=True, grounds=grounds(rows), carries=carries(rows)
        ),
    )


def carries(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return, for each claim that some rest on directly, those."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        for id in row.claim.uses:
            found.setdefault(id, []).append(row)
    return found


def _origins(rows: Sequence[Row]) -> str:
    counts = {origin: sum(row.claim.origin == origin for row in rows) for origin in ORIGINS}
    return ", ".join(f"{ORIGINS[name]} ({count})" for name, count in counts.items() if count)

"""Sample claims for the tests of the claims room."""

from pathlib import Path

from ncbook.claims import kept
from ncbook.claims.measured import summarise
from ncbook.claims.schema import Claim

CHAPTER = "a-paper/01-first"

ENTRY = {
    "id": "a.number",
    "place": "Figure 1",
    "origin": "paper",
    "kind": "number",
    "sentence": "The value is $2$.",
    "chapter": CHAPTER,
    "statistic": "median",
    "expect": 2.0,
    "tolerance": {"abs": 0.05, "reason": "The next term."},
}


def claim(**changes) -> Claim:
    """Return a claim that expects 2 within 0.05, with changed fields."""
    fields = {
        **{field: value for field, value in ENTRY.items() if field != "tolerance"},
        "side": None,
        "tolerance": 0.05,
        "relative": False,
        "reason": "The next term.",
        "profile": "quick",
        "discrepancy": None,
        "planned": None,
        "paper": "Author 2020",
        "citation": "author2020",
        "part": "Part I",
    }
    return Claim(**(fields | changes))


def toml(value) -> str:
    """Write a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return "'''" + value + "'''"
    return repr(value)


def entry(drop=(), **changes) -> dict:
    """Return the table of one claim, with changed and without dropped fields."""
    return {field: value for field, value in (ENTRY | changes).items() if field not in drop}


def write(folder: Path, *entries: dict, head: dict | None = None) -> Path:
    """Write a claims.toml with these entries; return its path."""
    head = {"paper": "Author 2020", "citation": "author2020", "part": "Part I"} | (head or {})
    lines = [f"{field} = {toml(value)}" for field, value in head.items() if value is not None]
    for table in entries:
        lines += ["[[claim]]", *(f"{field} = {toml(value)}" for field, value in table.items())]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "claims.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def book(root: Path, **papers: list[dict]) -> Path:
    """Make the skeleton of a book: papers (a_paper for a-paper) with claims and chapters."""
    (root / "notebooks").mkdir(parents=True)
    (root / "_config.yml").write_text("")
    for name, entries in papers.items():
        folder = root / "notebooks" / name.replace("_", "-")
        write(folder, *entries)
        for table in entries:
            if "planned" not in table:
                (root / "notebooks" / f"{table['chapter']}.md").write_text("# A chapter\n")
    return root


def keep(root: Path, values: dict, chapter: str = CHAPTER, **changes) -> Path:
    """Keep values of claims as a paper-size run of a chapter, and return the file."""
    measured = {id: summarise(found, {"N": 9}, {"device": "cuda"}) for id, found in values.items()}
    facts = {
        "made": "2026-01-31T12:00:00Z",
        "seconds": 12.3,
        "commit": "0123456789",
        "machine": {"processor": "A processor", "cores": "64"},
        "versions": {"torch": "2.13.0"},
        "parameters": {"profile": "paper", "seeds": 400},
        "code": kept.code(root, chapter),
        "confirmed": None,
    }
    return kept.write(root, kept.Kept(chapter, **(facts | changes), measured=measured))

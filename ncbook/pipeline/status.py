"""The status page's table: when, on what machine, with which versions, how long each chapter."""

import json
import time

from ncbook import machine
from ncbook.pipeline.book import Book
from ncbook.pipeline.execution import Outcome
from ncbook.store import Result

WORDS = {
    "processor": "Processor",
    "cores": "Cores",
    "system": "System",
    "python": "Python",
    "device": "Device",
}


def page(book: Book, outcome: Outcome) -> str:
    """Return the status as Markdown, to be included in a page of the book."""
    results = outcome.results
    facts = {"Built": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    facts |= {WORDS[name]: value for name, value in machine.machine().items()}
    facts["Device"] = _devices(results) or facts["Device"]
    facts["Commit"] = str(machine.checkout(book.root))
    versions = {name: f"`{value}`" for name, value in machine.versions(book.root).items()}
    total = sum(result.seconds for result in results.values())
    rows = [
        (
            f"{{doc}}`/book/{chapter.id}`",
            f"{result.seconds:.1f}",
            result.meta["profile"],
            f"stored, of {result.meta['made'][:10]}"
            if chapter.id not in outcome.executed
            else "in this build",
            f"`{result.key[:12]}`",
        )
        for chapter in book.chapters
        if (result := results.get(chapter.id))
    ]
    return "\n".join(
        [
            "% Made by the build; not to be edited.",
            "",
            *_table(("This build", ""), facts.items()),
            "",
            *_table(("Chapter", "Seconds", "Profile", "Executed", "Key"), rows),
            "",
            f"All chapters together: {total:.0f} seconds of execution.",
            "",
            *_table(("Package", "Version"), sorted(versions.items(), key=lambda v: v[0].lower())),
            "",
        ]
    )


def _devices(results: dict[str, Result]) -> str:
    """The devices that the chapters used, by what they recorded with their measurements."""
    found = set()
    for result in results.values():
        for path in result.files("claims").values():
            found.add(json.loads(path.read_text()).get("provenance", {}).get("device"))
    return ", ".join(sorted(found - {None}))


def _table(head, rows) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines]

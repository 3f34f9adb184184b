"""Exercises that are to be run: what they say will happen, and whether it does.

A chapter's text has them as

    :::{exercise} A step that is too long
    :label: ex-long-step
    :run: step=0.2
    :fails: a.claim another.claim

with, besides or instead, ``:holds:`` claims, and ``:gives: a.claim 0.1 0.2`` for a value that lies
between two numbers. What is named must come out so; the other claims may do as they like.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncbook.claims import check, record
from ncbook.files import BookError
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import QUICK, Chapter
from ncbook.pipeline.workers import Job, Workers

BLOCK = re.compile(r"^(:::+|```+)\{exercise\}(.*)\n((?:.*\S.*\n)*)", re.M)  # to the empty line
OPTION = re.compile(r"^[ \t]*:([a-z-]+):[ \t]*(.*)$", re.M)


@dataclass(frozen=True)
class Exercise:
    """One exercise that is to be run."""

    chapter: Chapter = field(repr=False)
    label: str
    values: dict[str, Any]  # of all parameters of the chapter
    fails: tuple[str, ...]
    holds: tuple[str, ...]
    gives: dict[str, tuple[float, float]]  # claim -> where its value lies


def of_chapter(chapter: Chapter, claims) -> list[Exercise]:
    """Return the exercises of a chapter that are to be run.

    Raises
    ------
    BookError
        One names no claim, a claim or a parameter that is not the chapter's, or a range that is
        none.
    """
    found = []
    for _, title, body in BLOCK.findall(chapter.text):
        options = dict(OPTION.findall(body))
        where = f"The exercise {options.get('label', title.strip())!r} of {chapter.id}"
        if body.lstrip().startswith("---"):
            raise BookError(f"{where} has its options between ---; write them as :name: value.")
        if "run" not in options:
            continue
        if not options.get("label"):
            raise BookError(f"{where} is to be run and has no name; give it one, :label: ex-...")
        given = {}
        for text in options["run"].split():
            name, equals, value = text.partition("=")
            if not equals:
                raise BookError(f"{where}: {text!r} is not NAME=VALUE, such as seeds=20.")
            given[name] = chapter.parsed(name, value)
        fails, holds = (tuple(options.get(name, "").split()) for name in ("fails", "holds"))
        words = options.get("gives", "").split()
        try:
            gives = {
                words[i]: (float(words[i + 1]), float(words[i + 2]))
                for i in range(0, len(words), 3)
            }
        except (IndexError, ValueError):
            raise BookError(
                f"{where}: gives is {' '.join(words)!r}; expected a claim and two numbers, maybe "
                "several times."
            ) from None
        named = {*fails, *holds, *gives}
        if not named or (strange := sorted(named - set(claims))):
            raise BookError(
                f"{where} names {strange[0] if named else 'no claim'}; say with fails, holds or "
                f"gives what becomes of claims of its chapter: {', '.join(claims)}."
            )
        values = chapter.values(QUICK, given)
        found.append(Exercise(chapter, options["label"], values, fails, holds, gives))
    return found


def outcome(exercise: Exercise, folder, claims) -> list[str]:
    """Say what came out otherwise than the exercise says, given the folder of its run."""
    said = []
    for id in (*exercise.fails, *exercise.holds, *exercise.gives):
        one = record.read(folder / "claims" / f"{id}.json", claims[id], QUICK)
        verdict = check.judge(claims[id], one, QUICK)
        value = check.value(claims[id], one) if one is not None else float("nan")
        wanted = "holds" if id in exercise.holds else "fails" if id in exercise.fails else None
        if wanted and verdict.name != wanted:
            said.append(
                f"{id} {verdict.name} ({value:.4g}), and the exercise says that it {wanted}"
            )
        low, high = exercise.gives.get(id, (-math.inf, math.inf))
        if id in exercise.gives and not low <= value <= high:
            said.append(f"{id} is {value:.4g}, and the exercise says from {low:g} to {high:g}")
    return said


def run(
    book: Book, chosen: Sequence[Exercise], workers: Workers, work: Path
) -> dict[str, list[str]]:
    """Run exercises in folders below ``work``; return what came out otherwise, by their labels."""
    jobs = {
        one.label: Job(
            one.chapter, one.values, work / f"{one.chapter.id.replace('/', '--')}-{one.label}"
        )
        for one in chosen
    }
    failures, skipped = workers.run(list(jobs.values()), lambda job, took: None)
    raised = {id(one.job): [f"a cell raised an error.\n{one.text}"] for one in failures}
    raised |= {id(job): ["it was not run, after that error"] for job in skipped}
    return {
        one.label: raised.get(id(jobs[one.label]))
        or outcome(one, jobs[one.label].result, book.claims(one.chapter))
        for one in chosen
    }

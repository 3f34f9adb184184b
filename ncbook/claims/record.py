"""What a chapter measured: written down as it runs, and shown at its end."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncbook import files
from ncbook.claims import check, kept, page
from ncbook.claims.check import Summary
from ncbook.claims.schema import PROFILES, Claim, ClaimsError, load


@dataclass(frozen=True)
class Record:
    """One measurement of one claim, with the run that made it."""

    id: str
    chapter: str
    profile: str
    summary: Summary
    provenance: Mapping[str, Any]
    parameters: Mapping[str, Any]

    def as_dict(self, claim: Claim) -> dict[str, Any]:
        """Return what JSON can hold, with the value that ``claim`` judges and the worst one."""
        return {
            "id": self.id,
            "chapter": self.chapter,
            "profile": self.profile,
            "statistic": claim.statistic,
            "value": check.encode(check.value(claim, self.summary)),
            "worst": check.encode(check.worst(claim, self.summary)),
            **self.summary.as_dict(),
            "parameters": dict(self.parameters),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, table: Any, claim: Claim, profile: str) -> "Record":
        """Return the record that ``as_dict`` made for a claim in a profile.

        Raises
        ------
        ValueError
            It is none; it is of another claim, chapter or profile; or its value is not the one
            that the claim, as it is registered now, makes of its numbers.
        """
        if not isinstance(table, dict):
            raise ValueError("it holds no JSON object")
        for field in ("parameters", "provenance"):
            if not isinstance(table.get(field), dict):
                raise ValueError(f"the field {field!r} is missing or no JSON object")
        due = {"id": claim.id, "chapter": claim.chapter, "profile": profile}
        for field, expected in due.items():
            if table.get(field) != expected:
                raise ValueError(f"its {field} is {table.get(field)!r}, expected {expected!r}")
        found = cls(
            **due,
            summary=Summary.from_dict(table),
            provenance=table["provenance"],
            parameters=table["parameters"],
        )
        if found.as_dict(claim) != table:
            raise ValueError(
                "it was damaged, or made for an earlier text of the claim; run the chapter again"
            )
        return found


def read(path: Path, claim: Claim, profile: str) -> Record:
    """Return the record of a claim that a chapter left in a file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It holds no record of this claim and profile; the message names the file.
    """
    try:
        return Record.from_dict(json.loads(path.read_text(encoding="utf-8")), claim, profile)
    except ValueError as error:
        raise ValueError(f"{path} is no record of the claim: {error}") from error


class Chapter:
    """The claims of one chapter, while it runs.

    Parameters
    ----------
    name : str
        ``<paper's folder>/<NN-name>``.
    profile : "quick" or "paper"
        The profile that the chapter runs in.
    provenance : mapping
        Where it runs: device, dtype and versions, as ``Runtime.provenance`` gives them.

    Raises
    ------
    ClaimsError
        The paper's claims.toml is missing or malformed, no claim names this chapter, the profile
        is unknown, or the file of the chapter's kept paper-size results is malformed.
    """

    def __init__(
        self, name: str, profile: str = "quick", provenance: Mapping[str, Any] | None = None
    ) -> None:
        if profile not in PROFILES:
            raise ClaimsError(f"profile is {profile!r}; known profiles are {', '.join(PROFILES)}.")
        path = files.root() / "notebooks" / name.partition("/")[0] / "claims.toml"
        claims = load(path)
        self.name = name
        self.profile = profile
        self.provenance = _plain(provenance or {}, "provenance")
        self.claims = {claim.id: claim for claim in claims if claim.chapter == name}
        self._records: dict[str, Record] = {}
        if not self.claims:
            known = sorted({claim.chapter for claim in claims})
            raise ClaimsError(
                f"{path} registers no claim of chapter {name!r}; it has claims of "
                f"{', '.join(known)}."
            )
        files.begin(name)
        # A paper-size run measures anew what the kept one measured.
        self._kept = kept.read(files.root(), name, self.claims) if profile == "quick" else None

    def measure(self, id: str, values: Any, parameters: Mapping[str, Any] | None = None) -> None:
        """Record what was measured for a claim in ``$NCBOOK_OUT/claims/<id>.json``.

        Parameters
        ----------
        id : str
            A claim of this chapter.
        values : number, sequence, array or tensor
            One value a run, in any shape.
        parameters : mapping, optional
            What a reader of the record needs to know of the run: plain values by name.

        Raises
        ------
        ClaimsError
            The id is not one of this chapter's, its claim is registered as planned, or nothing
            that could be judged was measured.
        """
        claim = self.claims.get(id)
        if claim is None:
            raise ClaimsError(
                f"{id!r} is no claim of chapter {self.name}; its claims are "
                f"{', '.join(self.claims)}. Register a new one in claims.toml."
            )
        if claim.planned is not None:
            raise ClaimsError(
                f"claim {id!r} is registered as planned, and {self.name} measures it. Remove its "
                "field 'planned' from claims.toml."
            )
        try:
            summary = check.summarise(values)
        except (TypeError, ValueError, OverflowError) as error:
            raise ClaimsError(f"claim {id!r}: {error}.") from error
        record = Record(
            id, self.name, self.profile, summary, self.provenance,
            _plain(parameters or {}, f"claim {id!r}: parameters"),
        )  # fmt: skip
        content = json.dumps(record.as_dict(claim), indent=1, ensure_ascii=False) + "\n"
        files.write_atomic(files.output_dir() / "claims" / f"{id}.json", content)
        self._records[id] = record

    def show(self) -> None:
        """Display each claim of the chapter: expected, measured here and at paper size, verdict."""
        from IPython.display import display

        rows, lines = [], [f"Claims of {self.name}, {self.profile} profile"]
        for claim in self.claims.values():
            record = self._records.get(claim.id)
            summary = record.summary if record else None
            stored = self._kept.summary(claim.id) if self._kept else None
            verdict = check.judge(claim, summary, self.profile, stored)
            resolve = functools.partial(_from_chapter, claim=claim)
            rows.append(page.row(claim, summary, verdict, resolve, kept=stored))
            lines.append(page.text(claim, summary, verdict, stored))
        note = str(self._kept) if self._kept else ""
        lines += [note] if note else []
        caption = f"Claims of {self.name}, measured in the {self.profile} profile"
        table = page.table(rows, caption, note)
        bundle = {
            "text/html": f"<style>{page.STYLE}</style>\n{table}",
            "text/plain": "\n".join(lines),
        }
        display(bundle, raw=True)


def _from_chapter(target: str, claim: Claim) -> str:
    # A section of the chapter itself is found in Jupyter too.
    return target if target.startswith("#") else page.address(target, claim, "../")


def _plain(table: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return a mapping as JSON will give it back."""
    try:
        return json.loads(json.dumps(dict(table), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ClaimsError(
            f"{what} cannot be written as JSON ({error}); give plain finite numbers, texts, "
            "truth values and lists of them."
        ) from error

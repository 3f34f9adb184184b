"""What a chapter measured: written down as it runs, and shown at its end."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ncbook import files
from ncbook.claims import _form, kept, measured, page, schema
from ncbook.claims.check import Row
from ncbook.claims.measured import Record, Summary
from ncbook.claims.schema import PROFILES, Claim, ClaimsError

NUMBERS = "numbers.json"  # what a chapter gave its text, in the folder of its run


def read(path: Path, claim: Claim, profile: str) -> Record | None:
    """Return the record of a claim that a chapter left in a file; None if there is no such file.

    Raises
    ------
    ValueError
        It holds no record of this claim, chapter and profile; the message names the file.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return _form.read(
            Record, table, Summary, id=claim.id, chapter=claim.chapter, profile=profile
        )
    except FileNotFoundError:
        return None
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
    provenance : Runtime or mapping
        Where it runs: device, dtype and versions, as ``Runtime.provenance`` gives them.

    Raises
    ------
    ClaimsError
        The paper's claims.toml is missing or malformed, no claim names this chapter, the profile
        is unknown, or the file of the chapter's kept paper-size results is malformed.
    """

    def __init__(self, name: str, profile: str = "quick", provenance: Any = None) -> None:
        if profile not in PROFILES:
            raise ClaimsError(f"profile is {profile!r}; known profiles are {', '.join(PROFILES)}.")
        self.name = name
        self.profile = profile
        said = getattr(provenance, "provenance", lambda: provenance)()
        self.provenance = _plain(said or {}, "provenance")
        self.claims = schema.of_chapter(files.root(), name)
        self._records: dict[str, Record] = {}
        self._numbers: dict[str, float | str] = {}
        files.begin(name)
        # A paper-size run measures anew what the kept one measured.
        self._kept = kept.read(files.root(), name, self.claims) if profile == "quick" else None

    def measure(
        self,
        id: str,
        values: Any,
        parameters: Mapping[str, Any] | None = None,
        control: Any = None,
    ) -> None:
        """Record what was measured for a claim in ``$NCBOOK_OUT/claims/<id>.json``.

        Parameters
        ----------
        id : str
            A claim of this chapter.
        values : number, sequence, array or tensor
            One value a run, in any shape.
        parameters : mapping, optional
            What a reader of the record needs to know of the run: plain values by name.
        control : number, sequence, array or tensor, optional
            The same of the wrong alternative that claims.toml names: due where it names one
            without what a wrong theory expects, and only there.

        Raises
        ------
        ClaimsError
            The id is not one of this chapter's, its claim is registered as planned, nothing that
            could be judged was measured, or there is a control that is not due or none that is.
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
        if claim.measures_control != (control is not None):
            raise ClaimsError(
                f"claim {id!r}: {self.name} measures {'no' if control is None else 'a'} control; "
                f"expected {'one' if claim.measures_control else 'none'}, by its field 'control' "
                "in claims.toml."
            )
        about = _plain(parameters or {}, f"claim {id!r}: parameters")
        try:
            record = measured.summarise(values, about, self.provenance, control)
        except (TypeError, ValueError, OverflowError) as error:
            raise ClaimsError(f"claim {id!r}: {error}.") from error
        table = {"id": id, "chapter": self.name, "profile": self.profile, **_form.plain(record)}
        content = json.dumps(table, indent=1, ensure_ascii=False) + "\n"
        files.write_atomic(files.output_dir() / "claims" / f"{id}.json", content)
        self._records[id] = record

    def check(self, values: Mapping[str, Any], controls: Mapping[str, Any] | None = None) -> None:
        """Measure several claims: see :meth:`measure`.

        Parameters
        ----------
        values : mapping
            Of each claim by its id.
        controls : mapping, optional
            Of those of them that are due one.

        Raises
        ------
        ClaimsError
            As in :meth:`measure`; or there is a control of what is not measured.
        """
        controls = dict(controls or {})
        for id, value in values.items():
            self.measure(id, value, control=controls.pop(id, None))
        if controls:
            raise ClaimsError(f"there is a control of {', '.join(controls)}, and no value.")

    def number(self, name: str, value: Any) -> None:
        """Give the text a number of this run, which it prints where it says ``{{name:.2f}}``.

        Parameters
        ----------
        name : str
            Lower-case letters, digits and dashes.
        value : number, tensor of one number, or str

        Raises
        ------
        ClaimsError
            The name is not usable, or the value is not one number.
        """
        if not re.fullmatch("[a-z][a-z0-9-]*", name):
            raise ClaimsError(
                f"{name!r} cannot name a number of the text; use small letters, digits and dashes."
            )
        try:
            self._numbers[name] = value if isinstance(value, str) else float(value)
        except (TypeError, ValueError) as error:
            raise ClaimsError(f"the number {name!r} is {value!r}, which is no number.") from error
        content = json.dumps(self._numbers, indent=1, ensure_ascii=False) + "\n"
        files.write_atomic(files.output_dir() / NUMBERS, content)

    def keep(self, name: str, table: Mapping[str, Iterable[float]]) -> None:
        """Leave a small table of numbers, in ``$NCBOOK_OUT/kept/<name>.csv``.

        What a paper-size run leaves so, ``ncbook keep`` keeps beside what it measured, and the
        quick run has it from :meth:`kept_table`.

        Parameters
        ----------
        name : str
            Letters a-z, digits and dashes.
        table : DataFrame, or mapping of columns
            Numbers, in columns of one length, of which six digits are kept.

        Raises
        ------
        ClaimsError
            It is no such table, or has more rows than the repository should hold.
        """
        try:
            if not re.fullmatch("[a-z0-9-]+", name):
                raise ValueError("its name has other signs than a-z, digits and dashes")
            numbers = zip(*(values for _, values in table.items()), strict=True)
            rows = [",".join(f"{float(one):.6g}" for one in row) for row in numbers]
            lines = [",".join(str(column) for column, _ in table.items()), *rows]
            kept.columns(lines)
        except (TypeError, ValueError) as error:
            raise ClaimsError(f"{self.name} cannot keep the table {name!r}: {error}.") from error
        content = "\n".join(lines) + "\n"
        files.write_atomic(files.output_dir() / kept.TABLES / f"{name}.csv", content)

    def kept_table(self, name: str) -> dict[str, list[float]] | None:
        """Return a table that the kept paper-size run left, by its columns, stale or not.

        None in the paper profile, and where there is none.
        """
        lines = ((self._kept and self._kept.tables) or {}).get(name)
        return None if lines is None else kept.columns(lines)

    def at_paper_size(self, id: str) -> Summary | None:
        """Return what the kept paper-size run measured for a claim, stale or not.

        In the paper profile it is what this run measured. None where there is nothing.
        """
        if self.profile == "paper":
            return self._records.get(id)
        return self._kept.measured.get(id) if self._kept else None

    def show(self) -> None:
        """Display each claim of the chapter: expected, measured here and at paper size, verdict."""
        from IPython.display import display

        rows = [
            Row(claim, self._records.get(claim.id), self._kept, self.profile)
            for claim in self.claims.values()
        ]
        # By this mark the build finds the table, and makes it anew from the records: see
        # ncbook.claims.ledger.shown.
        display(page.bundle(rows), metadata={"ncbook": {"claims": self.name}}, raw=True)


def _plain(table: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return a mapping as JSON will give it back."""
    try:
        return json.loads(json.dumps(dict(table), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ClaimsError(
            f"{what} cannot be written as JSON ({error}); give plain finite numbers, texts, "
            "truth values and lists of them."
        ) from error

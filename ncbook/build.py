"""Sources -> executed chapters -> ledger -> site.

Every chapter's result has a key: the hash of all that it depends on. What the store has under
its key is used, the rest is executed. The site is made again when anything it is made of
changed, and it replaces the one that stood before in one step.
"""

import fcntl
import json
import os
import platform
import shutil
import time
import tomllib
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ncbook
from ncbook.claims import kept
from ncbook.codegraph import Graph
from ncbook.files import PART, BookError, UsageError, digest, write_atomic, write_changed
from ncbook.pipeline import chapters as sources
from ncbook.pipeline import machine, site
from ncbook.pipeline.chapters import QUICK, Chapter
from ncbook.pipeline.progress import Progress
from ncbook.pipeline.workers import Failure, Job, Workers
from ncbook.store import NOTEBOOK, DamagedError, Result, Store

PACKAGE = Path(ncbook.__file__).resolve().parent
RUN = "run.json"  # beside the result of a run by hand: what was run
# Modules whose change can change a result although no chapter imports them.
EXECUTION = ("ncbook.pipeline.execute", "ncbook.pipeline.chapters")


class BuildError(BookError):
    """The build cannot be finished; the site that stood before is untouched."""


@dataclass
class Outcome:
    """What a build did."""

    executed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    ledger: str = ""
    site: Path | None = None
    site_made: bool = False


def build(
    root: Path,
    profile: str = QUICK,
    jobs: int | None = None,
    only: Sequence[str] = (),
    say: Progress | None = None,
    make_site=site.make,
) -> Outcome:
    """Build the book.

    Parameters
    ----------
    root : Path
        The book's root folder.
    profile : str
        The profile of every chapter.
    jobs : int, optional
        Most chapters at once; the number of cores without it.
    only : sequence of str
        Execute only these chapters, and leave the site as it is.
    say : Progress, optional
        Told how the build gets on.
    make_site : function
        The site's builder; a test puts another here.

    Raises
    ------
    BookError
        Something is wrong with what was asked, with a source, with a folder, with a chapter that
        raised, with a claim that does not hold, or with the site. The message says what.
    """
    root, say = Path(root).resolve(), say or Progress()
    for folder in (root / "_build", root / "book"):
        check_writable(folder)
    with lock(root / "_build" / "lock", say) as held:
        clean_up(root)
        every = sources.discover(root)
        chosen = [sources.find(every, name) for name in only] if only else every
        if not chosen:
            raise BuildError(
                f"There is no chapter: {root / 'notebooks'} has no <paper>/NN-name.md."
            )
        if not only:
            site.check_toc(root, [chapter.id for chapter in every])
            check_writable(root / "book" / "_generated")
        for paper in sorted({chapter.paper for chapter in chosen}):
            check_writable(root / "book" / paper)
        stored = kept_results(root, chosen, profile)
        if not only:
            check_kept(root, every)
        workers = Workers(root, jobs or machine.cores(), say, keep_open=(held,))
        outcome = execute(root, chosen, profile, workers, say)
        for chapter in chosen:
            materialise(root, chapter, outcome.results[chapter.id])
        if not only:
            remove_stale(root, every)
        outcome.ledger = settle_claims(root, outcome.results, profile, stored, whole=not only)
        if not only:
            outcome.site, outcome.site_made = make_site(root, outcome, every, say, held)
    return outcome


# ---------------------------------------------------------------- chapters


def execute(
    root: Path, chosen: list[Chapter], profile: str, workers: Workers, say: Progress
) -> Outcome:
    """Bring every chosen chapter's result into the store; return which and where."""
    results = Store(root / "_build" / "store")
    results.tidy()
    outcome = Outcome()
    values = {chapter.id: chapter.values(profile) for chapter in chosen}
    for attempt in range(3):
        keys = Keys(root)
        wanted = {c.id: keys.of(c, values[c.id]) for c in chosen}
        missing = []
        for chapter in chosen:
            found = stored(results, wanted[chapter.id], chapter, say)
            if found is None:
                missing.append(chapter)
            else:
                outcome.results[chapter.id] = found
        if not missing:
            break
        # A result made while its code was edited is of neither version, and is not kept.
        edited = "The code was edited while it ran, so it is of no use: "
        if attempt == 2:
            raise BuildError(f"{edited}{_named(missing)}. Build again when the edits are done.")
        if attempt:
            say.say(f"{edited}{_named(missing)}. Executing again.")
        if any("matplotlib" in keys.external(chapter) for chapter in missing):
            workers.prepare_fonts()
        _execute_missing(root, missing, values, wanted, results, workers, outcome)
    outcome.kept = [c.id for c in chosen if c.id not in outcome.executed]
    if outcome.kept:
        say.say(f"{_chapters(len(outcome.kept))} unchanged since last executed: kept.")
    return outcome


def _execute_missing(root, missing, values, wanted, results, workers, outcome) -> None:
    seconds = results.seconds()
    temporary = root / "_build" / "tmp"
    # The longest first, so that none is left alone at the end; those not known before any other.
    missing = sorted(
        missing, key=lambda c: -seconds.get((c.id, values[c.id]["profile"]), float("inf"))
    )
    jobs = [Job(c, values[c.id], temporary / c.id.replace("/", "--")) for c in missing]

    def done(job: Job, took: float) -> str | None:
        key = wanted[job.chapter.id]
        if Keys(root).of(job.chapter, job.values) == key:
            results.put(key, job.result, result_meta(root, job, took))
            outcome.executed.append(job.chapter.id)
        shutil.rmtree(job.folder, ignore_errors=True)
        return None

    failures, skipped = workers.run(jobs, done)
    if failures:
        raise BuildError(_failed(failures, skipped, len(missing)))


def _failed(failures: list[Failure], skipped: list[Job], asked: int) -> str:
    finished = asked - len(failures) - len(skipped)
    lines = [failure.text for failure in failures]
    lines.append(
        f"{_chapters(len(failures))} could not be executed. {_chapters(finished)} executed and "
        f"kept, {_chapters(len(skipped))} not started. The site is as it was."
    )
    return "\n\n".join(lines)


def _named(chosen: list[Chapter]) -> str:
    return ", ".join(chapter.id for chapter in chosen)


def _chapters(number: int) -> str:
    return f"{number} chapter" + ("" if number == 1 else "s")


def stored(results: Store, key: str, chapter: Chapter, say: Progress) -> Result | None:
    """Return the stored result under a key; say and remove it where it is damaged."""
    try:
        found = results.get(key)
    except DamagedError as error:
        say.warn(
            f"The stored result of {chapter.id} is damaged: {error}. "
            "It is removed, and the chapter is executed again."
        )
        results.remove(key)
        return None
    if found is not None:
        results.touch(found)
    return found


def result_meta(root: Path, job: Job, seconds: float) -> dict[str, Any]:
    """Return what is recorded beside a result."""
    return {
        "chapter": job.chapter.id,
        "title": job.chapter.title,
        "profile": job.values["profile"],
        "parameters": job.values,
        "seconds": seconds,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine.machine(),
        "versions": machine.versions(root),
    }


class Keys:
    """The keys of results, for the code as it is now."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.graph = Graph(PACKAGE)
        self._digests: dict[Path, str] = {}
        lock_file = root / "requirements.txt"
        self._common = {
            "format": 1,
            "requirements": digest(lock_file) if lock_file.is_file() else "",
            "versions": machine.versions(root),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "device": machine.device(),
        }

    def of(self, chapter: Chapter, values: dict[str, Any]) -> str:
        """Return the hash of all that the chapter's result depends on."""
        return digest(json.dumps(self.parts(chapter, values), sort_keys=True))

    def parts(self, chapter: Chapter, values: dict[str, Any]) -> dict[str, Any]:
        """Return what the key is the hash of, by name: to see why two keys differ."""
        used, _ = self.graph.used_by(chapter.code)
        modules = {*self.graph.closure(used), *EXECUTION} & self.graph.modules.keys()
        code = {self.graph.modules[name] for name in modules}
        # Data and settings that lie beside the code.
        folders = {path.parent for path in code if path.parent != self.graph.folder}
        code |= {p for folder in folders for p in _files(folder.iterdir()) if p.suffix != ".py"}
        results = _files((self.root / "results" / chapter.paper).rglob("*"))
        # Of kept paper-size results, the chapter shows its own, beside its quick ones.
        shown = kept.path(self.root, chapter.id) if values["profile"] == QUICK else None
        others = {*kept_files(self.root)} - {shown}
        results = [path for path in results if path not in others]
        return {
            **self._common,
            "source": chapter.source_digest,
            "values": values,
            "claims": claims_of(self.root, chapter),
            "code": self._digests_of(code, self.graph.folder),
            "results": self._digests_of(results, self.root),
        }

    def external(self, chapter: Chapter) -> set[str]:
        """Return the top-level names of all that the chapter can import from elsewhere."""
        used, found = self.graph.used_by(chapter.code)
        return set(found).union(*(self.graph.externals(m) for m in self.graph.closure(used)))

    def _digests_of(self, paths, start: Path) -> dict[str, str]:
        for path in paths:
            if path not in self._digests:
                self._digests[path] = digest(path)
        return {p.relative_to(start).as_posix(): self._digests[p] for p in paths}


def _files(paths) -> list[Path]:
    """Those of some paths that are files which somebody means to be there."""
    return [p for p in paths if p.is_file() and not p.name.startswith(".")]


def claims_of(root: Path, chapter: Chapter) -> Any:
    """Return the chapter's entries of its paper's claims.toml, which its page shows."""
    path = root / "notebooks" / chapter.paper / "claims.toml"
    if not path.is_file():
        return None
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BookError(f"{path} is not valid TOML: {error}.") from error
    claims = [
        claim
        for claim in table.pop("claim", [])
        if isinstance(claim, dict) and claim.get("chapter") == chapter.id
    ]
    return json.loads(json.dumps([table, claims], default=str))


def materialise(root: Path, chapter: Chapter, result: Result) -> None:
    """Put a result where the book reads it; files that are already so are not touched."""
    folder = root / "book" / chapter.paper
    for path, content in result.files("tables").items():
        write_changed(folder / "tables" / path, content.read_bytes())
    tables = folder / "tables" / chapter.name
    if tables.is_dir():
        listed = set(result.files(f"tables/{chapter.name}"))
        for path in [p for p in tables.rglob("*") if p.is_file()]:
            if path.relative_to(tables).as_posix() not in listed:
                path.unlink()
    # The notebook comes last: where it is new, all that it refers to is there.
    write_changed(folder / f"{chapter.name}.ipynb", result.notebook.read_bytes())


def remove_stale(root: Path, every: list[Chapter]) -> None:
    """Remove from book/ the executed chapters that have no source any more."""
    known = {chapter.id for chapter in every}
    book = root / "book"
    for path in [*book.glob("*/*.ipynb"), *book.glob("*/tables/*")]:
        paper = path.relative_to(book).parts[0]
        is_product = sources.NAME.fullmatch(path.stem if path.is_file() else path.name)
        if is_product and f"{paper}/{path.stem}" not in known:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


# ---------------------------------------------------------------- claims


def settle_claims(
    root: Path, results: dict[str, Result], profile: str, stored: dict[str, Any], whole: bool
) -> str:
    """Write the ledger of all claims; return its summary.

    Parameters
    ----------
    stored : dict
        The kept paper-size runs, as ``kept_results`` gives them.
    whole : bool
        Whether `results` are all chapters. If not, nothing is written, and a claim of another
        chapter is no matter.

    Raises
    ------
    BuildError
        A claim does not hold, or was not measured.
    """
    papers = [root / "notebooks" / paper for paper in {name.split("/")[0] for name in results}]
    paths = [path for paper in papers if (path := paper / "claims.toml").is_file()]
    if not paths:
        return "No claims."
    from ncbook.claims import ledger, schema

    try:
        if whole:
            registry = schema.registry(root)
        else:
            claims = [claim for path in paths for claim in schema.load(path)]
            registry = {claim.id: claim for claim in claims if claim.chapter in results}
    except schema.ClaimsError as error:
        raise BuildError(str(error)) from error
    folders = {chapter: (result.folder, result.key) for chapter, result in results.items()}
    try:
        rows = ledger.collect(registry, folders, profile, stored)
    except schema.ClaimsError as error:
        raise BuildError(str(error)) from error
    if whole:
        ledger.write(rows, root)
    summary = ledger.summary_line(rows)
    if broken := ledger.broken(rows):
        texts = [in_words(row) for row in broken]
        raise BuildError("\n".join([*texts, "", summary, "The site is as it was."]))
    return summary


# ---------------------------------------------------------------- kept paper-size results


def kept_files(root: Path) -> list[Path]:
    """Return the files of kept paper-size results that there are."""
    return [p for p in (root / "results").glob("*/*.json") if sources.NAME.fullmatch(p.stem)]


def check_kept(root: Path, every: list[Chapter]) -> None:
    """Make sure that all kept results belong to a chapter.

    Raises
    ------
    BuildError
        A file does not; the message names it.
    """
    known = {kept.path(root, chapter.id) for chapter in every}
    if strange := sorted(set(kept_files(root)) - known):
        raise BuildError(
            f"{strange[0]} holds kept results of a chapter that there is not. "
            "Give it the name of its chapter, or remove it."
        )


def kept_results(root: Path, chosen: list[Chapter], profile: str) -> dict[str, Any]:
    """Return the kept paper-size runs of some chapters, by chapter.

    A build in another profile than the quick one has none: it measures the same itself.

    Raises
    ------
    BuildError
        A file is malformed, or has a measurement of a claim that is not registered.
    """
    from ncbook.claims import schema

    found = {}
    for chapter in chosen if profile == QUICK else ():
        if kept.path(root, chapter.id).is_file():
            try:
                found[chapter.id] = kept.read(root, chapter.id, claims_in(root, chapter))
            except schema.ClaimsError as error:
                raise BuildError(str(error)) from error
    return found


def claims_in(root: Path, chapter: Chapter) -> dict[str, Any]:
    """Return a chapter's registered claims by their ids."""
    from ncbook.claims import schema

    path = root / "notebooks" / chapter.paper / "claims.toml"
    if not path.is_file():
        return {}
    return {claim.id: claim for claim in schema.load(path) if claim.chapter == chapter.id}


def keep(root: Path, named: str) -> tuple[Path, list[str]]:
    """Keep a chapter's paper-size results in ``results/``, as the last such build measured them.

    They are kept as they came out, whether or not a claim holds.

    Parameters
    ----------
    root : Path
        The book's root folder.
    named : str
        The chapter: its id or its name.

    Returns
    -------
    path, claims
        The file, and the verdict on each of the chapter's claims in words.

    Raises
    ------
    BookError
        There is no such chapter, it has no paper profile, or there is no result of the paper
        profile that was made by the code as it is now.
    """
    root = Path(root).resolve()
    chapter = sources.find(sources.discover(root), named)
    checkout = machine.checkout(root)
    own = {path.relative_to(root).as_posix() for path in kept_files(root)}
    if changed := [name for name in checkout.changed if name not in own]:
        raise BuildError(
            f"Results are kept from a clean commit alone, and {changed[0]} differs from "
            f"{checkout.commit}. Commit it, or take it away."
        )
    if checkout.problem:
        raise BuildError(
            f"Results are kept from a commit alone, and there is none here: {checkout.problem}."
        )
    keys = Keys(root)
    values = chapter.values("paper")
    again = f"Make one: python -m ncbook build --profile paper --chapter {chapter.id}"
    try:
        result = Store(root / "_build" / "store").get(keys.of(chapter, values))
    except DamagedError as error:
        raise BuildError(
            f"The paper-size result of {chapter.id} is damaged: {error}. {again}"
        ) from error
    if result is None:
        raise BuildError(
            f"There is no paper-size result of {chapter.id} by the code as it is now. {again}"
        )
    from ncbook.claims import ledger, schema

    try:
        claims = claims_in(root, chapter)
        rows = ledger.collect(claims, {chapter.id: (result.folder, result.key)}, "paper")
    except schema.ClaimsError as error:
        raise BuildError(str(error)) from error
    measured = {row.claim.id: row.record for row in rows if row.record}
    if not measured:
        raise BuildError(f"The paper-size run of {chapter.id} measured no claim: nothing to keep.")
    facts = {name: result.meta[name] for name in ("made", "seconds", "machine", "versions")}
    path = kept.write(
        root,
        kept.Kept(
            chapter=chapter.id,
            commit=checkout.commit,
            parameters=values,
            code=kept.code(root, chapter.id),
            confirmed=None,
            measured=measured,
            **facts,
        ),
    )
    return path, [in_words(row) for row in rows]


# ---------------------------------------------------------------- one chapter, other values


def run_one(
    root: Path,
    named: str,
    given: dict[str, str],
    profile: str = QUICK,
    output: Path | None = None,
    say: Progress | None = None,
) -> tuple[Path, list[str]]:
    """Execute one chapter with chosen values, outside the book.

    Parameters
    ----------
    root : Path
        The book's root folder.
    named : str
        The chapter: its id or its name.
    given : dict
        Parameters by name, their values as text.
    profile : str
        The profile that the other parameters take their values from.
    output : Path, optional
        The folder for the result; ``runs/<NN-name>-<key>`` without it.
    say : Progress, optional
        Told how it gets on.

    Returns
    -------
    folder, claims
        Where the result is, and the verdict on each of the chapter's claims in words.

    Raises
    ------
    BookError
        There is no such chapter, profile or parameter; the folder cannot be used; it raised.
    """
    root, say = Path(root).resolve(), say or Progress()
    chapter = sources.find(sources.discover(root), named)
    values = chapter.values(profile, {k: chapter.parsed(k, v) for k, v in given.items()})
    stored = kept_results(root, [chapter], profile)
    keys = Keys(root)
    key = keys.of(chapter, values)
    folder = _run_folder(root, output, f"{chapter.name}-{key[:8]}")
    temporary = folder.parent / f".{folder.name}-{os.getpid()}{PART}"
    workers = Workers(root, 1, say)
    if "matplotlib" in keys.external(chapter):
        workers.prepare_fonts()
    try:
        failures, _ = workers.run(
            [Job(chapter, values, temporary)],
            lambda job, took: _keep_run(root, job, took, key, folder),
        )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if failures:
        raise BuildError(failures[0].text)
    from ncbook.claims import ledger

    folders = {chapter.id: (folder, key)}
    rows = ledger.collect(claims_in(root, chapter), folders, profile, stored)
    return folder, [in_words(row) for row in rows]


def _run_folder(root: Path, output: Path | None, name: str) -> Path:
    folder = (Path(output) if output else root / "runs" / name).resolve()
    for own in ("book", "notebooks", "ncbook", "_build"):
        if folder.is_relative_to(root / own):
            raise UsageError(
                f"{folder} lies in the book's own {own}/. Choose a folder outside it, or none: "
                "then runs/ is used."
            )
    earlier = (folder / RUN).is_file() or not (folder.exists() and any(folder.iterdir()))
    if folder.is_file() or not earlier:
        raise UsageError(f"{folder} is not empty and no earlier run. Choose another --output.")
    check_writable(folder.parent)
    if output is None:
        write_changed(folder.parent / ".gitignore", "# results of runs by hand\n*\n")
        for left in folder.parent.glob(f".*{PART}"):
            # What a killed run left; its name ends with the number of its process.
            if not _alive(int(left.name.removesuffix(PART).rpartition("-")[2])):
                shutil.rmtree(left)
    return folder


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def _keep_run(root: Path, job: Job, seconds: float, key: str, folder: Path) -> None:
    os.replace(job.result / NOTEBOOK, job.result / f"{job.chapter.name}.ipynb")
    meta = result_meta(root, job, seconds) | {"key": key}
    write_atomic(job.result / RUN, json.dumps(meta, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(job.result, folder)


def in_words(row) -> str:
    """Return one row of the ledger as lines of text."""
    from ncbook.claims import page

    return page.text(row)


# ---------------------------------------------------------------- folders


def check_writable(folder: Path) -> None:
    """Make a folder where there is none, and make sure that it can be written.

    Raises
    ------
    BuildError
        It cannot; the message says why and what to do.
    """
    probe = folder / f".probe-{os.getpid()}{PART}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except (FileExistsError, NotADirectoryError) as error:
        raise BuildError(
            f"{folder} must be a folder, and a file is in its place. Rename or remove that file."
        ) from error
    except OSError as error:
        raise BuildError(
            f"The build cannot write in {folder} ({error.strerror}). Make this folder writable, "
            "or free some space if there is none."
        ) from error


@contextmanager
def lock(path: Path, say: Progress):
    """Hold the lock of the build; wait, and say so, while another build holds it."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            say.say(f"Another build of this book runs ({holder}); waiting for it to finish ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        now = time.strftime("%H:%M:%S")
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}, since {now}\n")
        file.flush()
        yield file.fileno()


def clean_up(root: Path) -> None:
    """Remove what a killed build left half done."""
    shutil.rmtree(root / "_build" / "tmp", ignore_errors=True)
    for folder in ("book", "_build"):
        for left in (root / folder).glob(f"**/.*{PART}"):
            left.unlink(missing_ok=True)


def clean(root: Path, everything: bool = False, say: Progress | None = None) -> None:
    """Remove what the build made; the stored results of chapters only if `everything` is to go."""
    root, say = Path(root).resolve(), say or Progress()
    check_writable(root / "_build")
    with lock(root / "_build" / "lock", say):
        kept = {"lock"} if everything else {"lock", "store", "cache"}
        made = [p for p in (root / "_build").iterdir() if p.name not in kept]
        made += [root / "book" / "_generated", root / "book" / "_static" / "plotly.min.js"]
        for path in made:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        remove_stale(root, [])

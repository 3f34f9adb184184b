"""The book's machinery at the command line: ``python -m ncbook --help``."""

import errno
import functools
import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ncbook import files
from ncbook.files import BookError, UsageError

app = typer.Typer(
    help="Build the book, run a chapter, ask for the claims.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

sets = typer.Typer(invoke_without_command=True)
app.add_typer(sets, name="data", help="List the data sets; download one.")

# What can be wrong with a folder at any moment, and is said in a sentence.
FOLDERS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE,
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY
)  # fmt: skip

Profile = Annotated[
    str, typer.Option(help="quick: minutes on two cores. paper: the paper's own sizes.")
]

Jobs = Annotated[int | None, typer.Option(min=1, help="Most at once; the cores by default.")]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Of a Dask cluster: tcp://host:8786, or the file that it wrote."),
]


def report_errors(command):
    """Make a command end with a sentence and an exit status where it cannot do what was asked."""

    @functools.wraps(command)
    def wrapped(*arguments, **options):
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            return command(*arguments, **options)
        except BookError as error:
            _stop(str(error), error.status)
        except KeyboardInterrupt as stop:
            _stop(
                "Stopped. What was finished is kept, and the same command resumes.",
                stop.args[0] if stop.args else 130,
            )
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] == "ncbook":
                raise
            _stop(
                f"{error.name} is not installed. What makes the book needs it: run this in a "
                "checkout of the book, whose environment make book completes.",
                1,
            )
        except OSError as error:
            if error.errno not in FOLDERS:
                raise
            _stop(f"{error}.", 1)

    return wrapped


def _interrupt(number, frame):
    raise KeyboardInterrupt(128 + number)


def _stop(message: str, status: int):
    print(message, file=sys.stderr)
    raise typer.Exit(status)


def _root() -> Path:
    try:
        return files.root()
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error


@contextmanager
def _book():
    """The book that is meant, which says on the terminal how it gets on."""
    from ncbook.pipeline.book import Book
    from ncbook.progress import Progress

    root = _root()
    with Progress(terminal=sys.stdout.isatty()) as say:
        yield Book(root, say)


def _given(parameter: list[str] | None, example: str) -> dict[str, str]:
    """Return parameters by name, as they were typed."""
    given = {}
    for text in parameter or ():
        name, equals, value = text.partition("=")
        if not (equals and name.strip()):
            raise UsageError(f"-p {text!r} is not NAME=VALUE, such as -p {example}.")
        given[name.strip()] = value.strip()
    return given


@app.command()
@report_errors
def build(
    profile: Profile = "quick",
    jobs: Jobs = None,
    chapter: Annotated[
        list[str] | None,
        typer.Option(help="Execute only this chapter, and leave the site (may be repeated)."),
    ] = None,
    scheduler: Scheduler = None,
) -> None:
    """Execute the chapters that changed, check the claims, make the site."""
    from ncbook import build as builder

    with _book() as book:
        built = builder.build(book, profile, jobs, chapter or (), scheduler=scheduler)
    print(built.ledger)
    if built.site:
        print(f"The book: {built.site}")
    else:
        print(f"Executed: {', '.join(f'book/{name}.ipynb' for name in built.outcome.results)}")


@app.command()
@report_errors
def run(
    chapter: Annotated[str, typer.Argument(help="Its id or name, such as 04-figure-1.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="May be repeated."),
    ] = None,
    profile: Profile = "quick",
    output: Annotated[
        Path | None, typer.Option(help="Folder for the result; one in runs/ by default.")
    ] = None,
) -> None:
    """Run one chapter with other parameters; the book stays as it is."""
    from ncbook.pipeline import by_hand

    with _book() as book:
        given = _given(parameter, "seeds=20")
        folder, verdicts = by_hand.run(book, chapter, given, profile, output)
    for verdict in verdicts:
        print(verdict)
    print(f"The result: {folder}")


@app.command()
@report_errors
def sweep(
    chapter: Annotated[str, typer.Argument(help="Its id or name, such as 04-figure-1.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE,VALUE", help="May be repeated."),
    ] = None,
    profile: Profile = "quick",
    output: Annotated[
        Path | None, typer.Option(help="Folder for the table; one in runs/ by default.")
    ] = None,
    jobs: Jobs = None,
    scheduler: Scheduler = None,
) -> None:
    """Run one chapter over a grid of its parameters; the book stays as it is.

    What was run before is not run again. In the end there is one table, and a figure.
    """
    from ncbook.pipeline import sweeping

    with _book() as book:
        given = _given(parameter, "seeds=10,20")
        folder, rows = sweeping.sweep(book, chapter, given, profile, output, jobs, scheduler)
    verdicts = [row["verdict"] for row in rows if row["quantity"] == "claim"]
    counted = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    print(f"{len(verdicts)} claims were measured: {counted}" if verdicts else "No claims.")
    print(f"The table: {folder / sweeping.TABLE}")


@app.command()
@report_errors
def keep(
    chapter: Annotated[str, typer.Argument(help="Its id or name, such as 04-figure-1.")],
) -> None:
    """Keep a chapter's paper-size results in results/, for the quick book to show beside its own.

    They are those of the last build with the profile "paper" that executed the chapter.
    """
    from ncbook.pipeline import keeping

    with _book() as book:
        path, verdicts = keeping.keep(book, chapter)
    for verdict in verdicts:
        print(verdict)
    print(f"Kept: {path}")


@app.command()
@report_errors
def halve(
    chapter: Annotated[
        list[str] | None, typer.Argument(help="Ids or names; all chapters without them.")
    ] = None,
    jobs: Jobs = None,
) -> None:
    """Run chapters with all steps and tolerances halved: how far does each claim's value move?

    The table is kept in results/halving.json and shown in the ledger.
    """
    from ncbook.pipeline import halving

    with _book() as book:
        found, claims = halving.halve(book, chapter or (), jobs), book.claims()
        path = halving.write(book, found)
    moved = [
        (halving.share(claims[id], value, by), id, (value, other))
        for one in found.values()
        for id, (value, other, by) in one["claims"].items()
    ]
    for share, id, (value, other) in sorted(moved, reverse=True):
        if share > 0:
            print(f"{share:8.1%}  {id}: {value:.6g}, halved {other:.6g}")
    still = sum(share == 0 for share, _, _ in moved)
    print(f"{still} of {len(moved)} claims do not move at all. The table: {path}")
    if too_far := [id for share, id, _ in moved if not share <= halving.MOST]:
        raise BookError(
            f"{len(too_far)} claims move by more than {halving.MOST:.0%} of their tolerance: "
            f"{', '.join(too_far)}. Make the methods' steps or tolerances in their chapters finer."
        )


@app.command()
@report_errors
def exercises(
    chapter: Annotated[
        list[str] | None, typer.Argument(help="Ids or names; all chapters without them.")
    ] = None,
    jobs: Jobs = None,
) -> None:
    """Run the exercises that are to be run: does what they say happen?"""
    from ncbook import machine
    from ncbook.pipeline import exercises as tasks
    from ncbook.pipeline.workers import Workers

    with _book() as book:
        chosen = [book.find(name) for name in chapter] if chapter else book.chapters
        every = [one for c in chosen for one in tasks.of_chapter(c, book.claims(c))]
        workers = Workers(book.root, jobs or machine.cores(), book.say, book.fonts)
        with tempfile.TemporaryDirectory() as work:
            found = tasks.run(book, every, workers, Path(work))
    wrong = [f"{label}: {said}" for label, lines in found.items() for said in lines]
    right = sum(not lines for lines in found.values())
    print(f"{right} of {len(found)} exercises come out as they say.")
    if wrong:
        raise BookError("\n".join(wrong))


@app.command()
@report_errors
def new(
    chapter: Annotated[str, typer.Argument(help="PAPER/NN-name.")],
    title: Annotated[str | None, typer.Option(help="The chapter's title.")] = None,
    citation: Annotated[
        str | None, typer.Option(help="A new paper's key in book/references.bib.")
    ] = None,
) -> None:
    """Write a new chapter that builds at once: a figure, a claim with its control, an exercise."""
    from ncbook.pipeline import new as writer

    with _book() as book:
        written = writer.new(book, chapter, title, citation)
    print("\n".join(f"Written: {path}" for path in written))


@app.command()
@report_errors
def pdf(
    output: Annotated[Path, typer.Option(help="The file.")] = Path("_build/book.pdf"),
) -> None:
    """Print the book that was built into one PDF, with bookmarks, numbers and links that work."""
    from ncbook.pipeline import pdf as printer

    with _book() as book:
        path, lost = printer.make(book, output if output.is_absolute() else book.root / output)
    print(f"The PDF: {path}")
    if lost:
        print(f"{len(lost)} links lead to what it does not have, such as {lost[0]}.")


@app.command()
@report_errors
def release(
    with_pdf: Annotated[bool, typer.Option("--pdf/--no-pdf", help="With the PDF?")] = True,
    jobs: Jobs = None,
) -> None:
    """Build the book, and make of it what an archive needs: in _build/release, and as a .zip.

    From a clean commit alone, of the version that pyproject.toml and CITATION.cff name.
    """
    from ncbook import build as builder
    from ncbook.pipeline import release as releasing

    with _book() as book:
        plan = releasing.plan(book, with_pdf)
        make = functools.partial(releasing.make, plan=plan)
        print(builder.build(book, jobs=jobs, make_site=make).ledger)
    print(f"The release: {plan.folder}")
    print(f"As one file: {plan.archive} (SHA-256 {files.digest(plan.archive)})")


@app.command()
@report_errors
def confirm(
    chapter: Annotated[str, typer.Argument(help="Its id or name, such as 04-figure-1.")],
    why: Annotated[str, typer.Option(help="Why the change does not alter what is measured.")],
) -> None:
    """Confirm kept results that are stale: they hold for the code of this clean commit, too."""
    from ncbook.pipeline import keeping

    with _book() as book:
        print(f"Confirmed: {keeping.confirm(book, chapter, why)}")


@app.command()
@report_errors
def claims(
    as_json: Annotated[bool, typer.Option("--json", help="The whole ledger, as JSON.")] = False,
) -> None:
    """List the claims of the papers with their verdicts, as of the last build."""
    from ncbook.claims import ledger

    with _book() as book:
        path = book.made / "ledger.json"
        if not path.is_file():
            raise BookError("There is no ledger yet. Build the book first: make book.")
        rows = ledger.from_json(path.read_text(encoding="utf-8"), book.claims())
    if as_json:
        print(ledger.to_json(rows), end="")
        return
    width = max(len(row.verdict.name) for row in rows)
    for row in rows:
        print(f"{row.verdict.name:<{width}}  {row.claim.id}  ({row.claim.place})")
    print(ledger.summary_line(rows))


@app.command()
@report_errors
def measure(
    file: Annotated[
        Path,
        typer.Argument(help="An .npz: features (n, D), labels (n,), or also W (K, D), b (K,)."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Measure the collapse of features in a file: NC1 to NC4 in each paper's definition."""
    from ncbook import measure as measuring

    measured = measuring.measure(file)
    if as_json:
        print(measuring.as_json(measured))
    else:
        measuring.show(measured)


@app.command()
@report_errors
def chapters() -> None:
    """List the chapters with their parameters and profiles."""
    with _book() as book:
        every = book.chapters
    for chapter in every:
        print(f"{chapter.id}: {chapter.title}")
        for name, parameter in chapter.parameters.items():
            if name != "profile":
                comment = f"  # {parameter.comment}" if parameter.comment else ""
                print(f"    {name} = {parameter.default!r} ({parameter.kind}){comment}")
        for name, values in chapter.profiles.items():
            changes = ", ".join(f"{k} = {v!r}" for k, v in values.items())
            print(f"    profile {name}: {changes or 'the values above'}")


@sets.callback()
@report_errors
def data(context: typer.Context) -> None:
    """List the data sets: what they are, where they come from, whether they are here."""
    from ncbook.data import catalogue

    if context.invoked_subcommand:
        return
    for entry in catalogue.available():
        print(f"{entry.pop('name')}")
        for key, value in entry.items():
            print(f"    {key}: {value}")


@sets.command()
@report_errors
def fetch(
    name: Annotated[str, typer.Argument(help="The data set: mnist, cifar10 or cifar100.")],
) -> None:
    """Download a data set, or what is missing of it; the same command goes on with a part."""
    from ncbook.data import cifar, mnist_files
    from ncbook.progress import Progress

    fetches = {"mnist": ("MNIST", mnist_files.fetch)} | {
        one: (archive.title, functools.partial(cifar.fetch, one))
        for one, archive in cifar.ARCHIVES.items()
    }
    if name not in fetches:
        raise UsageError(
            f"There is no data set {name!r} to download; there is: {', '.join(fetches)}."
        )
    title, download = fetches[name]
    with Progress(terminal=sys.stdout.isatty()) as say:
        running = ""

        def report(file: str, done: int, total: int | None) -> None:
            nonlocal running
            if file != running:
                if running:
                    say.end(running)
                say.begin(file)
                running = file
            say.step(file, done, total or done)

        place = download(report)
        if running:
            say.end(running)
    print(f"{title} is at hand: {place}")
    if (named := os.environ.get("NCBOOK_DATA")) is not None:
        print(
            f"It is not read as long as NCBOOK_DATA is set, to {named!r}: unset it, or set it to "
            "this folder."
        )


@app.command()
@report_errors
def clean(
    everything: Annotated[
        bool, typer.Option("--all", help="Also the stored results of the chapters.")
    ] = False,
) -> None:
    """Remove what the build made; it can all be made again."""
    from ncbook import build as builder

    with _book() as book:
        builder.clean(book, everything)


@app.command()
@report_errors
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
) -> None:
    """Show the book at an address of this machine, until Ctrl-C."""
    import http.server

    site = _root() / "_build" / "html"
    if not (site / "index.html").is_file():
        raise BookError("There is no site yet. Build the book first: make book.")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            # A book that was built anew is seen at once.
            self.send_header("Cache-Control", "no-cache")
            super().end_headers()

        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=str(site))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise BookError(
            f"Cannot serve at port {port} ({error.strerror}). Choose another: --port 0 takes "
            "any that is free."
        ) from error
    print(f"The book: http://127.0.0.1:{server.server_address[1]}/  (Ctrl-C ends)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()


def main() -> None:
    """Run the command line."""
    app(prog_name="python -m ncbook")

"""The book: one object that knows where everything is and what there is."""

from collections.abc import Container
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ncbook import machine
from ncbook.claims import kept, schema
from ncbook.files import BookError
from ncbook.pipeline import chapters as sources
from ncbook.pipeline.chapters import QUICK, Chapter
from ncbook.pipeline.keys import Keys
from ncbook.pipeline.owned import Owned
from ncbook.progress import Progress
from ncbook.store import Store


class Book:
    """A book in a folder.

    Parameters
    ----------
    root : Path
        Its folder, with ``_config.yml`` and ``notebooks/``.
    say : Progress, optional
        Told how what is done with it gets on.
    """

    def __init__(self, root: Path, say: Progress | None = None) -> None:
        self.root = Path(root).resolve()
        self.say = say or Progress()
        self.made = self.root / "_build"  # what builds make and keep
        self.pages = self.root / "book"
        self.fonts = self.made / "cache" / "matplotlib"

    @cached_property
    def chapters(self) -> list[Chapter]:
        """All chapters, in order."""
        return sources.discover(self.root)

    def find(self, named: str) -> Chapter:
        """Return the chapter that `named` means: an id, a name, or a path to either."""
        return sources.find(self.chapters, named)

    @cached_property
    def store(self) -> Store:
        """The results of chapters, by their keys."""
        return Store(self.made / "store")

    @cached_property
    def owned(self) -> Owned:
        """What the build wrote."""
        return Owned(self.root, self.say)

    def keys(self, where: dict[str, Any] | None = None) -> Keys:
        """The keys of results, for the code as it is at this moment: see `Keys`."""
        return Keys(self.root, where)

    def claims(self, chapter: Chapter | None = None) -> dict[str, schema.Claim]:
        """Return the registered claims by their ids: all of the book, or one chapter's."""
        if chapter is None:
            return schema.registry(self.root) if self.registered() else {}
        path = self.root / "notebooks" / chapter.paper / schema.FILE
        if not path.is_file():
            return {}
        return {claim.id: claim for claim in schema.load(path) if claim.chapter == chapter.id}

    def registered(self) -> bool:
        """Whether any paper registers claims."""
        return any((self.root / "notebooks").glob(f"*/{schema.FILE}"))

    def kept(self, chosen: list[Chapter], profile: str) -> dict[str, Any]:
        """Return the kept paper-size runs of some chapters, by chapter.

        A build in another profile than the quick one has none: it measures the same itself.
        """
        found = {}
        for chapter in chosen if profile == QUICK else ():
            run = kept.read(self.root, chapter.id, self.claims(chapter))
            if run is None:
                continue
            if "paper" not in chapter.profiles or chapter.values("paper") != run.parameters:
                run = replace(run, changed=(*run.changed, kept.PROFILE))
            found[chapter.id] = run
        return found

    def clean_commit(self, done: str, but_for: Container[str] = ()) -> str:
        """Return the short name of the commit that is checked out.

        Parameters
        ----------
        done : str
            What is done from a clean commit alone, such as "A release is made".
        but_for : container of str
            Files that may differ from the commit.

        Raises
        ------
        BookError
            There is no commit, or a file differs from it.
        """
        checkout = machine.checkout(self.root)
        if checkout.problem:
            raise BookError(f"{done} from a commit, and there is none: {checkout.problem}.")
        if changed := [name for name in checkout.changed if name not in but_for]:
            raise BookError(
                f"{done} from a clean commit alone, and {changed[0]} differs from "
                f"{checkout.commit}. Commit it, or take it away."
            )
        return checkout.commit

    def kept_files(self) -> list[Path]:
        """Return the files of kept paper-size results that there are."""
        every = (self.root / "results").glob("*/*.json")
        return [path for path in every if sources.NAME.fullmatch(path.stem)]

    def check_kept(self) -> None:
        """Make sure that all kept results belong to a chapter.

        Raises
        ------
        BookError
            A file does not; the message names it.
        """
        known = {kept.path(self.root, chapter.id) for chapter in self.chapters}
        if strange := sorted(set(self.kept_files()) - known):
            raise BookError(
                f"{strange[0]} holds kept results of a chapter that there is not. "
                "Give it the name of its chapter, or remove it."
            )

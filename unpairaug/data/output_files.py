"""Writes the files of one command: a file that cannot be written does not prevent the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from unpairaug.data.files import WriteError
from unpairaug.errors import RunStopped, UserError

MAX_LISTED = 10
"""Messages that an error lists; further ones are only counted."""


@dataclass
class OutputFiles:
    """Counts the files that a command wrote, and collects the errors of those that it could not write."""

    written: int = 0
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Write one file in this block; a `WriteError` is recorded instead of raised."""
        try:
            yield
        except WriteError as error:
            self.errors.append(str(error))
        else:
            self.written += 1

    def check_complete(self, unreadable: Sequence[str] = (), what: str = "files", place: str = "") -> None:
        """Raise one error for all missing files.

        Args:
            unreadable: messages about input files without an output.
            what: the output files, in the plural.
            place: where the others are.

        Raises:
            RunStopped: a file could not be written.
            UserError: every file could be written, but some input files could not be read.
        """
        missing = [*self.errors, *unreadable]
        if not missing:
            return
        total = self.written + len(missing)
        where = f" to {place}" if place else ""
        more = [f"and {len(missing) - MAX_LISTED} more"] if len(missing) > MAX_LISTED else []
        lines = [f"{len(missing)} of {total} {what} not written; {self.written} written{where}:", *missing[:MAX_LISTED]]
        raise (RunStopped if self.errors else UserError)("\n".join([*lines, *more]))

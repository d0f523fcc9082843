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

    def add(self, others: OutputFiles) -> None:
        """Add the files of another process."""
        self.written += others.written
        self.errors += others.errors

    def check_complete(self, unreadable: Sequence[str] = (), heading: str = "") -> None:
        """Raise one error for all files that are missing.

        Args:
            unreadable: messages about input files that could not be processed.
            heading: what these messages are about.

        Raises:
            RunStopped: a file could not be written.
            UserError: every file could be written, but some input files could not be processed.
        """
        lines: list[str] = []
        if self.errors:
            total = self.written + len(self.errors)
            lines += _list_messages(
                f"{len(self.errors)} of {total} files not written; {self.written} written:", self.errors
            )
        if unreadable:
            lines += _list_messages(heading, unreadable)
        if lines:
            raise (RunStopped if self.errors else UserError)("\n".join(lines))


def _list_messages(heading: str, messages: Sequence[str]) -> list[str]:
    more = [f"and {len(messages) - MAX_LISTED} more"] if len(messages) > MAX_LISTED else []
    return [heading, *messages[:MAX_LISTED], *more]

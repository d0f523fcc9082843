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
    disk_error: WriteError | None = None
    """The last error that is the disk's fault."""

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Write one file in this block; a `WriteError` is recorded instead of raised."""
        try:
            yield
        except WriteError as error:
            self.errors.append(str(error))
            if error.is_of_disk:
                self.disk_error = error
        else:
            self.written += 1

    def add(self, others: OutputFiles) -> None:
        """Add the files of another process."""
        self.written += others.written
        self.errors += others.errors

    def stop_on_disk_error(self, total: int) -> None:
        """Raise an error where the disk could not be written: no further file could be.

        Args:
            total: files that were to be written.

        Raises:
            RunStopped: the disk is at fault; the message counts what was written.
        """
        if self.disk_error is not None:
            raise RunStopped(f"{self.disk_error}; {self.written} of {total} files are written, and the others are not")

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

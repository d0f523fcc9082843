"""Errors that end a program with one message instead of a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress

MAX_MESSAGE = 2000
"""Characters of a message; names and texts of others can have any length."""
MAX_NAME = 500
"""Characters of a name within it."""


class _MessageError(Exception):
    """An error whose text can be shown: others' names in it cannot steer a terminal, nor fill it."""

    def __str__(self) -> str:
        return format_message(super().__str__())


class UserError(_MessageError):
    """What the user gave is wrong; the message says what was given, what was expected and what to do. Exit code 2."""

    is_of_one_process = False
    """Whether only this process has found the error, so that it prints the message whatever its rank."""


class RunStopped(_MessageError):
    """A run ended before its last step; the message says why, what is kept and how to go on. Exit code 1."""

    exit_code = 1
    is_of_one_process = False
    """Whether this process prints the message whatever its rank."""


class RunPreempted(RunStopped):
    """SIGUSR1 has stopped a run, which a scheduler may start again. Exit code 75 (EX_TEMPFAIL of sysexits.h)."""

    exit_code = 75


def format_install(extra: str) -> str:
    """The commands that install an extra of this package."""
    return f"pip install 'unpairaug[{extra}]', or pip install -e '.[{extra}]' in a clone"


def escape(name: object) -> str:
    """A path or foreign text for a message: on one line, of readable length, control characters escaped."""
    text = os.fspath(name) if isinstance(name, os.PathLike) else str(name)
    if len(text) > MAX_NAME:
        text = f"{text[: MAX_NAME // 2]}… ({len(text)} characters) …{text[-MAX_NAME // 4 :]}"
    return _escape_characters(text)


def format_message(text: str) -> str:
    """A message for people: at most `MAX_MESSAGE` characters, with control characters but line breaks escaped."""
    start = escape_lines(text[:MAX_MESSAGE])
    if len(text) <= MAX_MESSAGE and len(start) <= MAX_MESSAGE:
        return start
    note = f" … (cut here: the message has {len(text)} characters)"
    return start[: MAX_MESSAGE - len(note)] + note


def escape_lines(text: str) -> str:
    """A text of several lines with control characters escaped, as a command prints it."""
    return "\n".join(map(_escape_characters, text.split("\n")))


def _escape_characters(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def run_cli(program: Callable[[], object]) -> None:
    """Run a program; print a `UserError` or `RunStopped` as one message on stderr and exit with its code."""
    try:
        program()
    except (UserError, RunStopped) as error:
        # All processes find the same mistake and one prints it, unless only this process has found it.
        if os.environ.get("RANK", "0") == "0" or error.is_of_one_process:
            with suppress(OSError):  # without a reader, or on a full disk, the exit code says it alone
                print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(error, UserError) else error.exit_code)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = escape(error.filename)
        print(f"error: {name}: this name is too long; give a shorter one", file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr, flush=True)
        sys.exit(130)

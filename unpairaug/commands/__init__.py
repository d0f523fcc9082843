"""The `unpairaug` program: one function a command, one place where the user's mistakes are told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module

import typer

from unpairaug.errors import RunStopped, UserError

app = typer.Typer(
    help="Learn a degradation from unpaired photographs and train restoration networks on it while it is learnt.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bench_app = typer.Typer(help="Measure speed and memory on this machine.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


def _commands() -> None:
    for name in ("train", "check", "evaluate", "restore"):
        app.command(name)(getattr(import_module(f"unpairaug.commands.{name}"), name))
    bench_app.command("step")(import_module("unpairaug.commands.bench").step)


def main() -> None:
    """Entry point of the `unpairaug` program."""
    _commands()
    exit_kindly(app)


def exit_kindly(program: Callable[[], None]) -> None:
    """Run a program; what the user can mend is one message on standard error and exit code 2, without a traceback."""
    try:
        program()
    except (UserError, RunStopped) as error:
        if os.environ.get("RANK", "0") == "0":  # every process finds the same mistake; one tells it
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)

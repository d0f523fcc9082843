"""The `unpairaug` program: one function a command."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer

from unpairaug.errors import UserError, run_cli

_UsageError: Any = typer.BadParameter.__bases__[0]
"""The error of a wrong command line; which module it is of depends on typer's version."""

app = typer.Typer(
    help="Learn a degradation from unpaired photographs and train restoration networks on it while it is learnt.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bench_app = typer.Typer(help="Measure speed and memory on this machine.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


def _add_commands() -> None:
    names = ("train", "check", "compare", "evaluate", "score", "measure", "report", "restore", "degrade", "export")
    for name in (*names, "prepare", "arrange", "schema"):
        app.command(name)(getattr(import_module(f"unpairaug.commands.{name}"), name))
    app.command("list")(import_module("unpairaug.commands.list").list_known)
    app.command("new")(import_module("unpairaug.commands.new").new)
    app.add_typer(import_module("unpairaug.commands.debug").debug_app, name="debug")
    for name in ("step", "data", "augment"):
        bench_app.command(name)(getattr(import_module("unpairaug.commands.bench"), name))


def main() -> None:
    """Entry point of the `unpairaug` program."""
    _add_commands()
    run_cli(_run_app)


def _run_app() -> None:
    """Run the command of the command line; what it misuses becomes a `UserError`, whose text is safe to print."""
    try:
        code = app(standalone_mode=False)
    except _UsageError as error:
        message, context = error.format_message(), error.ctx
        if not message.strip():  # a program without arguments: its help has been printed
            sys.exit(error.exit_code)
        program = context.command_path if context else "unpairaug"
        raise UserError(f"{' '.join(message.split())}\nsee: {program} --help") from error
    sys.exit(code or 0)

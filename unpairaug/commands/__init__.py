"""The `unpairaug` program: one function a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from unpairaug.errors import UserError, run_cli
from unpairaug.process.allocator import keep_memory
from unpairaug.terminal import console

_UsageError: Any = typer.BadParameter.__bases__[0]
"""The error of a wrong command line; which module it is of depends on typer's version."""

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
bench_app = typer.Typer(help="Measure speed and memory on this machine.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


def _add_commands() -> None:
    app.callback(help=unwrap(_set_up.__doc__))(_set_up)
    names = ("train", "check", "compare", "evaluate", "score", "measure", "report", "restore", "degrade", "export")
    for name in (*names, "demo", "prepare", "arrange", "schema", "docs", "doctor"):
        _add(app, name, getattr(import_module(f"unpairaug.commands.{name}"), name))
    _add(app, "list", import_module("unpairaug.commands.list").list_known)
    _add(app, "import", import_module("unpairaug.commands.import_file").import_command)
    _add(app, "new", import_module("unpairaug.commands.new").new)
    app.add_typer(import_module("unpairaug.commands.debug").debug_app, name="debug")
    for name in ("step", "data", "augment"):
        _add(bench_app, name, getattr(import_module("unpairaug.commands.bench"), name))


def _add(program: typer.Typer, name: str, command: Callable[..., Any]) -> None:
    program.command(name, help=unwrap(command.__doc__))(command)


def unwrap(text: str | None) -> str:
    """A docstring with each paragraph on one line, so that a terminal of any width wraps it."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n"))


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from unpairaug import __version__

        print(f"unpairaug {__version__}")
        raise typer.Exit


def _set_up(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Learn a degradation from unpaired photographs, and train restoration networks on it meanwhile.

    First steps: `unpairaug train smoke` checks the installation in seconds, `unpairaug train cyclesr_sr` trains on
    sample photographs in minutes, and `unpairaug docs` lists the documentation. Colours are off with NO_COLOR=1.
    """
    console.set_quiet(quiet)
    console.log_to_console(os.environ.get("RANK", "0") == "0", sys.stderr)


def main() -> None:
    """Entry point of the `unpairaug` program."""
    keep_memory()
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

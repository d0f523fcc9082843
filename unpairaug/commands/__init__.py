"""The `unpairaug` program: one function a command."""

from __future__ import annotations

from importlib import import_module

import typer

from unpairaug.errors import run_cli

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
    for name in (*names, "prepare", "arrange"):
        app.command(name)(getattr(import_module(f"unpairaug.commands.{name}"), name))
    app.command("list")(import_module("unpairaug.commands.list").list_known)
    app.command("new")(import_module("unpairaug.commands.new").new)
    app.add_typer(import_module("unpairaug.commands.debug").debug_app, name="debug")
    for name in ("step", "data", "augment"):
        bench_app.command(name)(getattr(import_module("unpairaug.commands.bench"), name))


def main() -> None:
    """Entry point of the `unpairaug` program."""
    _add_commands()
    run_cli(app)

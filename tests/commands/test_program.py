"""What belongs to no single command: version, quiet, colours, documentation, the check of the installation, JSON."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from unpairaug import __version__
from unpairaug.bench import installation
from unpairaug.commands import _add_commands, app, unwrap
from unpairaug.commands.docs import FOLDERS, docs, find_topics
from unpairaug.errors import UserError
from unpairaug.terminal import console
from unpairaug.terminal.columns import LossTable
from unpairaug.terminal.time_left import TimeLeft

HEAVY = {"torch", "numpy", "scipy", "pydantic", "yaml", "PIL", "cv2", "huggingface_hub", "accelerate", "albumentations"}


@pytest.fixture(scope="module")
def program() -> CliRunner:
    if not app.registered_commands:
        _add_commands()
    return CliRunner()


def test_the_version_is_printed(program):
    assert program.invoke(app, ["--version"]).stdout == f"unpairaug {__version__}\n"


def test_the_help_of_each_command_has_an_example_and_wraps_at_any_width(program):
    for command in app.registered_commands:
        assert command.name and "Example: unpairaug" in (command.help or ""), command.name
    assert unwrap("One.\n\n    Two,\n    three.") == "One.\n\nTwo, three."


def test_a_topic_is_a_page_or_a_section_and_the_nearest_one_is_offered(program, capsys):
    assert "troubleshooting" in program.invoke(app, ["docs"]).stdout
    listed = {found.page.parent.name for found in find_topics().values() if found.is_page}
    assert listed <= {*FOLDERS, "docs"}, "a folder whose pages are not listed"
    docs("Colour drift")
    section = capsys.readouterr().out
    assert section.startswith("## Colour drift") and "What to change" in section and "## Collapse" not in section
    docs("troubleshooting")
    assert section.strip() in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean 'colour-drift'"):
        docs("colour-drft")
    assert find_topics()["below-baseline"].page.name == "troubleshooting.md"


def test_the_doctor_names_bad_combinations_and_how_to_mend_them(program, monkeypatch):
    versions = {"torch": "2.4.1+cpu", "torchvision": "0.21.0+cu124", "albumentationsx": "2.1.0"}
    monkeypatch.setattr(installation, "find_version", versions.get)
    monkeypatch.setattr(installation, "find_import_fault", lambda _: "")
    result = program.invoke(app, ["doctor", "--json", "-"])
    assert result.exit_code == 1
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    wrong = {name for name, check in checks.items() if check["state"] == "error"}
    assert wrong >= {"torch", "torchvision", "albumentationsx"}
    assert "built for cu124, torch for cpu" in checks["torchvision"]["found"]
    assert all(checks[name]["mend"] for name in wrong) and "ERROR" in result.stderr


@pytest.mark.parametrize(("arguments", "allowed"), [("--help", set()), ("list", {"pydantic", "yaml"})])
def test_help_and_list_import_no_heavy_package(arguments: str, allowed: set[str]):
    code = "import sys; from unpairaug.commands import app, _add_commands; _add_commands(); app(standalone_mode=False)"
    code += f"; print(*{HEAVY - allowed} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, arguments], capture_output=True, text=True, check=True)
    assert done.stdout and not done.stderr.strip()


def test_json_on_standard_output_stands_alone(program):
    result = program.invoke(app, ["list", "tasks", "--json", "-"])
    assert {entry["name"] for entry in json.loads(result.stdout)["tasks"]} >= {"sr", "denoise"}


@pytest.mark.parametrize(("is_quiet", "shown"), [(False, ["a", "warning: b", "c"]), (True, ["warning: b", "c"])])
def test_quiet_shows_warnings_and_results_only(is_quiet: bool, shown: list[str]):
    stream, log = io.StringIO(), logging.getLogger("unpairaug")
    try:
        console.set_quiet(is_quiet)
        console.log_to_console(True, stream)
        log.info("a")
        log.info("warning: b")
        log.info("c", extra={"is_result": True})
    finally:
        console.set_quiet(False)
        console.log_to_console(True)
    assert stream.getvalue().splitlines() == shown


def test_warnings_are_red_on_a_terminal_unless_no_color_is_set(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert console.has_colours(Terminal()) and not console.has_colours(io.StringIO())
    record = logging.LogRecord("unpairaug", logging.INFO, "", 0, "warning: x", None, None)
    assert console.ConsoleFormatter(True).format(record) == "\x1b[31mwarning: x\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.has_colours(Terminal())


def test_losses_are_summed_in_columns_under_a_heading():
    table = LossTable()
    first = table.format(
        "50/100", {"task_l1": 0.5, "gan_degrade": 1.0, "cycle_clean": 2.0, "d_clean": 0.25}, 2.0, "0:25"
    )
    heading, row = first.splitlines()
    assert row.split() == ["50/100", "0.5", "3", "0.25", "2.00", "0:25"] and len(heading) == len(row)
    assert table.format("51/100", {"task": 0.5}, 2.0, "0:25").split()[1:4] == ["0.5", "-", "-"]


def test_the_time_left_counts_what_is_done_between_steps(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("unpairaug.terminal.time_left.time.monotonic", lambda: clock[0])
    left = TimeLeft(0, 100, {"validate": 30})
    with left.measure("validate"):
        clock[0] += 10
    for step in range(1, 11):
        clock[0] += 5 if step <= 3 else 1  # the first steps are slow
        left.count_step(step)
    assert left.steps_per_second(10) == 1.0
    assert left.seconds(10) == 90 + 4 * 10, "after 30, 60, 90 and 100 steps"
    assert left.seconds(95) == pytest.approx(5 * 7 / 92 + 10) and left.seconds(100) == 0

"""Text of others in messages: no control characters, and a readable length."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from unpairaug.commands import main
from unpairaug.errors import MAX_MESSAGE, RunStopped, UserError, format_message, run_cli
from unpairaug.recipe import load_recipe
from unpairaug.terminal.console import log_to_console

STEERING = "\x1b]0;owned\x07\x1b[31mred\x9b31m\r\u202e\x00"
"""Sets a terminal's title, its colour, and the direction of writing."""
NAME = STEERING.replace("\0", "")
"""The same, as a file can be called."""


def is_plain(text: str) -> bool:
    return text.replace("\n", "").isprintable()


@pytest.mark.parametrize("kind", [UserError, RunStopped])
def test_the_text_of_an_error_is_plain_and_cut(kind: type[Exception], capsys: pytest.CaptureFixture[str]):
    assert str(kind(f"a\n{STEERING}")) == "a\n\\x1b]0;owned\\x07\\x1b[31mred\\x9b31m\\r\\u202e\\x00"
    text = str(kind("x" * 10_000_000))
    assert len(text) == MAX_MESSAGE and text.endswith("… (cut here: the message has 10000000 characters)")
    assert len(str(kind("\x1b" * MAX_MESSAGE))) == MAX_MESSAGE

    def program() -> None:
        raise kind(STEERING * 1000)

    with pytest.raises(SystemExit):
        run_cli(program)
    said = capsys.readouterr().err
    assert is_plain(said) and len(said) <= MAX_MESSAGE + len("error: \n")


def test_a_short_message_stays_as_it_is():
    for text in ("", "data.clean: é 写真 {photos}", "two\nlines", "x" * MAX_MESSAGE):
        assert format_message(text) == text


def test_log_lines_are_plain_and_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    log = logging.getLogger("unpairaug")
    monkeypatch.setattr(log, "handlers", [])
    level = log.level
    try:
        log_to_console(is_main=True)
        log.info("of %s", STEERING)
        log.warning("y" * 5000)
    finally:
        log.setLevel(level)
    first, second = capsys.readouterr().out.splitlines()
    assert is_plain(first) and len(second) <= MAX_MESSAGE


@pytest.mark.parametrize(
    "override",
    [
        f"train.{STEERING}=1",
        f"data.clean={{{STEERING}: -1}}",
        f"translator.type={STEERING}",
        f"translator={{from: '{STEERING}'}}",
        f"{STEERING}",
        f"{'k' * 100_000}=1",
        f"data.clean={{{'k' * 100_000}: -1}}",
    ],
)
def test_a_refused_override_is_told_in_plain_words(override: str):
    with pytest.raises(UserError) as refused:
        load_recipe("smoke", [override.replace("\0", "")])
    assert is_plain(str(refused.value)) and len(str(refused.value)) <= MAX_MESSAGE


@pytest.mark.parametrize(
    "command",
    [
        ["check", "r.yaml"],
        ["check", NAME],
        ["check", "smoke", f"data.clean={NAME}"],
        ["restore", NAME, NAME, "out"],
        ["degrade", NAME, NAME, "out"],
        ["new", "task", NAME],
        ["list", NAME],
        ["restore", "m", "i", "o", f"--{NAME}"],
    ],
    ids=lambda command: " ".join(command).replace(NAME, "NAME"),
)
def test_a_command_prints_such_names_in_plain_words(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / NAME).mkdir()
    (tmp_path / "r.yaml").write_text('"\\e]0;owned\\a": 1\ntask: "\\e[31m"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["unpairaug", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.err.startswith("error: ") and is_plain(said.out + said.err)


@pytest.mark.parametrize("command", [["import", "options.yml"], ["new", "head", "my_head", "--folder", NAME]])
def test_a_result_is_printed_in_plain_words(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    options = 'scale: 2\nnetwork_g: {type: "R\\e[31m"}\ndatasets: {train: {dataroot_gt: "\\e]0;owned\\a"}}\n'
    (tmp_path / "options.yml").write_text(options)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["unpairaug", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert not ended.value.code and "\\x1b" in said.out and is_plain(said.out + said.err)

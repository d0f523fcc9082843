"""How programs end: one message, from one process, and an exit code."""

import pytest

from unpairaug.errors import RunPreempted, RunStopped, UserError, run_cli


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_all_processes_find_one_tells_and_what_one_finds_it_tells_itself(monkeypatch, capsys, rank, own):
    def program() -> None:
        error = UserError("photo.png: the file is empty")
        error.is_of_one_process = own
        raise error

    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as ended:
        run_cli(program)
    assert ended.value.code == 2
    assert ("photo.png" in capsys.readouterr().err) == (rank == "0" or own)


def test_a_run_that_stopped_has_exit_code_1(capsys):
    def program() -> None:
        raise RunStopped("the disk is full")

    with pytest.raises(SystemExit) as ended:
        run_cli(program)
    assert ended.value.code == 1 and capsys.readouterr().err == "error: the disk is full\n"


def test_a_preempted_run_has_an_exit_code_of_its_own(capsys):
    def program() -> None:
        raise RunPreempted("stopped by SIGUSR1")

    with pytest.raises(SystemExit) as ended:
        run_cli(program)
    assert ended.value.code == 75 and capsys.readouterr().err == "error: stopped by SIGUSR1\n"


def test_an_interrupted_program_has_no_traceback(capsys):
    def program() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run_cli(program)
    assert ended.value.code == 130 and capsys.readouterr().err == "error: interrupted\n"


def test_a_name_that_no_file_can_have_is_one_message(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda: (tmp_path / ("n" * 300)).read_bytes())
    assert ended.value.code == 2 and capsys.readouterr().err.endswith("this name is too long; give a shorter one\n")
    with pytest.raises(FileNotFoundError):
        run_cli(lambda: (tmp_path / "none").read_bytes())

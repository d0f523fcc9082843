"""`degrade` where files cannot be written: one message, exit 1, the rest is done, and a second call completes it."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest
from degrade_model import files_of, save_photographs, save_run
from program import run_program

from unpairaug.degrading.degrade import Degradation
from unpairaug.degrading.job import MANIFEST, Job
from unpairaug.degrading.work import Worker, degrade
from unpairaug.errors import RunStopped, UserError

posix = pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX's")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Four small ones, and a large one by name between them."""
    save_photographs(tmp_path / "photographs", 4)
    save_photographs(tmp_path / "large", 1, 200, 200)
    (tmp_path / "large" / "photo 0.png").rename(tmp_path / "photographs" / "photo 0z.png")
    return tmp_path / "photographs"


def run(model: Path, source: Path, target: Path, *options: str, blocks: int | None = None):
    done = run_program("degrade", model, source, target, *options, max_kib=blocks)
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") <= 1, done.stderr
    return done


@posix
@pytest.mark.parametrize("options", [("--pairs",), ("--pairs", "--shards")], ids=["files", "shards"])
def test_a_file_beyond_the_limit_is_named_and_written_by_the_next_call(model, photographs, tmp_path, options):
    done = run(model, photographs, tmp_path / "out", *options, blocks=20)  # the large pair takes more
    assert done.returncode == 1
    assert "this file cannot be written (File too large); free disk space" in done.stderr
    if "--shards" not in options:
        assert "1 of 5 files not written; 4 written:" in done.stderr
    assert run(model, photographs, tmp_path / "out", *options).returncode == 0
    assert run(model, photographs, tmp_path / "whole", *options).returncode == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_folder_in_place_of_an_output_is_named_and_the_others_are_done(model, photographs, tmp_path):
    job = Job(str(photographs), tmp_path / "out", Degradation(str(model)))
    degrade(job)
    (name,) = [name for name in files_of(tmp_path / "out") if "0z" in name]
    first = files_of(tmp_path / "out")[name]
    for path in (tmp_path / "out").glob("*.png"):
        path.unlink()
    (tmp_path / "out" / name).mkdir()
    with pytest.raises(RunStopped, match=r"(?s)1 of 5 files not written; 4 written:.*in the way"):
        degrade(Job(str(photographs), tmp_path / "out", Degradation(str(model))))
    (tmp_path / "out" / name).rmdir()
    degrade(Job(str(photographs), tmp_path / "out", Degradation(str(model))))
    assert files_of(tmp_path / "out")[name] == first


def test_a_full_disk_stops_the_work_and_the_next_call_resumes_it(model, photographs, tmp_path, monkeypatch):
    written: list[str] = []
    write = Worker._write_atomically

    def until_full(self: Worker, name: str, data: bytes) -> None:
        if len(written) == 2:
            monkeypatch.setattr(Path, "write_bytes", fail)
        write(self, name, data)
        written.append(name)

    def fail(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_write_atomically", until_full)
        with pytest.raises(RunStopped, match=r"No space left.*run the same command again to resume"):
            degrade(Job(str(photographs), tmp_path / "out", Degradation(str(model))))
    monkeypatch.undo()
    assert len(written) == 2, "no further image is degraded"
    degrade(Job(str(photographs), tmp_path / "out", Degradation(str(model))))
    degrade(Job(str(photographs), tmp_path / "whole", Degradation(str(model))))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_files_that_are_no_images_are_counted(model, photographs, tmp_path, capsys):
    (photographs / "a.heic").touch()
    degrade(Job(str(photographs), tmp_path / "out", Degradation(str(model))))
    assert "photographs: skipped 1 .heic, which are not read as images" in capsys.readouterr().out


def test_a_folder_below_a_file_is_refused(model, photographs, tmp_path):
    (tmp_path / "file").write_text("a file")
    done = run(model, photographs, tmp_path / "file" / "out")
    assert done.returncode == 1 and "file/out: this folder cannot be written (Not a directory)" in done.stderr
    long = run(model, photographs, tmp_path / ("n" * 300))
    assert long.returncode == 1 and "choose a shorter name" in long.stderr


@pytest.mark.parametrize("damage", ["{", '{"source": []}', "[" * 100_000, "\x00", '{"source": "a", "draw": "0"}'])
def test_a_damaged_manifest_is_named(model, photographs, tmp_path, damage):
    degrade(Job(str(photographs), tmp_path / "out", Degradation(str(model))))
    lines = (tmp_path / "out" / MANIFEST).read_text().splitlines()
    (tmp_path / "out" / MANIFEST).write_text("\n".join([lines[0], damage, *lines[2:]]) + "\n")
    with pytest.raises(UserError, match=r"manifest\.jsonl, line 2: damaged; delete manifest\.jsonl"):
        degrade(Job(str(photographs), tmp_path / "out", Degradation(str(model))))


@posix
def test_control_characters_in_names_do_not_reach_the_terminal(model, photographs, tmp_path):
    (photographs / "photo 0.png").rename(photographs / "\x1b[31m0.png")
    (photographs / "photo 0z.png").rename(photographs / "\x1b[31m0z.png")
    (photographs / "\x1b[31m0z.png").write_bytes(b"no image")
    done = run(model, photographs, tmp_path / "out\x1b[2J")
    assert done.returncode == 2 and "\\x1b[31m0z.png" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    names = [json.loads(line)["file"] for line in (tmp_path / "out\x1b[2J" / MANIFEST).read_text().splitlines()]
    assert len(names) == 4 and not any("\x1b" in name for name in names)

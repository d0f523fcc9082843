"""Reading whole files with limits, and writing whole files atomically."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unpairaug.data.files import WriteError, check_regular_file, open_atomic, partial_path, read_file, write_file
from unpairaug.data.images import write_image
from unpairaug.errors import UserError

posix = pytest.mark.skipif(sys.platform == "win32", reason="the limits and pipes are POSIX's")


def test_a_file_is_replaced_and_no_temporary_file_stays(tmp_path: Path):
    write_file(tmp_path / "new/folder/a.txt", b"first")
    write_file(tmp_path / "new/folder/a.txt", b"second")
    assert (tmp_path / "new/folder/a.txt").read_bytes() == b"second"
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "é" * 125 + ".png"])
def test_a_name_of_the_largest_length_can_be_written(name: str, tmp_path: Path):
    path = tmp_path / name
    assert len(partial_path(path).name) < len(os.fsencode(name)) == 255 - (name[0] == "é")
    write_image(path, np.zeros((2, 2, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_error_within_the_block_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), open_atomic(path) as file:
        file.write(b"half of the new content")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def _folder_in_the_way(root: Path) -> Path:
    (root / "a.txt/inner").mkdir(parents=True)
    return root / "a.txt"


def _file_in_place_of_the_folder(root: Path) -> Path:
    (root / "a").write_bytes(b"a file")
    return root / "a/b.txt"


@posix
@pytest.mark.parametrize(
    ("block", "advice"),
    [
        (_folder_in_the_way, "is in the way"),
        (_file_in_place_of_the_folder, "is in the way"),
        (lambda root: root / ("x" * 300), "choose a shorter name"),
        (lambda root: Path("/proc/a.txt"), "fix the cause|that you may write to"),
    ],
    ids=["folder", "file", "long name", "read-only"],
)
def test_what_cannot_be_written_is_one_message_and_nothing_changes(block, advice: str, tmp_path: Path):
    path = block(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WriteError, match=rf": this file cannot be written \(.+\); .*({advice})"):
        write_file(path, b"text")
    assert sorted(tmp_path.rglob("*")) == before


@posix
def test_a_full_disk_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_file(path, b"old")
    program = (
        "import resource; from pathlib import Path; from unpairaug.data.files import write_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"write_file(Path({str(path)!r}), bytes(2000))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "WriteError" in done.stderr and "a.txt: this file cannot be written" in done.stderr
    assert "free disk space" in done.stderr
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@posix
def test_what_never_ends_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe.png", tmp_path / "zero.png", tmp_path):
        with pytest.raises(UserError, match="no regular file"):
            read_file(path)
    write_file(tmp_path / "large", bytes(11))
    with pytest.raises(UserError, match="11 bytes exceed the limit of 10"):
        check_regular_file(tmp_path / "large", 10)

"""One message for all files that a command could not write."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from unpairaug.data.files import WriteError, name_write_errors
from unpairaug.data.output_files import MAX_LISTED, OutputFiles
from unpairaug.errors import RunStopped, UserError


def test_unwritten_files_are_counted_and_the_first_are_listed():
    files = OutputFiles()
    for number in range(2 * MAX_LISTED + 4):
        with files.attempt():
            if number % 2:
                raise WriteError(f"{number}.png: this file cannot be written")
    with pytest.raises(RunStopped) as caught:
        files.check_complete(["a.jpg: not an image"], "1 image not read:")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{MAX_LISTED + 2} of {2 * MAX_LISTED + 4} files not written; {MAX_LISTED + 2} written:"
    assert lines[1].startswith("1.png") and lines[MAX_LISTED].startswith(f"{2 * MAX_LISTED - 1}.png")
    assert lines[-3:] == ["and 2 more", "1 image not read:", "a.jpg: not an image"]


def test_unreadable_files_alone_are_the_users_error_and_nothing_missing_is_none():
    files = OutputFiles()
    with files.attempt():
        pass
    files.check_complete()
    with pytest.raises(UserError, match=r"1 of 2 images not read:\nbad\.png"):
        files.check_complete(["bad.png: not an image"], "1 of 2 images not read:")


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError), OutputFiles().attempt():
        raise ZeroDivisionError


def test_a_full_disk_ends_the_work_with_a_count_and_a_single_file_does_not():
    files = OutputFiles(written=2)
    for number, has_ended in ((errno.EISDIR, False), (errno.ENOSPC, True)):
        with files.attempt(), name_write_errors(Path("a.png")):
            raise OSError(number, os.strerror(number))
        with pytest.raises(RunStopped, match=r"a\.png: .*No space.*; 2 of 5") if has_ended else nullcontext():
            files.stop_on_disk_error(5)

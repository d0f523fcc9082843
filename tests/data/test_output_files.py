"""One message for all files that a command could not write."""

from __future__ import annotations

import pytest

from unpairaug.data.files import WriteError
from unpairaug.data.output_files import MAX_LISTED, OutputFiles
from unpairaug.errors import RunStopped, UserError


def test_unwritten_files_are_counted_and_the_first_are_listed():
    files = OutputFiles()
    for number in range(MAX_LISTED + 4):
        with files.attempt():
            if number % 2:
                raise WriteError(f"{number}.png: this file cannot be written")
    with pytest.raises(RunStopped) as caught:
        files.check_complete([f"{name}.jpg: not an image" for name in "abcd"], "images", "out")
    lines = str(caught.value).splitlines()
    assert lines[0] == "11 of 18 images not written; 7 written to out:"
    assert lines[1].startswith("1.png") and lines[MAX_LISTED] == "c.jpg: not an image" and lines[-1] == "and 1 more"


def test_unreadable_files_alone_are_the_users_error_and_nothing_missing_is_none():
    files = OutputFiles()
    with files.attempt():
        pass
    files.check_complete()
    with pytest.raises(UserError, match="1 of 2 files not written; 1 written:\nbad.png"):
        files.check_complete(["bad.png: not an image"])


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError), OutputFiles().attempt():
        raise ZeroDivisionError

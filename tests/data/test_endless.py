"""What never ends, or is far too large, is named at once: pipes, devices, patterns of millions of files, deep tars."""

import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from unpairaug.data import open_images, storage, write_image
from unpairaug.data.tar_scan import scan_shard
from unpairaug.errors import UserError
from unpairaug.prepare.licences import Licences
from unpairaug.prepare.record import read_prepare_settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices are POSIX's")


@pytest.fixture(params=["pipe", "zero"])
def endless(request, tmp_path: Path) -> Path:
    """A pipe that nobody writes to, or a link to /dev/zero."""
    path = tmp_path / request.param
    os.mkfifo(path) if request.param == "pipe" else path.symlink_to("/dev/zero")
    return path


def test_an_endless_shard_index_list_table_or_settings_file_is_refused(endless: Path, tmp_path: Path):
    shard = tmp_path / "s.tar"
    endless.rename(shard)
    with pytest.raises(UserError, match=r"s\.tar: this is no regular file"):
        open_images(str(shard), "clean", 1)
    write_image(tmp_path / "image.png", np.zeros((4, 4, 3), np.uint8))
    whole = tmp_path / "folder/w.tar"
    whole.parent.mkdir()
    with tarfile.open(whole, "w") as tar:
        tar.add(tmp_path / "image.png", "image.png")
    for name in ("w.index.json", "index.json", "prepare.json"):
        shard.rename(whole.parent / name)
        with pytest.raises(UserError, match=r"json.* no regular file"):
            open_images(str(whole), "clean", 1)
        if name == "prepare.json":
            with pytest.raises(UserError, match="no regular file"):
                read_prepare_settings(whole.parent)
        (whole.parent / name).rename(shard)
    with pytest.raises(UserError, match="no regular file"):
        Licences.read(shard)
    assert len(open_images(str(whole), "clean", 1)) == 1


def test_a_large_index_is_refused_unread(tmp_path: Path, monkeypatch):
    (tmp_path / "s.index.json").write_bytes(bytes(11))
    monkeypatch.setattr(storage, "MAX_TEXT_BYTES", 10)
    for path in (str(tmp_path / "s.index.json"), f"file://{tmp_path}/s.index.json"):
        with pytest.raises(UserError, match="11 bytes exceed the limit of 10"):
            storage.read_text(path)


@pytest.mark.parametrize(
    "pattern",
    [
        *("{0..10000000}", "{0..9999}{0..9999}", "{a,b}" * 30, "{a..z}" * 5),
        *("{0..99999999999999999999}", "{{" * 3000, "{" * 1500 + "a,b" + "}" * 1500),
    ],
)
def test_a_pattern_of_millions_of_files_is_refused_before_it_is_expanded(pattern: str, tmp_path: Path):
    with pytest.raises(UserError, match=r"more than 1000000 files|nested too deeply"):
        open_images(f"{tmp_path}/{pattern}.tar", "clean", 1)


@pytest.mark.parametrize("pattern", ["{000..002}", "{x,y}-{0..3}", "{t-{0..9},v-{a..c}}"])
def test_a_pattern_of_some_files_is_expanded(pattern: str, tmp_path: Path):
    with pytest.raises(UserError, match="there is no such file"):
        open_images(f"{tmp_path}/{pattern}.tar", "clean", 1)


def test_a_tar_of_endless_long_names_is_refused(tmp_path: Path):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    block = header.tobuf() + b"a".ljust(512, b"\0")
    path = tmp_path / "deep.tar"
    path.write_bytes(block * 5000)
    with pytest.raises(UserError, match=r"deep\.tar: "):
        scan_shard(str(path), path.stat().st_size)

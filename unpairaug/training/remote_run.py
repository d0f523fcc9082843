"""A run folder behind a URL: the run works in a local folder, which is copied to the URL with every checkpoint."""

from __future__ import annotations

import re
import shutil
from hashlib import blake2b
from pathlib import Path

from unpairaug.data.cache import cache_folder
from unpairaug.data.remote_files import fetch_file, list_tree, remove_files, upload_file
from unpairaug.errors import UserError, escape
from unpairaug.sharing.manifest import MANIFEST
from unpairaug.training.checkpoint import list_checkpoints

_CHECKPOINT = re.compile(r"checkpoints/step_(\d+)/(.+)")


class RemoteRun:
    """The folder of a run behind a URL. Only the main process copies files there."""

    def __init__(self, url: str) -> None:
        """Choose the local folder; nothing is read yet.

        Raises:
            UserError: there is no place for the local folder.
        """
        root = cache_folder("runs")
        if root is None:
            raise UserError(f"{escape(url)}: no place for a local copy of the run; set XDG_CACHE_HOME")
        self.url = url.rstrip("/")
        self.folder = root / blake2b(self.url.encode(), digest_size=12).hexdigest()
        self._copied: dict[str, tuple[int, int]] = {}

    def pull(self) -> None:
        """Copy the run from the URL, unless this machine has the same checkpoint or a later one.

        Raises:
            UserError: the URL cannot be read.
        """
        there = list_tree(self.url)
        # The manifest is uploaded last: a checkpoint without it is incomplete.
        steps = [int(found[1]) for name in there if (found := _CHECKPOINT.fullmatch(name)) and found[2] == MANIFEST]
        newest = max(steps, default=-1)
        own = max((int(path.name[5:]) for path in list_checkpoints(self.folder / "checkpoints")), default=-1)
        if newest <= own:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, size in there.items():
            found = _CHECKPOINT.fullmatch(name)
            if found is None or int(found[1]) == newest:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                fetch_file(f"{self.url}/{name}", self.folder / name, size)
                self._copied[name] = _version(self.folder / name)

    def push(self) -> None:
        """Copy new and changed files to the URL, and remove the checkpoints there that the run has removed.

        Raises:
            RunStopped: a file cannot be written.
        """
        files = {path.relative_to(self.folder).as_posix(): path for path in self.folder.rglob("*") if path.is_file()}
        files = {name: path for name, path in files.items() if not re.search(r"(^|/)\.|\.partial(/|$)", name)}
        changed = [name for name, path in files.items() if self._copied.get(name) != _version(path)]
        for name in sorted(changed, key=lambda name: (name.endswith(f"/{MANIFEST}"), name)):
            version = _version(files[name])
            upload_file(files[name], f"{self.url}/{name}")
            self._copied[name] = version
        if changed:
            old = [name for name in list_tree(self.url) if _CHECKPOINT.fullmatch(name) and name not in files]
            # The manifests first: what is left of a checkpoint is incomplete then.
            remove_files([f"{self.url}/{name}" for name in sorted(old, key=lambda name: not name.endswith(MANIFEST))])


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size

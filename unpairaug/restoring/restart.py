"""Which files of an output folder are restored already, so that an interrupted `restore` continues."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypedDict

from unpairaug.data.image_cache import file_identity
from unpairaug.prepare.journal import Journal
from unpairaug.restoring.restore import Restorer

JOURNAL = ".restore.jsonl"
"""The file in OUT that lists complete files while `restore` works; without it, everything is restored again."""


class Entry(TypedDict, total=False):
    """A line of the journal: the settings in the first line, then one complete file each."""

    settings: dict[str, Any]
    source: str
    modified: int
    bytes: int
    """Bytes of the source."""
    target: str
    written: int
    """Bytes of the target."""


class CompleteFiles:
    """The files that calls with the same settings have completed in a folder."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Read nothing yet.

        Args:
            folder: OUT.
            settings: what determines the results, beside the source files.
        """
        self.settings, self.journal = dict(settings), Journal[Entry](folder / JOURNAL)

    def find_remaining(self, outputs: Mapping[Path | str, Path]) -> dict[Path | str, Path]:
        """The outputs that are not complete, in their order; starts the journal."""
        self.journal.keep_intact(lambda entry: True, remove=lambda entry: None)  # cuts an incomplete last line
        entries = list(self.journal)
        if not entries or entries[0].get("settings") != self.settings:
            self.journal.path.unlink(missing_ok=True)
            self.journal.append({"settings": self.settings})
            return dict(outputs)
        done = {entry.get("target"): entry for entry in entries[1:]}
        return {
            source: target
            for source, target in outputs.items()
            if not target.is_file() or done.get(str(target)) != _describe_files(source, target, target.stat().st_size)
        }

    def add(self, source: Path | str, target: Path, size: int) -> None:
        """Record a complete file of `size` bytes."""
        self.journal.append(_describe_files(source, target, size))

    def finish(self) -> None:
        """Remove the journal: a later call restores everything again."""
        self.journal.path.unlink(missing_ok=True)


def digest_of_model(task: Restorer) -> str:
    """A hash of the names and values of a model's weights."""
    digest = sha256(type(task).__name__.encode() + str(task.scale).encode())
    for name, value in sorted(getattr(task, "state_dict", dict)().items()):
        digest.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]


def _describe_files(source: Path | str, target: Path, written: int) -> Entry:
    name, modified, size = (source, 0, -1) if isinstance(source, str) else file_identity(source.absolute())
    return {"source": name, "modified": modified, "bytes": size, "target": str(target), "written": written}

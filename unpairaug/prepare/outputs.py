"""Write the pieces in the order of the photographs, as shards or files; each complete part enters the journal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from hashlib import sha256
from pathlib import Path
from typing import Any

from unpairaug.data.shard_index import index_name
from unpairaug.errors import UserError, escape
from unpairaug.prepare.journal import Entry, Journal
from unpairaug.prepare.licences import Licences
from unpairaug.prepare.shards import ShardWriter
from unpairaug.prepare.work import PhotographCutter, Piece, Pieces


class Output(ABC):
    """Receives the pieces of the photographs, in their order."""

    def __init__(self, folder: Path, journal: Journal, licences: Licences | None) -> None:
        self.folder, self.journal, self.licences = folder, journal, licences
        self.entry = _empty_entry()

    @abstractmethod
    def add(self, done: Pieces, first: int = 0) -> None:
        """Write the pieces of a photograph, from index `first` on."""

    @abstractmethod
    def close(self) -> None:
        """Complete the current part."""

    @abstractmethod
    def discard(self) -> None:
        """Drop the current part; the next run writes it again."""

    def manifest_row(self, done: Pieces, piece: Piece) -> dict[str, Any]:
        """The manifest line of a piece."""
        row = {
            "file": f"{piece.key}.{piece.ext}",
            "source": done.source.name,
            "box": piece.box,
            "width": piece.width,
            "height": piece.height,
            "bytes": piece.bytes,
            "sha256": piece.sha256,
            "source_sha256": done.sha256,
        }
        return row if self.licences is None else {**row, "licence": self.licences.row_for(done.source.name)}

    def count_photograph(self, done: Pieces) -> None:
        """Count a photograph whose last piece is written."""
        self.entry["images"] += 1
        for name in ("pixels", "flat", "small"):
            self.entry[name] += getattr(done, name)
        if done.problem is not None:
            self.entry["bad"].append((done.source.name, done.problem))

    def record_part(self, image: int, piece: int) -> None:
        """Add the current part to the journal; the next part begins with this piece of this photograph."""
        self.journal.append({**self.entry, "next": (image, piece)})
        self.entry = _empty_entry()


class FilesOutput(Output):
    """Renames the files that the workers have written."""

    def __init__(self, folder: Path, journal: Journal, licences: Licences | None, work: PhotographCutter) -> None:
        super().__init__(folder, journal, licences)
        self.work = work

    def add(self, done: Pieces, first: int = 0) -> None:
        paths = [self.folder / f"{piece.key}.{piece.ext}" for piece in done.pieces]
        for path, piece in zip(paths, done.pieces, strict=True):
            _check_free(path, piece)
        self.entry["rows"] += [self.manifest_row(done, piece) for piece in done.pieces]
        self.count_photograph(done)
        self.record_part(done.source.index + 1, 0)  # before the rename, so that the journal lists every renamed file
        for number, path in enumerate(paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.work.part_path(done.source, number).replace(path)

    def close(self) -> None:
        """Nothing to do: each photograph is a complete part."""

    def discard(self) -> None:
        """Nothing to do: each photograph is a complete part."""


class ShardsOutput(Output):
    """Packs the pieces that the workers have spooled into shards."""

    def __init__(
        self, folder: Path, journal: Journal, licences: Licences | None, work: PhotographCutter, limit: int
    ) -> None:
        super().__init__(folder, journal, licences)
        self.work, self.limit = work, limit
        self.number = sum(1 for _ in journal)
        self.shard: ShardWriter | None = None
        self.image = 0

    def add(self, done: Pieces, first: int = 0) -> None:
        self.image = done.source.index
        if done.problem is None:
            spool = self.work.spool_path(done.source)
            self._pack(done, first, spool)
            spool.unlink()
        self.count_photograph(done)

    def close(self) -> None:
        if self.shard is not None or self.entry["images"]:
            self._finish_shard(self.image + 1, 0)

    def discard(self) -> None:
        if self.shard is not None:
            self.shard.discard()

    def _pack(self, done: Pieces, first: int, spool: Path) -> None:
        with spool.open("rb") as data:
            data.seek(sum(piece.bytes for piece in done.pieces[:first]))
            for number, piece in enumerate(done.pieces[first:], first):
                if self.shard is not None and not self.shard.fits(piece.bytes):
                    self._finish_shard(done.source.index, number)
                self.shard = self.shard or ShardWriter(self.folder, self.number, self.limit)
                self.shard.add(piece.key, {piece.ext: (data.read(piece.bytes), piece.width, piece.height)})
                self.entry["rows"].append({"shard": self.shard.path.name, **self.manifest_row(done, piece)})

    def _finish_shard(self, image: int, piece: int) -> None:
        if self.shard is not None:
            self.entry["shard"] = self.shard.close()
            self.number += 1
        self.shard = None
        self.record_part(image, piece)


def is_intact(folder: Path, entry: Entry) -> bool:
    """Whether all files of a part exist with the expected size."""
    if entry["shard"] is not None:
        name, size = entry["shard"]["shard"], entry["shard"]["bytes"]
        return _file_size(folder / name) == size and (folder / index_name(name)).exists()
    return all(_file_size(folder / row["file"]) == row["bytes"] for row in entry["rows"])


def _check_free(path: Path, piece: Piece) -> None:
    """Raise if another file has the name; the piece itself may exist after a power failure."""
    if path.exists() and not (path.is_file() and sha256(path.read_bytes()).hexdigest() == piece.sha256):
        raise UserError(
            f"{escape(path)} exists and was not written by `prepare`; move it, and run the same command again"
        )


def _file_size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _empty_entry() -> Entry:
    return {"rows": [], "shard": None, "next": (0, 0), "images": 0, "pixels": 0, "flat": 0, "small": 0, "bad": []}

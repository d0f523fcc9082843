"""A table of licences by photograph, which is copied into the manifest."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from unpairaug.data.files import check_regular_file
from unpairaug.data.storage import MAX_TEXT_BYTES
from unpairaug.errors import UserError, escape


class Licences:
    """The rows of a CSV file, by the file name in the first column."""

    def __init__(self, rows: Mapping[str, Mapping[str, str]]) -> None:
        self.rows = rows

    @classmethod
    def read(cls, path: Path) -> Licences:
        """Read the table: a header, then one row for each photograph.

        Raises:
            UserError: the file does not exist, is no CSV table in UTF-8, or has two rows for one photograph.
        """
        try:
            check_regular_file(path, MAX_TEXT_BYTES)
            with path.open(encoding="utf-8-sig", newline="") as file:
                header, *table = [row for row in csv.reader(file) if row] or [[]]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{escape(path)}: cannot be read as a CSV table ({escape(error)})") from error
        if len(header) < 2:
            raise UserError(f"{escape(path)}: expected a header such as file,licence and one row for each photograph")
        rows: dict[str, dict[str, str]] = {}
        for name, *values in table:
            if name in rows:
                raise UserError(f"{escape(path)}: two rows for {escape(name)}; keep one")
            rows[name] = dict(zip(header[1:], values, strict=False))
        return cls(rows)

    def row_for(self, source: str) -> Mapping[str, str] | None:
        """The other columns of a photograph's row, by its path below SRC or its file name; None without a row."""
        return self.rows.get(source, self.rows.get(PurePosixPath(source).name))

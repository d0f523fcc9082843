"""A trained head as a file for other programs, loaded back and compared: `export` in `run`, one format a module."""

from unpairaug.export.run import Exported, export

__all__ = ["Exported", "export"]

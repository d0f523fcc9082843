"""Exports trained heads for other programs, one module for each format; and translators as ONNX."""

from unpairaug.export.run import Exported, export

__all__ = ["Exported", "export"]

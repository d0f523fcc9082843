"""Exports trained heads for other programs: ONNX, spandrel, NCNN, safetensors; one module for each format."""

from unpairaug.export.run import Exported, export

__all__ = ["Exported", "export"]

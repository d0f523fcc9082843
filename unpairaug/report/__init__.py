"""Renders a run folder as one self-contained HTML page."""

from unpairaug.report.page import write_report

__all__ = ["write_report"]

"""A run as one HTML page that needs nothing beside it."""

from unpairaug.report.page import write_report

__all__ = ["write_report"]

"""The report as one page for a browser: its sources, and what puts them together."""

from mergekit_calib.report.page.build import report_html

__all__ = ["report_html"]

"""The report as one page for a browser: templates, style, scripts, and the code that puts them together."""

from mergekit_calib.report.page.report_page import report_html

__all__ = ["report_html"]

"""A run as one self-contained HTML page."""

from faultlab_operator.report.page import render_report

__all__ = ["render_report"]

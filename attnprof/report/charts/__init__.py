"""Charts as pictures, and as SVG for pages: costs against length, parts of the MACs, rooflines."""

from __future__ import annotations

from attnprof.report.charts.panel_svgs import PanelSvg, panel_svgs
from attnprof.report.charts.pictures import render_chart

__all__ = ["PanelSvg", "panel_svgs", "render_chart"]

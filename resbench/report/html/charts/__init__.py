"""The charts of a page, a file each: traces and axes as Plotly takes them; colours are the page's, by theme."""

from __future__ import annotations

from resbench.report.html.charts.curves import curves_chart
from resbench.report.html.charts.ledger import ledger_chart
from resbench.report.html.charts.sizes import sizes_chart
from resbench.report.html.charts.throughput import throughput_chart
from resbench.report.html.charts.tradeoff import tradeoff_chart

__all__ = ["curves_chart", "ledger_chart", "sizes_chart", "throughput_chart", "tradeoff_chart"]

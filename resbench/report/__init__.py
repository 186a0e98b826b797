"""Pages, tables and plots, made from stored records alone: nothing here measures, nothing imports torch."""

from __future__ import annotations

from resbench.report.collection_page import rebuild_collection, write_collection_page
from resbench.report.readme import write_report
from resbench.report.tables import comparison_tables, rich_table

__all__ = ["comparison_tables", "rebuild_collection", "rich_table", "write_collection_page", "write_report"]

"""The page of a collection: source by source what was said, what was run, what came out, and what follows."""

from __future__ import annotations

from resbench.report.sources.page import rebuild_collection, write_sources_page

__all__ = ["rebuild_collection", "write_sources_page"]

"""The page of a collection of sources: one by one what was said, what was run, what came out, and what follows."""

from __future__ import annotations

from resbench.report.sources.page import write_page

__all__ = ["write_page"]

"""The page of a collection of settings: which network wins under which budget, and whether their order changes."""

from __future__ import annotations

from resbench.report.budgets.page import write_page

__all__ = ["write_page"]

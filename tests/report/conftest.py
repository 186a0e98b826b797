from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# ``records`` lies one folder up, which pytest puts on the path only when it collects from there.
sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture
def markdown_table() -> Callable[[str, str], list[dict[str, str]]]:
    """Reads the first Markdown table after a heading of a page, as dicts."""

    def read(page: str, heading: str) -> list[dict[str, str]]:
        lines = page[page.index(heading) :].splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("|"))
        rows = []
        for line in lines[start:]:
            if not line.startswith("|"):
                break
            rows.append([cell.strip() for cell in line.strip("|").replace("\\|", "\0").split("|")])
        return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]

    return read

"""Several results folders side by side: two machines, two recipes, before and after.

What may be compared is what ``resbench compare`` compares: accuracy where learning is the same
(:data:`~resbench.compare.cells.LEARNING`), speed, memory and time as the networks' own where the machine is the same
besides (:data:`~resbench.compare.cells.SPEED`). Speed on two machines is shown with its ratio and marked, for it is the
machines' difference as well. What differs in learning is shown and not compared.

* ``folders``: which folders, read and named
* ``gather``: their cells, put together by what they share
* ``differences``: how accuracies differ from the first folder's, and whether seeds separate them
* ``accuracy``, ``speed``, ``tables``, ``sentences``: what is said of it, as plain data
* ``long``: every figure as a row of ``side_by_side.csv``
* ``plots``, ``page``: the files, and the same tables as text to paste
"""

from __future__ import annotations

from resbench.report.side_by_side.gather import QUANTITIES
from resbench.report.side_by_side.page import (
    printed_side_by_side,
    read_side_by_side,
    side_by_side_tables,
    write_side_by_side,
)
from resbench.report.side_by_side.sentences import sentences

__all__ = [
    "QUANTITIES",
    "printed_side_by_side",
    "read_side_by_side",
    "sentences",
    "side_by_side_tables",
    "write_side_by_side",
]

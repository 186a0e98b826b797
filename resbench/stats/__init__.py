"""What results say and what they do not: plain numbers, arrays and frames in, the same out; nothing here reads a file.

* ``basics``: mean, spread and interval of one list
* ``cells``: a cell is a trial less its seed, a group is the cells that one table may compare
* ``differences``, ``ranking``, ``tiers``, ``power``: differences of models, and what they allow to be said
* ``images``: how a difference would come out on other test images
* ``fronts``: Pareto fronts, and how probable it is that a model is on one
* ``summary``, ``pairwise``: the frames of ``summary.csv`` and ``pairwise.csv``
"""

from __future__ import annotations

from resbench.stats.basics import mean, standard_deviation, t_half_width
from resbench.stats.cells import CELL, LEARNING, MEASURED, SETTINGS, SHARED, SPEED, cells, on_one_machine, split_cells
from resbench.stats.pairwise import pairwise
from resbench.stats.summary import AVERAGED, CONSTANT, summarise

__all__ = [
    "AVERAGED",
    "CELL",
    "CONSTANT",
    "LEARNING",
    "MEASURED",
    "SETTINGS",
    "SHARED",
    "SPEED",
    "cells",
    "mean",
    "on_one_machine",
    "pairwise",
    "split_cells",
    "standard_deviation",
    "summarise",
    "t_half_width",
]

"""Compares a results folder: with another one cell by cell, with published accuracy, or a trial with its rerun.

How a verdict is reached:

* **Comparable or not.** Accuracy needs the same learning (:data:`~resbench.compare.cells.LEARNING`), speed and memory
  the same machine, software and measuring code besides (:data:`~resbench.compare.cells.SPEED`). What differs is named.
* **Effect.** A change counts where it is larger than its threshold and than the measured noise floor: how far the same
  trial, measured twice, was from itself, the larger of both folders'. An accuracy's noise is its seeds'.
* **Significance**, p < 0.05: Welch's t-test where both sides have two seeds or more, Student's where one side has one.
  The test does not pair seeds, although their batches are paired, because training amplifies the smallest difference
  in arithmetic until little of a seed's own is left (arXiv 2304.01910), and at three seeds pairing costs half the
  degrees of freedom. Measured here: five seeds of ``d2l_resnet18``, 100 steps each in one memory layout and in the
  other, differ from themselves by a deviation of 4.5 points, and from each other by 3.9 and 5.8.
* **One seed a side.** Accuracy: a z-test with the largest published run-to-run deviation in the place of one's own, or
  the largest measured where training was shorter than any published. Speed and memory: the limit alone decides, and
  the row says whether a noise floor was measured.
* **Many tests.** p is not corrected for their number, because a verdict needs the effect as well: with three seeds and
  the published deviations an unchanged cell is called worse in less than 1 % of comparisons and a loss of 0.8 points is
  found in more than 90 %, where Holm's correction over five networks of seven metrics would find 10 to 20 % of them.
  The number of tests is printed with the verdicts.
* **Suspect trials** keep their part in every verdict, and the row says so: a machine that was busy is a reason to
  measure again, not to stop looking.
"""

from resbench.compare.cells import LEARNING, SPEED
from resbench.compare.folders import compare, compare_with
from resbench.compare.metrics import METRICS, Metric, Thresholds, parse_thresholds

__all__ = [
    "LEARNING",
    "METRICS",
    "SPEED",
    "Metric",
    "Thresholds",
    "compare",
    "compare_with",
    "parse_thresholds",
]

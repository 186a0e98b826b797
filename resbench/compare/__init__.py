"""Compares a results folder: with another one cell by cell, with published accuracy, or a trial with its rerun.

How a verdict is reached:

* **Comparable or not.** Accuracy needs the same learning (:data:`~resbench.compare.cells.LEARNING`), speed and memory
  the same machine, software and measuring code besides (:data:`~resbench.compare.cells.SPEED`). What differs is named.
* **Effect.** A change counts where it is larger than its threshold and than the measured noise floor: how far the same
  trial, measured again, was from itself, the largest of both folders'. An accuracy's noise is its seeds'.
* **Significance.** One moderated t-test (:func:`~resbench.stats.differences.moderated_tests`): what is known of single
  runs beforehand is worth some degrees of freedom, and the seeds of both sides add theirs. So a further seed finds no
  less than one fewer. The test does not pair seeds, although their batches are paired, because training amplifies the
  smallest difference in arithmetic until little of a seed's own is left (arXiv 2304.01910), and at three seeds pairing
  costs half the degrees of freedom. Measured here: five seeds of ``d2l_resnet18``, 100 steps each in one memory layout
  and in the other, differ from themselves by a deviation of 4.5 points, and from each other by 3.9 and 5.8.
* **Accuracy.** Known beforehand is the largest published run-to-run deviation, for the accuracy and the number of test
  images at hand, or what the committed results show where training was shorter than any published. One seed a side
  takes it for the truth: there no p is better than that assumption, and the row says which change could be shown.
* **Speed and memory.** Known beforehand is how far A/A measurements deviate, of one trial that was measured again in
  either folder. A machine that was slower all along looks like slower code; only a further run in turn shows that.
* **Many tests.** Accuracy: p < 0.05, not corrected, because a verdict needs the effect as well: with the published
  deviations an unchanged cell is called worse in less than 3 % of comparisons. Speed and memory: corrected (Bonferroni)
  so that unchanged code is called worse anywhere in less than 5 % of whole comparisons.
* **Not decided** is a change above its limit that is not significant, or that nothing is known of: no regression and no
  proof of the contrary. The row says how many seeds would find a change of this size. Rates: ``results/statistics``.
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

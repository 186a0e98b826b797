"""``python -m benchmarks.statistics_front``: simulates what places on the front and smallest gaps promise.

It writes ``front.md`` and ``power.md`` to ``results/statistics`` and takes some minutes of one core.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from resbench.report.formats import markdown
from resbench.report.tables import Cell, Table
from resbench.stats.differences import welch_tests
from resbench.stats.fronts import front_probabilities, on_front
from resbench.stats.power import ALPHA, gaps_of_tests

FOLDER = Path(__file__).parents[1] / "results" / "statistics"
COUNTS = (2, 3, 5)
"""Seeds a model."""
TYPICAL = (0.3, 0.5, 1.0, 2.0)
"""Standard deviations of the models' true accuracies, in those of the seeds of one model."""
SPREADS = {"2 alike": (1, 1), "5 alike": (1,) * 5, "4 alike, 1 varies 4 times as much": (1, 1, 1, 1, 4)}
"""Standard deviations over the seeds, by what they are called."""
SURE = 0.95
DRAWS = 1_000
"""Of the means; a page has four times as many."""


def told_and_true(
    spreads: tuple[int, ...], typical: float, seeds: int, *, experiments: int, cost_spread: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what is told of places on the front of models whose truth is known, and whether they are on it.

    Args:
        spreads: Standard deviations over the seeds, a model each. All models but the first are dearer than another.
        typical: The standard deviation of the true accuracies, which are normal.
        seeds: Of each model.
        experiments: How many.
        cost_spread: The standard deviation over the seeds of a cost, whose true value is the model's number.

    Returns:
        float and bool [experiments, models]; the cheapest is left out where its cost does not vary.
    """
    generator = np.random.default_rng([seeds, len(spreads), round(10 * typical), sum(spreads)])
    true = generator.normal(0, typical, (experiments, len(spreads)))
    shape = (*true.shape, seeds)
    accuracies = true[..., np.newaxis] + np.array(spreads)[:, np.newaxis] * generator.standard_normal(shape)
    number = np.broadcast_to(np.arange(len(spreads), dtype=float), true.shape)
    costs = number[..., np.newaxis] + cost_spread * generator.standard_normal(shape)
    told = np.array([front_probabilities(one, its, draws=DRAWS) for one, its in zip(accuracies, costs, strict=True)])
    first = 0 if cost_spread else 1
    return told[:, first:], on_front(number, true)[:, first:]


def power(spreads: tuple[int, int], seeds: tuple[int, int], alpha: float, *, experiments: int) -> float:
    """Returns how often a gap is found by new seeds that is told to be the smallest by others.

    Args:
        spreads: Standard deviations of the two models.
        seeds: Of the two models.
        alpha: The level of the test.
        experiments: How many.
    """
    generator = np.random.default_rng([*spreads, *seeds])

    def runs() -> list[np.ndarray]:
        return [sd * generator.standard_normal((experiments, n)) for sd, n in zip(spreads, seeds, strict=True)]

    tests = welch_tests(*runs())
    gaps = gaps_of_tests(tests.error, tests.freedom, tests.n, alpha=alpha)
    first, second = runs()
    return float((welch_tests(first + gaps[:, np.newaxis], second).p < alpha).mean())


def _share(among: np.ndarray) -> str:
    """Writes a share of enough cases to mean something."""
    return f"{100 * among.mean():.1f} %" if len(among) >= 50 else "-"


def _front_table(experiments: int) -> Table:
    rows = []
    cases = [(name, seeds, typical, 0.0) for name, seeds, typical in product(SPREADS, COUNTS, TYPICAL)]
    cases += [("5 alike", seeds, typical, 1.0) for seeds, typical in product(COUNTS, (1.0, 2.0))]
    for name, seeds, typical, cost_spread in cases:
        told, true = told_and_true(SPREADS[name], typical, seeds, experiments=experiments, cost_spread=cost_spread)
        on, off = told >= SURE, told <= 1 - SURE
        figures = [_share(on.ravel()), _share(true[on]), _share(off.ravel()), _share(~true[off])]
        what = f"{name}; cost varies" if cost_spread else name
        rows.append([Cell(text) for text in (what, str(seeds), f"{typical:g}", *figures)])
    headers = ["models", "seeds", "typical gap", "told 95 % or more", "are on it", "told 5 % or less", "are not on it"]
    return Table("", headers, rows, [], frozenset({0}))


def _power_table(experiments: int) -> Table:
    rows = []
    for seeds in [(2, 2), (3, 3), (5, 5), (10, 10), (2, 3), (3, 10)]:
        for tests in (1, 3, 10, 45):
            found = [power((1, sd), seeds, ALPHA / tests, experiments=experiments) for sd in (1, 2, 4, 10)]
            rows.append([Cell(f"{seeds[0]} and {seeds[1]}"), Cell(str(tests)), *(Cell(_percent(p)) for p in found)])
    return Table("", ["seeds", "tests", "alike", "1 : 2", "1 : 4", "1 : 10"], rows, [], frozenset({0}))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main(experiments: int = 4_000) -> None:
    """Writes both tables.

    Args:
        experiments: Of each row about places on the front; ten times as many of each figure about gaps.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    pages = {
        "front": (
            "# Are places on the Pareto front as probable as is told?",
            f"{experiments:,} simulated experiments a row, by `python -m benchmarks.statistics_front`. True accuracies "
            "are normal; the typical gap is their standard deviation, in those of a model's seeds. Shares of all "
            "models but the cheapest (with it where the cost varies, by as much as two models differ in it). "
            "Probabilities take all gaps to be as likely: they hold where models differ by about a seed's deviation or "
            "more. Of closer ones few are told 95 % or more, and of these more than 5 % are not on the front. No share "
            "is given of fewer than 50.",
            _front_table(experiments),
        ),
        "power": (
            "# How often is the smallest gap found?",
            f"{10 * experiments:,} simulated experiments a figure, by `python -m benchmarks.statistics_front`: some "
            "seeds tell the smallest gap, as `summary.csv` has it, and as many others look for it with Welch's test, "
            "the first of so many under Holm's correction. Columns: how the standard deviations of the two models are "
            "to each other, that of the first to that of the second. Promised are 80 %.",
            _power_table(10 * experiments),
        ),
    }
    for name, (heading, words, table) in pages.items():
        (FOLDER / f"{name}.md").write_text(f"{heading}\n\n{words}\n\n{markdown(table)}\n")


if __name__ == "__main__":
    main()

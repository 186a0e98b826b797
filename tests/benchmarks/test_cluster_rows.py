"""The rows of clusters: simulated drivers lose nothing, costs are differences, and the plot shows what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness import overhead, workers_plot
from benchmarks.harness.cluster_growth import LOST_ONE_IN, Costs, measure, rows_of
from benchmarks.harness.rows import row_of
from benchmarks.harness.table import Machine, Rows
from benchmarks.harness.workers import NAME

COSTS = Costs(trials=10, workers=2, start_mib=500.0, peak_mib=600.0, wall_s=2.0, events=60, lost=1, missing=0)
MACHINE = Machine("a processor", "a processor", 2, "3.11", "2.11", None, "abc", False, "2026-01-01T00:00:00+00:00")


def test_a_simulated_cluster_loses_attempts_and_nodes_and_no_trial() -> None:
    costs = measure(300, 40)
    assert costs.missing == 0
    assert costs.lost >= 300 // LOST_ONE_IN
    assert costs.events > 300 * 6  # start, training, profile, two epochs and a row each, and the suite
    assert costs.peak_mib >= costs.start_mib > 0


def test_rows_hold_memory_and_time_a_trial_and_refuse_a_lost_row() -> None:
    most = replace(COSTS, trials=100, workers=20, wall_s=30.0, peak_mib=700.0)
    rows = {row.benchmark: row for row in rows_of([[COSTS, most]])}
    assert (rows["cluster / driver memory"].median, rows["cluster / driver memory"].met) == (700.0, True)
    assert rows["cluster / driver time"].median == 30.0
    assert rows["cluster / driver time a trial"].median == pytest.approx(0.3 / 0.2)
    with pytest.raises(RuntimeError, match="without exactly one row"):
        [*rows_of([[COSTS, replace(most, missing=1)]])]


def test_overhead_is_what_a_trial_takes_beyond_the_bare_process_beside_it() -> None:
    row = overhead._row("local", "< 1.0", [9.0, 3.0, 4.0, 5.0], [1.0, 2.5, 3.5, 4.4])
    assert (row.low, row.median, row.high) == pytest.approx((0.5, 0.5, 0.6))
    assert row.repeats == 3  # the first is dropped


def test_the_plot_is_drawn_where_there_are_such_rows_and_stands_on_the_page(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.keep(row_of("startup", "resbench list", [0.5]), MACHINE)
    rows.write_page()
    assert workers_plot.plot_workers(rows.read(), tmp_path) is None
    assert "workers.png" not in (tmp_path / "README.md").read_text()
    for what, seconds in (("no cluster", 40.0), ("1 worker", 50.0), ("2 workers", 28.0)):
        rows.keep(row_of(NAME, f"{what}, suite of 8 trials", [seconds, seconds + 1], unit="s"), MACHINE)
    rows.write_page()
    assert "(workers.png)" in (tmp_path / "README.md").read_text()
    words = (tmp_path / "workers.svg").read_text()
    assert "Wall time of a suite of 8 trials" in words
    assert (tmp_path / "workers.png").stat().st_size > 5000

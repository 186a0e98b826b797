"""Every column of the records says what it is, and what follows from that is what results are compared by."""

from __future__ import annotations

import pytest

from resbench.analysis import metrics
from resbench.analysis.metrics import METRICS, NAMED, SHARED
from resbench.compare import METRICS as COMPARED
from resbench.report.columns import COLUMNS
from resbench.schema.rows import EpochRecord, ProfileRecord, TrialRecord, describe
from resbench.stats import AVERAGED, CONSTANT

ROLES = {"learning", "machine", "label", "counted", "learnt", "measured", "outcome"}


@pytest.mark.parametrize("record", [TrialRecord, EpochRecord, ProfileRecord])
def test_every_field_has_a_role_and_says_what_it_is(record: type) -> None:
    trials = describe(TrialRecord)
    for name, column in describe(record).items():
        assert column.role in ROLES, name
        assert column.help or trials[name].help, name
        assert column.role not in ("learning", "machine") or column.of, name


def test_what_a_table_shares_is_all_that_decides_and_is_not_the_networks() -> None:
    decides = {
        name
        for name, column in describe(TrialRecord).items()
        if column.known and column.role != "label" and column.of != "network"
    }
    assert set(SHARED) == decides
    assert len(SHARED) == len(decides)


def test_what_accuracies_and_speeds_need_equal() -> None:
    assert {"model", "recipe", "budget", "dataset_fingerprint", "precision", "compiled"} <= set(metrics.LEARNING)
    assert {"device_name", "torch", "cpu_threads", "measuring_version", "lowering"} <= set(metrics.MACHINE)
    assert "code" not in metrics.LEARNING, "edited code may be compared with what it was"
    assert "seed" not in (*metrics.PLANNED, *metrics.FOUND)


def test_the_catalogue_agrees_with_what_tables_show() -> None:
    for column in COLUMNS:
        metric = NAMED[column.name]
        assert metric.header == column.header
        assert metric.better == column.better.__name__
        assert metric.whole_batches == column.needs_whole_batches
        assert metric.column == (column.measured or column.source)
    for compared in COMPARED:
        metric = METRICS[compared.source]
        assert (metric.header, metric.kind) == (compared.name, compared.threshold)
        assert (metric.better == "max") == compared.higher_is_better
    of_summary = {name for name, metric in METRICS.items() if metric.summary}
    assert of_summary == {*AVERAGED, *CONSTANT} - {"source"}

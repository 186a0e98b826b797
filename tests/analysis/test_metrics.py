"""Every column of the records says what it is, and what follows from that is what results are compared by."""

from __future__ import annotations

import pytest

from resbench.analysis import metrics
from resbench.analysis.metrics import METRICS, NAMED, SHARED
from resbench.schema.rows import EpochRecord, ProfileRecord, TrialRecord, describe
from resbench.stats import AVERAGED, CONSTANT
from resbench.stats.summary import WITHOUT_INTERVAL

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


def test_headers_have_the_unit_that_figures_are_shown_in() -> None:
    headers = {name: (metric.header, metric.scale, metric.better, metric.kind) for name, metric in NAMED.items()}
    assert headers["accuracy"] == ("test accuracy (%)", 100.0, "max", "accuracy")
    assert headers["throughput"] == ("train images/s", 1.0, "max", "throughput")
    assert headers["latency"] == ("latency p50 (ms)", 1.0, "min", "latency")
    assert headers["memory"] == ("train memory (MiB)", 1.0, "min", "memory")
    assert headers["params"][:3] == ("params (M)", 1e-6, "min")
    assert headers["time"][0] == "train time"
    in_parts = {name for name, metric in NAMED.items() if metric.whole_batches}
    assert in_parts == {"throughput", "step", "memory", "time"}


def test_the_summary_averages_what_varies_and_carries_over_what_is_counted() -> None:
    assert AVERAGED[:4] == ("test_accuracy", "best_test_accuracy", "train_accuracy", "test_loss")
    assert AVERAGED[-2:] == ("train_clock_s", "wall_s")
    assert WITHOUT_INTERVAL == ("best_test_accuracy", "wall_s")
    assert CONSTANT[:4] == ("source", "params", "trainable_params", "macs")
    assert "macs_fvcore" not in (*AVERAGED, *CONSTANT)
    assert METRICS["macs_fvcore"].role == "counted"


def test_times_rates_and_memory_are_what_has_such_a_unit() -> None:
    with_unit = {
        name for name, column in describe(TrialRecord).items() if column.unit in {"s", "ms", "MiB", "J", "images/s"}
    }
    assert set(metrics.MEASURED) == {*with_unit, "mfu", "train_clock_s"}

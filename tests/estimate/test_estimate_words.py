"""What a person reads of an estimate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import cell, estimate, plan, trial, unknown_cell
from rich.console import Console

from resbench.estimate.disk import DiskUse
from resbench.estimate.estimate import Estimate
from resbench.estimate.words import (
    estimate_lines,
    estimate_table,
    estimate_warnings,
    in_all,
    rough_memory,
    rough_time,
)
from resbench.schema import EngineSettings


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0123, "0.01 s"),
        (0.8412, "0.84 s"),
        (1.234, "1.2 s"),
        (51.26, "51 s"),
        (59.7, "1 min"),
        (187, "3 min 10 s"),
        (598, "10 min"),
        (1403, "23 min"),
        (3599, "1 h"),
        (3900, "1 h 05 min"),
        (13_547, "3 h 45 min"),
        (100_000, "28 h"),
    ],
)
def test_a_time_has_about_two_digits(seconds: float | None, text: str) -> None:
    assert rough_time(seconds) == text


@pytest.mark.parametrize(
    ("mib", "text"),
    [(None, "-"), (3.14, "3.1 MiB"), (624.0, "620 MiB"), (1230.0, "1.2 GiB"), (143_771.0, "140 GiB")],
)
def test_memory_has_two_digits(mib: float | None, text: str) -> None:
    assert rough_memory(mib) == text


def printed(found: Estimate, width: int = 80) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(estimate_table(found))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_table_has_a_row_a_cell_and_fits_into_80_columns() -> None:
    found = estimate(
        cell("resnet34", seeds=3, step_s=0.2567, train_s=3900.0, wall_s=4000.0, peak_mib=620.0),
        cell("cnn", basis="scaled", peak_mib=None, need_mib=None),
        cell("d2l_resnet18", basis="recorded", recorded=2),
        unknown_cell("resnet152", "out of memory", "no memory left"),
        unknown_cell("no max-pool under common", "failed", "it took longer than its limit"),
    )
    lines = printed(found)
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines[:5]] == [
        ["estimate", "trials", "step", "training", "a", "trial", "memory"],
        ["resnet34", "3", "260", "ms", "1", "h", "05", "min", "1", "h", "05", "min", "620", "MiB", "measured"],
        ["cnn", "1", "250", "ms", "7.5", "s", "12", "s", "-", "scaled"],
        ["d2l_resnet18", "1", "250", "ms", "7.5", "s", "12", "s", "300", "MiB", "2", "recorded"],
        ["resnet152", "1", "-", "-", "-", "-", "does", "not", "fit"],
    ]
    assert lines[5].split()[-7:] == ["1", "-", "-", "-", "-", "not", "known"]


def test_the_lines_say_totals_what_there_is_and_what_they_rest_on() -> None:
    found = estimate(
        cell("cnn", seeds=2),
        cell("resnet34", need_mib=1500.0),
        disk=DiskUse(results=2.1, checkpoints=470.0, free=50_000.0),
    )
    assert estimate_lines(found, plan([trial()])) == {
        "time": "about 42 s for 3 trials",
        "memory": "about 1.5 GiB of 8.0 GiB available: resnet34, with the dataset's images",
        "disk": "about 470 MiB of 49 GiB free: results 2.1 MiB, checkpoints 470 MiB as long as a trial trains",
        "basis": "a few training steps of each network on random images; shared machines vary",
    }


def test_what_is_not_in_the_total_is_named_and_what_is_more_than_trials_too() -> None:
    found = estimate(cell("cnn"), unknown_cell("resnet152", "failed", "why"), calibration_s=15.0, together=3)
    assert estimate_lines(found, plan([trial()]))["time"] == (
        "about 29 s for 1 trial, 15 s of it for the ruler and the noise floor, without resnet152, "
        "seeds one after another: side by side they may take less"
    )
    nothing = estimate(unknown_cell("resnet152", "failed", "why"))
    lines = estimate_lines(nothing, plan([trial()]))
    assert (lines["time"], lines["memory"]) == ("not known", "not known")


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (
            EngineSettings("cuda", "bf16", compile=True, cuda_graph=True),
            "Measured without torch.compile and CUDA graphs: training takes at most that long, and compiling comes "
            "on top",
        ),
        (
            EngineSettings("cuda", "bf16", cuda_graph=True),
            "Measured without CUDA graphs: training takes at most that long",
        ),
        (
            EngineSettings("cpu", "fp32", devices=2),
            "Measured on one device with its share of a batch: what 2 take to exchange gradients comes on top",
        ),
    ],
)
def test_trials_are_said_to_be_measured_without_what_was_left_out(engine: EngineSettings, said: str) -> None:
    compiled = plan([trial(engine=engine)])
    basis = estimate_lines(estimate(cell()), compiled)["basis"]
    assert basis == f"a few training steps of each network on random images; shared machines vary. {said}"
    assert "easured" not in estimate_lines(estimate(cell(basis="recorded", recorded=1)), compiled)["basis"]


def test_the_basis_tells_of_records_of_scaling_of_features_and_of_checkpoints() -> None:
    found = estimate(
        cell(basis="recorded", recorded=1), cell("resnet34", basis="scaled"), cell("frozen", features_once=True)
    )
    assert estimate_lines(replace(found, resumed=2), plan([trial()]))["basis"].split(". ")[1:] == [
        "What trials of the same network took that ended here",
        "Scaled: not measured, for lack of time, but by its FLOPs beside those that were",
        "Features of a frozen backbone are computed once: the step is one on features that are there",
        "2 trials that will go on from a checkpoint counted whole",
    ]
    only_recorded = estimate(cell(basis="recorded", recorded=1))
    basis = estimate_lines(only_recorded, plan([trial()]))["basis"]
    assert basis == "what trials of the same network took that ended here"


def test_what_fits_and_ends_well_has_no_warning() -> None:
    assert estimate_warnings(estimate(cell(), cell(basis="recorded", recorded=2)), plan([trial()])) == []


def test_what_does_not_fit_into_memory_is_a_warning_that_says_what_to_do() -> None:
    found = estimate(
        cell("wide", need_mib=9000.0),
        unknown_cell("deep", "out of memory", "OutOfMemoryError: CUDA out of memory"),
        cell("narrow", seeds=2, need_mib=5000.0),
    )
    remedy = "its trials are going to fail. Give a smaller --batch-size, or --oom accumulate."
    deep = "deep does not fit into memory in batches of 100 (OutOfMemoryError: CUDA out of memory)"
    assert estimate_warnings(found, plan([trial()])) == [
        f"wide needs about 8.8 GiB and there are 8.0 GiB: {remedy}",
        f"{deep}: {remedy}",
    ]
    accumulate = "it is going to be run again in halves of its batch."
    assert estimate_warnings(found, plan([trial()], accumulate=True))[1] == f"{deep}: {accumulate}"
    together = estimate_warnings(replace(found, together=3), plan([trial()]))
    assert together[2] == f"narrow needs about 9.8 GiB for 2 seeds at once and there are 8.0 GiB: {remedy}"
    assert len(estimate_warnings(replace(found, room_mib=None), plan([trial()]))) == 1


def test_all_ranks_of_a_trial_on_a_processor_take_of_its_memory() -> None:
    two_ranks = [trial(engine=EngineSettings("cpu", "fp32", devices=2))]
    found = replace(cell("wide", need_mib=5000.0), trials=tuple(two_ranks))
    (said,) = estimate_warnings(estimate(found), plan(two_ranks))
    assert said.startswith("wide needs about 9.8 GiB and there are 8.0 GiB")
    on_gpus = [trial(engine=EngineSettings("cuda", "fp32", devices=2))]
    assert estimate_warnings(estimate(replace(found, trials=tuple(on_gpus))), plan(on_gpus)) == []


def test_a_machine_that_was_not_left_alone_is_a_warning() -> None:
    busy = "other processes kept 1.0 of 2 processor threads busy; the trial wants 2"
    one = estimate(cell("cnn", doubts=(busy,)), cell("resnet34"))
    too_long = f"{busy}: the times may be far too long."
    assert estimate_warnings(one, plan([trial()])) == [f"while cnn was measured, {too_long}"]
    both = estimate(cell("cnn", doubts=(busy,)), cell("resnet34", doubts=("it was hot",)))
    assert estimate_warnings(both, plan([trial()])) == [f"while cnn and resnet34 were measured, {too_long}"]


def test_what_could_not_be_estimated_is_a_warning_with_its_reason() -> None:
    found = estimate(unknown_cell("odd", "failed", "the process was killed by SIGSEGV: last words"))
    assert estimate_warnings(found, plan([trial()])) == [
        "odd could not be estimated: the process was killed by SIGSEGV: last words"
    ]


def test_a_trial_that_takes_longer_than_it_may_is_a_warning() -> None:
    limited = plan([trial()], trial_timeout_s=13.0)
    assert estimate_warnings(estimate(cell(wall_s=10.0)), limited) == []
    assert estimate_warnings(estimate(cell(wall_s=12.0)), limited) == [
        "cnn takes about 12 s and is ended after 13 s (--trial-timeout)."
    ]


def test_a_disk_that_is_too_small_is_a_warning() -> None:
    disk = DiskUse(results=100.0, checkpoints=700.0, free=750.0)
    assert estimate_warnings(estimate(cell(), disk=disk), plan([trial()])) == [
        "about 800 MiB are going to be written and 750 MiB are free: make room, or give another folder with --out."
    ]


def test_several_suites_are_added_up_and_those_that_are_missing_are_counted() -> None:
    one = estimate(cell(seeds=3), disk=DiskUse(2.0, 300.0, 1e6))
    two = estimate(cell(wall_s=98.0), unknown_cell("odd", "failed", "why"), disk=DiskUse(3.0, 500.0, 1e6))
    assert in_all([one]) == "about 42 s for 3 trials, about 300 MiB of disk"
    assert in_all([one, two, None]) == (
        "about 2 min 20 s for 4 trials, about 500 MiB of disk; without 1 suite and 1 trial that could not be estimated"
    )

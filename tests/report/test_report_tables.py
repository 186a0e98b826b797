from __future__ import annotations

import io

import pytest
from few_records import accuracies, group_of, results_of
from records import make_record, make_trial, write_folder
from rich.console import Console

from resbench.report.formats import markdown
from resbench.report.tables import (
    LEDGER,
    _tiers,
    comparison_table,
    comparison_tables,
    failure_table,
    ledger_table,
    rich_table,
)
from resbench.store import Store, load_results


def row_of(table, model: str) -> dict:
    (row,) = [row for row in table.rows if row[0].text == model]
    return dict(zip(table.headers, row, strict=True))


def test_a_row_has_costs_and_results(tmp_path):
    (table,) = comparison_tables(results_of(tmp_path, make_record(make_trial())))
    cells = {header: cell.text for header, cell in row_of(table, "resnet34").items()}
    assert cells == {
        "model": "resnet34",
        "params (M)": "21.29",
        "MACs (M)": "74.77",
        "test accuracy (%)": "86.34",
        "train images/s": "44,000",
        "inference images/s": "130,000",
        "latency p50 (ms)": "1.02",
        "step p50 (ms)": "11.6",
        "train memory (MiB)": "1,500",
        "train time": "29.5 s",
        "status": "1/1 ok",
    }
    assert any("one run of one seed" in note for note in table.notes)


def test_spread_stands_beside_the_mean_of_several_seeds(tmp_path):
    (table,) = comparison_tables(results_of(tmp_path, *accuracies("resnet34", 0.94, 0.95, 0.96)))
    assert row_of(table, "resnet34")["test accuracy (%)"].text == "95.00 ± 1.00 (n=3)"
    assert not any("one seed" in note for note in table.notes)


def test_failed_trials_enter_no_mean_and_keep_their_row(tmp_path):
    failed = make_record(make_trial(seed=2), status="diverged", test_accuracy=0.1)
    alone = make_record(make_trial("resnet50"), status="oom", test_accuracy=None)
    (table,) = comparison_tables(results_of(tmp_path, *accuracies("resnet34", 0.95, 0.95), failed, alone))
    row = row_of(table, "resnet34")
    assert row["test accuracy (%)"].text == "95.00 ± 0.00 (n=2)"
    assert row["status"].text == "2/3 ok"
    row = row_of(table, "resnet50")
    assert (row["test accuracy (%)"].text, row["status"].text) == ("-", "0/1 ok")
    assert row["params (M)"].text == "21.29"


def best_of(table) -> dict[str, list[str]]:
    return {header: [row[0].text for row in table.rows if row[i].best] for i, header in enumerate(table.headers)}


def test_the_best_of_a_column_is_marked_at_the_right_end(tmp_path):
    folder = write_folder(tmp_path, seeds=1)
    noise_floor(folder, train_images_per_second=0.05, latency_ms_p50=0.05)
    (table,) = comparison_tables(load_results(folder))
    best = best_of(table)
    assert best["params (M)"] == best["train images/s"] == best["train time"] == ["d2l_resnet18"]
    assert best["latency p50 (ms)"] == ["d2l_resnet18"]
    assert best["train memory (MiB)"] == []  # nobody knows its noise
    assert best["test accuracy (%)"] == best["model"] == best["status"] == []  # one seed ranks nothing


def noise_floor(folder, **relative: float) -> None:
    Store(folder).append("noise_floor", {"model": "resnet34", "relative": relative})


def test_one_seed_without_a_noise_floor_is_no_best_in_speed(tmp_path):
    (table,) = comparison_tables(load_results(write_folder(tmp_path, seeds=1)))
    assert {header for header, models in best_of(table).items() if models} == {"params (M)", "MACs (M)"}


def speeds(model: str, *latencies: float) -> list[dict]:
    return [
        record | {"latency_ms_p50": value}
        for record, value in zip(accuracies(model, *[0.9] * len(latencies)), latencies, strict=True)
    ]


@pytest.mark.parametrize(
    ("floor", "best"),
    [
        (None, ["a", "b"]),  # 10.0 and 10.2 with a deviation of 0.1 each: 0.2 is less than 2 * 0.14
        (0.01, ["a", "b"]),
        (0.5, ["a", "b", "c"]),  # 10.4 is less than half of 10 above it
    ],
)
def test_what_the_noise_does_not_tell_from_the_best_is_best_too(tmp_path, floor, best):
    records = [*speeds("a", 9.9, 10.0, 10.1), *speeds("b", 10.1, 10.2, 10.3), *speeds("c", 10.3, 10.4, 10.5)]
    results_of(tmp_path, *records)
    if floor is not None:
        noise_floor(tmp_path, latency_ms_p50=floor)
    (table,) = comparison_tables(load_results(tmp_path))
    assert best_of(table)["latency p50 (ms)"] == best
    assert row_of(table, "a")["latency p50 (ms)"].text == "10.00 ± 0.10"
    assert any("Bold in speed, time and memory" in note for note in table.notes)


def test_a_time_that_the_budget_fixed_has_no_best(tmp_path):
    records = [
        make_record(make_trial(model, seed, budget="30s"), step_s=seconds)
        for model, seconds in (("a", 30.0), ("b", 31.0))
        for seed in range(2)
    ]
    (table,) = comparison_tables(results_of(tmp_path, *records))
    assert best_of(table)["train time"] == []


def test_of_each_figure_the_right_end_is_the_best(tmp_path):
    higher = ("train_images_per_second", "inference_images_per_second", "test_accuracy")
    lower = ("params", "macs", "latency_ms_p50", "step_ms_p50", "peak_memory_allocated_mib", "data_s")
    better = {**dict.fromkeys(lower, 10), **dict.fromkeys(higher, 0.9)}
    worse = {**dict.fromkeys(lower, 40), **dict.fromkeys(higher, 0.4)}
    for number, models in enumerate([("a", "b"), ("b", "a")]):
        figures = dict(zip(models, (better, worse), strict=True))
        records = [
            make_record(make_trial(model, seed), **{**figures[model], "test_accuracy": accuracy + 0.001 * seed})
            for model in ("a", "b")
            for accuracy in [figures[model]["test_accuracy"]]
            for seed in range(3)
        ]
        (table,) = comparison_tables(results_of(tmp_path / str(number), *records))
        best = {header: [row[0].text for row in table.rows if row[i].best] for i, header in enumerate(table.headers)}
        columns = [header for header in table.headers if header not in ("model", "95 % interval", "tier", "status")]
        assert len(columns) == len(better)
        assert {header: best[header] for header in columns} == {header: [models[0]] for header in columns}


def test_all_models_of_the_top_tier_are_best_in_accuracy(tmp_path):
    rivals = [*accuracies("a", 0.90, 0.91, 0.92), *accuracies("b", 0.915, 0.91, 0.90)]
    worse = accuracies("c", 0.100, 0.112, 0.119)
    failed = accuracies("d", 0.95, 0.95, None)
    (table,) = comparison_tables(results_of(tmp_path, *rivals, *worse, *failed))
    column = table.headers.index("test accuracy (%)")
    assert [row[0].text for row in table.rows if row[column].best] == ["a", "b"]
    assert [row[table.headers.index("tier")].text for row in table.rows] == ["a", "a", "b", "-"]


def test_the_interval_of_the_mean_stands_beside_it(tmp_path):
    (table,) = comparison_tables(results_of(tmp_path, *accuracies("a", 0.94, 0.95, 0.96), *accuracies("b", 0.9)))
    assert row_of(table, "a")["95 % interval"].text == "± 2.48"  # 4.303 / sqrt(3)
    assert row_of(table, "b")["95 % interval"].text == "-"


def test_a_group_of_one_seed_has_neither_interval_nor_tier(tmp_path):
    table = comparison_table(group_of(tmp_path, *accuracies("a", 0.94), *accuracies("b", 0.9)))
    assert not {"95 % interval", "tier"} & set(table.headers)


@pytest.mark.parametrize("width", [80, 300])
def test_groups_with_and_without_spread_are_one_table_in_a_terminal(tmp_path, width):
    short = make_record(make_trial("a", budget="1ep"), test_accuracy=0.1234)
    results = results_of(tmp_path, *accuracies("a", 0.94, 0.95), *accuracies("b", 0.93, 0.96), short)
    console = Console(file=io.StringIO(), width=width)
    console.print(rich_table(results, width=width))
    text = console.file.getvalue()
    assert "12.34" in text
    assert "94.50 ± 0.71 (n=2)" in text
    assert len({len(row) for table in comparison_tables(results) for row in table.rows}) == 1
    told = " ".join(text.split())
    assert "budget 1ep: Every row is one run of one seed" in told
    assert "budget 26ep: Smallest gap that 2 seeds would find" in told


def test_many_tiers_in_a_row_are_written_by_their_ends():
    written = {"a": "a", "abc": "abc", "abcd": "a-d", "bcdefhij": "b-fhij", "ya1": "ya1"}
    assert {letters: _tiers(letters) for letters in written} == written
    assert _tiers(None) == "-"


def test_what_ran_in_parts_is_marked_and_never_best_in_training_speed(tmp_path):
    fast = {"train_images_per_second": 9e9, "step_ms_p50": 0.1, "peak_memory_allocated_mib": 1.0, "latency_ms_p50": 0.1}
    records = [
        *accuracies("parts", 0.9, micro_batch_size=128, step_s=0.1, **fast),
        *accuracies("whole", 0.9),
        *accuracies("slower", 0.9, train_images_per_second=1.0, step_ms_p50=99.0, step_s=99.0),
    ]
    results_of(tmp_path, *records)
    floors = ("train_images_per_second", "step_ms_p50", "peak_memory_allocated_mib", "latency_ms_p50")
    noise_floor(tmp_path, **dict.fromkeys(floors, 0.01))
    (table,) = comparison_tables(load_results(tmp_path))
    row = row_of(table, "parts")
    for header in ("train images/s", "step p50 (ms)", "train memory (MiB)", "train time"):
        assert (row[header].text.endswith(" ‡"), row[header].best) == (True, False)
        assert row_of(table, "whole")[header].best
    assert row["latency p50 (ms)"].best
    assert any("‡ parts ran batches of 512 images in parts of 128" in note for note in table.notes)


def test_a_suspect_trial_is_marked_with_its_reasons_and_stays_in_the_mean(tmp_path):
    records = [*accuracies("a", 0.10, 0.12), *accuracies("b", 0.9, 0.91)]
    records[1] |= {"verdict": "suspect", "verdict_reasons": ["no better than chance", "too hot"]}
    (table,) = comparison_tables(results_of(tmp_path, *records))
    row = row_of(table, "a")
    assert (row["status"].text, row["test accuracy (%)"].text) == ("2/2 ok †", "11.00 ± 1.41 (n=2)")
    assert row_of(table, "b")["status"].text == "2/2 ok"
    assert "† a is suspect. seed 1: no better than chance; too hot." in table.notes


def test_a_single_row_has_no_best(tmp_path):
    (table,) = comparison_tables(results_of(tmp_path, make_record(make_trial())))
    assert not any(cell.best for row in table.rows for cell in row)


def test_failures_show_the_last_line_of_the_error(tmp_path):
    error = "Traceback\n  File ...\nRuntimeError: it | broke\n\n"
    results = results_of(
        tmp_path, make_record(make_trial(), status="crashed", phase="train", error=error), make_record(make_trial("a"))
    )
    table = failure_table(results)
    assert [cell.text for cell in table.rows[0]][3:] == ["crashed", "train", "RuntimeError: it | broke"]
    assert len(table.rows) == 1
    assert r"it \| broke" in markdown(table)


def test_no_failures_no_table(tmp_path):
    assert failure_table(results_of(tmp_path, make_record(make_trial()))) is None


def test_the_ledger_has_every_part_and_its_mean_over_what_ended_well(tmp_path):
    records = [make_record(make_trial(seed=seed), build_s=build) for seed, build in enumerate([1.0, 2.0])]
    records.append(make_record(make_trial(seed=2), build_s=60.0, wall_s=99.0, status="crashed"))
    table = ledger_table(group_of(tmp_path, *records))
    assert table.headers[1:-1] == [f"{name} (s)" for name, _ in LEDGER]
    assert {header: cell.text for header, cell in zip(table.headers, table.rows[0], strict=True)} == {
        "model": "resnet34",
        "build (s)": "1.50",
        "profile (s)": "2.50",
        "compile (s)": "14.00",
        "warm-up (s)": "1.50",
        "data (s)": "1.20",
        "step (s)": "28.30",
        "eval (s)": "3.10",
        "checkpoint (s)": "0.40",
        "other (s)": "0.20",
        "wall (s)": "52.00",
    }
    assert table.notes == []
    together = [record | {"concurrent_seeds": 2} for record in records]
    (note,) = ledger_table(group_of(tmp_path / "together", *together)).notes
    assert note.startswith("resnet34: seeds trained at once")


def test_terminal_and_page_show_the_same_cells(tmp_path):
    results = load_results(write_folder(tmp_path, seeds=3))
    page = markdown(comparison_tables(results)[0])
    console = Console(file=io.StringIO(), width=300)
    console.print(rich_table(results, width=300))
    terminal = console.file.getvalue()
    for row in comparison_tables(results)[0].rows:
        for cell in row:
            assert cell.text in page
            assert cell.text in terminal


def test_a_narrow_terminal_can_do_without_columns_where_there_is_one_seed(tmp_path):
    results = load_results(write_folder(tmp_path, seeds=1))
    console = Console(file=io.StringIO(), width=40)
    console.print(rich_table(results, width=40))
    assert "Left out" in console.file.getvalue()
    assert "interval," not in console.file.getvalue().partition("Left out")[2]


def test_a_narrow_terminal_breaks_no_number(tmp_path):
    results = load_results(write_folder(tmp_path, seeds=3))
    console = Console(file=io.StringIO(), width=80)
    console.print(rich_table(results, width=80))
    text = console.file.getvalue()
    assert "Left out" in text
    assert "87.01 ± 0.10 (n=3)" in text
    assert "3/3 ok" in text


def test_a_group_title_breaks_between_words_only(tmp_path):
    long = "resnet152_finetune_bn_eval"
    results = results_of(
        tmp_path, *(make_record(make_trial("cnn", recipe=recipe)) for recipe in (long, "resnet152_features"))
    )
    console = Console(file=io.StringIO(), width=120)
    console.print(rich_table(results, width=120))
    assert long in console.file.getvalue()
    assert "resnet152_features" in console.file.getvalue()


def test_a_model_name_is_not_markup(tmp_path):
    results = results_of(tmp_path, make_record(make_trial("[red]net[/red]")))
    console = Console(file=io.StringIO(), width=300)
    console.print(rich_table(results, width=300))
    assert "[red]net[/red]" in console.file.getvalue()

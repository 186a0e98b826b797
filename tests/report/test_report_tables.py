from __future__ import annotations

import io

from records import make_record, make_trial, write_folder
from rich.console import Console

from resbench.report.groups import comparable_groups
from resbench.report.headline import headline
from resbench.report.tables import (
    LEDGER,
    comparison_tables,
    failure_table,
    ledger_table,
    markdown,
    rich_table,
)
from resbench.store import Results, Store, load_results


def results_of(folder, *records) -> Results:
    store = Store(folder, create=True)
    for record in records:
        store.append("trial", record)
    return load_results(folder)


def accuracies(model: str, *values: float) -> list[dict]:
    return [make_record(make_trial(model, seed), test_accuracy=value) for seed, value in enumerate(values)]


def headline_of(folder, *records) -> str:
    (group,) = comparable_groups(results_of(folder, *records).trials)
    return headline(group)


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


def test_the_best_of_a_column_is_marked_at_the_right_end(tmp_path):
    (table,) = comparison_tables(load_results(write_folder(tmp_path, seeds=1)))
    best = {header: [row[0].text for row in table.rows if row[i].best] for i, header in enumerate(table.headers)}
    assert best["params (M)"] == best["train images/s"] == best["train time"] == ["d2l_resnet18"]
    assert best["test accuracy (%)"] == ["resnet152"]
    assert best["model"] == best["status"] == []


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


def test_the_ledger_has_every_part_and_its_mean(tmp_path):
    records = [make_record(make_trial(seed=seed), build_s=build) for seed, build in enumerate([1.0, 2.0])]
    (group,) = comparable_groups(results_of(tmp_path, *records).trials)
    table = ledger_table(group)
    assert table.headers[1:-1] == [f"{name} (s)" for name, _ in LEDGER]
    assert table.rows[0][1].text == "1.50"


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


def test_a_narrow_terminal_breaks_no_number(tmp_path):
    results = load_results(write_folder(tmp_path, seeds=3))
    console = Console(file=io.StringIO(), width=80)
    console.print(rich_table(results, width=80))
    text = console.file.getvalue()
    assert "Left out" in text
    assert "87.01 ± 0.10 (n=3)" in text
    assert "3/3 ok" in text


def test_a_model_name_is_not_markup(tmp_path):
    results = results_of(tmp_path, make_record(make_trial("[red]net[/red]")))
    console = Console(file=io.StringIO(), width=300)
    console.print(rich_table(results, width=300))
    assert "[red]net[/red]" in console.file.getvalue()


def test_headline_of_one_seed_claims_no_rank(tmp_path):
    said = headline_of(tmp_path, *accuracies("a", 0.95), *accuracies("b", 0.94))
    assert said.startswith("On shapes10 with the budget 26ep on NVIDIA H200, a has the highest test accuracy, 95.00 %")
    assert "1.00 points above b" in said
    assert "not a ranking" in said


def test_headline_of_overlapping_intervals_says_so(tmp_path):
    said = headline_of(tmp_path, *accuracies("a", 0.95, 0.94), *accuracies("b", 0.94, 0.945))
    assert "2 seeds, 95 % interval ± 6.35 points" in said  # 12.706 * 0.7071 / sqrt(2)
    assert "overlaps with b: these runs do not separate them" in said


def test_headline_of_separate_intervals(tmp_path):
    said = headline_of(tmp_path, *accuracies("a", 0.950, 0.951, 0.949), *accuracies("b", 0.90, 0.901, 0.899))
    assert "overlaps with no other model's" in said


def test_headline_names_rivals_with_one_seed(tmp_path):
    said = headline_of(tmp_path, *accuracies("a", 0.950, 0.951), *accuracies("b", 0.949))
    assert "b has one seed and no interval" in said
    assert "no other" not in said


def test_headline_without_rivals_and_without_results(tmp_path):
    assert "no other model" in headline_of(tmp_path / "one", *accuracies("a", 0.95))
    assert "no trial ended ok" in headline_of(tmp_path / "none", make_record(make_trial(), status="oom"))

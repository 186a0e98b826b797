"""What the charts of a page show, held to the records that they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from few_records import accuracies, group_of, results_of
from records import FIVE_MODELS, TWENTY_MODELS, make_record, make_trial, write_folder

from resbench.report.curves import EpochsByTrial
from resbench.report.groups import Group, comparable_groups
from resbench.report.html.charts import curves_chart, ledger_chart, sizes_chart, throughput_chart, tradeoff_chart
from resbench.report.html.charts.marks import MOST_NAMED, axis, looks, tick_text
from resbench.report.html.document import Chart
from resbench.report.profiles import ProfileSet
from resbench.schema import ProfileRecord, columns
from resbench.store import Results, load_results


def only_group(results: Results) -> Group:
    """The one group of a folder."""
    (group,) = comparable_groups(results.trials)
    return group


def view_of(chart: Chart | None, name: str) -> list[dict[str, Any]]:
    """The traces of a chart's view."""
    assert chart is not None
    (view,) = [view for view in chart.views if view.name == name]
    return view.traces


def points(traces: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Traces by name."""
    return {trace["name"]: trace for trace in traces if not trace.get("band")}


class TestTradeoff:
    def test_a_model_is_a_point_with_its_interval_and_says_so(self, tmp_path: Path) -> None:
        rows = [*accuracies("small", 0.80, 0.82, macs=10_000_000), *accuracies("large", 0.90, 0.92, macs=90_000_000)]
        group = group_of(tmp_path, *rows)
        found = points(view_of(tradeoff_chart(group, looks(group.labels), "g"), "MACs"))
        assert (found["small"]["x"], found["small"]["y"]) == ([10.0], [pytest.approx(81.0)])
        # Student's t with one degree of freedom: 12.706 times the standard error, which is 1 point.
        assert found["small"]["bar"] == [pytest.approx(12.706, rel=1e-4)]
        (text,) = found["large"]["hovertext"]
        assert text.split("<br>")[:3] == [
            "<b>large</b>",
            "test accuracy 91.00 % ± 12.71 (95 % interval, n=2)",
            "MACs of one forward pass (millions): 90.00",
        ]
        assert text.split("<br>")[-1].startswith("on the front of the true means with a probability of ")
        assert found["small"]["hovertext"][0].endswith("<br>cheapest: on the front by definition")

    def test_the_front_is_of_those_that_none_beats(self, tmp_path: Path) -> None:
        models = {"a": (0.8, 10), "b": (0.7, 20), "c": (0.9, 30)}
        rows = [row for name, (value, macs) in models.items() for row in accuracies(name, value, macs=macs * 10**6)]
        group = group_of(tmp_path, *rows)
        front = points(view_of(tradeoff_chart(group, looks(group.labels), "g"), "MACs"))["Pareto front"]
        assert list(zip(front["x"], front["y"], strict=True)) == [(10.0, 80.0), (30.0, 90.0), (30.0, 90.0)]

    def test_one_model_has_none(self, tmp_path: Path) -> None:
        group = group_of(tmp_path, *accuracies("alone", 0.8, 0.9))
        assert tradeoff_chart(group, looks(group.labels), "g") is None

    def test_of_many_models_ten_have_a_colour_and_all_a_hover_text(self, tmp_path: Path) -> None:
        group = only_group(load_results(write_folder(tmp_path, models=TWENTY_MODELS, seeds=2, epochs=2)))
        chart = tradeoff_chart(group, looks(group.labels), "g")
        _, others, *coloured = view_of(chart, "MACs")
        assert len(coloured) == MOST_NAMED
        assert (others["colour"], others["showlegend"]) == ("line", False)
        told = [*others["hovertext"], *(text for trace in coloured for text in trace["hovertext"])]
        assert {text.split("<br>")[0] for text in told} == {f"<b>{label}</b>" for label in TWENTY_MODELS}


class TestCurves:
    @pytest.fixture
    def results(self, tmp_path: Path) -> Results:
        return load_results(write_folder(tmp_path, seeds=3, epochs=4))

    def test_mean_and_band_over_the_seeds_against_each_axis(self, results: Results) -> None:
        group = only_group(results)
        chart = curves_chart(group, EpochsByTrial(results.epochs), looks(group.labels), "g")
        assert [view.name for view in chart.views] == ["by epoch", "by time", "by FLOPs"]
        for name, column in (("by epoch", "epoch"), ("by time", "train_clock_s"), ("by FLOPs", "train_flops_spent")):
            line = points(view_of(chart, name))["resnet50"]
            of_model = results.epochs[results.epochs["model"] == "resnet50"].groupby("steps")
            assert line["x"] == pytest.approx(of_model[column].mean().tolist())
            assert line["y"] == pytest.approx((100 * of_model["test_accuracy"].mean()).tolist())
            (band,) = [t for t in view_of(chart, name) if t.get("band") and t["name"] == "resnet50"]
            assert band["y"][:4] == pytest.approx((100 * of_model["test_accuracy"].max()).tolist())
            assert band["y"][:3:-1] == pytest.approx((100 * of_model["test_accuracy"].min()).tolist())

    def test_trials_that_were_evaluated_once_have_none(self, tmp_path: Path) -> None:
        results = load_results(write_folder(tmp_path, epochs=1))
        group = only_group(results)
        assert curves_chart(group, EpochsByTrial(results.epochs), looks(group.labels), "g") is None


class TestLedger:
    def test_the_parts_add_up_to_the_wall_and_the_shares_to_100(self, tmp_path: Path) -> None:
        group = group_of(tmp_path, make_record(make_trial("a")))
        chart = ledger_chart(group, "g")
        seconds = {trace["name"]: trace["x"][0] for trace in view_of(chart, "seconds")}
        assert seconds == {
            "build": 0.8, "profile": 2.5, "compile": 14.0, "warm-up": 1.5, "data": 1.2, "step": 28.3, "eval": 3.1,
            "checkpoint": 0.4, "other": 0.2,
        }  # fmt: skip
        shares = {trace["name"]: trace["x"][0] for trace in view_of(chart, "shares")}
        assert sum(shares.values()) == pytest.approx(100)
        assert shares["step"] == pytest.approx(100 * 28.3 / 52.0)


class TestThroughput:
    def test_a_model_is_a_bar(self, tmp_path: Path) -> None:
        group = group_of(tmp_path, *(make_record(make_trial(name)) for name in ("a", "b")))
        chart = throughput_chart(group, "g")
        assert [view.name for view in chart.views] == ["training", "inference", "training memory", "inference memory"]
        (bars,) = view_of(chart, "training")
        assert (bars["y"], bars["x"], bars["text"]) == (["a", "b"], [44_000.0, 44_000.0], ["44,000", "44,000"])

    def test_a_model_whose_batches_ran_in_parts_is_not_compared_in_training(self, tmp_path: Path) -> None:
        rows = [make_record(make_trial("whole")), make_record(make_trial("parts"), micro_batch_size=64)]
        chart = throughput_chart(group_of(tmp_path, *rows), "g")
        assert view_of(chart, "training")[0]["y"] == ["whole"]
        assert view_of(chart, "inference")[0]["y"] == ["whole", "parts"]
        assert "Without parts in training" in chart.words


class TestSizes:
    def profile(self, model: str, batch_size: int, speed: float) -> dict[str, Any]:
        known = {"batch_size": batch_size, "train_images_per_second": speed, "peak_memory_allocated_mib": speed / 50}
        return {**dict.fromkeys(columns(ProfileRecord)), "model": model, **known}

    def test_a_sweep_is_a_line_a_network(self) -> None:
        rows = [self.profile(model, size, 100.0 * size) for model in ("a", "b") for size in (64, 1, 512)]
        chart = sizes_chart(ProfileSet("eager", rows), "s")
        assert [view.name for view in chart.views] == ["training throughput", "training memory"]
        line = points(view_of(chart, "training throughput"))["a"]
        assert (line["x"], line["y"]) == ([1, 64, 512], [100.0, 6400.0, 51200.0])
        assert chart.words.startswith("eager. One fixed batch")

    def test_one_batch_size_is_no_sweep(self) -> None:
        assert sizes_chart(ProfileSet("", [self.profile("a", 64, 1.0), self.profile("b", 64, 2.0)]), "s") is None

    def test_of_many_networks_the_fastest_have_a_colour(self) -> None:
        rows = [self.profile(f"n{n}", size, size * (n + 1.0)) for n in range(15) for size in (1, 2)]
        lines = points(view_of(sizes_chart(ProfileSet("", rows), "s"), "training throughput"))
        assert {name for name, line in lines.items() if line["colour"] != "line"} == {f"n{n}" for n in range(5, 15)}


class TestMarks:
    def test_models_keep_their_look_and_differ_in_colour_or_symbol(self) -> None:
        found = looks([*FIVE_MODELS, "resnet34", *TWENTY_MODELS])
        assert len(found) == 25
        assert len({(look["colour"], look["symbol"]) for look in found.values()}) == 25

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.5, "0.5"), (200, "200"), (2000, "2000"), (20_000, "20k"), (5e6, "5M"), (1e12, "1T"), (2e15, "2P")],
    )
    def test_ticks_are_short_plain_numbers(self, value: float, text: str) -> None:
        assert tick_text(value) == text

    def test_an_axis_is_logarithmic_over_a_wide_range_of_positive_values_only(self) -> None:
        assert axis("t", [1, 2, 3]).get("type") is None
        assert axis("t", [0, 100]).get("type") is None
        wide = axis("t", [3, 400])
        assert wide["type"] == "log"
        assert {5.0, 10.0, 200.0} <= set(wide["tickvals"])
        assert set(axis("t", [1, 1e6])["ticktext"]) >= {"1", "100", "10k", "1M"}


def test_nothing_ran_nothing_is_drawn(tmp_path: Path) -> None:
    failed = make_record(make_trial("a"), status="crashed", test_accuracy=None)
    failed |= {name: None for name in failed if name.endswith(("_s", "_mib", "_per_second"))}
    results = results_of(tmp_path, failed)
    group = only_group(results)
    style = looks(group.labels)
    assert tradeoff_chart(group, style, "g") is None
    assert curves_chart(group, EpochsByTrial(results.epochs), style, "g") is None
    assert ledger_chart(group, "g") is None
    assert throughput_chart(group, "g") is None

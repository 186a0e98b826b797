from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import FIVE_MODELS, TWENTY_MODELS, make_record, make_trial, write_folder

from resbench.report.curves import EpochsByTrial, curve, curves_figure
from resbench.report.groups import MOST_SHOWN, comparable_groups
from resbench.report.labels import _overlap, place_labels
from resbench.report.pareto import COSTS, front_of, tradeoff_figure
from resbench.report.plots import _in_order, write_plots
from resbench.report.style import COLOURS, MOST_COLOURED, model_styles, new_figure, plot_settings
from resbench.stats.fronts import pareto_front
from resbench.store import Store, load_results

# Few values, so that ties are common.
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def dominates(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(POINTS)
def test_pareto_front_is_what_nothing_dominates(points):
    front = pareto_front([cost for cost, _ in points], [accuracy for _, accuracy in points])
    undominated = {i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)}
    assert set(front) == undominated
    assert len(front) == len(undominated)
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_pareto_front_wants_pairs():
    with pytest.raises(ValueError, match="shorter"):
        pareto_front([1.0, 2.0], [0.5])


@pytest.mark.parametrize(
    ("models", "size"), [(FIVE_MODELS, 8), (TWENTY_MODELS, 7)], ids=["near ties", "twenty long names"]
)
def test_no_two_names_overlap(models, size):
    with plot_settings():
        figure = new_figure(6.0)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        points = [(macs / 1e6, 100 * accuracy) for _, macs, accuracy, _, _ in models.values()]
        axes.plot(*zip(*points, strict=True), "o")
        axes.margins(0.15)
        figure.draw_without_rendering()
        names = [style.name for style in model_styles(models).values()]
        boxes = place_labels(axes, points, names, ["black"] * len(points), font_size=size)
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert sum(_overlap(a, b) for a, b in pairs) == 0
    inside = tuple(axes.get_window_extent().extents)
    assert all(_overlap(box, inside) == pytest.approx((box[2] - box[0]) * (box[3] - box[1])) for box in boxes)


def test_every_plot_is_written_twice_and_the_same_each_time(tmp_path):
    results = load_results(write_folder(tmp_path, seeds=2, epochs=3))
    groups = comparable_groups(results.trials)
    plots = write_plots(groups, results.epochs, tmp_path)
    assert [plot.kind for plot in plots] == [
        *(f"accuracy_vs_{cost.name}" for cost in COSTS),
        "learning_curves_epochs",
        "learning_curves_time",
        "learning_curves_flops",
        "throughput",
        "time_ledger",
    ]
    first = {path: path.read_bytes() for plot in plots for path in plot.files}
    assert {path.suffix for path in first} == {".png", ".svg"}
    svg = (tmp_path / "plots" / "accuracy_vs_macs.svg").read_text()
    assert re.search(r">resnet34( \(\S+ %\))?</text>", svg)
    assert "<dc:date>" not in svg
    assert str(tmp_path) not in svg
    write_plots(groups, results.epochs, tmp_path)
    assert {path: path.read_bytes() for path in first} == first


def names_of(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_name_carries_how_probable_its_place_on_the_front_is(tmp_path):
    with plot_settings():
        for seeds in (1, 4):
            (group,) = comparable_groups(load_results(write_folder(tmp_path / str(seeds), seeds=seeds)).trials)
            figure = tradeoff_figure(group, COSTS[0], model_styles(group.labels))
            (legend,) = (text.get_text() for text in figure.axes[0].get_legend().get_texts())
            assert ("bars: one standard deviation" in figure.axes[0].get_title(loc="left")) == (seeds > 1)
            if seeds == 1:
                assert sorted(names_of(figure)) == sorted(FIVE_MODELS)
                assert legend == "Pareto front"
            else:
                assert {"d2l_resnet18 (cheapest)", "resnet34 (>99 %)"} < {*names_of(figure)}
                assert legend.splitlines() == [
                    "Pareto front (and how probable a place on it is)",
                    "cheapest: on the front by definition",
                ]


def test_of_many_models_only_those_on_the_front_carry_a_probability(tmp_path):
    (group,) = comparable_groups(load_results(write_folder(tmp_path, models=TWENTY_MODELS, seeds=3)).trials)
    with plot_settings():
        names = names_of(tradeoff_figure(group, COSTS[0], model_styles(group.labels)))
    front = front_of(group, COSTS[0])
    assert len(names) == 20
    assert sum(name.endswith((" %)", " (cheapest)")) for name in names) == len(front.indices) < 20


def test_a_plot_says_which_model_it_leaves_out_for_its_batches_ran_in_parts(tmp_path):
    folder = write_folder(tmp_path, seeds=2, epochs=1)
    for seed in (0, 1):
        Store(folder).append("trial", make_record(make_trial("resnet152", seed), micro_batch_size=8))
    (group,) = comparable_groups(load_results(folder).trials)
    with plot_settings():
        by_time, by_macs = (tradeoff_figure(group, cost, model_styles(group.labels)) for cost in (COSTS[2], COSTS[0]))
    assert "without resnet152: batches ran in parts" in by_time.axes[0].get_title(loc="left")
    assert not any("resnet152" in name for name in names_of(by_time))
    assert "without" not in by_macs.axes[0].get_title(loc="left")


def test_plots_without_data_are_left_out_and_old_ones_removed(tmp_path):
    nothing = dict.fromkeys(["peak_memory_allocated_mib", "latency_ms_p50", "inference_images_per_second"])
    folder = write_folder(tmp_path, epochs=1, record_changes=nothing)
    (folder / "plots").mkdir()
    (folder / "plots" / "accuracy_vs_memory.png").write_text("of an earlier report")
    (folder / "plots" / "mine.png").write_text("not a plot of ours")
    results = load_results(folder)
    kinds = {plot.kind for plot in write_plots(comparable_groups(results.trials), results.epochs, folder)}
    assert not kinds & {"accuracy_vs_memory", "accuracy_vs_latency"}
    assert {"throughput", "time_ledger"} <= kinds
    assert "learning_curves_epochs" not in kinds  # one evaluation is no curve
    assert not (folder / "plots" / "accuracy_vs_memory.png").exists()
    assert (folder / "plots" / "mine.png").exists()


def test_a_callers_matplotlib_settings_neither_count_nor_change(tmp_path):
    results = load_results(write_folder(tmp_path, models=dict(list(FIVE_MODELS.items())[:2]), epochs=1))
    (group,) = comparable_groups(results.trials)
    with matplotlib.rc_context({"font.size": 33, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        with plot_settings():
            figure = tradeoff_figure(group, COSTS[0], model_styles(group.labels))
        assert dict(matplotlib.rcParams) == before
    assert figure.axes[0].xaxis.label.get_size() < 12


@pytest.mark.parametrize("number", [1, 7, MOST_COLOURED, MOST_COLOURED + 1, MOST_SHOWN])
def test_a_models_style_is_its_own(number):
    styles = list(model_styles(f"model{i}" for i in range(number)).values())
    assert len({(style.colour, style.marker) for style in styles}) == number
    assert sum(style.muted for style in styles) == (0 if number <= MOST_COLOURED else number - len(COLOURS))


def test_of_many_models_the_most_accurate_have_the_colours(tmp_path):
    (group,) = comparable_groups(load_results(write_folder(tmp_path, models=TWENTY_MODELS, epochs=2)).trials)
    ranked = sorted(TWENTY_MODELS, key=lambda model: -group.rows[group.labels.index(model)]["test_accuracy_mean"])
    assert _in_order([group])[: len(COLOURS)] == ranked[: len(COLOURS)]
    few = dict(list(TWENTY_MODELS.items())[:MOST_COLOURED])
    (group,) = comparable_groups(load_results(write_folder(tmp_path / "few", models=few, epochs=2)).trials)
    assert _in_order([group]) == list(few)  # all have a colour: each keeps its place


def test_the_legend_of_twenty_curves_lies_beside_the_title_of_none(tmp_path):
    results = load_results(write_folder(tmp_path, models=TWENTY_MODELS, seeds=2, epochs=3))
    (group,) = comparable_groups(results.trials)
    with plot_settings():
        styles = model_styles(_in_order([group]))
        figure = curves_figure(group, EpochsByTrial(results.epochs), "epoch", "epoch", styles)
        figure.draw_without_rendering()
        legend, title = figure.axes[0].get_legend().get_window_extent(), figure.axes[0]._left_title.get_window_extent()
        whole = figure.bbox
    assert legend.y1 <= title.y0
    assert (legend.x1 <= whole.x1, legend.y0 >= whole.y0, title.x1 <= whole.x1) == (True, True, True)


def test_a_curve_is_the_mean_and_range_of_its_seeds(tmp_path):
    epochs = load_results(
        write_folder(tmp_path, models={"resnet34": FIVE_MODELS["resnet34"]}, seeds=2, epochs=4)
    ).epochs
    found = curve(epochs.iloc[:-1], "epoch")
    assert found.x == [1.0, 2.0, 3.0]  # the second seed's last evaluation is missing
    first = 100 * epochs[epochs["epoch"] == 1.0]["test_accuracy"]
    assert found.mean[0] == pytest.approx(first.mean())
    assert (found.low[0], found.high[0]) == (pytest.approx(first.min()), pytest.approx(first.max()))
    assert curve(epochs.iloc[:0], "epoch") is None


def test_reports_do_not_import_torch_or_pyplot():
    import subprocess
    import sys

    code = (
        "import sys, resbench.report, resbench.report.plots, resbench.compare;"
        "print(sorted({'torch', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.stdout.strip(), done.stderr) == ("[]", "")

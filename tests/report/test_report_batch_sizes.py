"""Profiles at several batch sizes: their plots, and the page of a folder that holds nothing else."""

from __future__ import annotations

import re

import pytest
from profile_records import profile_record, write_profiles
from records import FIVE_MODELS, make_epochs, make_record, make_trial, write_folder

from resbench.report import write_report
from resbench.report.batch_sizes import PANELS, _ticks, batch_size_figure, lines_of
from resbench.report.printed import printed_report
from resbench.report.profiles import profile_sets
from resbench.report.style import COLOURS, plot_settings
from resbench.store import Store, load_results

SIZES = (1, 64, 512)


def several(*models: str, **changes):
    return [profile_record(model, size, **changes) for model in models for size in SIZES]


def test_a_line_has_the_mean_at_each_batch_size_of_models_measured_at_two() -> None:
    rows = [
        profile_record("a", 64, train_images_per_second=30.0),
        profile_record("a", 1, train_images_per_second=10.0),
        profile_record("a", 1, train_images_per_second=20.0, trial_id="of a trial"),
        profile_record("b", 64),
        profile_record("c", 1, train_images_per_second=None),
        profile_record("c", 64, train_images_per_second=5.0),
    ]
    assert lines_of(rows, "train_images_per_second") == {"a": [(1, 15.0), (64, 30.0)]}


def test_profiles_of_other_settings_are_sets_of_their_own(tmp_path) -> None:
    folder = write_profiles(tmp_path, *several("a"), *several("a", precision="fp32"), *several("a", compiled=False))
    titles = [found.title for found in profile_sets(load_results(folder).profile)]
    assert titles == [
        "NVIDIA H200, bf16, cifar stem, 3x32x32, compiled",
        "NVIDIA H200, fp32, cifar stem, 3x32x32, compiled",
        "NVIDIA H200, bf16, cifar stem, 3x32x32, eager",
    ]


def test_the_figure_has_a_panel_for_what_was_measured_and_logarithmic_axes(tmp_path) -> None:
    folder = write_profiles(tmp_path, *several("slow"), *several("fast", train_images_per_second=9e9))
    (found,) = profile_sets(load_results(folder).profile)
    with plot_settings():
        figure = batch_size_figure(found)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [title for title, _, _ in PANELS]
    assert {(axes.get_xscale(), axes.get_yscale()) for axes in figure.axes} == {("log", "log")}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["fast", "slow"]
    line = {line.get_label(): line for line in figure.axes[0].lines}["slow"]
    assert list(line.get_xdata()) == list(SIZES)
    assert list(line.get_ydata()) == pytest.approx([10_000 / 65, 5_000, 10_000 * 512 / 576])


def test_one_batch_size_is_no_plot(tmp_path) -> None:
    (found,) = profile_sets(load_results(write_profiles(tmp_path, profile_record("a", 64))).profile)
    with plot_settings():
        assert batch_size_figure(found) is None


def test_of_many_models_the_fastest_are_in_colour_and_the_others_grey(tmp_path) -> None:
    records = [profile_record(f"net{i}", n, train_images_per_second=1.0 + i) for i in range(20) for n in (1, 64)]
    (found,) = profile_sets(load_results(write_profiles(tmp_path, *records)).profile)
    with plot_settings():
        figure = batch_size_figure(found)
    coloured = {line.get_label() for line in figure.axes[0].lines if line.get_color() in COLOURS}
    assert coloured == {f"net{i}" for i in range(20 - len(COLOURS), 20)}
    assert len(figure.legends[0].get_texts()) == 20


def test_ticks_stand_where_their_numbers_do_not_touch() -> None:
    assert list(_ticks([1, 64, 512])) == [1, 64, 512]
    assert list(_ticks([64, 65, 66, 1024])) == [64, 1024]


def test_a_folder_of_profiles_alone_gets_a_page_with_all_of_them(tmp_path, markdown_table) -> None:
    folder = write_profiles(tmp_path, *several("a|b", "c"), profile_record("d", 8, train_images_per_second=None))
    (folder / "NOTES.md").write_text("My **own** words.\n")
    page, interactive, png, svg = write_report(folder)
    assert (interactive.name, png.name, svg.name) == ("report.html", "batch_size.png", "batch_size.svg")
    text = page.read_text()
    assert "My **own** words." in text
    rows = markdown_table(text, "### NVIDIA H200, bf16, cifar stem, 3x32x32")
    assert [(row["model"], row["batch size"]) for row in rows[:3]] == [("a\0b", "1"), ("a\0b", "64"), ("a\0b", "512")]
    assert rows[1]["train images/s"] == "5,000"
    assert rows[1]["train memory (MiB)"] == "420.0"
    assert rows[-1]["train images/s"] == "-"
    assert "forward (ms)" not in rows[0]  # nobody measured it
    assert all((folder / link).is_file() for link in re.findall(r"\]\(([^)]+)\)", text))


@pytest.mark.usefixtures("no_drawing")
def test_profiles_beside_trials_stand_on_the_page_of_these_and_those_of_trials_only_in_the_plot(tmp_path) -> None:
    folder = write_folder(tmp_path, models={"resnet34": FIVE_MODELS["resnet34"]}, epochs=1)
    without = (write_report(folder), (folder / "README.md").read_text())[1]
    assert "## Against batch size" not in without
    of_trials = [profile_record("resnet34", size, trial_id=make_trial("resnet34").trial_id) for size in (64, 128)]
    write_profiles(folder, *of_trials)
    write_report(folder)
    page = (folder / "README.md").read_text()
    assert "## Against batch size" in page
    assert "### NVIDIA H200" not in page
    assert "plots/batch_size.png" in page
    write_profiles(folder, *several("resnet50"))
    write_report(folder)
    assert "### NVIDIA H200, bf16, cifar stem, 3x32x32" in (folder / "README.md").read_text()


def test_profiles_can_be_printed_to_paste(tmp_path) -> None:
    folder = write_profiles(tmp_path, *several("a"))
    text = printed_report(load_results(folder), "csv")
    assert text.splitlines()[2].startswith("a,64,21.29,74.77,")
    assert ",15000,5000," in text  # no thousands separators
    assert r"\caption{What networks cost before any training: NVIDIA H200" in printed_report(
        load_results(folder), "latex"
    )


def test_a_curve_by_flops_says_its_unit_and_needs_them_known(tmp_path) -> None:
    from resbench.report.curves import CURVES, EpochsByTrial, curves_figure
    from resbench.report.groups import comparable_groups
    from resbench.report.style import model_styles

    store = Store(tmp_path, create=True)
    trial = make_trial("resnet34")
    for row in make_epochs(trial, accuracy=0.9, seconds=10.0, epochs=3):
        store.append("epoch", {**row, "train_flops_spent": 4e15 * row["epoch"]})
    store.append("trial", make_record(trial))
    results = load_results(tmp_path)
    (group,) = comparable_groups(results.trials)
    _, source, axis = CURVES[2]
    with plot_settings():
        figure = curves_figure(group, EpochsByTrial(results.epochs), source, axis, model_styles(group.labels))
        assert figure.axes[0].get_xlabel() == "training FLOPs spent (1e15)"
        assert list(figure.axes[0].lines[0].get_xdata()) == pytest.approx([4.0, 8.0, 12.0])
        nothing = results.epochs.assign(train_flops_spent=0.0)
        assert curves_figure(group, EpochsByTrial(nothing), source, axis, model_styles(group.labels)) is None

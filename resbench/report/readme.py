"""Writes the page of a results folder, ``README.md`` and its plots, from the stored records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resbench.errors import NothingMeasuredError
from resbench.report.details import comparable, method, noise_words, run_table, trial_notes
from resbench.report.experiments.questions import own_answers
from resbench.report.formats import markdown
from resbench.report.groups import Group, groups_of
from resbench.report.headline import whole_headline
from resbench.report.numbers import count, escape
from resbench.report.pairs import PAIR_WORDS, front_table, pair_table
from resbench.report.parts import NOTES, PAGE, picture, relative
from resbench.report.profile_page import NOT_TRAINED, profile_section, write_profile_page
from resbench.report.recipe_words import recipe_table
from resbench.report.tables import Table, comparison_table, failure_table, ledger_table
from resbench.store import Store, write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from resbench.report.plots import Plot
    from resbench.store import Results

SHOWN = ("accuracy_vs_train_time", "accuracy_vs_macs", "learning_curves_epochs")
"""The plots that the page shows; it links to the others."""


def write_report(folder: str | Path, *, results: Results | None = None, most_plotted: int | None = None) -> list[Path]:
    """Rebuilds the CSV files, ``README.md``, ``report.html`` and ``plots/`` of a results folder from its records.

    Every file is replaced as a whole; what a person wrote into ``NOTES.md`` becomes part of the page. Where no
    trial ended ``ok`` the pages are written all the same, for they show how each trial ended. Where there is no trial
    and networks were profiled, the pages say what they cost.

    Args:
        folder: A folder with a ``records.jsonl``.
        results: What :meth:`~resbench.store.Store.derive` has just returned for it; the records are not read again.
        most_plotted: How many tables get plots, those that compare the most models first; the page says where
            others have none. By default :data:`~resbench.report.plots.MOST_PLOTTED`.

    Returns:
        The pages and the plots, in the order in which they were written.

    Raises:
        InputError: There is no such folder, or its records cannot be read.
        NothingMeasuredError: The records are empty, or no trial ended ``ok``.
    """
    from resbench.report.html import write_html_page
    from resbench.report.plots import MOST_PLOTTED, plotted_groups, write_plots

    folder = Path(folder)
    if results is None:
        results = Store(folder).derive()
    if results.trials.empty and len(results.profile):
        page, *plots_of_profiles = write_profile_page(results)
        return [page, write_html_page(results), *plots_of_profiles]
    groups = groups_of(results)
    plotted = plotted_groups(groups, MOST_PLOTTED if most_plotted is None else most_plotted)
    plots = write_plots(plotted, results.epochs, folder, results.profile)
    page = folder / PAGE
    answers = own_answers(results)
    text = render(results, groups, plots, plotted, answers)
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    interactive = write_html_page(results, groups, answers)
    if not (results.trials["status"] == "ok").any():
        raise NothingMeasuredError(
            f"no trial in {str(folder)!r} ended ok: there is nothing to compare. {page} says how each ended."
        )
    return [page, interactive, *(path for plot in plots for path in plot.files)]


def render(
    results: Results,
    groups: Sequence[Group],
    plots: Sequence[Plot],
    plotted: Sequence[Group],
    answers: Sequence[tuple[str, str]],
) -> str:
    """Returns the page as Markdown.

    Args:
        results: The folder's tables.
        groups: Its trials, split into what may be compared.
        plots: The plots that were written.
        plotted: The groups that they are of; the page says so where others have none.
        answers: What the suite asks, and what the records say to it.
    """
    trials, suites = results.trials, results.suites
    names = list(dict.fromkeys(suite["suite"]["name"] for suite in suites if "suite" in suite))
    name = ", ".join(names) or results.folder.resolve().name
    ok = int((trials["status"] == "ok").sum())
    parts = [
        f"# Results: {escape(name)}",
        f"{ok:,} of {count(len(trials), 'planned trial')} ended ok.",
    ]
    notices = list(dict.fromkeys(notice for suite in suites for notice in suite.get("notices", ())))
    parts += [f"> **Note:** {escape(notice)}" for notice in notices]
    parts += [comparable(groups)] if groups else []
    parts += map(escape, noise_words(results))
    own_words = results.folder / NOTES
    if own_words.is_file():
        parts.append(own_words.read_text(encoding="utf-8").strip())
    if len(plotted) < len(groups):
        parts.append(
            f"There are plots of {len(plotted)} of the {len(groups)} tables, those that compare the most models. "
            f"`resbench.report.write_report(folder, most_plotted={len(groups)})` draws them for all."
        )
    plots_of: dict[int, list[Plot]] = {}
    for plot in plots:
        if plot.group is not None:
            plots_of.setdefault(id(plot.group), []).append(plot)
    for group in groups:
        parts += _comparison(group, plots_of.get(id(group), []))
    if answers:
        parts += ["## What was asked", *(f"**{escape(asked)}** {escape(said)}" for asked, said in answers)]
    failures = failure_table(results)
    if failures:
        parts += ["## Trials that did not end ok", markdown(failures)]
    notes = trial_notes(trials)
    if notes:
        parts += ["## Notes of the trials", _bullets(notes)]
    parts += _section(
        "## Pairwise differences in test accuracy",
        PAIR_WORDS,
        [(group, pair_table(group, results.pairwise)) for group in groups],
    )
    parts += _section(
        "## How probable a place on the Pareto front is",
        "For each cost: the share of draws of the models' true means, as far as these seeds tell them, in which no "
        "other model is both cheaper and more accurate.",
        [(group, front_table(group)) for group in groups],
    )
    parts += _section(
        "## Where the time went",
        "Means over each model's trials that ended ok.",
        [(group, ledger_table(group)) for group in groups],
    )
    alone = results.profile[results.profile["trial_id"].isna()]
    by_batch = [plot for plot in plots if plot.group is None]
    if len(alone) or by_batch:
        parts += ["## Against batch size", NOT_TRAINED if len(alone) else "", *profile_section(alone, by_batch)]
    parts += ["## What was run", markdown(run_table(results)), *_recipes(trials)]
    has_hits = bool(results.pairwise["images_low"].notna().any())
    parts += ["## How the numbers were made, and what they do not say", _bullets(method(trials, has_hits=has_hits))]
    parts.append(
        "This page and its plots are derived from `records.jsonl`; `resbench report` rebuilds them. `report.html` "
        "beside it holds the same, to be sorted, filtered and pointed at, and opens without a network. The tables "
        "behind both are `trials.csv`, `epochs.csv`, `profile.csv`, `summary.csv` and `pairwise.csv`."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _recipes(trials: pd.DataFrame) -> list[str]:
    """Returns what the recipes decide, or that they are not known here."""
    table = recipe_table(trials)
    return ["What the recipe decides:", markdown(table)] if table.rows else table.notes


def _comparison(group: Group, plots: Sequence[Plot]) -> list[str]:
    """Returns the headline, the table and the plots of one group."""
    shown = [plot for kind in SHOWN for plot in plots if plot.kind == kind]
    parts = [*_heading(group, 2), escape(whole_headline(group)), markdown(comparison_table(group))]
    parts += [picture(plot) for plot in shown]
    others = [f"[{escape(plot.title)}]({relative(plot)})" for plot in plots if plot not in shown]
    if others:
        parts.append(f"More plots: {', '.join(others)}.")
    if plots and group.caption:
        parts.append(
            f"Learning curves and bars show {group.caption}. The other plots show all of them and name those of the "
            "Pareto front before others. The table and the CSV files name every one."
        )
    return parts


def _section(heading: str, words: str, tables: Sequence[tuple[Group, Table | None]]) -> list[str]:
    """Returns a section with a table for each group that has one, or nothing where none has."""
    there = [(group, table) for group, table in tables if table is not None]
    parts = [heading, words] if there else []
    for group, table in there:
        parts += [*_heading(group, 3), markdown(table)]
    return parts


def _heading(group: Group, level: int) -> list[str]:
    """Returns the group's title as a heading, or nothing where the folder has one group."""
    return [f"{'#' * level} {escape(group.title[0].upper() + group.title[1:])}"] if group.title else []


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)

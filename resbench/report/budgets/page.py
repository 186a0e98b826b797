"""Writes the page of a collection of settings: who wins under which budget, and whether that changes the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from resbench.report.budgets.order import Orders, compare_orders
from resbench.report.budgets.plot import KIND, slope_figure
from resbench.report.budgets.sentences import highest_means, how_judged, order_changes, reversals, winner
from resbench.report.budgets.settings import Setting, read_settings
from resbench.report.budgets.tables import accuracy_table, order_table, question_table, spent_table
from resbench.report.experiments.conclusions import Answer, answers_of
from resbench.report.experiments.parts import beginning, bullets, failures, links, not_run
from resbench.report.experiments.runs import ExperimentRun
from resbench.report.experiments.stored import Collection
from resbench.report.formats import markdown
from resbench.report.numbers import escape
from resbench.report.parts import PAGE
from resbench.store import write_atomically


def write_page(folder: Path, collection: Collection, runs: Sequence[ExperimentRun]) -> list[Path]:
    """Writes ``README.md`` and ``plots/`` of a collection of settings.

    Args:
        folder: The collection's.
        collection: Its words.
        runs: Its suites, in its order.

    Returns:
        The page and the plots, in the order in which they stand on it.
    """
    settings = read_settings(runs)
    plot = _write_plot(folder, settings)
    page = folder / PAGE
    text = render(folder, collection, runs, settings, plot)
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    return [page, *plot]


def render(
    folder: Path,
    collection: Collection,
    runs: Sequence[ExperimentRun],
    settings: Sequence[Setting],
    plot: Sequence[Path],
) -> str:
    """Returns the page as Markdown.

    Args:
        folder: The collection's.
        collection: Its words.
        runs: Its suites, in its order.
        settings: What of them was measured.
        plot: The PNG and the SVG of the slope chart; empty where there is none.
    """
    orders = compare_orders(settings)
    parts = [*beginning(folder, collection, runs, "setting")]
    missing = [f"{run.name}: {_why(run, collection)}." for run in runs if not run.ran]
    parts += ["## In short", bullets([*map(winner, settings), *missing])]
    parts += [escape(text) for text in (highest_means(settings), order_changes(orders) if settings else "")]
    if settings:
        parts += ["## What each network reached", markdown(accuracy_table(settings))]
        if plot:
            png, svg = (f"{path.parent.name}/{path.name}" for path in plot)
            parts.append(f"[![Test accuracy by setting]({png})]({svg})")
        parts.append(bullets([f"{run.name}, {text}" for run in runs for text in failures(run)]))
        parts += ["## What each network got for its budget", markdown(spent_table(settings))]
        parts += _order(settings, orders)
    parts += _questions({run.name: answers_of(run) for run in runs if run.ran and run.compare})
    parts.append("## How this page is made")
    parts.append(
        "It is derived from `collection.json` and from each suite's `records.jsonl`, and nothing on it is measured "
        "anew: `resbench report DIR` rebuilds it. Questions are a person's words; every figure, and every sentence, "
        "comes from the records. Intervals and p are over seeds, with the test images held "
        "fixed. Training time is of the machine named above and of no other; training FLOPs are of the networks."
    )
    parts += links(folder, runs)
    return "\n\n".join(part for part in parts if part) + "\n"


def _why(run: ExperimentRun, collection: Collection) -> str:
    """Says why a suite has no results."""
    reason = collection.missing.get(run.name, "")
    return f"{not_run(run)}: {reason}" if reason and not run.rows else not_run(run)


def _order(settings: Sequence[Setting], orders: Sequence[Orders]) -> Iterator[str]:
    """Yields what becomes of the networks' order from each setting to each other one."""
    yield "## Does the order change?"
    table = order_table(orders)
    if table is None:
        yield escape(order_changes(orders))
        return
    yield " ".join(escape(text) for text in how_judged(settings))
    yield markdown(table)
    lines = [line for each in orders for line in reversals(each)]
    if lines:
        yield "The reversed pairs, with their gaps in points in one setting and the other; in brackets: not separated."
        yield bullets(lines)


def _questions(answers: dict[str, list[Answer]]) -> Iterator[str]:
    """Yields what was asked, and what each suite's trials say to it."""
    table = question_table(answers)
    if table is None:
        return
    yield "## Questions"
    yield markdown(table)
    for question in dict.fromkeys(answer.question for found in answers.values() for answer in found):
        yield f"**{escape(question)}**"
        yield bullets(
            [
                f"{suite}: {' '.join([answer.accuracy, *answer.cost])}"
                for suite, found in answers.items()
                for answer in found
                if answer.question == question
            ]
        )


def _write_plot(folder: Path, settings: Sequence[Setting]) -> list[Path]:
    """Draws the slope chart, or removes that of an earlier page where there is nothing to draw."""
    from resbench.report.plots import FOLDER
    from resbench.report.style import plot_settings, save

    target = folder / FOLDER / KIND
    with plot_settings():
        figure = slope_figure(settings)
        if figure is not None:
            target.parent.mkdir(exist_ok=True)
            return save(figure, target)
    for suffix in (".png", ".svg"):
        target.with_name(f"{KIND}{suffix}").unlink(missing_ok=True)
    return []

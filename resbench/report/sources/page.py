"""Writes the page of a collection: source by source what was said, what was run, what came out and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from resbench.report.experiments.conclusions import Answer, conclude, when
from resbench.report.experiments.parts import beginning, bullets, failures, links, not_run
from resbench.report.experiments.runs import ExperimentRun
from resbench.report.experiments.stored import Collection
from resbench.report.formats import markdown
from resbench.report.numbers import MISSING, escape, percent
from resbench.report.parts import PAGE
from resbench.report.sources.caveats import caveats
from resbench.report.sources.claims import claim_words, count_words, judge_claim
from resbench.report.sources.curves import KIND, arms_figure, remove_stale, stems
from resbench.report.sources.tables import epoch_tables, outcome_table, run_table
from resbench.report.tables import Cell, Table
from resbench.store import write_atomically


def write_page(folder: Path, collection: Collection, runs: Sequence[ExperimentRun]) -> list[Path]:
    """Writes ``README.md`` and ``plots/`` of a collection of sources' experiments.

    Args:
        folder: The collection's.
        collection: Its words.
        runs: Its suites, in its order.

    Returns:
        The page and the plots, in the order in which they stand on it.
    """
    plots = _write_plots(folder, runs)
    page = folder / PAGE
    text = render(folder, collection, runs, plots)
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    return [page, *(path for files in plots.values() for path in files)]


def render(folder: Path, collection: Collection, runs: Sequence[ExperimentRun], plots: dict[str, list[Path]]) -> str:
    """Returns the page as Markdown.

    Args:
        folder: The collection's.
        collection: Its words.
        runs: Its suites, in its order.
        plots: The PNG and the SVG of each suite that has a plot, by suite.
    """
    answers = {run.name: conclude(run) if run.ran else [] for run in runs}
    parts = [*beginning(folder, collection, runs, "source"), "## In short", markdown(_summary(runs, answers))]
    for run in runs:
        parts += _section(run, answers[run.name], plots.get(run.name, []), collection.missing.get(run.name, ""))
    parts.append("## How this page is made")
    parts.append(
        "It is derived from `collection.json` and from each suite's `records.jsonl`, and nothing on it is measured "
        "anew: `resbench report DIR` rebuilds it. Questions and what the sources said are a person's words; every "
        "figure, and every sentence under a question, comes from the records. Intervals and p are over seeds, "
        "with the test images held fixed. Speeds are of the machine named above and of no other."
    )
    parts += links(folder, runs)
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(runs: Sequence[ExperimentRun], answers: dict[str, list[Answer]]) -> Table:
    """Lists what was asked of each source and the answer in a few words."""
    rows = []
    for run in runs:
        told = [(answer.question, answer.short) for answer in answers[run.name]]
        if not run.ran:
            questions = [pair.question for pair in run.compare] or [MISSING]
            told = [(question, not_run(run)) for question in questions]
        for index, (question, answer) in enumerate(told or [(MISSING, _reached(run))]):
            rows.append([Cell(run.title if index == 0 else ""), Cell(question), Cell(answer)])
    return Table("", ["source", "what was asked", "answer in a few words"], rows, text_columns=frozenset({0, 1, 2}))


def _reached(run: ExperimentRun) -> str:
    """Says how the counts that a source reports came out where it has no question; else what its arms reached."""
    counts = [words for claim in (run.source.claims if run.source else ()) if (words := count_words(claim, run))]
    return "; ".join(counts) or "; ".join(
        f"{arm.label}: {percent(arm.mean('test_accuracy'))} % test accuracy {when(arm)}".rstrip()
        for arm in run.arms
        if arm.ok
    )


def _section(run: ExperimentRun, answers: Sequence[Answer], plot: Sequence[Path], missing: str) -> Iterator[str]:
    """Yields the paragraphs of one source."""
    yield f"## {escape(run.title)}"
    yield escape(run.description)
    yield from (f"> **Note:** {escape(notice)}" for notice in run.notices)
    yield "### What the source said"
    yield _said(run)
    yield "### What was run"
    failed = list(failures(run))
    if not run.ran:
        words = f"{not_run(run)}: {missing}" if missing and not run.rows else not_run(run)
        yield escape(f"{words[0].upper()}{words[1:]}.")
        yield bullets(failed)
        return
    yield markdown(run_table(run.arms))
    yield bullets(failed)
    yield "### What came out"
    yield markdown(outcome_table(run.arms))
    for table in epoch_tables(run.arms):
        yield markdown(table)
    if plot:
        png, svg = (f"{path.parent.name}/{path.name}" for path in plot)
        yield f"[![Learning curves]({png})]({svg})"
    yield "### What to conclude"
    for answer in answers:
        yield f"**{escape(answer.question)}** {escape(' '.join([answer.accuracy, *answer.cost]))}"
    claims = run.source.claims if run.source else []
    told = [judge_claim(claim, run) for claim in claims]
    yield bullets([*(f"Beside the source: {words}" for words in told), *caveats(run)])


def _said(run: ExperimentRun) -> str:
    """Lists what the source does and reports."""
    if run.source is None:
        return "No source is named."
    return bullets([*run.source.said, *(f"Reported for {claim_words(claim)}." for claim in run.source.claims)])


def _write_plots(folder: Path, runs: Sequence[ExperimentRun]) -> dict[str, list[Path]]:
    """Draws what there are curves for, and removes the plots of an earlier page that were not drawn now."""
    from resbench.report.plots import FOLDER
    from resbench.report.style import plot_settings, save

    target = folder / FOLDER
    written: dict[str, list[Path]] = {}
    with plot_settings():
        for run, stem in zip(runs, stems(run.name for run in runs), strict=True):
            figure = arms_figure(run.title, run.arms)
            if figure is not None:
                target.mkdir(exist_ok=True)
                written[run.name] = save(figure, target / f"{stem}-{KIND}")
    remove_stale(target, {path for files in written.values() for path in files})
    return written

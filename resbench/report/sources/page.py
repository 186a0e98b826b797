"""Writes the page of a collection: source by source what was said, what was run, what came out and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from resbench.errors import NothingMeasuredError
from resbench.report.formats import markdown
from resbench.report.numbers import MISSING, count, escape, names, percent
from resbench.report.parts import NOTES, PAGE
from resbench.report.readme import write_report
from resbench.report.sources.caveats import caveats
from resbench.report.sources.claims import claim_words, count_words, judge_claim
from resbench.report.sources.conclusions import Answer, conclude, when
from resbench.report.sources.curves import KIND, arms_figure, remove_stale, stems
from resbench.report.sources.reading import read_run
from resbench.report.sources.runs import ExperimentRun, quoted
from resbench.report.sources.stored import Collection, read_collection
from resbench.report.sources.tables import epoch_tables, outcome_table, run_table
from resbench.report.tables import Cell, Table, last_line
from resbench.store import RECORDS, write_atomically

_MOST_FAILURES = 10
"""Trials that did not end well that a source's section names; the suite's own page has all."""


def write_sources_page(folder: Path) -> list[Path]:
    """Writes ``README.md`` and ``plots/`` of a collection from its ``collection.json`` and the suites' records.

    Nothing is measured, and nothing is said of a suite that was not run. What a person wrote into ``NOTES.md`` becomes
    part of the page. A suite's own page, which this one links to, is written by
    :func:`~resbench.report.write_report` and should be there before.

    Args:
        folder: A folder with a ``collection.json`` and a results folder for each suite that was run.

    Returns:
        The page and the plots, in the order in which they stand on it.

    Raises:
        InputError: There is no such file, it is not one that resbench wrote, or records cannot be read.
    """
    collection = read_collection(folder)
    runs = [read_run(name, collection.experiments[name], folder / name) for name in collection.suites]
    plots = _write_plots(folder, runs)
    page = folder / PAGE
    text = render(folder, collection, runs, plots)
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    return [page, *(path for files in plots.values() for path in files)]


def rebuild_collection(folder: Path) -> list[Path]:
    """Rebuilds the CSV files and the page of every suite of a collection, then the collection's own page.

    Args:
        folder: As :func:`write_sources_page` takes it.

    Returns:
        All pages and plots, in the order in which they were written.

    Raises:
        InputError: As :func:`write_sources_page`.
    """
    written: list[Path] = []
    for name in read_collection(folder).suites:
        if (folder / name / RECORDS).is_file():
            with suppress(NothingMeasuredError):  # the page says how each trial ended
                written += write_report(folder / name)
    return [*written, *write_sources_page(folder)]


def render(folder: Path, collection: Collection, runs: Sequence[ExperimentRun], plots: dict[str, list[Path]]) -> str:
    """Returns the page as Markdown.

    Args:
        folder: The collection's.
        collection: Its words.
        runs: Its suites, in its order.
        plots: The PNG and the SVG of each suite that has a plot, by suite.
    """
    answers = {run.name: conclude(run) if run.ran else [] for run in runs}
    parts = [f"# Results: {escape(collection.name)}", escape(collection.description), _introduction(runs)]
    parts += _notices(runs)
    own_words = folder / NOTES
    if own_words.is_file():
        parts.append(own_words.read_text(encoding="utf-8").strip())
    parts += ["## In short", markdown(_summary(runs, answers))]
    for run in runs:
        parts += _section(run, answers[run.name], plots.get(run.name, []), collection.missing.get(run.name, ""))
    parts.append("## How this page is made")
    parts.append(
        "It is derived from `collection.json` and from each suite's `records.jsonl`, and nothing on it is measured "
        "anew: `resbench report DIR` rebuilds it. Questions and what the sources said are a person's words; every "
        "figure, and every sentence under a question, comes from the records. Intervals and p are over seeds, "
        "paired, with the test images held fixed. Speeds are of the machine named above and of no other."
    )
    links = [
        f"- [{escape(run.name)}]({_address(run.name)}/{PAGE})" for run in runs if (folder / run.name / PAGE).is_file()
    ]
    if links:
        parts += ["Each suite has a page of its own, with all of its tables and plots:", "\n".join(links)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(runs: Sequence[ExperimentRun]) -> str:
    """Says how much was run, and where."""
    rows = [row for run in runs for row in run.rows]
    ok = [row for row in rows if row["status"] == "ok"]
    machines = dict.fromkeys(
        " with ".join(dict.fromkeys(filter(None, (row["device_name"], row["host_cpu"])))) for row in ok
    )
    where = f" on {escape(' and on '.join(filter(None, machines)))}" if any(machines) else ""
    ran = sum(run.ran for run in runs)
    ended = f"{len(ok):,} of {count(len(rows), 'planned trial')} ended ok{where}, of {count(len(runs), 'source')}."
    nothing = "" if ran == len(runs) else f" Of {len(runs) - ran} there are no results, and nothing is claimed of them."
    return ended + nothing


def _notices(runs: Sequence[ExperimentRun]) -> Iterator[str]:
    """Yields every notice once, with the sources that it is of where these are not all."""
    of: dict[str, list[str]] = {}
    for run in runs:
        for notice in run.notices:
            of.setdefault(notice, []).append(run.title)
    for notice, titles in of.items():
        which = f" ({names(titles, len(titles))})" if len(titles) < len(runs) else ""
        yield f"> **Note:** {escape(notice + which)}"


def _summary(runs: Sequence[ExperimentRun], answers: dict[str, list[Answer]]) -> Table:
    """Lists what was asked of each source and the answer in a few words."""
    rows = []
    for run in runs:
        told = [(answer.question, answer.short) for answer in answers[run.name]]
        if not run.ran:
            questions = [pair.question for pair in run.compare] or [MISSING]
            told = [(question, _not_run(run)) for question in questions]
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


def _not_run(run: ExperimentRun) -> str:
    """Says that nothing ended well, whether anything was tried, or that no arm is known of what did."""
    if any(row["status"] == "ok" for row in run.unassigned):
        return "no trial that ended ok could be assigned to an arm"
    statuses = {row["status"] for row in run.rows}
    return "no trial ended ok" if statuses - {"not_run"} else "not run"


def _section(run: ExperimentRun, answers: Sequence[Answer], plot: Sequence[Path], missing: str) -> Iterator[str]:
    """Yields the paragraphs of one source."""
    yield f"## {escape(run.title)}"
    yield escape(run.description)
    yield from (f"> **Note:** {escape(notice)}" for notice in run.notices)
    yield "### What the source said"
    yield _said(run)
    yield "### What was run"
    failures = list(_failures(run))
    if not run.ran:
        words = f"{_not_run(run)}: {missing}" if missing and not run.rows else _not_run(run)
        yield escape(f"{words[0].upper()}{words[1:]}.")
        yield _bullets(failures)
        return
    yield markdown(run_table(run.arms))
    yield _bullets(failures)
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
    yield _bullets([*(f"Beside the source: {words}" for words in told), *caveats(run)])


def _said(run: ExperimentRun) -> str:
    """Lists what the source does and reports."""
    if run.source is None:
        return "No source is named."
    return _bullets([*run.source.said, *(f"Reported for {claim_words(claim)}." for claim in run.source.claims)])


def _failures(run: ExperimentRun) -> Iterator[str]:
    """Says how each trial ended that did not end ``ok``, and what is of no arm."""
    arm_of = {row["trial_id"]: arm.name for arm in run.arms for row in arm.trials}
    failed = [row for row in run.rows if row["status"] != "ok"]
    for row in failed[:_MOST_FAILURES]:
        label = quoted(arm_of.get(row["trial_id"], row["model"]))
        place = f" in phase {row['phase']}" if row["phase"] else ""
        error = f": {last_line(row['error'])}" if row["error"] else ""
        yield f"{label}, seed {row['seed']}: {row['status'].replace('_', ' ')}{place}{error}"
    if len(failed) > _MOST_FAILURES:
        yield f"and {count(len(failed) - _MOST_FAILURES, 'trial')} more that did not end ok"
    for row in run.unassigned:
        if row["status"] == "ok":
            yield f"not assigned to an arm: {row['model']} with recipe {row['recipe']}, seed {row['seed']}"


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


def _address(name: str) -> str:
    """Writes a folder's name as a part of a link."""
    from urllib.parse import quote

    return quote(name)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)

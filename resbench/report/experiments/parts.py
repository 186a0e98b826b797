"""What stands on the page of every collection: how much was run and where, what failed, and where more is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from resbench.report.experiments.runs import ExperimentRun, quoted
from resbench.report.experiments.stored import Collection
from resbench.report.numbers import count, escape, names
from resbench.report.parts import NOTES, PAGE
from resbench.report.tables import last_line

_MOST_FAILURES = 10
"""Trials of a suite that did not end well and are named; the suite's own page has all."""


def beginning(folder: Path, collection: Collection, runs: Sequence[ExperimentRun], noun: str) -> Iterator[str]:
    """Yields the title, the description, how much was run, what must be known first, and a person's own words.

    Args:
        folder: The collection's.
        collection: Its words.
        runs: Its suites, in its order.
        noun: What the page calls one of them.
    """
    yield f"# Results: {escape(collection.name)}"
    yield escape(collection.description)
    yield _introduction(runs, noun)
    yield from _notices(runs)
    own_words = folder / NOTES
    if own_words.is_file():
        yield own_words.read_text(encoding="utf-8").strip()


def links(folder: Path, runs: Sequence[ExperimentRun]) -> Iterator[str]:
    """Yields where each suite's own page is, as far as there is one."""
    found = [
        f"- [{escape(run.name)}]({quote(run.name)}/{PAGE})" for run in runs if (folder / run.name / PAGE).is_file()
    ]
    if found:
        yield "Each suite has a page of its own, with all of its tables and plots:"
        yield "\n".join(found)


def _introduction(runs: Sequence[ExperimentRun], noun: str) -> str:
    """Says how much was run, and where."""
    rows = [row for run in runs for row in run.rows]
    ok = [row for row in rows if row["status"] == "ok"]
    machines = dict.fromkeys(
        " with ".join(dict.fromkeys(filter(None, (row["device_name"], row["host_cpu"])))) for row in ok
    )
    where = f" on {escape(' and on '.join(filter(None, machines)))}" if any(machines) else ""
    ran = sum(run.ran for run in runs)
    ended = f"{len(ok):,} of {count(len(rows), 'planned trial')} ended ok{where}, of {count(len(runs), noun)}."
    nothing = "" if ran == len(runs) else f" Of {len(runs) - ran} there are no results, and nothing is claimed of them."
    return ended + nothing


def _notices(runs: Sequence[ExperimentRun]) -> Iterator[str]:
    """Yields every notice once, with the suites that it is of where these are not all."""
    of: dict[str, list[str]] = {}
    for run in runs:
        for notice in run.notices:
            of.setdefault(notice, []).append(run.title)
    for notice, titles in of.items():
        which = f" ({names(titles, len(titles))})" if len(titles) < len(runs) else ""
        yield f"> **Note:** {escape(notice + which)}"


def not_run(run: ExperimentRun) -> str:
    """Says that nothing ended well, whether anything was tried, or that no arm is known of what did."""
    if any(row["status"] == "ok" for row in run.unassigned):
        return "no trial that ended ok could be assigned to an arm"
    statuses = {row["status"] for row in run.rows}
    return "no trial ended ok" if statuses - {"not_run"} else "not run"


def failures(run: ExperimentRun) -> Iterator[str]:
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


def bullets(lines: Sequence[str]) -> str:
    """Writes lines as a list."""
    return "\n".join(f"- {escape(line)}" for line in lines)

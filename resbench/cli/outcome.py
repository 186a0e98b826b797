"""How a suite ended, told to a person: its table, what is suspect, what did not end well; and what had ended before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from resbench.console import WHOLE, complain, count, out, print_table, say
from resbench.planning.plan import Plan
from resbench.report.html import HTML_PAGE
from resbench.report.tables import rich_table
from resbench.run import AGAIN, SuiteRun
from resbench.store import Results


def tell_what_was_before(run: SuiteRun, folder: Path) -> None:
    """Says which trials are not run again.

    Args:
        run: What is going to run.
        folder: Where the results of earlier runs are.
    """
    planned = count(len(run.plan.trials), "trial")
    if run.done:
        say(f"{len(run.done)} of {planned} ended well in {folder} before: not run again.")
    if run.failed:
        say(f"{len(run.failed)} of {planned} failed there before: not run again without --retry-failed.")


def tell_not_begun(run: SuiteRun, folder: Path) -> int:
    """Says that nothing is begun any more, for want of time.

    Args:
        run: What would have run.
        folder: The results folder.

    Returns:
        How many trials wait, or failed before.
    """
    if run.waiting:
        complain(f"no time is left: {count(len(run.waiting), 'trial')} of {folder} not begun.", label="stopped")
    return len(run.waiting) + len(run.failed)


def tell_how_it_ended(plan: Plan, results: Results, folder: Path, *, stopped: str | None = None) -> int:
    """Prints the table, and names every planned trial that did not end well or is suspect.

    Args:
        plan: What was to run.
        results: What the folder holds now.
        folder: The results folder.
        stopped: Why the run was stopped before its end, where it was: what waits for more time did not fail.

    Returns:
        How many planned trials did not end well.
    """
    labels = plan.labels
    planned = results.trials[results.trials["trial_id"].isin(labels)]
    failed = planned[planned["status"] != "ok"]
    if len(failed) < len(plan.trials):
        print_table(rich_table(results, width=None if out.is_terminal else WHOLE))
        say(f"Tables, plots, records and {HTML_PAGE}: {folder}")
    suspect = planned[planned["verdict"] == "suspect"]
    if len(suspect):
        complain(f"{len(suspect)} of {count(len(plan.trials), 'trial')} ended ok and suspect:", label="warning")
        for row in suspect.itertuples():
            complain(f"  {labels[row.trial_id]}: {row.verdict_reasons}")
    missing = len(failed)
    if stopped is not None:
        waits = failed["status"].isin(AGAIN)
        _tell_what_waits(failed[waits], planned, stopped)
        failed = failed[~waits]
    if failed.empty:
        return missing
    how = Counter(failed["status"])
    outcome = ", ".join(f"{number} {status}" for status, number in how.items())
    complain(
        f"{len(failed)} of {count(len(plan.trials), 'planned trial')} did not end well ({outcome}; "
        f"logs: {folder / 'logs'}):",
        label="failed",
    )
    for row in failed.itertuples():
        place = f" in phase {row.phase}" if isinstance(row.phase, str) else ""
        complain(f"  {labels[row.trial_id]}: {row.status}{place}: {row.error}")
    return missing


def _tell_what_waits(waits: pd.DataFrame, planned: pd.DataFrame, stopped: str) -> None:
    """Says what a run that was stopped in time has left for the next."""
    cut = int((waits["status"] == "interrupted").sum())
    parts = [f"{cut} cut short", f"{len(waits) - cut} not begun"] if cut else ["not begun"]
    complain(
        f"by {stopped}, with {len(waits)} of {count(len(planned), 'planned trial')} left ({', '.join(parts)}). "
        "The same command goes on from here.",
        label="stopped",
    )

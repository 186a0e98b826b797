"""A suite run in front of a person: its plan, its progress, its table, and what did not end well."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

from resbench.console import WHOLE, complain, count, out, print_pairs, print_table, say
from resbench.environment import choices, distortions
from resbench.errors import NothingMeasuredError, ResbenchError
from resbench.plan import Plan
from resbench.report import write_report
from resbench.report.tables import rich_table
from resbench.run import SuiteRun, open_run
from resbench.schema import format_input
from resbench.store import Results
from resbench.view import RunView


def print_plan(plan: Plan, folder: Path) -> None:
    """Prints what is going to run, where its results go, and what here distorts them."""
    first, suite = plan.trials[0], plan.suite
    engine = first.engine
    models = list(dict.fromkeys(trial.model for trial in plan.trials))
    rows = {
        "suite": f"{suite.name}  {suite.description}".rstrip(),
        "models": ", ".join(models),
        "trials": f"{len(plan.trials)} ({count(len(models), 'model')} x {count(len(suite.seed_list), 'seed')})",
        "dataset": f"{first.dataset}  ({format_input(first.input)}, {first.num_classes} classes, "
        f"sha256 {first.dataset_fingerprint[:12]})",
        "training": f"recipe {first.recipe}, budget {first.budget}, batch {first.batch_size}, stem {first.stem}",
        "engine": f"{engine.device}, {engine.precision}, {engine.memory_format}, "
        f"torch.compile {engine.compile_mode if engine.compile else 'off'}, "
        f"CUDA graph {'on' if engine.cuda_graph else 'off'}",
        "results": str(folder),
    }
    print_pairs(rows)
    for text in (*distortions(), *choices()):
        complain(text, label="warning")


def run_and_report(plan: Plan, folder: Path, *, retry_failed: bool = False) -> int:
    """Runs a plan under a view, writes its report, and prints its table.

    Returns:
        How many planned trials did not end well; each has been named on stderr.

    Raises:
        InputError: The folder cannot be written to, is in use, or holds another suite.
        RulerError: An instrument misreads known quantities.
        StorageError: The records cannot be written any more.
        KeyboardInterrupt: The user pressed Ctrl-C; what ended before is recorded and reported.
    """
    with open_run(plan, folder, retry_failed=retry_failed) as run:
        _tell_what_was_before(run, folder)
        view = RunView(out, run.waiting)
        try:
            with view:
                results = run.run(on_message=view, say=say)
        except KeyboardInterrupt:
            with contextlib.suppress(ResbenchError):  # nothing had ended: there is nothing to report
                write_report(folder)
            raise
        with contextlib.suppress(NothingMeasuredError):  # the page says how each trial ended
            write_report(folder, results=results)
    return _tell_how_it_ended(plan, results, folder)


def _tell_what_was_before(run: SuiteRun, folder: Path) -> None:
    """Says which trials are not run again."""
    planned = count(len(run.plan.trials), "trial")
    if run.done:
        say(f"{len(run.done)} of {planned} ended well in {folder} before: not run again.")
    if run.failed:
        say(f"{len(run.failed)} of {planned} failed there before: not run again without --retry-failed.")


def _tell_how_it_ended(plan: Plan, results: Results, folder: Path) -> int:
    """Prints the table and what is complete; names every planned trial that did not end well and counts them."""
    ids = {trial.trial_id for trial in plan.trials}
    planned = results.trials[results.trials["trial_id"].isin(ids)]
    failed = planned[planned["status"] != "ok"]
    if len(failed) < len(plan.trials):
        print_table(rich_table(results, width=None if out.is_terminal else WHOLE))
        say(f"Tables, plots and records: {folder}")
    suspect = planned[planned["verdict"] == "suspect"]
    if len(suspect):
        complain(f"{len(suspect)} of {count(len(plan.trials), 'trial')} ended ok and suspect:", label="warning")
        for row in suspect.itertuples():
            complain(f"  {row.model} seed {row.seed}: {row.verdict_reasons}")
    if failed.empty:
        return 0
    how = Counter(failed["status"])
    outcome = ", ".join(f"{number} {status}" for status, number in how.items())
    complain(
        f"{len(failed)} of {count(len(plan.trials), 'planned trial')} did not end well ({outcome}; "
        f"logs: {folder / 'logs'}):",
        label="failed",
    )
    for row in failed.itertuples():
        place = f" in phase {row.phase}" if row.phase else ""
        complain(f"  {row.model} seed {row.seed}: {row.status}{place}: {row.error}")
    return len(failed)

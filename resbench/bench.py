"""A suite run in front of a person: its plan, its progress, its table, and what did not end well."""

from __future__ import annotations

import contextlib
from pathlib import Path

from resbench.console import WHOLE, complain, count, out, print_pairs, print_table, say
from resbench.errors import NothingMeasuredError, ResbenchError
from resbench.plan import Plan
from resbench.report import write_report
from resbench.report.tables import rich_table
from resbench.run import run_plan, waiting_trials
from resbench.schema import format_input
from resbench.store import Results
from resbench.view import RunView


def print_plan(plan: Plan, folder: Path) -> None:
    """Prints what is going to run, and where its results go."""
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


def run_and_report(plan: Plan, folder: Path) -> int:
    """Runs a plan under a view, writes its report, and prints its table.

    Returns:
        How many planned trials did not end well; each has been named on stderr.

    Raises:
        InputError: The folder cannot be written to.
        KeyboardInterrupt: The user pressed Ctrl-C; what ended before is recorded and reported.
    """
    waiting = waiting_trials(plan, folder)
    if len(waiting) < len(plan.trials):
        done = len(plan.trials) - len(waiting)
        say(f"{done} of {count(len(plan.trials), 'trial')} ended well in {folder} before: not run again.")
    view = RunView(out, waiting)
    try:
        with view:
            results, _ = run_plan(plan, folder, waiting=waiting, on_message=view)
    except KeyboardInterrupt:
        with contextlib.suppress(ResbenchError):  # nothing had ended: there is nothing to report
            write_report(folder)
        raise
    with contextlib.suppress(NothingMeasuredError):  # the page says how each trial ended
        write_report(folder, results=results)
    failed = _not_ok(results, {trial.trial_id for trial in plan.trials})
    if len(failed) < len(plan.trials):
        print_table(rich_table(results, width=None if out.is_terminal else WHOLE))
        say(f"Tables, plots and records: {folder}")
    if failed:
        planned = count(len(plan.trials), "planned trial")
        complain(f"{len(failed)} of {planned} did not end well (logs: {folder / 'logs'}):", label="failed")
        for line in failed:
            complain(f"  {line}")
    return len(failed)


def _not_ok(results: Results, planned: set[str]) -> list[str]:
    """Returns a line for each planned trial that did not end ``ok``."""
    return [
        f"{row.model} seed {row.seed}: {row.status} in phase {row.phase}: {row.error}"
        for row in results.trials.itertuples()
        if row.trial_id in planned and row.status != "ok"
    ]

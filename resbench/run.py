"""Running a suite from its plan to its report: what ``resbench bench`` and :func:`resbench.run_suite` do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resbench import provenance
from resbench.executors.local import run_trials
from resbench.executors.process import ignoring_interrupts
from resbench.plan import Plan, plan_suite
from resbench.schema import Trial
from resbench.store import Results, Store
from resbench.suite import Suite, load_suite, make_suite

OnMessage = Callable[[Trial, str, dict[str, Any]], None]


def run_plan(
    plan: Plan,
    out: Path,
    *,
    waiting: list[Trial] | None = None,
    on_message: OnMessage = lambda trial, kind, data: None,
) -> tuple[Results, list[Trial]]:
    """Runs a plan's trials that have not yet ended well in this folder, and derives its tables.

    Args:
        plan: From :func:`resbench.plan.plan_suite`.
        out: The results folder; made where it does not exist.
        waiting: From :func:`waiting_trials`, where a caller has asked already; the records are not read again.
        on_message: Told of everything that the trials emit.

    Returns:
        The folder's results, and the trials that were skipped because they are done.

    Raises:
        InputError: The folder cannot be written to.
        KeyboardInterrupt: The user pressed Ctrl-C. Everything that ended is recorded and the tables are derived.
    """
    if waiting is None:
        waiting = waiting_trials(plan, out)
    store = Store(out)
    store.append(
        "suite",
        {
            "suite": plan.suite.model_dump(),
            "notices": plan.notices,
            "trials": [trial.to_dict() for trial in plan.trials],
            "provenance": provenance.collect().to_dict(),
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    try:
        run_trials(
            waiting,
            plan.inputs,
            store,
            on_message=on_message,
            concurrent_seeds=plan.suite.engine.concurrent_seeds,
        )
    finally:
        with ignoring_interrupts():  # a second Ctrl-C must not cost the tables
            results = store.derive()
    ran = set(waiting)
    return results, [trial for trial in plan.trials if trial not in ran]


def waiting_trials(plan: Plan, out: Path) -> list[Trial]:
    """Returns a plan's trials that have not yet ended well in a results folder, which is made where there is none.

    Raises:
        InputError: The folder cannot be written to, or holds records that cannot be read.
    """
    finished = Store(out, create=True).finished()
    return [trial for trial in plan.trials if trial.trial_id not in finished]


def run_suite(suite: str | Suite, *, out: str | Path, data_dir: str | Path | None = None, **changes: Any) -> Results:
    """Runs a suite and returns its results.

    Trials that have ended well in the folder before are not run again.

    Args:
        suite: A suite's name, the path of its TOML file, or a :class:`~resbench.suite.Suite`.
        out: The results folder.
        data_dir: Where downloaded datasets are, or go; the user's cache folder by default.
        **changes: Fields of the suite to replace, such as ``budget="2ep"`` or ``models=["resnet34"]``.

    Raises:
        InputError: Anything about the suite, its data or the folder is wrong.

    In a script, call it below ``if __name__ == "__main__":``, since each trial runs in a spawned process.
    """
    chosen = load_suite(suite, **changes) if isinstance(suite, str) else make_suite(suite.model_dump(), **changes)
    plan = plan_suite(chosen, data_dir=Path(data_dir) if data_dir else None)
    return run_plan(plan, Path(out))[0]

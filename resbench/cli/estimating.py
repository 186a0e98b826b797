"""Estimates in front of a person: whether there is one, and how it is printed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from resbench.console import complain, print_pairs, print_table, say
from resbench.estimate.disk import DiskUse, free_mib
from resbench.estimate.estimate import Estimate, NoEstimateError, estimate_costs, is_short, read_data
from resbench.estimate.words import estimate_lines, estimate_table, estimate_warnings, in_all
from resbench.planning.plan import Plan
from resbench.run import trials_to_run
from resbench.schema import Trial


def show_estimate(plan: Plan, waiting: Sequence[Trial], folder: Path, *, asked: bool = False) -> Estimate | None:
    """Estimates what trials are going to cost and prints it, where that is wanted and worth it.

    Args:
        plan: Whose trials they are; its suite may say whether there is to be an estimate.
        waiting: Those that are still to run.
        folder: Where results go; nothing is written there.
        asked: Whether short suites are estimated too, where the suite says nothing.

    Returns:
        The estimate, or None where there is none.

    Raises:
        InputError: The folder's records cannot be read, or the dataset.
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    wanted = plan.suite.run.estimate
    if plan.conduct.executor != "local":
        if wanted or asked:
            say("no estimate: it is measured on this machine, and the trials are going to run on a cluster's nodes")
        return None
    data = functools.cache(functools.partial(read_data, plan.inputs))
    if wanted is False or not waiting or (wanted is None and not asked and is_short(waiting, data)):
        return None
    try:
        estimate = estimate_costs(plan, waiting, folder, data=data, say=say)
    except NoEstimateError as error:
        say(str(error))
        return None
    say("")
    print_table(estimate_table(estimate))
    say("")
    print_pairs(estimate_lines(estimate, plan))
    for text in estimate_warnings(estimate, plan):
        complain(text, label="warning")
    return estimate


def show_dry_run(plan: Plan, folder: Path, *, retry_failed: bool = False) -> Estimate | None:
    """Prints what a run of a plan in a folder would cost, unless its suite says that there is to be no estimate.

    Returns:
        The estimate, or None where there is none.

    Raises:
        InputError: As :func:`show_estimate`.
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    if plan.suite.run.estimate is False:
        return None
    waiting = trials_to_run(plan, folder, retry_failed=retry_failed)
    if not waiting:
        say(f"nothing is left to run in {folder}")
        return Estimate([], 0.0, None, 1, DiskUse(0.0, 0.0, free_mib(folder)))
    return show_estimate(plan, waiting, folder, asked=True)


def show_total(estimates: Sequence[Estimate | None]) -> None:
    """Prints what several suites cost together, where there are several and one was estimated."""
    if len(estimates) > 1 and any(estimate and estimate.cells for estimate in estimates):
        say("")
        print_pairs({"in all": in_all(estimates)})

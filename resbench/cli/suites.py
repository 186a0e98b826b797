"""Suites run in front of a person, alone or in a collection: their plan, their cost, their progress."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch

from resbench.cli.estimating import show_dry_run, show_estimate, show_total
from resbench.cli.outcome import tell_how_it_ended, tell_not_begun, tell_what_was_before
from resbench.console import complain, count, out, print_pairs, say
from resbench.environment import choices, distortions
from resbench.errors import NothingMeasuredError, ResbenchError
from resbench.executors.deadline import Deadline, deadline_after
from resbench.live.eventfiles import EventFiles, require_tensorboard, tensorboard_command
from resbench.live.view import RunView
from resbench.planning.collection import (
    Experiment,
    is_collection,
    load_collection,
    load_suites,
    plan_collection,
    write_collection,
)
from resbench.planning.fitting import some_of
from resbench.planning.plan import Plan, plan_suite
from resbench.registry import faults
from resbench.report import write_collection_page, write_report
from resbench.report.details import describe_data
from resbench.run import open_run
from resbench.schema import Trial, format_input
from resbench.suite import load_suite

SHOWN_MODELS = 20
"""Networks that a plan names; of more it names so many and says how many there are."""


def bench(
    name: str,
    changes: dict[str, Any],
    *,
    data_dir: Path | None = None,
    out_folder: Path | None = None,
    retry_failed: bool = False,
    tensorboard: bool = False,
    stop_after: str | None = None,
    dry_run: bool = False,
) -> int:
    """Plans a suite or a collection, prints the plan, and runs it.

    Args:
        name: Of a suite or a collection, or the path of its TOML file.
        changes: Fields of the suite to replace; ``None`` leaves what the file says.
        data_dir: Where downloaded datasets are, or go.
        out_folder: The results folder; ``results/NAME`` by default.
        retry_failed: Whether trials that failed in the folder before are run again.
        tensorboard: Whether event files are written too.
        stop_after: How long all of it may take, such as ``9min``; None: as long as it takes.
        dry_run: Stop after the plan and what it is going to cost.

    Returns:
        How many planned trials, or whole suites of a collection, did not end well.

    Raises:
        InputError: Anything about the suite, its data or the folder is wrong.
        ResbenchError: As :func:`run_and_report`.
    """
    deadline = None if stop_after is None else deadline_after(stop_after)
    if tensorboard:
        require_tensorboard()
    if is_collection(name):
        how = {"retry_failed": retry_failed, "tensorboard": tensorboard, "deadline": deadline}
        return _bench_collection(name, changes, data_dir, out_folder, how, dry_run=dry_run)
    chosen = load_suite(name, **changes)
    plan = plan_suite(chosen, data_dir=data_dir, on_message=complain)
    folder = out_folder or Path("results") / chosen.name
    print_plan(plan, folder)
    if dry_run:
        show_dry_run(plan, folder, retry_failed=retry_failed)
        return 0
    return run_and_report(plan, folder, retry_failed=retry_failed, tensorboard=tensorboard, deadline=deadline)


def _bench_collection(
    name: str,
    changes: dict[str, Any],
    data_dir: Path | None,
    out_folder: Path | None,
    how: dict[str, Any],
    *,
    dry_run: bool,
) -> int:
    """Does what :func:`bench` says for a collection: a folder for each suite, and a page about all of them."""
    collection = load_collection(name)
    if collection.without_cuda and changes.get("budget") is None and not _on_cuda(changes.get("device")):
        complain(
            f"no CUDA device: {collection.without_cuda} takes the place of {collection.name}. Give a --budget to run "
            f"{collection.name} here all the same.",
            label="warning",
        )
        collection = load_collection(collection.without_cuda)
    experiments = plan_collection(load_suites(collection, **changes), data_dir=data_dir, on_message=complain)
    folder = out_folder or Path("results") / collection.name
    if dry_run:
        estimates = []
        for number, experiment in enumerate(experiments):
            _introduce(experiment, number, len(experiments), folder)
            if experiment.plan is not None:
                place = folder / experiment.suite.name
                estimates.append(show_dry_run(experiment.plan, place, retry_failed=how["retry_failed"]))
        show_total(estimates)
        return 0
    write_collection(folder, collection, experiments)
    failed = 0
    try:
        for number, experiment in enumerate(experiments):
            _introduce(experiment, number, len(experiments), folder)
            if experiment.plan is None:
                failed += 1
            else:
                failed += run_and_report(experiment.plan, folder / experiment.suite.name, **how)
    except BaseException:
        with contextlib.suppress(ResbenchError, OSError):  # what ended is told, and so is what stopped the run
            write_collection_page(folder)
        raise
    page, *_ = write_collection_page(folder)
    say(f"All of it on one page: {page}")
    return failed


def _introduce(experiment: Experiment, number: int, total: int, folder: Path) -> None:
    """Prints which suite of a collection is next and what is planned; the machine's own warnings once."""
    suite = experiment.suite
    say("")
    say(f"[{number + 1}/{total}] {suite.name}")
    if experiment.plan is None:
        complain(f"{suite.name} is not run: {experiment.missing}", label="warning")
    else:
        print_plan(experiment.plan, folder / suite.name, warnings=number == 0)


def default_suite(device: str | None) -> str:
    """Returns the suite for this machine, where none is named: the full one needs CUDA.

    Args:
        device: As it was asked for.
    """
    return "cifar10" if _on_cuda(device) else "smoke"


def _on_cuda(device: str | None) -> bool:
    """Says whether trials are going to run on a CUDA device, as far as it is there and another was not asked for."""
    asked_for_other = device is not None and not device.startswith(("auto", "cuda"))
    return torch.cuda.is_available() and not asked_for_other


def print_plan(plan: Plan, folder: Path, *, warnings: bool = True) -> None:
    """Prints what is going to run, where its results go, and what the user must know of it.

    Args:
        plan: What is planned.
        folder: Where its results go.
        warnings: Whether what here distorts measurements is among it.
    """
    for notice in plan.notices:
        complain(notice, label="warning")
    first, suite = plan.trials[0], plan.suite
    engine = first.engine
    several = f"{engine.devices} x " if engine.devices > 1 else ""
    models = list(dict.fromkeys(trial.model for trial in plan.trials))
    what = count(len(plan.arms), "arm") if plan.arms else count(len(models), "model")
    width = "" if first.num_classes == plan.data["classes"] else f"{first.num_classes} logits, "
    rows = {
        "suite": f"{suite.name}  {suite.description}".rstrip(),
        "models": some_of(models, limit=SHOWN_MODELS),
        "trials": f"{len(plan.trials):,} ({what} x {count(len(suite.seed_list), 'seed')})",
        "dataset": f"{first.dataset}  ({format_input(first.input)}, {describe_data(plan.data)}, {width}"
        f"sha256 {first.dataset_fingerprint[:12]})",
        **({f"arm {name}": _training(trials[0], model=True) for name, trials in plan.arms.items()}),
        **({} if plan.arms else {"training": _training(first)}),
        "engine": f"{several}{engine.device}, {engine.precision}, {engine.memory_format}, "
        f"torch.compile {engine.compile_mode if engine.compile else 'off'}, "
        f"CUDA graph {'on' if engine.cuda_graph else 'off'}",
        "results": str(folder),
    }
    print_pairs(rows)
    for text in (*distortions(), *choices()) if warnings else ():
        complain(text, label="warning")


def _training(trial: Trial, *, model: bool = False) -> str:
    """Says how a trial trains; with its network and weights, where arms differ in these."""
    words = f"recipe {trial.recipe}, budget {trial.budget}, batch {trial.batch_size}, stem {trial.stem}"
    return f"{trial.model}, {words}, weights {trial.weights}" if model else words


def run_and_report(
    plan: Plan,
    folder: Path,
    *,
    retry_failed: bool = False,
    tensorboard: bool = False,
    deadline: Deadline | None = None,
) -> int:
    """Runs a plan under a view, writes its report, and prints its table.

    Args:
        plan: What is planned.
        folder: The results folder.
        retry_failed: Whether trials that failed there before are run again.
        tensorboard: Whether event files are written too.
        deadline: When it has to stop.

    Returns:
        How many planned trials did not end well or could not be planned; each has been named on stderr.

    Raises:
        InputError: The folder cannot be written to, is in use, or holds another suite.
        RulerError: An instrument misreads known quantities.
        StorageError: The records cannot be written any more.
        KeyboardInterrupt: The user pressed Ctrl-C; what ended before is recorded and reported.
    """
    with open_run(plan, folder, retry_failed=retry_failed) as run:
        tell_what_was_before(run, folder)
        if deadline is not None and deadline.left_s <= 0:
            return tell_not_begun(run, folder)
        estimate = show_estimate(plan, run.waiting, folder)
        events = [EventFiles(folder, plan.labels, on_failure=complain)] if tensorboard else []
        expected_s = estimate.expected_s if estimate else None
        if deadline is not None and estimate is not None:
            deadline.expect(estimate.whole_s)
        view = RunView(
            out,
            run.waiting,
            plan.labels,
            expected_s=expected_s,
            together=plan.conduct.concurrent_seeds,
            side_by_side=plan.conduct.executor != "local",
            also=events,
        )
        try:
            with view:
                results = run.run(on_message=view, say=say, deadline=deadline)
        except KeyboardInterrupt:
            with contextlib.suppress(ResbenchError):  # nothing had ended: there is nothing to report
                write_report(folder)
            raise
        with contextlib.suppress(NothingMeasuredError):  # the page says how each trial ended
            write_report(folder, results=results)
    failed = tell_how_it_ended(plan, results, folder, stopped=run.stopped)
    if plan.left_out:
        complain(f"not run, for want of their code: {', '.join(plan.left_out)}", label="failed")
    faulty = faults() if plan.suite.imports else []
    if faulty:
        complain(f"the imported code is at fault: {'; '.join(map(str, faulty))}", label="failed")
    if tensorboard:
        say(f"Curves: {tensorboard_command(folder)}")
    return failed + len(plan.left_out) + len(faulty)

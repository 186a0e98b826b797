"""A stored trial run again from its own record: what differs here, and whether noise explains the new figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resbench.compare.again import IDENTICAL, NOT_COMPARABLE, OUTSIDE, Remeasured, remeasured
from resbench.console import complain, out, print_table, say
from resbench.errors import InputError
from resbench.report.numbers import MISSING, percent, significant
from resbench.rerun.circumstances import MEANS, Check, bits_expected, check_data, check_machine
from resbench.rerun.stored_trial import StoredTrial, check_code, find_trial, inputs_of
from resbench.schema import Trial, format_input

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from resbench.inputs import Inputs
    from resbench.store import Results

WITHIN, BEYOND, FAILED, NOTHING_TO_HOLD = 0, 1, 3, 4
"""Exit codes: within noise; something is beyond it; the rerun did not end ``ok``; nothing was comparable."""


def reproduce(
    folder: Path,
    trial_id: str,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    weights: str | None = None,
    out_folder: Path | None = None,
) -> int:
    """Runs a stored trial again and prints whether each of its figures is what it was.

    Args:
        folder: The results folder that holds it.
        trial_id: Its id, or as much of it as no other has.
        dataset: Where the data are now, as a dataset spec; where they were, if not given.
        data_dir: Where downloaded datasets are.
        weights: Where a state-dict file that it began with is now.
        out_folder: Gets the rerun's records; ``reproduced/<trial_id>`` beside the results folder by default.

    Returns:
        The exit code: 0 within noise, 1 not, 3 the rerun did not end ``ok``, 4 nothing was comparable.

    Raises:
        InputError: The trial, its network's code, its data, its weights or its device are not to be had, or
            ``out_folder`` is in use.
        NothingMeasuredError: The stored trial did not end ``ok``.
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    stored = find_trial(folder, trial_id)
    trial = stored.trial
    target = out_folder or default_folder(folder, trial.trial_id)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{str(target)!r} is there already and is left as it is. Give another folder with --out.")
    check_code(trial)
    inputs = inputs_of(stored, dataset=dataset, data_dir=data_dir, weights=weights)
    checks = check_machine(stored)
    data = check_data(trial, inputs)
    say(f"trial {trial.trial_id}: {trial.label}, recorded in {folder}, {stored.row['started_at']}")
    print_table(_checks_table([*checks, data]))
    for check in checks:
        if not check.agrees:
            complain(
                f"{check.name} was {_text(check.recorded)} and is {_text(check.here)}: {MEANS[check.name]}.",
                label="warning",
            )
    rerun = _rerun(trial, inputs, target, watched=_watched(stored))
    say(f"Records of the rerun: {target}")
    return _report(stored, rerun, bits=bits_expected(trial, checks))


def default_folder(folder: Path, trial_id: str) -> Path:
    """Returns where a rerun's records go: beside the results folder, which stays as it is."""
    here = folder if folder.name not in ("", "..") else folder.resolve()
    return here.parent / "reproduced" / trial_id


def _watched(stored: StoredTrial) -> dict[str, Any]:
    """Returns the ``[run]`` table for a rerun: instruments tested and memory stretched where they were."""
    row, run = stored.row, stored.suite_event.get("suite", {}).get("run", {})
    in_parts = row["micro_batch_size"] is not None and row["micro_batch_size"] < row["batch_size"]
    return {"oom": "accumulate" if in_parts else "record", "calibrate": run.get("calibrate", True)}


def _rerun(trial: Trial, inputs: Inputs, target: Path, *, watched: dict[str, Any]) -> Results:
    """Runs the trial again into a folder of its own and returns what that holds."""
    from resbench.live.view import RunView
    from resbench.planning.plan import Plan
    from resbench.planning.settings import COMPILE_MODES, resolve_conduct
    from resbench.run import run_plan
    from resbench.suite import make_suite

    engine = trial.engine
    mode = engine.compile_mode if engine.compile else None
    suite = make_suite(
        {
            "name": f"reproduce-{trial.trial_id}",
            "models": [trial.model],
            "stem": trial.stem,
            "dataset": inputs.dataset,
            "train_images": inputs.train_images,
            "test_images": inputs.test_images,
            "input": format_input(trial.input),
            "num_classes": trial.num_classes,
            "recipe": trial.recipe,
            "budget": trial.budget,
            "batch_size": trial.batch_size,
            "seeds": [trial.seed],
            "weights": inputs.weights,
            "engine": {
                "device": engine.device,
                "devices": engine.devices,
                "precision": engine.precision,
                "compile": next(word for word, meant in COMPILE_MODES.items() if meant == mode),
                "cuda_graph": "on" if engine.cuda_graph else "off",
                "memory_format": engine.memory_format,
                "lowering": engine.lowering,
                "cache_features": engine.cache_features,
            },
            "run": watched,
        }
    )
    view = RunView(out, [trial])
    with view:
        plan = Plan(suite, [trial], inputs, resolve_conduct(suite.run), notices=[])
        results, _ = run_plan(plan, target, on_message=view, say=say)
    return results


def _report(stored: StoredTrial, rerun: Results, *, bits: bool) -> int:
    """Prints what became of every metric and returns the exit code."""
    trial_id = stored.trial.trial_id
    again = rerun.trials[rerun.trials["trial_id"] == trial_id].iloc[0]
    if again["status"] != "ok":
        complain(f"the rerun ended {again['status']} in phase {again['phase']}: {again['error']}", label="failed")
        return FAILED
    for when, verdict, reasons in (
        ("recorded trial", stored.row["verdict"], stored.row["verdict_reasons"]),
        ("rerun", again["verdict"], again["verdict_reasons"]),
    ):
        if verdict == "suspect":
            complain(f"the {when} is suspect: {reasons}", label="warning")
    found = remeasured(stored.results, trial_id, rerun, bits_expected=bits)
    print_table(_outcome_table(found))
    beyond = [one.metric.name for one in found if one.outcome == OUTSIDE]
    comparable = [one for one in found if one.outcome != NOT_COMPARABLE]
    if beyond:
        say(f"Not reproduced within noise: {', '.join(beyond)}.")
        return BEYOND
    if not comparable:
        say("Nothing could be compared with the record.")
        return NOTHING_TO_HOLD
    same = sum(one.outcome == IDENTICAL for one in comparable)
    say(f"Reproduced within noise: {len(comparable)} of {len(found)} metrics compared, {same} identical.")
    return WITHIN


def _text(value: Any) -> str:
    """Writes one side of a check."""
    return "unknown" if value is None else str(value)


def _checks_table(checks: Sequence[Check]) -> RichTable:
    """Renders what was recorded beside what is here."""
    from rich.table import Table
    from rich.text import Text

    table = Table("", "recorded", "here", "", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for check in checks:
        recorded, here = (_text(value)[:40] for value in (check.recorded, check.here))
        word = "" if check.agrees else "differs"
        table.add_row(
            *(Text(text, style="" if check.agrees else "yellow") for text in (check.name, recorded, here, word))
        )
    return table


def _outcome_table(found: Sequence[Remeasured]) -> RichTable:
    """Renders each metric: recorded, again, the difference, the noise, and whether it is within."""
    from rich.table import Table
    from rich.text import Text

    styles = {OUTSIDE: "bold red", NOT_COMPARABLE: "yellow"}
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for header in ("metric", "recorded", "again", "difference", "noise", "within noise?", "noise is"):
        table.add_column(header, justify="left" if header in ("metric", "within noise?", "noise is") else "right")
    for one in found:
        texts = (
            one.metric.name,
            *(_figure(one, value) for value in (one.recorded, one.again)),
            _change(one, one.change, sign="+"),
            MISSING if one.limit is None else _change(one, one.limit),
            {OUTSIDE: "no", NOT_COMPARABLE: NOT_COMPARABLE, IDENTICAL: IDENTICAL}.get(one.outcome, "yes"),
            one.note,
        )
        table.add_row(*(Text(text, style=styles.get(one.outcome, "")) for text in texts))
    return table


def _figure(one: Remeasured, value: float) -> str:
    """Writes a figure in its metric's unit."""
    return percent(value / 100) if one.metric.is_accuracy else significant(value)


def _change(one: Remeasured, change: float, *, sign: str = "") -> str:
    """Writes a change or what it may be: points of an accuracy, percent of the others."""
    return f"{change:{sign}.2f} points" if one.metric.is_accuracy else f"{100 * change:{sign}.1f} %"

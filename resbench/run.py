"""Running a suite from its plan to its tables: what ``resbench bench`` and :func:`resbench.run_suite` do."""

from __future__ import annotations

import contextlib
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resbench import provenance
from resbench.errors import InputError, ResbenchError
from resbench.executors.deadline import Deadline, OutOfTime, deadline_after
from resbench.executors.followed import OnMessage
from resbench.executors.interrupts import ignoring_interrupts, interruptible
from resbench.executors.local import run_trials
from resbench.executors.process import run_in_process
from resbench.locks import device_locks, folder_lock
from resbench.machine import calibrate_machine
from resbench.measure.ruler import Ruler
from resbench.noise import REPEATS, again_job, describe_floor, how_to_repeat, noise_floor
from resbench.planning.plan import Plan, plan_suite
from resbench.schema import Trial
from resbench.store import RECORDS, Results, Standing, Store
from resbench.suite import Suite, load_suite, make_suite
from resbench.unchanged import check_unchanged

Say = Callable[[str], None]
AGAIN = ("interrupted", "not_run")
"""Statuses of trials that a run which goes on takes up again without being asked."""


class SuiteRun:
    """A plan and the results folder that it runs in, which is this process's as long as :func:`open_run` lasts.

    Attributes:
        waiting: Trials that are going to run.
        done: Trials that ended ``ok`` here before.
        failed: Trials that ended otherwise here before, and are not run again unless that is asked for.
        stopped: Why the run was stopped before all that waited had run, where it had a deadline.
    """

    def __init__(self, plan: Plan, store: Store, standing: Standing, *, retry_failed: bool) -> None:
        self.plan, self.store, self.standing = plan, store, standing
        self.stopped: str | None = None
        status = standing.statuses.get
        self.done = [trial for trial in plan.trials if status(trial.trial_id) == "ok"]
        failed = [trial for trial in plan.trials if status(trial.trial_id, "not_run") not in ("ok", *AGAIN)]
        self.failed = [] if retry_failed else failed
        out = {trial.trial_id for trial in (*self.done, *self.failed)}
        self.waiting = [trial for trial in plan.trials if trial.trial_id not in out]

    def run(
        self,
        *,
        on_message: OnMessage = lambda trial, kind, data: None,
        say: Say = lambda text: None,
        deadline: Deadline | None = None,
    ) -> Results:
        """Runs what waits: the ruler, the trials, one of them measured again between the others, the tables.

        Args:
            on_message: Told of everything that the trials emit.
            say: Told what happens between them.
            deadline: When it has to stop; ``stopped`` then says so.

        Raises:
            RulerError: An instrument misreads what is known: nothing was run.
            StorageError: The records cannot be written any more; nothing more is run.
            KeyboardInterrupt: The user pressed Ctrl-C. Everything that ended is recorded and the tables are derived.
        """
        if not self.waiting:
            return self.store.derive()
        try:
            with interruptible():
                if deadline is not None:
                    deadline.check()
                if self.plan.conduct.executor == "ray":
                    self._run_on_cluster(on_message, say, deadline)
                else:
                    self._run_here(on_message, say, deadline)
        except OutOfTime as error:
            self.stopped = str(error)
        except BaseException:
            # The tables of what ended; what stopped the run is what the user must hear of.
            with ignoring_interrupts(), contextlib.suppress(ResbenchError, OSError):
                self.store.derive()
            raise
        with ignoring_interrupts():
            return self.store.derive()

    def _run_here(self, on_message: OnMessage, say: Say, deadline: Deadline | None) -> None:
        """Runs what waits on this machine."""
        plan, store = self.plan, self.store
        engine = plan.trials[0].engine
        with device_locks(engine.device, engine.devices, on_wait=say):
            ruler = self._calibrate(say) if plan.conduct.calibrate else None
            self._announce()
            if ruler is not None:
                store.append("ruler", ruler.to_dict())
                ruler.check()
            again = _Again(self, on_message)

            def measure_again(*, last: bool = False) -> None:
                while plan.conduct.calibrate and again.row is not None and again.due(last=last):
                    again.made += 1
                    if deadline is not None and deadline.left_s < again.row["wall_s"]:
                        say(f"no time is left to measure {again.trial.label} again, for the noise floor")
                    else:
                        self._measure_again(again.trial, again.row, say)

            run_trials(
                self.waiting,
                plan.inputs,
                store,
                on_message=again,
                conduct=plan.conduct,
                deadline=deadline,
                between=measure_again,
            )
            measure_again(last=True)

    def _run_on_cluster(self, on_message: OnMessage, say: Say, deadline: Deadline | None) -> None:
        """Runs what waits on the nodes of a Ray cluster, which test their own instruments.

        Raises:
            InputError: There is no such cluster.
            ClusterError: No node of it is left.
        """
        from resbench.run_on_cluster import run_on_cluster

        run_on_cluster(
            self.plan,
            self.waiting,
            self.store,
            announce=self._announce,
            on_message=on_message,
            say=say,
            deadline=deadline,
        )

    def _announce(self) -> None:
        """Records what is planned."""
        plan = self.plan
        self.store.append(
            "suite",
            {
                "suite": plan.suite.model_dump(),
                "inputs": plan.inputs.to_dict(),
                "data": plan.data or None,
                "notices": plan.notices,
                "arms": [
                    {"name": name, "trial_ids": [trial.trial_id for trial in trials]}
                    for name, trials in plan.arms.items()
                ],
                "trials": [trial.to_dict() for trial in plan.trials],
                "provenance": provenance.collect().to_dict(),
                "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )

    def _calibrate(self, say: Say) -> Ruler:
        """Tests the instruments in a process like a trial's.

        Raises:
            RulerError: They could not be tested.
            InputError: The trials that the folder holds ran on another device.
        """
        say("testing the instruments on known quantities")
        ruler = calibrate_machine(self.plan.trials[0].engine)
        others = self.standing.device_names - {ruler.device_name}
        if others:
            raise InputError(
                f"the results folder {str(self.store.folder)!r} holds trials of {' and '.join(sorted(others))}, and "
                f"this is {ruler.device_name}. Give another folder with --out: `resbench compare` reads both."
            )
        return ruler

    def _measure_again(self, trial: Trial, row: dict[str, Any], say: Say) -> None:
        """Measures a trial's speed again: by how much the machine differs from itself."""
        say(f"measuring {trial.label} again, for the noise floor")
        again: list[dict[str, Any]] = []
        ended = run_in_process(
            again_job,
            (trial, self.plan.inputs, how_to_repeat(row)),
            log=self.store.folder / "logs" / "again.log",
            on_message=lambda kind, data: again.append(data),
            processes=trial.engine.devices,
        )
        if again:
            event = noise_floor(row, again[0])
            self.store.append("noise_floor", event)
            say(describe_floor(event))
        else:
            say(f"the noise floor could not be measured: {ended}")


class _Again:
    """Hands messages on, and says which trial is measured again, and when.

    That is the first one that ran as planned, or the one that was measured again before in the same folder.

    Attributes:
        trial: Which one.
        row: Its record; None until there is one.
        made: How often it was measured again by this run, or should have been.
    """

    def __init__(self, run: SuiteRun, on_message: OnMessage) -> None:
        self.on_message, self.trial, self.made = on_message, run.waiting[0], 0
        self.row: dict[str, Any] | None = None
        self._waiting, self._ended = {trial.trial_id for trial in run.waiting}, set[str]()
        before = run.standing.measured_again
        self._wanted = REPEATS - len(before)
        planned = {trial.trial_id: trial for trial in run.plan.trials}
        if before and before[-1] in planned and self._wanted > 0:
            self.trial = planned[before[-1]]
            rows = (event for event in run.store.checked() if event["event"] == "trial")
            self.row = next((row for row in rows if (row["trial_id"], row["status"]) == (before[-1], "ok")), None)

    def due(self, *, last: bool) -> bool:
        """Says whether it is time: evenly between the trials that this run has ended, and after the last of them."""
        ended = len(self._waiting if last else self._ended)
        return self.made < self._wanted and self._wanted * ended >= (self.made + 1) * len(self._waiting)

    def __call__(self, trial: Trial, kind: str, data: dict[str, Any]) -> None:
        if kind == "trial":
            self._ended.add(trial.trial_id)
            if self.row is None and data["status"] == "ok" and data["micro_batch_size"] == trial.batch_size:
                self.trial, self.row = trial, data
        self.on_message(trial, kind, data)


@contextlib.contextmanager
def open_run(plan: Plan, out: Path, *, retry_failed: bool = False) -> Iterator[SuiteRun]:
    """Takes a results folder for a plan, which is made where there is none; no other process runs in it meanwhile.

    Args:
        plan: From :func:`resbench.planning.plan.plan_suite`.
        out: The results folder.
        retry_failed: Whether trials that failed here before are run again.

    Raises:
        InputError: The folder cannot be written to, is in use, holds another suite, or records that cannot be read.
    """
    store = Store(out, create=True)
    with folder_lock(out):
        standing = store.standing()
        check_unchanged(plan, standing, out)
        yield SuiteRun(plan, store, standing, retry_failed=retry_failed)


def trials_to_run(plan: Plan, out: Path, *, retry_failed: bool = False) -> list[Trial]:
    """Returns what a run of a plan in a results folder would run; the folder is not taken, nor made.

    Args:
        plan: From :func:`resbench.planning.plan.plan_suite`.
        out: The results folder.
        retry_failed: Whether trials that failed there before are run again.

    Raises:
        InputError: The folder's records cannot be read.
    """
    if not (out / RECORDS).is_file():
        return [*plan.trials]
    store = Store(out)
    return SuiteRun(plan, store, store.standing(), retry_failed=retry_failed).waiting


def run_plan(plan: Plan, out: Path, *, retry_failed: bool = False, **options: Any) -> tuple[Results, list[Trial]]:
    """Runs a plan's trials that have not yet ended in this folder, and derives its tables.

    Args:
        plan: From :func:`resbench.planning.plan.plan_suite`.
        out: The results folder; made where it does not exist.
        retry_failed: Whether trials that failed here before are run again.
        **options: Of :meth:`SuiteRun.run`.

    Returns:
        The folder's results, and the trials that were not run because they had ended before.

    Raises:
        InputError: As :func:`open_run`.
        ResbenchError: As :meth:`SuiteRun.run`.
        KeyboardInterrupt: As :meth:`SuiteRun.run`.
    """
    with open_run(plan, out, retry_failed=retry_failed) as run:
        results = run.run(**options)
        return results, [trial for trial in plan.trials if trial in {*run.done, *run.failed}]


def run_suite(
    suite: str | Path | Suite,
    *,
    out: str | Path,
    data_dir: str | Path | None = None,
    retry_failed: bool = False,
    progress: bool = True,
    stop_after: str | None = None,
    **changes: Any,
) -> Results:
    """Runs a suite and returns its results: what ``resbench bench`` does, for a notebook or a script.

    Trials that have ended in the folder before are not run again. A trial that fails raises nothing: its row in
    ``trials`` says how it ended.

    Args:
        suite: A suite's name, the path of its TOML file, or a :class:`~resbench.suite.Suite`.
        out: The results folder, which gets records and CSV files; :func:`resbench.write_report` adds tables and plots.
        data_dir: Where downloaded datasets are, or go; the user's cache folder by default.
        retry_failed: Whether trials that failed there before are run again.
        progress: Whether what happens is printed as it happens.
        stop_after: Such as ``"9min"``: trials that would not be over by then are not begun, and what is still under way
            is interrupted; the same call goes on from there.
        **changes: Fields of the suite to replace, such as ``budget="2ep"`` or ``models=["resnet34"]``; those of its
            tables by their own names, such as ``device="cpu"``.

    Returns:
        The folder's results: pandas frames, see :class:`~resbench.store.Results`.

    Raises:
        InputError: Anything about the suite, its data or the folder is wrong, or a network was defined in the notebook
            itself, which the trials' processes cannot see: write it to a file and give ``imports=["my_nets.py"]``.
        RulerError: The instruments misread known quantities.
        StorageError: The records cannot be written any more.
        KeyboardInterrupt: It was interrupted; everything that ended is recorded, and the same call goes on.

    Warns:
        UserWarning: What the command line would warn of before it begins, such as a dataset that took another's place.

    In a script, call it below ``if __name__ == "__main__":``, since each trial runs in a spawned process.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            "run_suite was called again by a process that is being started for a trial, which reads the script anew. "
            "Call it below `if __name__ == '__main__':`."
        )
    deadline = None if stop_after is None else deadline_after(stop_after)
    given = suite.model_dump() if isinstance(suite, Suite) else None
    chosen = load_suite(str(suite), **changes) if given is None else make_suite(given, **changes)
    plan = plan_suite(chosen, data_dir=Path(data_dir) if data_dir else None)
    for notice in plan.notices:
        warnings.warn(notice, stacklevel=2)
    if not progress:
        return run_plan(plan, Path(out), retry_failed=retry_failed, deadline=deadline)[0]
    # Above this module: what a person sees. Nothing here depends on it.
    from resbench.console import out as console
    from resbench.console import say
    from resbench.live.view import RunView

    with (
        open_run(plan, Path(out), retry_failed=retry_failed) as run,
        RunView(console, run.waiting, plan.labels, together=plan.conduct.concurrent_seeds) as view,
    ):
        return run.run(on_message=view, say=say, deadline=deadline)

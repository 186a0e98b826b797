"""Running a suite's trials on a Ray cluster: the cluster, the trials, the first of them measured again on its node."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

from resbench.errors import StorageError
from resbench.executors.deadline import Deadline
from resbench.executors.followed import OnMessage
from resbench.executors.process import Exit
from resbench.executors.ray_cluster import open_cluster, require_ray, run_job, run_trials
from resbench.executors.ray_cluster.attempts import bare_job
from resbench.executors.ray_cluster.messages import Cluster
from resbench.executors.ray_cluster.node_tests import First
from resbench.noise import REPEATS, again_job, describe_floor, how_to_repeat, noise_floor
from resbench.planning.plan import Plan
from resbench.schema import Trial
from resbench.store import Store

RUN_NAME = ".cluster-run"
"""A file in the results folder: what nodes call this run's own folder there, so that no other run's checkpoints are."""


def run_on_cluster(
    plan: Plan,
    trials: list[Trial],
    store: Store,
    *,
    announce: Callable[[], None],
    on_message: OnMessage,
    say: Callable[[str], None],
    deadline: Deadline | None = None,
) -> None:
    """Runs trials on a cluster that is there, or on one that is started for them on this machine.

    Args:
        plan: What is planned.
        trials: Those that are still to run.
        store: Gets what they leave.
        announce: Records what is planned, once the cluster is there.
        on_message: Told of everything that the trials emit.
        say: Told what happens besides.
        deadline: When the run has to stop.

    Raises:
        OutOfTime: Trials wait for more time.
        InputError: There is no such cluster, or Ray is not installed.
        ClusterError: No node of it is left.
        StorageError: The records cannot be written any more.
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    require_ray()
    from resbench.executors.ray_cluster.joining import needs_of

    conduct = plan.conduct
    device_given = plan.suite.engine.device != "auto"
    needs = needs_of(trials, plan.inputs, run_name(store.folder), device_given=device_given)
    say("connecting to the Ray cluster" if conduct.ray_address else "starting or finding a Ray cluster")
    with open_cluster(conduct, needs) as cluster:
        announce()
        first = run_trials(trials, store, cluster, on_message=on_message, conduct=conduct, say=say, deadline=deadline)
        for number in range(REPEATS if conduct.calibrate else 0):
            if first is not None and (deadline is None or deadline.left_s > first.row["wall_s"]):
                _measure_again(plan, first, cluster, store, say, number=-number)


def _measure_again(
    plan: Plan, first: First, cluster: Cluster, store: Store, say: Callable[[str], None], *, number: int
) -> None:
    """Measures a trial's speed again on its node: by how much that differs from itself."""
    trial, node = first.trial, first.node
    say(f"measuring {trial.label} again on {node.name}, for the noise floor")
    work = bare_job(node, trial.engine, plan.conduct).of(
        again_job, (trial, node.inputs, how_to_repeat(first.row)), name="again"
    )
    said, how = run_job(cluster, node, work, number=number)
    again = [data for kind, data in said if kind == "again"]
    if again:
        event = {**noise_floor(first.row, again[0]), "node": node.name}
        store.append("noise_floor", event)
        say(describe_floor(event))
    else:
        say(f"the noise floor could not be measured: {how if isinstance(how, Exit) else how.why}")


def run_name(folder: Path) -> str:
    """Returns what nodes call a results folder, which gets that name once: a folder that is made anew is another.

    Raises:
        StorageError: It cannot be written there.
    """
    path = folder / RUN_NAME
    try:
        if not path.is_file() or not path.read_text(encoding="ascii").strip().isalnum():
            path.write_text(uuid.uuid4().hex, encoding="ascii")
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"cannot write to {path}: {error}. Nothing is run.") from error

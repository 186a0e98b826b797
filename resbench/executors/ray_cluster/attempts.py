"""One attempt at a trial: what its node is given, and whether the trial has to run again after it."""

from __future__ import annotations

import signal
from dataclasses import replace

from resbench.conduct import Attempt, Conduct
from resbench.errors import StorageError
from resbench.executors.followed import Followed
from resbench.executors.job import trial_job
from resbench.executors.process import Exit
from resbench.executors.ray_cluster.crew import Waiting
from resbench.executors.ray_cluster.messages import Lost, Message, Node, Work
from resbench.schema import EngineSettings


def bare_job(node: Node, engine: EngineSettings, conduct: Conduct) -> Work:
    """Returns what every job on a node gets of it: as much as a trial."""
    return Work(
        job=trial_job,
        arguments=(),
        name="",
        folder=node.folder,
        device=engine.device,
        devices=engine.devices,
        threads=conduct.cpus_per_trial,
    )


class TrialAttempt:
    """An attempt at a trial on a node."""

    def __init__(self, waiting: Waiting, node: Node, conduct: Conduct) -> None:
        self.waiting, self.node, self.conduct = waiting, node, conduct
        self.followed.node = node.name

    @property
    def followed(self) -> Followed:
        """The trial, as its messages tell of it."""
        return self.waiting.followed

    def work(self) -> Work:
        """Returns the trial as a job for a process of its node."""
        trial, node, conduct = self.followed.trial, self.node, self.conduct
        checkpoint = node.folder / "checkpoints" / f"{trial.trial_id}.pt"
        attempt = Attempt(1, self.followed.micro_batch_size, checkpoint, conduct.checkpoint_every_s, retell=True)
        return replace(
            bare_job(node, trial.engine, conduct),
            arguments=(trial, node.inputs, attempt),
            name=trial.trial_id,
            limit_s=conduct.trial_timeout_s,
            memory_limit_mib=conduct.memory_limit_mib,
            checkpoint=checkpoint,
        )

    def take(self, messages: list[Message]) -> None:
        """Stores what the trial says."""
        for kind, data in messages:
            self.followed.handle(kind, data)

    def log(self, printed: bytes) -> None:
        """Adds to the trial's log here what it printed there.

        Raises:
            StorageError: It cannot be written.
        """
        if not printed:
            return
        log = self.followed.log
        try:
            log.parent.mkdir(exist_ok=True)
            with log.open("ab") as file:
                file.write(printed)
        except OSError as error:
            raise StorageError(f"cannot write to {error.filename}: {error.strerror}. Nothing more is run.") from error

    def runs_again(self, how: Exit | Lost, *, begun: bool) -> bool:
        """Writes the trial's row where it has to be written here; returns whether the trial runs again instead.

        Args:
            how: How the attempt is over. A trial whose own process fails fails as it would on one machine; one whose
                worker or node died is run again, on the same node first: that holds its checkpoint.
            begun: Whether the attempt had begun; otherwise it does not count.
        """
        followed, waiting = self.followed, self.waiting
        if isinstance(how, Lost) and how.out_of_memory:
            how = Exit(-signal.SIGKILL, how.why, out_of_memory=True)
        if isinstance(how, Exit):
            followed.record_exit(how)
            return followed.in_smaller_parts()
        if followed.recorded:
            return False
        if not begun:
            waiting.home = None
            return True
        waiting.losses += 1
        most, place = self.conduct.retries + 1, self.node.name
        if waiting.losses >= most:
            times = f", attempt {waiting.losses} of {most}" if most > 1 else ""
            followed.record_unless_done("crashed", f"lost on {place}{times}: {how.why}")
            return False
        waiting.home = self.node.node_id if waiting.losses == 1 else None
        followed.remarks.append(f"attempt {waiting.losses} was lost on {place} ({how.why}): run again")
        followed.begin_anew()
        text = f"lost on {place} ({how.why}): attempt {waiting.losses + 1} of {most}"
        followed.on_message(followed.trial, "notice", {"text": text})
        return True

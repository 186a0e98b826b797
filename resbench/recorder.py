"""Fills the record of a trial while it runs, and emits what is an event of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch

from resbench import provenance
from resbench.conduct import Attempt
from resbench.devices import Device
from resbench.environment import distortions
from resbench.errors import in_one_line
from resbench.frames import planned_record
from resbench.measure.telemetry import WindowReport
from resbench.precision import peak_flops
from resbench.registry import model_entry
from resbench.schema import PROFILED, EpochRecord, Hits, Trial, TrialRecord
from resbench.training.feature_cost import FeatureCost
from resbench.training.ledger import Ledger
from resbench.training.outcome import EpochReport, Progress, TrainingResult
from resbench.verdicts import accuracy_doubts

if TYPE_CHECKING:
    from resbench.data.datasets import Split

Emit = Callable[[str, dict[str, Any]], None]
"""Takes a kind (phase, facts, progress, notice, gate, profile, training, epoch, telemetry, hits, trial) and its data.

``facts`` are columns of the record that are known before it is complete."""

CACHED = (
    "features of the frozen backbone were computed once for each image, in the first epoch: throughput holds that, and "
    "later steps are the head's alone"
)
"""What the row of such a trial says."""


class Recorder:
    """The record of one trial on its way.

    Args:
        trial: Whose record it is.
        attempt: What its process was told besides.
        emit: Told of everything as it comes.

    Attributes:
        record: As far as it is known.
        ledger: Where the time goes.
        feature_cost: What training costs where features are cached; None where none are.
        doubts: Why the row is suspect, as far as that is known.
    """

    def __init__(self, trial: Trial, attempt: Attempt, emit: Emit) -> None:
        self.trial, self.emit, self.together = trial, emit, attempt.together
        self.retell = attempt.retell
        self.record = planned_record(trial, source=model_entry(trial.model).source)
        self.record.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.record.micro_batch_size = attempt.micro_batch_size or trial.batch_size
        self.record.concurrent_seeds = attempt.together
        self.ledger = Ledger()
        self.feature_cost: FeatureCost | None = None
        self.doubts: list[str] = []

    @property
    def flops_per_image(self) -> int | None:
        """Training FLOPs of one image; known once the network was profiled, if they can be counted."""
        return self.record.train_flops_per_image

    def phase(self, name: str) -> None:
        """Says and notes which phase begins."""
        self.record.phase = name
        self.emit("phase", {"phase": name})

    def note(self, text: str) -> None:
        """Says and notes what a reader of the row must know."""
        self.record.notes.append(text)
        self.emit("notice", {"text": text})

    def place(self, device: Device) -> None:
        """Notes where the trial runs, and what distorts its figures there."""
        record = self.record
        facts = {
            "device_name": device.name,
            "tf32": self.trial.engine.precision == "tf32",
            "cpu_threads": torch.get_num_threads(),
            "concurrent_seeds": self.together,
            "micro_batch_size": record.micro_batch_size,
            "started_at": record.started_at,
            **provenance.collect().to_dict(),
        }
        for column, value in facts.items():
            setattr(record, column, value)
        self.doubts += distortions()
        self.emit("facts", facts)

    def profile(self, row: dict[str, Any], *, notes: Sequence[str]) -> None:
        """Notes what the network costs, and what a reader of these figures must know."""
        self.emit("profile", row)
        for column in PROFILED:
            setattr(self.record, column, row[column])
        self.record.notes += notes

    def features(self, cost: FeatureCost | None, reason: str | None) -> None:
        """Notes whether the training is of a head on cached features.

        Args:
            cost: What that costs, or None where the network itself is trained.
            reason: Why it is not, where it has a frozen backbone.
        """
        self.feature_cost = cost
        self.record.cached_features = cost is not None
        self.emit("facts", {"cached_features": cost is not None})
        if cost is not None:
            self.note(CACHED)
        elif reason is not None:
            self.note(f"features of the frozen backbone are not cached: {reason}")

    def _flops_spent(self, images_seen: int, features_made: int | None) -> float | None:
        """Returns the training FLOPs that were spent, None if they cannot be counted."""
        if self.feature_cost is None or features_made is None:
            return None if self.flops_per_image is None else float(images_seen * self.flops_per_image)
        return self.feature_cost.spent(images_seen=images_seen, features_made=features_made)

    def training(self, result: TrainingResult, *, resumed: int) -> None:
        """Notes that the training begins, at step 0 or where an earlier attempt stood."""
        self.record.resumed = resumed
        self.record.best_test_accuracy = max((report.test.accuracy for report in result.epochs), default=None)
        self.emit("training", {"trial_id": self.trial.trial_id, "steps": result.steps})
        for report in result.epochs if self.retell else ():
            self.epoch(report)

    def progress(self, progress: Progress) -> None:
        """Says how far the training is."""
        self.emit("progress", asdict(progress))

    def epoch(self, report: EpochReport) -> None:
        """Emits the epoch and keeps the record up to date, so that a trial cut short shows how far it came."""
        trial, record = self.trial, self.record
        flops = self._flops_spent(report.images_seen, report.features_made)
        record.best_test_accuracy = max(record.best_test_accuracy or 0.0, report.test.accuracy)
        record.test_accuracy, record.test_loss = report.test.accuracy, report.test.mean_loss
        record.train_accuracy = report.train.accuracy
        record.epochs, record.steps = report.epoch, report.steps
        record.images_seen, record.train_flops_spent = report.images_seen, flops
        epoch = EpochRecord(
            trial_id=trial.trial_id,
            model=trial.model,
            stem=trial.stem,
            seed=trial.seed,
            epoch=report.epoch,
            steps=report.steps,
            images_seen=report.images_seen,
            budget_fraction=report.budget_fraction,
            learning_rate=report.learning_rate,
            train_loss=report.train.mean_loss,
            train_accuracy=report.train.accuracy,
            test_loss=report.test.mean_loss,
            test_accuracy=report.test.accuracy,
            train_clock_s=report.train_clock_s,
            eval_s=report.eval_s,
            train_flops_spent=flops,
            train_images_per_second=report.train_images_per_second,
        )
        self.emit("epoch", epoch.to_dict())

    def speed(self, result: TrainingResult) -> None:
        """Notes how fast steps were taken while nothing else ran."""
        record = self.record
        record.train_images_per_second = result.train_images_per_second
        record.step_ms_p50, record.step_ms_p90 = result.step_ms(0.5), result.step_ms(0.9)
        peak = peak_flops(record.device_name or "", self.trial.engine.precision)
        flops = self._flops_spent(result.images_seen, result.features_made)
        if peak is not None and flops is not None:
            record.mfu = flops / result.train_clock_s / (peak * self.trial.engine.devices)

    def window(self, report: WindowReport) -> None:
        """Emits what device and host said of themselves while something was measured, and notes why it is suspect."""
        self.emit("telemetry", {"trial_id": self.trial.trial_id, **report.to_dict()})
        if report.verdict == "suspect":
            self.doubts += [f"{report.name}: {reason}" for reason in report.reasons]
        if report.name == "train":
            record = self.record
            record.clock_mhz, record.temperature_c = report.clock_mhz_mean, report.temperature_c_max
            record.power_w, record.other_load = report.power_w_mean, report.other_load

    def hits(self, correct: torch.Tensor | None) -> None:
        """Emits which test images the trained network got right.

        Args:
            correct: bool [test images].
        """
        if correct is not None:
            hits = Hits.pack(correct.cpu().numpy())
            self.emit("hits", {"trial_id": self.trial.trial_id, **hits.to_dict()})

    def judge(self, test: Split) -> None:
        """Gives the row its verdict; the training is over."""
        counts = torch.bincount(test.labels.cpu(), minlength=self.trial.num_classes).tolist()
        accuracy = self.record.test_accuracy or 0.0
        self.doubts += accuracy_doubts(self.trial, accuracy, class_counts=counts)
        self.record.verdict = "suspect" if self.doubts else "valid"
        self.record.verdict_reasons = [*dict.fromkeys(self.doubts)]

    def ended(self, status: str, error: BaseException, *, where: str | None = None) -> None:
        """Notes how the trial ended; the phase stays the one it ended in.

        Args:
            status: One of :data:`~resbench.schema.STATUSES`.
            error: What went wrong.
            where: File and line in the network's own code, where that is a user's.
        """
        text = in_one_line(error)
        self.record.status, self.record.error = status, f"{where}: {text}" if where else text

    def close(self) -> TrialRecord:
        """Closes the ledger and returns the record."""
        for column, seconds in self.ledger.columns().items():
            setattr(self.record, column, seconds)
        return self.record

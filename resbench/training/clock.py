"""The train clock: the seconds that data and steps take, from marks that wait for nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resbench.devices import Device
from resbench.training.ledger import Ledger


class TrainClock:
    """Runs from mark to mark: one when a batch is asked for, one when it is there, one after the step.

    On CUDA marks are events in the stream, so nothing waits between two steps. The clock therefore runs behind what
    is queued, by ``device.queue_depth`` steps at most, and is exact once it is stopped.

    Args:
        device: Whose marks they are.
        ledger: Gets the seconds of ``data`` and ``step`` when the clock is stopped.

    Attributes:
        seconds: Data + step so far, as far as it is known.
        steps: How many steps these seconds hold.
        step_seconds: Of every step, up to the last stop.
    """

    def __init__(self, device: Device, ledger: Ledger) -> None:
        self.device, self.ledger = device, ledger
        self.seconds, self.steps = 0.0, 0
        self.step_seconds: list[float] = []
        self._marks: list[tuple[Any, Any, Any]] = []
        self._stopped_at = (0.0, 0)
        self._start = self._ready = None

    def set(self, step_seconds: Iterable[float], *, seconds: float) -> None:
        """Puts the clock where that of an earlier attempt stood."""
        self.step_seconds = [*step_seconds]
        self.seconds, self.steps = self._stopped_at = seconds, len(self.step_seconds)

    def start(self) -> None:
        """Starts the clock, which is stopped: a batch is being asked for."""
        self._start = self.device.mark()

    def batch_made(self) -> None:
        """Notes that a batch is there, and its step begins."""
        self._ready = self.device.mark()

    def step_taken(self) -> None:
        """Notes that a step is queued, and the next batch is asked for; waits where too many are queued."""
        end = self.device.mark()
        self._marks.append((self._start, self._ready, end))
        self._start = end
        depth = self.device.queue_depth
        if len(self._marks) > depth:
            reached = self._marks[-1 - depth][2]
            self.device.wait(reached)
            seconds, steps = self._stopped_at
            self.seconds = seconds + self.device.elapsed_s(self._marks[0][0], reached)
            self.steps = steps + len(self._marks) - depth

    def stop(self) -> None:
        """Waits for the device and books the time since the start."""
        device, marks = self.device, self._marks
        device.synchronize()
        data = sum(device.elapsed_s(start, ready) for start, ready, _ in marks)
        step = sum(device.elapsed_s(ready, end) for _, ready, end in marks)
        self.ledger.add("data", data)
        self.ledger.add("step", step)
        self.step_seconds += [device.elapsed_s(start, end) for start, _, end in marks]
        seconds, steps = self._stopped_at
        self.seconds, self.steps = self._stopped_at = seconds + data + step, steps + len(marks)
        self._marks = []

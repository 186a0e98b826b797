"""NVIDIA's GPUs."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

from resbench.devices.base import MIB, DeviceState, MemoryPeak
from resbench.devices.nvml import NvmlGpu, open_gpu

T = TypeVar("T")


class CudaDevice:
    """An NVIDIA GPU: work is queued on a stream, and a mark is an event in that stream."""

    queue_depth = 8

    def __init__(self, index: int) -> None:
        self.torch_device = torch.device("cuda", index)
        torch.cuda.set_device(self.torch_device)
        self._pool: Any = None
        self._side: torch.cuda.Stream | None = None
        self._sensors: NvmlGpu | None = None

    @property
    def name(self) -> str:
        """The product's name as the driver has it."""
        return torch.cuda.get_device_name(self.torch_device)

    def synchronize(self) -> None:
        """Waits until the device is idle."""
        torch.cuda.synchronize(self.torch_device)

    def mark(self) -> torch.cuda.Event:
        """Records a timing event on the current stream."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def elapsed_s(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """Returns seconds between two events that have been reached."""
        return start.elapsed_time(end) / 1000

    def wait(self, mark: torch.cuda.Event) -> None:
        """Waits until the stream has reached the event."""
        mark.synchronize()

    def start_memory_window(self) -> None:
        """Empties the allocator's cache and resets its peaks."""
        gc.collect()
        self.synchronize()
        torch._C._cuda_clearCublasWorkspaces()  # one for each stream that ever multiplied: a warm-up's are none of ours
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.torch_device)

    def memory_peak(self) -> MemoryPeak:
        """Returns the caching allocator's peaks."""
        self.synchronize()
        return MemoryPeak(
            torch.cuda.max_memory_allocated(self.torch_device) / MIB,
            torch.cuda.max_memory_reserved(self.torch_device) / MIB,
        )

    def memory_held_mib(self) -> float:
        """Returns what the caching allocator has reserved, which it counts on the host: the device is not asked."""
        return torch.cuda.memory_reserved(self.torch_device) / MIB

    def memory_total_mib(self) -> float:
        """Returns the memory of the GPU, or of the MIG instance."""
        return torch.cuda.get_device_properties(self.torch_device).total_memory / MIB

    @property
    def _nvml(self) -> NvmlGpu:
        """What NVML says of this GPU. Only the first use asks torch, which GPU that is."""
        if self._sensors is None:
            self._sensors = open_gpu(str(torch.cuda.get_device_properties(self.torch_device).uuid))
        return self._sensors

    def energy_j(self) -> float | None:
        """Returns NVML's running total, which GPUs since Volta keep, in joules."""
        return self._nvml.energy_j()

    def state(self) -> DeviceState:
        """Returns what NVML says."""
        return self._nvml.state()

    def compute_processes(self) -> frozenset[int] | None:
        """Returns what NVML says: in a container, the host's ids."""
        return self._nvml.compute_processes()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Runs the block on a side stream, and what comes after it behind that."""
        main, side = torch.cuda.current_stream(), self._side_stream()
        side.wait_stream(main)
        try:
            with torch.cuda.stream(side):
                yield
        finally:  # what was queued before a failure runs too
            main.wait_stream(side)

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """Records a CUDA graph. All graphs share one memory pool, since no two ever run at once."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph, main = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        broken: Exception | None = None
        try:
            # thread_local: what another thread asks the driver (a power reading) does not spoil the recording.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                try:
                    work()
                except Exception as error:
                    broken = error
                    raise
        except Exception as error:
            self._clear_up_after_capture(main)
            # To end a recording that was broken off fails too, which says nothing and hides that memory ran out. Its
            # frames and this one hold what broke it, and that what the work has left: until a collection, unless cut.
            if broken is not None and error is not broken:
                error.__traceback__ = None
            try:
                raise broken or error from None
            finally:
                broken = None
        return graph.replay

    def _clear_up_after_capture(self, main: torch.cuda.Stream) -> None:
        """Leaves a recording that was broken off.

        torch 2.11 stays on its recording stream then, goes on to give out the pool's memory, refuses to draw from the
        default generator, which waits for the end of the recording, and to record into the same pool again.
        """
        torch.cuda.set_stream(main)
        with contextlib.suppress(RuntimeError):  # it may have been ended
            torch._C._cuda_endAllocateToPool(self.torch_device.index, self._pool)
        generator = torch.cuda.default_generators[self.torch_device.index]
        generator.graphsafe_set_state(generator.clone_state())
        self._pool = None

    def _side_stream(self) -> torch.cuda.Stream:
        """Returns the one side stream: memory that was used on a stream is used again on that one only."""
        if self._side is None:
            self._side = torch.cuda.Stream()
        return self._side

    def peek(self, values: torch.Tensor) -> Callable[[], list[float] | None]:
        """Copies the numbers to pinned memory, behind what is queued."""
        arriving = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        arriving.copy_(values, non_blocking=True)
        there = torch.cuda.Event()
        there.record()
        return lambda: arriving.tolist() if there.query() else None

    def run_ahead(self, batches: Iterator[T]) -> Iterator[T]:
        """Makes each batch on a side stream while the main one runs the step before it."""
        main, side = torch.cuda.current_stream(), self._side_stream()

        def make() -> tuple[T | None, torch.cuda.Event]:
            with torch.cuda.stream(side):
                return next(batches, None), side.record_event()

        side.wait_stream(main)
        batch, made = make()
        while batch is not None:
            side.wait_stream(main)  # the next slot's last reader is the last step queued there
            following = make()
            main.wait_event(made)
            yield batch
            batch, made = following

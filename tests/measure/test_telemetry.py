from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable

import pytest
import torch

from resbench.devices import CpuDevice, DeviceState
from resbench.devices.host import HostTimes
from resbench.measure import telemetry as module
from resbench.measure.telemetry import Telemetry, WindowReport

HOSTS_ID = 4_190_000
"""Of a process that cannot be seen from here, as in a container."""


class ScriptedDevice(CpuDevice):
    """Says what the script says, and then the last of it again."""

    def __init__(self, kind: str, states: list[DeviceState], processes: list[frozenset[int] | None]) -> None:
        super().__init__()
        self.torch_device = torch.device(kind)
        self.states, self.processes = states, processes
        self.asked = 0
        self.heard = threading.Event()

    def state(self) -> DeviceState:
        self.asked += 1
        if self.asked >= len(self.states):
            self.heard.set()
        return self.states[min(self.asked, len(self.states)) - 1]

    def compute_processes(self) -> frozenset[int] | None:
        return self.processes.pop(0) if len(self.processes) > 1 else self.processes[0]


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples as fast as it can, on a machine of 8 idle threads."""
    monkeypatch.setattr(module, "MAX_SHARE", 1.0)
    monkeypatch.setattr(module, "PROCESSES_EVERY_S", 0.0)
    monkeypatch.setattr(module, "usable_threads", lambda: 8.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    load(monkeypatch, 0.0)


def load(monkeypatch: pytest.MonkeyPatch, threads: float, *, of: int = 8) -> None:
    """Lets others keep so many threads busy during the next window."""
    times = [HostTimes(0.0, 100.0, 50.0, of), HostTimes(10.0, 100.0 + 20.0 + 10 * threads, 70.0, of)]
    monkeypatch.setattr(module, "host_times", lambda: times.pop(0))


def watch(
    states: Iterable[DeviceState],
    *,
    kind: str = "cuda",
    processes: Iterable[frozenset[int] | None] = (None,),
    together: int = 1,
) -> WindowReport:
    """Watches a window in which a device goes through its script."""
    device = ScriptedDevice(kind, [*states], [*processes])
    with Telemetry(device, period_s=0.0005, together=together).window("train") as window:
        assert device.heard.wait(30)
    return window.report()


def gpu(clock_mhz: float | None = 1980, *reasons: str, **others: float) -> DeviceState:
    return DeviceState(clock_mhz=clock_mhz, throttle_reasons=reasons, **others)


def test_a_quiet_window_is_valid_and_holds_what_was_seen():
    states = [gpu(1980, temperature_c=50, power_w=300), gpu(1965, temperature_c=61, power_w=690)] * 10
    report = watch(states, processes=[frozenset({os.getpid()})])
    assert (report.verdict, report.reasons) == ("valid", [])
    assert report.samples >= len(states)
    assert (report.clock_mhz_min, report.clock_mhz_max) == (1965, 1980)
    assert 1965 < report.clock_mhz_mean < 1980
    assert 300 < report.power_w_mean <= 690
    assert report.temperature_c_max == 61
    assert (report.throttle_reasons, report.other_processes, report.other_load) == ([], 0, 0.0)
    assert report.sampling_s > 0
    assert WindowReport(**json.loads(json.dumps(report.to_dict()))) == report


def test_a_window_shorter_than_the_period_is_sampled_at_both_ends():
    states = [
        DeviceState(clock_mhz=3000, temperature_c=60, power_w=100),
        DeviceState(clock_mhz=1000, temperature_c=50, power_w=400),
    ]
    with Telemetry(ScriptedDevice("cpu", states, [None]), period_s=3600).window("inference") as window:
        pass
    report = window.report()
    assert (report.name, report.samples) == ("inference", 2)
    assert (report.clock_mhz_min, report.clock_mhz_mean, report.clock_mhz_max) == (1000, 2000, 3000)
    assert (report.temperature_c_max, report.power_w_mean) == (60, 250)


def test_there_is_no_report_before_the_end():
    with Telemetry(CpuDevice()).window("train") as window, pytest.raises(RuntimeError, match="has not ended"):
        window.report()
    assert window.report().verdict in {"valid", "suspect"}


def test_what_is_raised_inside_a_window_passes_through_and_the_report_is_there():
    device = ScriptedDevice("cuda", [gpu()], [None])
    window = Telemetry(device).window("train")
    with pytest.raises(ValueError, match="of the trial"), window:
        raise ValueError("of the trial")
    assert window.report().samples == 2
    assert not any(thread.name == "telemetry of train" for thread in threading.enumerate())


class TestSlowdowns:
    @pytest.mark.parametrize("reason", ["hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"])
    def test_make_a_window_suspect(self, reason):
        report = watch([gpu(), gpu(1980, "sw_power_cap", reason)] * 5)
        assert report.verdict == "suspect"
        assert f"the GPU slowed itself down: {reason} in " in report.reasons[0]
        assert report.throttle_reasons == sorted(["sw_power_cap", reason])

    def test_the_power_limit_and_clocks_that_were_set_are_none(self):
        report = watch([gpu(1755, "sw_power_cap"), gpu(1755, "applications_clocks_setting")] * 5)
        assert (report.verdict, report.reasons) == ("valid", [])
        assert report.throttle_reasons == ["applications_clocks_setting", "sw_power_cap"]

    def test_for_a_moment_are_not_seen_in_a_mean(self):
        report = watch([*[gpu()] * 150, gpu(1980, "hw_slowdown"), *[gpu()] * 150])
        assert report.verdict == "valid"
        assert report.throttle_reasons == ["hw_slowdown"]


class TestClock:
    def sample(self, clocks: list[int]) -> WindowReport:
        """Takes exactly one sample of each, and one of the last at the end."""
        device = ScriptedDevice("cuda", [gpu(clock) for clock in clocks], [None])
        window = Telemetry(device, period_s=3600).window("train")
        with window:
            while not device.heard.is_set():
                window._sample(processes=False)
        return window.report()

    def test_that_falls_makes_a_window_suspect(self):
        report = self.sample([2000] * 12 + [1500] * 12)
        assert report.verdict == "suspect"
        assert report.reasons == ["the clock fell by 25%: from 2000 to 1500 MHz"]

    @pytest.mark.parametrize(
        "clocks",
        [
            [2000] * 12 + [1900] * 12,  # by less than counts
            [1500] * 12 + [2000] * 12,  # it rises
            [300, *[1980] * 20, 1980],  # idle at the beginning
            [1980, 1980, 1980, 900],  # too few to tell
        ],
    )
    def test_that_does_not_fall_by_much_is_valid(self, clocks):
        assert self.sample(clocks).verdict == "valid"

    @pytest.mark.parametrize(("clock", "verdict"), [(1400, "suspect"), (2600, "valid")])
    def test_of_a_processor_far_below_its_highest_is_suspect(self, clock, verdict):
        report = watch([DeviceState(clock_mhz=clock, max_clock_mhz=3800)], kind="cpu")
        assert report.verdict == verdict
        assert (
            report.reasons == [f"the processor ran at {clock} MHz of 3800: a governor, a cap or heat"][: clock < 1900]
        )


class TestOtherProcesses:
    def count(self, *listed: frozenset[int] | None, together: int = 1) -> WindowReport:
        return watch([gpu()] * (len(listed) + 1), processes=listed, together=together)

    def test_on_the_gpu_make_a_window_suspect(self):
        own = os.getpid()
        report = self.count(frozenset({own}), frozenset({own, 1, HOSTS_ID}))
        assert (report.verdict, report.other_processes) == ("suspect", 2)
        assert "2 other processes on the same GPU" in report.reasons[0]

    def test_of_the_same_run_are_no_strangers(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "is_own", {os.getpid(): True, 77: True, 78: False}.__getitem__)
        assert self.count(frozenset({os.getpid(), 77})).other_processes == 0
        assert self.count(frozenset({os.getpid(), 77, 78})).other_processes == 1

    @pytest.mark.parametrize(("together", "others"), [(1, 2), (2, 1), (3, 0), (4, 0)])
    def test_with_the_ids_that_the_host_has_for_them_are_told_by_their_number(self, together, others):
        listed = frozenset({HOSTS_ID, HOSTS_ID + 1, HOSTS_ID + 2})
        assert self.count(listed, together=together).other_processes == others

    @pytest.mark.parametrize("listed", [None, frozenset()])
    def test_are_not_known_where_not_even_this_one_is_listed(self, listed):
        report = self.count(listed)
        assert (report.verdict, report.other_processes) == ("valid", None)


class TestOtherLoad:
    @pytest.mark.parametrize(
        ("kind", "busy", "of", "usable", "threads", "verdict"),
        [
            ("cpu", 1.0, 8, 8, 8, "valid"),
            ("cpu", 2.5, 8, 8, 8, "suspect"),
            ("cpu", 0.6, 2, 2, 2, "suspect"),
            ("cpu", 0.6, 2, 2, 1, "valid"),  # one thread trains, and there are 1.4 for it
            ("cpu", 20.0, 64, 4, 4, "valid"),  # a container that may use 4 of 64, of which 44 are idle
            ("cpu", 62.0, 64, 4, 4, "suspect"),
            ("cuda", 4.0, 8, 8, 8, "valid"),  # two threads suffice to queue work
            ("cuda", 7.0, 8, 8, 8, "suspect"),
        ],
    )
    def test_that_takes_what_the_trial_wants_is_suspect(
        self, monkeypatch, kind, busy, of, usable, threads, verdict: str
    ):
        monkeypatch.setattr(module, "usable_threads", lambda: float(usable))
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        load(monkeypatch, busy, of=of)
        report = watch([gpu()], kind=kind)
        assert report.other_load == pytest.approx(busy)
        assert report.verdict == verdict
        assert [f"kept {busy:.1f} of {of} processor threads" in reason for reason in report.reasons] == [True] * (
            verdict == "suspect"
        )


class TestFailures:
    def failing(self) -> Callable[[], HostTimes]:
        def fail() -> HostTimes:
            raise OSError("gone")

        return fail

    def test_of_the_device_and_the_host_leave_fields_empty_and_the_trial_alone(self, monkeypatch):
        device = ScriptedDevice("cuda", [gpu()], [None])
        monkeypatch.setattr(device, "state", self.failing())
        monkeypatch.setattr(module, "host_times", self.failing())
        with Telemetry(device, period_s=0.0005).window("train") as window:
            done = "trained"
        report = window.report()
        assert done == "trained"
        assert (report.samples, report.clock_mhz_mean, report.power_w_mean, report.other_load) == (0, None, None, None)
        assert (report.throttle_reasons, report.other_processes, report.verdict) == (None, None, "valid")
        assert report.reasons == ["no telemetry: NVML tells nothing of this GPU"]

    def test_to_start_a_thread_leaves_both_ends(self, monkeypatch):
        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        device = ScriptedDevice("cuda", [gpu()], [None])
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with Telemetry(device).window("train") as window:
            pass
        assert window.report().samples == 2

    def test_a_gpu_without_nvml_is_told_of_and_a_processor_that_tells_nothing_is_not(self):
        assert watch([DeviceState()]).reasons == ["no telemetry: NVML tells nothing of this GPU"]
        assert watch([DeviceState()], kind="cpu").reasons == []
        assert watch([DeviceState()]).verdict == "valid"


def test_samples_become_rarer_where_they_cost_more_than_their_share(monkeypatch):
    """Each costs 3 ms of the thread's time: at a hundredth of a thread that is one in 0.3 s."""
    waits: list[float] = []
    spent = iter(range(1000))

    class Over(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return len(waits) > 3

    device = ScriptedDevice("cuda", [gpu()], [None])
    monkeypatch.setattr(module, "MAX_SHARE", 0.01)
    monkeypatch.setattr(module.time, "thread_time", lambda: next(spent) * 0.003)
    window = Telemetry(device, period_s=0.2).window("train")
    monkeypatch.setattr(window, "_over", Over())
    window._run()
    assert waits == pytest.approx([0.2, 0.3, 0.3, 0.3])
    assert window._sampling_s == pytest.approx(3 * 0.003)


def test_of_this_processor_tells_nothing_that_is_not_so():
    device = CpuDevice()
    with Telemetry(device).window("train") as window:
        pass
    report = window.report()
    assert report.samples == 2
    assert (report.power_w_mean, report.throttle_reasons, report.other_processes) == (None, None, None)
    assert report.clock_mhz_mean is None or 100 < report.clock_mhz_mean < 10_000

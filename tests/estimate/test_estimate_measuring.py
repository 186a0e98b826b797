"""Networks measured in processes of their own: what becomes of those that fail, and of too little time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from estimate_jobs import FIGURES, measure_by_name
from made_up import measurement, trial

from resbench.conduct import Conduct
from resbench.estimate import measuring
from resbench.estimate.measuring import measure_networks, network_of
from resbench.executors.process import Exit
from resbench.measure.flops import count_training_flops
from resbench.registry import create_model
from resbench.schema import EngineSettings

STORED = (3, 8, 8)


def test_what_changes_no_step_is_measured_once() -> None:
    one = trial(seed=1, budget="7ep", weights="default")
    assert network_of(one) == network_of(trial())
    for field, value in (("batch_size", 3), ("recipe", "d2l"), ("stem", "cifar"), ("input", (3, 16, 16))):
        assert network_of(replace(one, **{field: value})) != network_of(trial())


@pytest.mark.slow
@pytest.mark.usefixtures("warm_trials")
def test_two_networks_are_measured_for_real() -> None:
    engine = EngineSettings("cpu", "fp32", compile=True, cuda_graph=True)  # measured without either
    trials = [trial(model, batch_size=4, engine=engine) for model in ("cnn", "resnet34")]
    outcomes = measure_networks(trials, STORED, Conduct())
    assert [outcome.basis for outcome in outcomes.values()] == ["measured", "measured"]
    for one in trials:
        found = outcomes[network_of(one)].measured
        assert found is not None
        network = create_model(one.model, input_size=(8, 8))
        sizes = sum(tensor.nbytes for tensor in network.state_dict().values())
        momentum = sum(parameter.nbytes for parameter in network.parameters())
        assert found.state_mib == pytest.approx((sizes + momentum) / 2**20)
        assert found.train_flops_per_image == count_training_flops(network.to("meta"), (3, 8, 8))
        times = (found.setup_s, found.build_s, found.count_s, found.single_s, found.step_s, found.data_s, found.eval_s)
        assert min(*times, found.start_s) > 0
        assert (found.head, found.device_mib) == (None, None)
    small, large = (outcomes[network_of(one)].measured for one in trials)
    assert small is not None
    assert large is not None
    assert large.step_s > small.step_s
    assert large.peak_mib == large.taken_mib
    assert large.state_mib < large.peak_mib  # weights, gradients and momentum are in it


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures nothing: a network's name says what becomes of it."""
    monkeypatch.setattr(measuring, "measure_job", measure_by_name)
    monkeypatch.setattr(measuring, "with_code", lambda models, job, arguments: (job, arguments))


@pytest.mark.usefixtures("by_name")
@pytest.mark.parametrize(
    ("name", "basis", "reason"),
    [
        ("crashes", "failed", "killed by SIGSEGV: last words"),
        ("raises", "failed", "ValueError: Expected more than 1 value per channel"),
        ("too large", "out of memory", "OutOfMemoryError: CUDA out of memory"),
        ("hangs", "failed", "it took longer than its limit of 0.5 s"),
    ],
)
def test_a_network_that_cannot_be_measured_costs_itself_alone(
    name: str, basis: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "hangs":
        monkeypatch.setattr(measuring, "NETWORK_LIMIT_S", 0.5)
        monkeypatch.setattr("resbench.executors.process._GRACE_S", 0.1)
    else:
        monkeypatch.setattr(measuring, "NETWORK_LIMIT_S", 30.0)
    outcomes = measure_networks([trial(name), trial("fine")], STORED, Conduct())
    failed, fine = outcomes[network_of(trial(name))], outcomes[network_of(trial("fine"))]
    assert (failed.basis, failed.measured) == (basis, None)
    assert reason in failed.reason
    if name != "hangs":  # half a second may be too little on a busy machine
        assert (fine.basis, fine.reason) == ("measured", "")


Asked = list[tuple[str, dict[str, Any]]]
Took = dict[str, float]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> tuple[Asked, Took]:
    """Processes that only take time, of a clock of their own; returns what was asked for, and what takes how long."""
    asked: Asked = []
    took: Took = {}
    now = [0.0]

    def run(job: Callable[..., None], arguments: Any, *, on_message: Any, **options: Any) -> Exit:
        (network, _) = arguments
        asked.append((network.model, options))
        needs = took.get(network.model, 1.0)
        on_message("started", {})
        if needs > options["limit_s"]:
            now[0] += options["limit_s"]
            return Exit(-9, "", timed_out_after_s=options["limit_s"])
        now[0] += needs
        on_message("measurement", FIGURES)
        return Exit(0, "")

    monkeypatch.setattr(measuring, "run_in_process", run)
    monkeypatch.setattr(measuring, "with_code", lambda models, job, arguments: (job, arguments))
    monkeypatch.setattr(measuring, "monotonic", lambda: now[0])
    return asked, took


def test_what_there_is_no_time_for_is_scaled(clock: tuple[Asked, Took]) -> None:
    asked, took = clock
    took |= {"cnn": 55.0, "d2l_resnet18": 40.0}
    trials = [trial(model, batch_size=50) for model in ("cnn", "d2l_resnet18", "resnet34")]
    outcomes = measure_networks(trials, STORED, Conduct())
    assert [model for model, _ in asked] == ["cnn", "d2l_resnet18"]
    assert [options["limit_s"] for _, options in asked] == [60.0, 35.0]
    assert [outcomes[network_of(one)].basis for one in trials] == ["measured", "scaled", "scaled"]
    guess = outcomes[network_of(trials[2])].measured
    assert guess is not None
    flops = count_training_flops(create_model("resnet34").to("meta"), (3, 8, 8))
    assert guess.step_s == pytest.approx(0.25 * flops / 1_000_000)
    params = sum(parameter.numel() for parameter in create_model("resnet34").parameters())
    assert guess.state_mib == pytest.approx(8 * params / 2**20)


@pytest.mark.parametrize("flops", [0, None])
def test_nothing_is_scaled_by_flops_that_are_not_known(clock: tuple[Asked, Took], flops: int | None) -> None:
    known = [(trial("cnn", batch_size=50), measurement(train_flops_per_image=flops))]
    found = measuring._scale(trial("resnet34"), known)
    assert (found.basis, found.measured) == ("failed", None)
    assert "none are counted of it or of the others" in found.reason


def test_a_network_that_hangs_is_not_scaled(clock: tuple[Asked, Took]) -> None:
    _, took = clock
    took["resnet34"] = 1e9
    outcomes = measure_networks([trial("cnn"), trial("resnet34"), trial("d2l_resnet18")], STORED, Conduct())
    assert [outcome.basis for outcome in outcomes.values()] == ["measured", "failed", "measured"]


def test_where_nothing_was_measured_nothing_can_be_scaled(clock: tuple[Asked, Took]) -> None:
    _, took = clock
    took |= {"one": 1e9, "two": 1e9}
    outcomes = measure_networks([trial(name) for name in ("one", "two", "three")], STORED, Conduct())
    assert [outcome.basis for outcome in outcomes.values()] == ["failed"] * 3
    assert outcomes[network_of(trial("three"))].reason == "measuring the networks before it took 90 s"


def test_a_network_that_cannot_be_counted_cannot_be_scaled(clock: tuple[Asked, Took]) -> None:
    _, took = clock
    took["cnn"] = 59.0
    took["other"] = 31.0
    outcomes = measure_networks([trial("cnn"), trial("other"), trial("no such network")], STORED, Conduct())
    last = outcomes[network_of(trial("no such network"))]
    assert last.basis == "failed"
    assert "no such network" in last.reason


@pytest.mark.parametrize(
    ("device", "limit", "given"),
    [("cpu", 700, 700), ("cuda", 700, 700), ("cuda", None, None), ("cpu", None, 1234)],
)
def test_the_memory_limit_is_that_of_the_trials(
    clock: tuple[Asked, Took], device: str, limit: int | None, given: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "available_memory_mib", lambda: 1234)
    one = trial(engine=EngineSettings(device, "fp32"))
    measure_networks([one], STORED, Conduct(memory_limit_mib=limit))
    ((_, options),) = clock[0]
    assert options["memory_limit_mib"] == given


def test_an_interrupt_ends_the_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **options: Any) -> Exit:
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "run_in_process", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure_networks([trial()], STORED, Conduct())

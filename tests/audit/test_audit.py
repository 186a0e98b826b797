"""Every check finds the fault that it is for, and none in a network that is sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from specimens import FAULTS, Falls, Lazy, Sound
from torch import nn
from user_code import forgetting

from resbench.audit import CHECKS, Finding, Specimen, audit
from resbench.audit.findings import MOST_NAMED, listed
from resbench.registry import register_model
from resbench.schema import EngineSettings

BY_NAME = {check.name: check for check in CHECKS}
COMPILES = "one graph"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forgets what a test registers."""
    with forgetting():
        yield


def specimen(make: Callable[..., nn.Module]) -> Specimen:
    @register_model("specimen", source="test")
    def build(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
        """Stands for a network."""
        return make(num_classes, in_channels, stem)

    return Specimen("specimen", "source", (3, 8, 8), 10, 4, EngineSettings("cpu", "fp32"))


def test_a_sound_network_passes_every_check():
    findings = audit(specimen(Sound))
    assert [finding.check for finding in findings] == ["build", *BY_NAME]
    wrong = [finding for finding in findings if finding.verdict not in ("pass", "skipped")]
    # fvcore counts batch norm too, which is much of so small a network.
    assert [finding.check for finding in wrong] == ["FLOPs"]
    assert wrong[0].detail.startswith("fvcore counts +")
    assert {finding.check for finding in findings if finding.verdict == "skipped"} == {"torch.compile", "CUDA graph"}


@pytest.mark.parametrize(
    ("make", "name", "verdict", "said"), FAULTS, ids=[f"{row[0].__name__}-{row[1]}" for row in FAULTS]
)
def test_a_fault_is_found_by_its_check(make, name, verdict, said, capsys):
    findings = {finding.check: finding for finding in audit(specimen(make), [BY_NAME[name]])}
    assert findings["build"].verdict == "pass", findings["build"]
    assert findings[name].verdict == verdict, findings[name]
    assert said in findings[name].detail


def test_every_check_but_those_that_need_a_device_has_a_fault_that_it_finds():
    found = {name for _, name, _, _ in FAULTS}
    assert set(BY_NAME) - found == {"other stem", "torch.compile", "CUDA graph"}
    assert all(check.proves.endswith(".") for check in CHECKS)


def test_a_network_that_cannot_be_built_is_one_finding():
    def fall(*arguments: object) -> nn.Module:
        raise ValueError("no such width")

    (finding,) = audit(specimen(fall))
    assert (finding.check, finding.verdict) == ("build", "fail")
    place = f"test_audit.py:{fall.__code__.co_firstlineno + 1}"
    assert finding.detail == f"{place}: ValueError: no such width"


def test_the_wrong_shape_is_found_as_it_is_built():
    (finding,) = audit(specimen(lambda classes, channels, stem: nn.Conv2d(channels, classes, 1)))
    assert finding.verdict == "fail"
    assert "gives torch.float32 (2, 10, 8, 8) for two images" in finding.detail


def test_lazy_layers_are_found_as_it_is_built():
    (finding,) = audit(specimen(Lazy))
    assert finding.detail == "head.weight has no size before the first batch (a lazy layer): give sizes"


def _refuse(*given: object) -> None:
    raise RuntimeError("no kernel")


@pytest.mark.parametrize(
    ("compiled", "verdict", "said"),
    [
        (lambda function: function, "pass", "within 0.0e+00"),
        (lambda function: lambda images: 2 * function(images), "fail", "the logits differ by"),
        (lambda function: _refuse, "fail", "torch.compile failed (RuntimeError: no kernel), eager instead"),
    ],
)
def test_compiled_code_must_run_and_give_the_same(compiled, verdict, said, monkeypatch):
    def compile_function(function: Callable[..., Any], *, mode: str) -> Callable[..., Any]:
        return compiled(function) if function.__name__ == "_eager_logits" else function

    monkeypatch.setattr("resbench.training.engine.compile_function", compile_function)
    asked = specimen(Sound).changed(engine=EngineSettings("cpu", "fp32", compile=True))
    finding = audit(asked, [BY_NAME["torch.compile"]])[1]
    assert (finding.verdict, finding.detail[: len(said)]) == (verdict, said)


def test_a_stem_that_fails_and_one_that_changes_nothing(capsys):
    def only_source(classes: int, channels: int, stem: str) -> nn.Module:
        return Sound(classes, channels) if stem == "source" else Falls(classes, channels)

    check = [BY_NAME["other stem"]]
    with forgetting():
        assert audit(specimen(only_source), check)[1].verdict == "fail"
    same = audit(specimen(lambda classes, channels, stem: Sound(classes, channels)), check)[1]
    assert same == Finding("other stem", "pass", "cifar; the same network")


def test_what_begins_and_what_is_found_is_told_as_it_happens():
    told: list[str] = []
    audit(
        specimen(Sound),
        [BY_NAME["logits"], BY_NAME["parameters"]],
        on_check=lambda name: told.append(f"? {name}"),
        on_finding=lambda finding: told.append(f"{finding.verdict} {finding.check}"),
    )
    assert told == ["? build", "pass build", "? logits", "pass logits", "? parameters", "pass parameters"]


def test_many_names_are_cut():
    assert listed("abcd") == "a, b, c, d"
    assert listed("abcdef") == f"a, b, c, d and {6 - MOST_NAMED} more"

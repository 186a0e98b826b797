"""On a GPU nothing is left out for want of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from audit_cases import BY_NAME
from broken_modes import PicksByMask, ReadsNumber
from broken_networks import Tiny, of

from resbench.audit.case import Case
from resbench.audit.catalogue import run_check
from resbench.schema import EngineSettings

pytestmark = pytest.mark.gpu

ON_DEVICE = ("compiled", "CUDA graph", "on the device", "learns", "bf16")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_sound_network_passes_what_needs_the_device(case_of: Callable[..., Case], precision: str) -> None:
    case = case_of(of(Tiny), compiling="on")
    settings = EngineSettings("cuda", precision, compile=True, cuda_graph=True)
    case.subject = replace(case.subject, engine=settings)
    for check in ON_DEVICE:
        assert run_check(BY_NAME[check], case).verdict == "pass", run_check(BY_NAME[check], case)


@pytest.mark.parametrize("network", [ReadsNumber, PicksByMask])
def test_a_step_that_waits_for_the_device_cannot_be_recorded(case_of: Callable[..., Case], network: type) -> None:
    case = case_of(of(network))
    case.subject = replace(case.subject, engine=EngineSettings("cuda", "fp32"))
    found = run_check(BY_NAME["CUDA graph"], case)
    assert (found.verdict, "cannot be recorded" in found.detail) == ("warn", True), found

"""Every check finds the fault that it is there for, names it, and finds none in a sound network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import broken_modes as modes
import broken_networks as tiny
import pytest
import torch
from broken_networks import Tiny, of
from torch import nn

from resbench.audit.case import Case
from resbench.audit.catalogue import CHECKS
from resbench.audit.findings import VERDICTS, Outcome
from resbench.audit.run import run_audit

FAULTS: list[tuple[str, Any, str, str]] = [
    ("builds", tiny.raises, "fail", "RuntimeError: no such layer (at audit/broken_networks.py:"),
    ("builds", tiny.no_module, "fail", "is no network: its builder returned 'method', and a torch.nn.Module is wanted"),
    ("builds", tiny.no_parameters, "fail", "no parameters"),
    ("initial weights", tiny.infinite_weight, "fail", "not finite: branch.0.weight"),
    ("initial weights", tiny.in_double, "warn", "not float32: scale (torch.float64)"),
    ("logits", tiny.Maps, "fail", "for 1 image the output is (1, 48, 4, 4), not (1, 5); for 2 images"),
    ("logits", tiny.NotFinite, "fail", "for 4 images 20 of 20 logits are not finite"),
    ("logits", tiny.WholeNumbers, "fail", "torch.int64, not floating-point"),
    ("logits", tiny.WrongWidth, "fail", "(layer head (Linear), at audit/broken_networks.py:"),
    ("training output", tiny.AuxiliaryHead, "fail", "the output is a tuple, not a tensor"),
    ("number of classes", tiny.ignores_classes, "fail", "asked for 8 classes it gives logits (2, 5)"),
    ("channels", tiny.ignores_channels, "fail", "1 channel: RuntimeError"),
    ("stems", tiny.one_stem, "fail", "NotImplementedError: the stem (at audit/broken_networks.py:"),
    ("input size", tiny.one_size, "warn", "it takes no images of 3x16x16"),
    ("batch of one", tiny.NormAtOnePixel, "warn", "one value a channel"),
    ("input untouched", tiny.WritesImages, "fail", "in eval mode changes its images"),
    ("tells images apart", tiny.SameForAll, "fail", "all images give the same logits"),
    ("training output", tiny.all_frozen, "fail", "no parameter requires a gradient"),
    ("training output", tiny.NoGrad, "fail", "carry no gradient"),
    ("gradients", tiny.DetachedBranch, "fail", "no gradient reaches branch.0.weight, branch.1.weight, branch.1.bias,"),
    ("gradients", tiny.Rounds, "fail", "the gradient is 0 in every step for conv.weight, norm.weight"),
    ("gradients", tiny.InfiniteGradient, "fail", "not finite for head.weight"),
    ("unused parameters", tiny.Unused, "fail", "do not depend on forgotten.weight, forgotten.bias"),
    ("unused parameters", tiny.UnusedFrozen, "warn", "forgotten.weight, forgotten.bias, which are frozen"),
    ("unused modules", tiny.Unused, "warn", "never called in the forward pass: forgotten"),
    ("unused modules", tiny.NeverCalled, "warn", "without parameters: more_drop (Dropout)"),
    ("frozen and trained", tiny.TrainsFrozen, "fail", "frozen, and changed by a training step: conv.weight"),
    ("shared parameters", tiny.SharesMemory, "fail", "counted and updated twice: twin and head.weight"),
    ("registered", tiny.PlainList, "fail", "the modules or parameters in layers: they are neither trained"),
    ("registered", tiny.LooseTensor, "warn", "not saved: mean"),
    ("modes reach all", modes.StaysInTraining, "fail", "eval() leaves these in the other mode: conv, norm, branch"),
    ("eval repeats", modes.EvalCounts, "fail", "in eval mode changes calls"),
    ("eval repeats", modes.RandomInEval, "fail", "the same images give other logits"),
    ("eval repeats", modes.RemembersCalls, "fail", "the same images give other logits"),
    ("neighbours", modes.LooksAround, "fail", "other neighbours change an image's logits"),
    ("training changes", modes.UnsavedBuffer, "fail", "no checkpoint has: average"),
    ("training changes", modes.OtherBuffer, "warn", "other layers than batch norm: average"),
    ("training changes", tiny.TrainsFrozen, "fail", "changes parameters: conv.weight"),
    ("random layers", modes.OwnGenerator, "fail", "the same seed gives other logits"),
    ("train against eval", modes.OtherInTraining, "warn", "differ in OtherInTraining,"),
    ("seeds", tiny.other_generator, "fail", "the same seed gives other weights: head.weight"),
    ("seeds", tiny.without_seed, "warn", "every seed gives the same weights"),
    ("first loss", tiny.loud_head, "warn", "guessing has 1.61: the head"),
    ("same steps", modes.OwnGenerator, "fail", "the same steps end elsewhere"),
    ("state dict", modes.ForgetsInState, "fail", "something else is remembered too"),
    ("state dict", modes.PickledState, "fail", "holds more than plain data"),
    ("deep copy", modes.NoCopy, "fail", "cannot pickle 'generator'"),
    ("deep copy", modes.CopyUsesOriginal, "fail", "computes with the original's head.weight, head.bias"),
    ("memory", modes.Hoards, "fail", "each training step leaves 1 tensor in memory"),
    ("memory", modes.KeepsGraph, "warn", "kept alive in last"),
    ("FLOPs counters", modes.StaysOnProcessor, "warn", "(at audit/broken_modes.py:"),
    ("FLOPs counters", modes.TracesOtherwise, "warn", "and -50.0% in convolutions"),
    ("backward FLOPs", modes.PartInNoGrad, "warn", "times the FLOPs of the forward pass"),
    ("channels_last", modes.CountsLayout, "fail", "channels_last changes the logits"),
    ("bf16", modes.TooLargeForBf16, "warn", "from fp32's: train it in fp32"),
    ("no waiting", modes.ReadsNumber, "warn", "local_scalar_dense at audit/broken_modes.py:"),
    ("no waiting", modes.PicksByMask, "warn", "index at audit/broken_modes.py:"),
    ("graph breaks", modes.ReadsNumber, "warn", "Tensor.item()"),
    ("recompilation", modes.CountsSteps, "warn", "traced anew in"),
    ("learns", modes.Explodes, "fail", "it does not learn one batch of noise"),
]


def builder(network: Any) -> Any:
    """What makes a network, be it that already."""
    return of(network) if isinstance(network, type) else network


@pytest.mark.parametrize(
    ("check", "network", "verdict", "said"),
    FAULTS,
    ids=[f"{check}-{network.__name__}" for check, network, *_ in FAULTS],
)
def test_a_fault_is_found_and_named(
    check: str, network: Any, verdict: str, said: str, outcome_of: Callable[..., Outcome]
) -> None:
    found = outcome_of(check, builder(network))
    assert (found.verdict, said in found.detail) == (verdict, True), found


def test_no_check_is_without_a_network_that_it_catches() -> None:
    elsewhere = {"compiled", "CUDA graph", "on the device"}
    assert {check for check, *_ in FAULTS} | elsewhere == {check.name for check in CHECKS}


def findings_of(case: Case) -> dict[str, tuple[str, str]]:
    found: list[dict[str, Any]] = []
    run_audit(case.subject, case.compiling, lambda kind, data: found.append(data) if kind == "finding" else None)
    assert [one["check"] for one in found] == [check.name for check in CHECKS]
    assert {one["verdict"] for one in found} <= set(VERDICTS)
    return {one["check"]: (one["verdict"], one["detail"]) for one in found}


def test_a_sound_network_passes_every_check(case_of: Callable[..., Case]) -> None:
    found = findings_of(case_of(of(Tiny)))
    params = sum(parameter.numel() for parameter in Tiny().parameters())
    assert {check: one for check, one in found.items() if one[0] != "pass"} == {
        "compiled": ("skipped", "on a processor only with --compile on"),
        "CUDA graph": ("skipped", "the device is cpu: only CUDA has graphs"),
        "on the device": ("skipped", "the device is the processor"),
    }
    assert found["builds"] == ("pass", f"Tiny of {params:,} parameters")
    assert found["gradients"] == ("pass", f"8 of {len([*Tiny().parameters()])} trained parameter tensors")
    assert found["train against eval"] == ("pass", "they differ in BatchNorm2d (2), Dropout (1)")
    assert found["random layers"] == ("pass", "random, and reproducible")
    assert found["training changes"] == ("pass", "6 buffers of batch norm")


def test_a_network_that_gives_no_logits_is_asked_nothing_more(case_of: Callable[..., Case]) -> None:
    found = findings_of(case_of(of(tiny.Maps)))
    assert found.pop("builds")[0] == found.pop("initial weights")[0] == "pass"
    assert found.pop("logits")[0] == "fail"
    assert found.pop("modes reach all")[0] == found.pop("seeds")[0] == "pass"
    assert {one[0] for one in found.values()} == {"skipped"}
    assert found["learns"] == ("skipped", "needs the check 'logits'")


def test_a_head_on_frozen_features_is_told_as_such(outcome_of: Callable[..., Outcome]) -> None:
    total = sum(parameter.numel() for parameter in Tiny().parameters())
    assert outcome_of("frozen and trained", tiny.head_only).detail == (
        f"245 of {total:,} parameters are trained: head.weight, head.bias"
    )
    assert outcome_of("unused parameters", tiny.head_only).verdict == "pass"
    assert outcome_of("gradients", tiny.head_only).verdict == "pass"
    assert outcome_of("backward FLOPs", tiny.head_only).verdict == "pass"


def test_a_parameter_in_two_places_is_no_fault(outcome_of: Callable[..., Outcome]) -> None:
    class Tied(Tiny):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.again = self.head

    found = outcome_of("shared parameters", of(Tied))
    assert found.verdict == "pass"
    assert "head.weight and again.weight" in found.detail


def test_dropout_may_be_called_as_a_function(outcome_of: Callable[..., Outcome]) -> None:
    found = outcome_of("train against eval", of(modes.CallsFunction))
    assert (found.verdict, found.detail) == ("pass", "they differ in BatchNorm2d (2), Dropout (1)")


def test_without_compiling_nothing_is_traced(
    outcome_of: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._dynamo.explain", None)
    for check in ("graph breaks", "recompilation", "compiled"):
        assert outcome_of(check, of(Tiny), compiling="off") == Outcome("skipped", "compiling is off")


def test_a_bias_before_batch_norm_counts_as_reached(outcome_of: Callable[..., Outcome]) -> None:
    def biased(*, num_classes: int, in_channels: int, stem: str) -> nn.Module:
        network = Tiny(num_classes, in_channels, stem)
        network.conv = nn.Conv2d(in_channels, tiny.WIDTH, 3, padding=1)
        return network

    assert outcome_of("unused parameters", biased).verdict == "pass"
    found = outcome_of("gradients", biased)
    assert (found.verdict, found.detail.partition("; ")[2]) == ("pass", "batch norm cancels 1 bias: conv.bias")


class ByProducts(Tiny):
    """A head that multiplies three numbers, as most of its arithmetic."""

    def __init__(self, num_classes: int = 5, in_channels: int = 3, stem: str = "source") -> None:
        super().__init__(num_classes, in_channels, stem)
        self.head = nn.Bilinear(tiny.WIDTH, tiny.WIDTH, 50 * num_classes)

    def forward(self, images: Any) -> Any:
        features = self.features(images)
        return self.head(features, features).unflatten(1, (50, -1)).mean(1)


def test_a_product_of_three_numbers_has_three_gradients(outcome_of: Callable[..., Outcome]) -> None:
    found = outcome_of("backward FLOPs", of(ByProducts))
    assert found.verdict == "pass"
    assert 3.05 < float(found.detail.split()[2]) <= 4


def test_a_tensor_made_in_the_forward_pass_stays_on_the_processor(outcome_of: Callable[..., Outcome]) -> None:
    class Coordinates(Tiny):
        def forward(self, images: Any) -> Any:
            return super().forward(images + torch.linspace(-1, 1, images.shape[-1]))

    found = outcome_of("FLOPs counters", of(Coordinates))
    assert found.verdict == "warn"
    assert "MACs an image; a tensor stays on the processor" in found.detail
    assert "(at audit/test_checks.py:" in found.detail

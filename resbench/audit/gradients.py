"""Checks of what is trained: gradients, parameters and modules that nothing uses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from resbench.audit.findings import Outcome, failed, listed, passed, warned
from resbench.audit.specimen import Specimen, logits_of

_NOISE = 0.05
_NOTHING = 1e-5
"""A bias's gradient over that of the weight beside it, below which it is rounding."""


def reached(specimen: Specimen) -> Outcome:
    """A gradient that is not zero reaches every trained parameter."""
    model = _backward(specimen)
    trained = [(name, parameter.grad) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        return failed("nothing is trained: every parameter is frozen")
    none = [name for name, gradient in trained if gradient is None]
    if none:
        return failed(f"no gradient reaches {listed(none)}: nothing that the loss depends on uses them")
    broken = [name for name, gradient in trained if gradient is not None and not torch.isfinite(gradient).all()]
    if broken:
        return failed(f"gradients that are not finite: {listed(broken)}")
    zero = [name for name, gradient in trained if gradient is not None and not gradient.any()]
    if zero:
        return warned(f"the gradient of {listed(zero)} is zero in every element")
    frozen = sum(1 for parameter in model.parameters() if not parameter.requires_grad)
    return passed(f"{len(trained)} trained tensors" + (f", {frozen} frozen" if frozen else ""))


def _backward(specimen: Specimen) -> nn.Module:
    """Runs a backward pass through a network whose weights are shaken.

    Sources initialise the last scale of a residual branch with zero, and then nothing reaches the branch at the first
    step: that is no fault, so every parameter is moved a little before.
    """
    model = specimen.build()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = _NOISE * (float(parameter.abs().mean()) or 1.0)
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator).to(specimen.device))
    loss = F.cross_entropy(model.train()(specimen.images()), specimen.labels())
    if loss.requires_grad:
        loss.backward()
    return model


def idle_biases(specimen: Specimen) -> Outcome:
    """No bias is taken out again by the batch norm behind it."""
    model = _backward(specimen)
    idle = []
    for name, layer in model.named_modules():
        bias, weight = getattr(layer, "bias", None), getattr(layer, "weight", None)
        if isinstance(layer, _BatchNorm) or not isinstance(bias, nn.Parameter) or not isinstance(weight, nn.Parameter):
            continue
        if bias.grad is None or weight.grad is None or weight.dim() < 2:
            continue
        if float(bias.grad.abs().max()) < _NOTHING * float(weight.grad.abs().max()):
            idle.append(f"{name}.bias")
    return warned(f"normalised away in training: {listed(idle)}") if idle else passed()


def unused(specimen: Specimen) -> Outcome:
    """Every layer runs, in training or in evaluation."""
    model = specimen.build()
    leaves = {name: layer for name, layer in model.named_modules() if name and not any(layer.children())}
    called: set[str] = set()

    def note(name: str) -> None:
        called.add(name)

    for name, layer in leaves.items():
        layer.register_forward_hook(lambda layer, given, made, name=name: note(name))
    with torch.no_grad():
        model.train()(specimen.images())
    logits_of(model, specimen.images())
    idle = [name for name in leaves if name not in called]
    with_parameters = [name for name in idle if any(True for _ in leaves[name].parameters())]
    if with_parameters:
        return warned(f"layers with parameters that never run as layers: {listed(with_parameters)}")
    return passed(f"{listed(idle)} never run, and have no parameters" if idle else "")


def shared(specimen: Specimen) -> Outcome:
    """Every parameter has one name and is float32."""
    model = specimen.build()
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    tied = [" = ".join(every) for every in names.values() if len(every) > 1]
    odd = [name for name, parameter in model.named_parameters() if parameter.dtype != torch.float32]
    if odd:
        return warned(f"not float32: {listed(odd)}")
    return warned(f"one tensor under several names: {listed(tied)}") if tied else passed()

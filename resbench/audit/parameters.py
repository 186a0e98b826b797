"""Checks of parameters and modules: gradients reach them, the forward pass uses them, the network knows of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from resbench.audit.case import Case, eval_logits, plain_step, train_logits
from resbench.audit.findings import Outcome, failed, passed, warned
from resbench.audit.words import counted, names

DEEPEST = 3
"""How many lists or dicts inside each other are looked into for modules that torch does not see."""


def gradients(case: Case) -> Outcome:
    """A gradient reaches every trained parameter that the logits depend on, within three steps of training."""
    reach = case.reach
    faults = []
    if reach.without:
        faults.append(f"no gradient reaches {names(reach.without)}, on which the logits depend: they are detached")
    if reach.zero:
        faults.append(f"the gradient is 0 in every step for {names(reach.zero)}, on which the logits depend")
    if reach.not_finite:
        faults.append(f"the gradient is not finite for {names(reach.not_finite)}")
    if faults:
        return failed("; ".join(faults))
    said = f"{len(reach.trained) - len(reach.unused):,} of {counted(reach.trained, 'trained parameter tensor')}"
    if reach.cancelled:
        said += f"; batch norm cancels {_biases(len(reach.cancelled))}: {names(reach.cancelled)}"
    return passed(said)


def _biases(number: int) -> str:
    return "1 bias" if number == 1 else f"{number:,} biases"


def unused_parameters(case: Case) -> Outcome:
    """Every parameter changes a logit when it is changed. One that does not is counted and decays, for nothing."""
    reach = case.reach
    if reach.unused:
        return failed(f"the logits do not depend on {names(reach.unused)}: trained, counted, and never used")
    if reach.unused_frozen:
        return warned(f"the logits do not depend on {names(reach.unused_frozen)}, which are frozen")
    return passed()


def unused_modules(case: Case) -> Outcome:
    """Every module is called in the forward pass, in one of the two modes, or something inside it is."""
    network = case.build()
    called: set[int] = set()
    for module in network.modules():
        module.register_forward_pre_hook(lambda module, arguments: called.add(id(module)))
    train_logits(network, case.images())
    eval_logits(network, case.images())
    idle = {
        name
        for name, module in network.named_modules()
        if called.isdisjoint(map(id, module.modules())) and not _is_empty(module)
    }
    topmost = [name for name in sorted(idle) if name.rpartition(".")[0] not in idle]
    weighty, light = [], []
    for name in topmost:
        own = dict(network.get_submodule(name).named_parameters())
        used = [f"{name}.{inside}" for inside in own if f"{name}.{inside}" not in case.reach.unused]
        if own and not used:
            weighty.append(name)
        elif not own:
            light.append(f"{name} ({type(network.get_submodule(name)).__name__})")
    if weighty:
        return warned(f"never called in the forward pass: {names(weighty + light)}")
    return warned(f"never called in the forward pass, without parameters: {names(light)}") if light else passed()


def _is_empty(module: nn.Module) -> bool:
    """Returns whether a module does nothing that could be missed."""
    if isinstance(module, _DropoutNd):
        return module.p == 0  # it may be there for its number, which fused attention is given
    return isinstance(module, nn.Identity) or (
        isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict) and not len(module)
    )


def frozen(case: Case) -> Outcome:
    """A training step changes what is trained and leaves what is frozen as it was."""
    network = case.build()
    named = dict(network.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    plain_step(network, case.images(), case.labels())
    moved = [name for name, parameter in named.items() if not torch.equal(parameter.detach(), before[name])]
    wrong = [name for name in moved if not named[name].requires_grad]
    if wrong:
        return failed(f"frozen, and changed by a training step: {names(wrong)}")
    trained = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    if len(trained) == len(named):
        return passed("every parameter is trained")
    numbers = sum(parameter.numel() for parameter in trained.values()), sum(map(torch.numel, named.values()))
    return passed(f"{numbers[0]:,} of {numbers[1]:,} parameters are trained: {names([*trained])}")


def shared(case: Case) -> Outcome:
    """A parameter that stands in several places is one parameter, and no two parameters share their memory."""
    network = case.build()
    places: dict[int, list[str]] = defaultdict(list)
    memory: dict[int, list[str]] = defaultdict(list)
    for name, parameter in network.named_parameters(remove_duplicate=False):
        places[id(parameter)].append(name)
        if places[id(parameter)] == [name] and parameter.numel():
            memory[parameter.untyped_storage().data_ptr()].append(name)
    overlapping = [" and ".join(found) for found in memory.values() if len(found) > 1]
    if overlapping:
        return failed(f"parameters that share their memory, counted and updated twice: {names(overlapping)}")
    tied = [" and ".join(found) for found in places.values() if len(found) > 1]
    return passed(f"one parameter in several places, counted once: {names(tied)}" if tied else "")


def registered(case: Case) -> Outcome:
    """Modules, parameters and tensors stand where torch sees them, not in plain lists or attributes."""
    network = case.build()
    known = {id(one) for one in (*network.modules(), *network.parameters(), *network.buffers())}
    train_logits(network, case.images())
    hidden: list[str] = []
    loose: list[str] = []
    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            if attribute in ("_parameters", "_buffers", "_modules") or attribute.endswith("_hooks"):
                continue
            for one in _inside(value):
                if id(one) in known:
                    continue
                place = f"{name}.{attribute}".lstrip(".")
                (hidden if isinstance(one, nn.Module | nn.Parameter) else loose).append(place)
    hidden, loose = list(dict.fromkeys(hidden)), list(dict.fromkeys(loose))
    if hidden:
        return failed(
            f"torch does not see the modules or parameters in {names(hidden)}: they are neither trained, moved to a "
            "device nor saved. Use nn.ModuleList, nn.ModuleDict or nn.ParameterList"
        )
    if loose:
        return warned(
            f"tensors that are no buffers stay where they are when the network moves, and are not saved: {names(loose)}"
        )
    return passed()


def _inside(value: object, depth: int = 0) -> Iterator[torch.Tensor | nn.Module]:
    """Yields modules and tensors in a value, those inside lists and dicts too."""
    if isinstance(value, torch.Tensor | nn.Module):
        yield value
    elif depth < DEEPEST and isinstance(value, list | tuple | set | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _inside(one, depth + 1)

"""Checks of training and eval mode: they differ where they should, and a forward pass leaves nothing else behind."""

from __future__ import annotations

import copy
from collections import defaultdict
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode

from resbench.audit.case import Case, eval_logits, train_logits
from resbench.audit.findings import Outcome, failed, passed, warned
from resbench.audit.words import apart, names
from resbench.host_state import forked_generators

SAME = 1e-3
"""Relative difference of logits up to which other kernels (another batch size or layout) may be the reason."""
_RANDOM = ("drop", "stochasticdepth")
"""What the kind of a module has in its name that is random in training and nothing in eval mode."""


def modes_reach(case: Case) -> Outcome:
    """``train()`` and ``eval()`` put every module into that mode."""
    network = case.build()
    for mode in (False, True, False):
        network.train(mode)
        wrong = [f"{name or 'the network'}" for name, module in network.named_modules() if module.training is not mode]
        if wrong:
            return failed(f"{'train' if mode else 'eval'}() leaves these in the other mode: {names(wrong)}")
    return passed()


def eval_repeats(case: Case) -> Outcome:
    """In eval mode the same images give the same logits to the bit, and nothing in the network changes."""
    network, images = case.build(), case.images()
    before = _snapshot(network)
    passes = [eval_logits(network, images) for _ in range(3)]
    changed = _changed(before, network)
    if changed:
        return failed(f"a forward pass in eval mode changes {names(changed)}")
    furthest = max(apart(one, passes[0]) for one in passes[1:])
    if any(not torch.equal(one, passes[0]) for one in passes[1:]):
        return failed(f"the same images give other logits in eval mode, by {furthest:.1g} of the largest")
    return passed()


def neighbours(case: Case) -> Outcome:
    """In eval mode an image's logits do not depend on the other images of its batch."""
    network, images = case.build(), case.images()
    others = torch.cat([images[:1], case.images(seed=1)[1:] * 3 + 1])
    whole = eval_logits(network, images)
    beside = apart(eval_logits(network, others)[:1], whole[:1])
    if beside > SAME:
        return failed(f"other neighbours change an image's logits by {beside:.1g} of the largest")
    alone = apart(eval_logits(network, images[:1]), whole[:1])
    if alone > SAME:
        return failed(f"an image alone gives other logits than in a batch, by {alone:.1g} of the largest")
    return passed()


def train_changes(case: Case) -> Outcome:
    """A forward pass in training changes batch-norm statistics and nothing else, and they are saved."""
    network = case.build()
    before = _snapshot(network)
    train_logits(network, case.images())
    changed = _changed(before, network)
    weights = [name for name in changed if name in dict(network.named_parameters())]
    if weights:
        return failed(f"a forward pass in training changes parameters: {names(weights)}")
    unsaved = [name for name in changed if name not in network.state_dict()]
    if unsaved:
        return failed(f"a forward pass in training changes buffers that no checkpoint has: {names(unsaved)}")
    modules = dict(network.named_modules())
    other = [name for name in changed if not isinstance(modules[name.rpartition(".")[0]], _NormBase)]
    if other:
        return warned(f"a forward pass in training changes buffers of other layers than batch norm: {names(other)}")
    return passed(f"{len(changed):,} buffers of batch norm" if changed else "nothing")


def train_repeats(case: Case) -> Outcome:
    """What is random in training mode, such as dropout, follows the seed of torch's, numpy's or Python's generator."""
    images = case.images()
    first, again, other = (train_logits(case.build(), images, seed=seed).detach() for seed in (0, 0, 1))
    if not torch.equal(first, again):
        return failed("the same seed gives other logits in training mode: something draws from another generator")
    return passed("nothing is random" if torch.equal(first, other) else "random, and reproducible")


def mode_difference(case: Case) -> Outcome:
    """Only layers of batch norm and dropout behave in training otherwise than in eval mode."""
    network, images = case.build(), case.images()
    train_logits(network, images)
    plain = eval_logits(network, images)
    state = copy.deepcopy(network.state_dict())
    kinds: dict[type[nn.Module], list[nn.Module]] = defaultdict(list)
    for module in network.modules():
        kinds[type(module)].append(module)
    differ = []
    for kind, modules in kinds.items():
        network.eval()
        for module in modules:
            module.training = True
        context = nullcontext() if _may_differ(kind) else _NoDropout()
        with torch.no_grad(), forked_generators(seed=0), context:
            output = network(images)
        network.load_state_dict(state)
        if not torch.equal(output, plain):
            differ.append(kind)
    odd = [kind.__name__ for kind in differ if not _may_differ(kind)]
    if odd:
        return warned(
            f"training and eval mode differ in {names(odd)}, and not only in layers of batch norm and dropout"
        )
    kinds_named = [f"{kind.__name__} ({len(kinds[kind])})" for kind in differ]
    return passed(f"they differ in {names(kinds_named)}" if differ else "they are the same")


class _NoDropout(TorchFunctionMode):
    """Leaves out dropout that a network calls as a function: it may do so in any of its modules."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if "dropout" in getattr(func, "__name__", ""):
            return args[0] if args else kwargs["input"]
        return func(*args, **kwargs)


def _may_differ(kind: type[nn.Module]) -> bool:
    """Returns whether modules of a kind are those whose mode is meant to matter."""
    return issubclass(kind, _NormBase) or any(word in kind.__name__.lower() for word in _RANDOM)


def _snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    """Returns copies of all parameters and buffers, of buffers that are not saved too."""
    return {name: value.detach().clone() for name, value in _tensors(network).items()}


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _changed(before: dict[str, torch.Tensor], network: nn.Module) -> list[str]:
    """Returns the names of what is not as it was."""
    now = _tensors(network)
    return [name for name in {**before, **now} if not _same(before.get(name), now.get(name))]


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other.detach())

"""Checks of a network's state: seeds decide it, files hold it, copies have their own, and steps do not pile it up."""

from __future__ import annotations

import copy
import gc
import io
import math

import torch
import torch.nn.functional as F
from torch import nn

from resbench.audit.case import Case, eval_logits, plain_step, train_logits
from resbench.audit.findings import Outcome, failed, passed, warned
from resbench.audit.words import counted, differing, names

WORST_START = 3.0
"""How many times the loss of guessing the first loss may be."""


def seeds(case: Case) -> Outcome:
    """The same seed gives the same weights to the bit, another seed gives others."""
    first, again, other = (case.build(seed).state_dict() for seed in (0, 0, 1))
    moved = differing(first, again)
    if moved:
        return failed(
            f"the same seed gives other weights: {names(moved)}. Draw from the generator of torch, numpy (`np.random`) "
            "or Python (`random`)"
        )
    if not differing(first, other):
        return warned("every seed gives the same weights: trials of several seeds differ in their batches alone")
    return passed()


def first_loss(case: Case) -> Outcome:
    """The loss before training is near that of guessing, the logarithm of the number of classes."""
    with torch.no_grad():
        loss = float(F.cross_entropy(train_logits(case.build(), case.images()), case.labels()))
    guess = math.log(case.classes)
    said = f"{loss:.2f}; guessing has {guess:.2f}"
    if not math.isfinite(loss):
        return failed(f"the first loss is {loss}")
    if loss > WORST_START * guess + 1:
        return warned(f"the first loss is {said}: the head or the weights before it start too large")
    return passed(said)


def step_repeats(case: Case) -> Outcome:
    """Two training steps from the same seed end in the same weights, buffers and losses to the bit."""
    ends = []
    for _ in range(2):
        network = case.build()
        losses = [plain_step(network, case.images(seed=seed), case.labels(seed=seed), seed=seed) for seed in range(2)]
        ends.append((losses, network.state_dict()))
    (losses, state), (losses_again, state_again) = ends
    moved = differing(state, state_again)
    if moved or losses != losses_again:
        return failed(f"the same steps end elsewhere: {names(moved) or 'in another loss'}")
    return passed()


def state_dict(case: Case) -> Outcome:
    """A state dict of plain data holds all that a trained network knows: read back, it gives the same logits."""
    network, images = case.build(), case.images()
    for seed in range(2):
        plain_step(network, case.images(seed=seed), case.labels(seed=seed), seed=seed)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    try:
        state = torch.load(file, weights_only=True)
    except Exception as error:
        return failed(f"the state dict holds more than plain data, and is not read back: {type(error).__name__}")
    other = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    twin = case.build(1)
    twin.load_state_dict(state)
    if not torch.equal(eval_logits(twin, images), eval_logits(network, images)):
        return failed("a network that is given the state dict gives other logits: something else is remembered too")
    return passed(f"beside tensors it holds {names(other)}" if other else "")


def deep_copy(case: Case) -> Outcome:
    """A deep copy gives the same logits, and to train it leaves the original as it was."""
    network, images = case.build(), case.images()
    before = eval_logits(network, images)
    twin = copy.deepcopy(network)
    if not torch.equal(eval_logits(twin, images), before):
        return failed("a deep copy gives other logits")
    plain_step(twin, images, case.labels())
    if not torch.equal(eval_logits(network, images), before):
        return failed("to train a deep copy changes the original: they share parameters or buffers")
    borrowed = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    if borrowed:
        return failed(f"a deep copy computes with the original's {names(borrowed)}")
    return passed()


def memory(case: Case) -> Outcome:
    """Training steps leave no tensors behind."""
    network, images, labels = case.build(), case.images(), case.labels()
    plain_step(network, images, labels)  # the first step may fill what is kept once
    counts = []
    gc.freeze()  # what is there already need not be looked at again
    try:
        for step in range(1, 4):
            plain_step(network, images, labels, seed=step)
            network.zero_grad(set_to_none=True)
            counts.append(_live_tensors())
    finally:
        gc.unfreeze()
    second, third, fourth = counts
    if second < third < fourth:
        return failed(f"each training step leaves {counted(range(fourth - third), 'tensor')} in memory")
    held = [
        f"{name}.{attribute}".lstrip(".")
        for name, module in network.named_modules()
        for attribute in _with_graph(module)
    ]
    if held:
        return warned(f"the graph of the last pass is kept alive in {names(held)} ({counted(held, 'tensor')})")
    return passed()


def _live_tensors() -> int:
    """Returns how many tensors Python holds, without those that were frozen."""
    gc.collect()
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


def _with_graph(module: nn.Module) -> list[str]:
    """Returns the attributes of a module that hold a tensor with its graph."""
    return [
        name for name, value in vars(module).items() if isinstance(value, torch.Tensor) and value.grad_fn is not None
    ]

"""Checks on the device that training is going to use, with the engine that is going to train."""

from __future__ import annotations

import math
from dataclasses import replace

from resbench.audit.case import Case, eval_logits
from resbench.audit.findings import Outcome, failed, passed, skipped, warned
from resbench.audit.words import apart
from resbench.devices import open_device
from resbench.host_state import forked_generators
from resbench.recipes import get_recipe

STEPS = 12
LAST = 3
"""Steps whose mean loss counts as what is reached: dropout makes single ones jump."""
RECIPE = "common"
NEAR = 2e-2
"""Relative difference of a device's fp32 logits from the processor's up to which rounding explains it."""


def on_device(case: Case) -> Outcome:
    """The whole network moves to the device, and gives nearly the processor's logits there, in fp32."""
    name = case.subject.engine.device
    if name == "cpu":
        return skipped("the device is the processor")
    device = open_device(name).torch_device
    network, images = case.build(), case.images()
    plain = eval_logits(network, images)
    difference = apart(eval_logits(network.to(device), images.to(device)), plain)
    if not difference <= NEAR:
        return failed(f"on {name} the logits are others than on the processor, by {difference:.1g} of the largest")
    return passed()


def learns(case: Case) -> Outcome:
    """The engine lowers the loss of one fixed batch within a dozen steps, at the recipe's learning rate or a tenth."""
    recipe = get_recipe(RECIPE)
    rate = recipe.peak_learning_rate(case.batch_size)
    first, last = _first_and_last(case, rate)
    if last < first:
        return passed(f"the loss falls from {first:.2f} to {last:.2f} in {STEPS} steps")
    first, slow = _first_and_last(case, rate / 10)
    said = f"at recipe {RECIPE}'s learning rate the loss goes from {first:.2f} to {last:.2f} in {STEPS} steps"
    if slow < first:
        return warned(f"{said}; at a tenth of it to {slow:.2f}: it wants a smaller one")
    return failed(f"{said}, and at a tenth of it to {slow:.2f}: it does not learn one batch of noise")


def _first_and_last(case: Case, rate: float) -> tuple[float, float]:
    """Returns the loss of the first step on one batch and the mean of the last few, NaN where one is not finite."""
    device = open_device(case.subject.engine.device)
    with forked_generators(device.torch_device, seed=0):
        engine = replace(case.subject, batch_size=case.batch_size).engine_for(get_recipe(RECIPE), device)
        images, labels = engine.slots[0]
        if device.queue_depth:
            engine.warm_up(images, labels)
            engine.capture()
        engine.train_mode()
        engine.set_learning_rate(rate)
        losses = []
        for _ in range(STEPS):
            engine.train_step(images, labels)
            totals = engine.read_totals()
            losses.append(totals.mean_loss if totals.finite_steps else math.nan)
    return losses[0], sum(losses[-LAST:]) / LAST

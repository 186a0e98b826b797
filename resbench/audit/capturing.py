"""Checks of what makes training fast: the compiler's tracing, compiled code, CUDA graphs, no waiting for the device."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from resbench.audit.case import Case, eval_logits, train_logits
from resbench.audit.findings import Outcome, failed, passed, skipped, warned
from resbench.audit.places import own_line
from resbench.audit.words import apart, names
from resbench.compiling import compile_function
from resbench.devices import open_device
from resbench.host_state import forked_generators
from resbench.recipes import get_recipe
from resbench.training.forward import forward_pass

NEAR = {"fp32": 1e-2, "tf32": 5e-2, "bf16": 0.2}
"""Relative difference of compiled and eager logits of training up to which rounding explains it, by precision."""
_WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::equal")
"""Operators whose result the host needs, so that it waits for the device."""


def graph_breaks(case: Case) -> Outcome:
    """The compiler traces the whole forward pass as one graph, in either mode: nothing in it needs Python."""
    if case.compiling == "off":
        return skipped("compiling is off")
    reasons: list[str] = []
    network, images = case.build(), case.images()
    with _quiet_compiler():
        for training in (True, False):
            with forked_generators(), torch.set_grad_enabled(training):
                explained = torch._dynamo.explain(network.train(training))(images)
            reasons += [_reason(found) for found in explained.break_reasons]
    reasons = list(dict.fromkeys(reasons))
    return warned(f"the graph breaks: {names(reasons)}") if reasons else passed()


def _reason(found: Any) -> str:
    """Says why and where a graph breaks."""
    line = own_line([(frame.filename, frame.lineno) for frame in found.user_stack])
    return str(found.reason).strip().partition("\n")[0] + (f" at {line}" if line else "")


def recompilation(case: Case) -> Outcome:
    """Batches of one shape are traced once: nothing in the forward pass changes from step to step."""
    if case.compiling == "off":
        return skipped("compiling is off")
    graphs: list[nn.Module] = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    network = case.build().train()
    counts = []
    with _quiet_compiler(), forked_generators():
        traced = torch.compile(network, backend=count, dynamic=False)
        for seed in range(4):
            traced(case.images(seed=seed))
            counts.append(len(graphs))
    if counts[-1] > counts[0]:
        return warned(
            f"traced anew in {sum(now > then for then, now in pairwise(counts))} of 3 further "
            "steps with batches of the same shape: an attribute that counts, or a number taken from a tensor?"
        )
    return passed()


def compiled(case: Case) -> Outcome:
    """Compiled code gives nearly the logits, the loss and the gradients that eager code gives."""
    if case.compiling == "off":
        return skipped("compiling is off")
    if case.compiling != "on":
        return skipped("on a processor only with --compile on")
    settings = case.subject.engine
    device, near = torch.device(settings.device), NEAR[settings.precision]
    images, labels = case.images().to(device), case.labels().to(device)
    eager, fast = case.build().to(device), case.build().to(device)
    run = compile_function(partial(forward_pass, fast, settings=settings))
    with torch.no_grad():
        eager.eval(), fast.eval()
        difference = apart(run(images), forward_pass(eager, images, settings))
    if not difference <= near:
        return failed(f"compiled code gives other logits in eval mode, by {difference:.1g} of the largest")
    losses = []
    for network, forward in ((eager, partial(forward_pass, eager, settings=settings)), (fast, run)):
        network.train()
        loss = F.cross_entropy(forward(images), labels)
        loss.backward()
        losses.append(float(loss.detach()))
    without = [
        name
        for (name, one), other in zip(fast.named_parameters(), eager.parameters(), strict=True)
        if (one.grad is None) != (other.grad is None) or (one.grad is not None and not one.grad.isfinite().all())
    ]
    if without:
        return failed(f"compiled code gives no finite gradient of {names(without)}")
    if not abs(losses[1] - losses[0]) <= near * max(1.0, abs(losses[0])):
        said = f"the loss of compiled code is {losses[1]:.3g}, of eager code {losses[0]:.3g}"
        return warned(f"{said}: rounding, or a random layer that draws in another order")
    return passed(f"eval logits differ by {difference:.1g} of the largest")


def cuda_graph(case: Case) -> Outcome:
    """Whole training and evaluation steps can be recorded as CUDA graphs and replayed."""
    settings = case.subject.engine
    if not settings.device.startswith("cuda"):
        return skipped(f"the device is {settings.device}: only CUDA has graphs")
    device = open_device(settings.device)
    recorded = replace(settings, compile=False, cuda_graph=True)
    subject = replace(case.subject, batch_size=case.batch_size, engine=recorded)
    engine = subject.engine_for(get_recipe("common"), device)
    engine.warm_up(*engine.slots[0])
    engine.capture()
    if not engine.cuda_graph:
        return warned("; ".join(engine.fallbacks))
    engine.train_mode()
    engine.train_step(*engine.slots[0])
    loss = engine.read_totals().mean_loss
    return passed() if math.isfinite(loss) else failed(f"a replayed step has the loss {loss}")


def no_waiting(case: Case) -> Outcome:
    """Nothing in the forward pass reads a number back from the device, which would wait for it."""
    waits = _Waits()
    network, images = case.build(), case.images()
    with waits:
        train_logits(network, images)
        eval_logits(network, images)
    if waits.found:
        return warned(f"the host waits for the device: {names(list(dict.fromkeys(waits.found)))}")
    return passed()


class _Waits(TorchDispatchMode):
    """Notes each operator whose result the host needs, and the network's line that calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.name().partition(".")[0]
        by_mask = name == "aten::index" and any(one is not None and one.dtype == torch.bool for one in args[1])
        if name in _WAITING or by_mask:
            line = own_line([(frame.filename, frame.lineno) for frame in traceback.extract_stack()])
            self.found.append(f"{name.removeprefix('aten::').lstrip('_')}" + (f" at {line}" if line else ""))
        return func(*args, **(kwargs or {}))


@contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Starts the compiler afresh, and keeps its advice, which the finding gives, out of the log."""
    loud = logging.getLogger("torch._dynamo")
    level = loud.level
    loud.setLevel(logging.ERROR)
    torch._dynamo.reset()
    try:
        yield
    finally:
        torch._dynamo.reset()
        loud.setLevel(level)

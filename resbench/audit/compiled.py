"""Checks of ``torch.compile``, of graphs, and of a few real training steps."""

from __future__ import annotations

from dataclasses import replace

import torch

from resbench.audit.findings import Outcome, failed, passed, skipped, warned
from resbench.audit.specimen import Specimen, apart, logits_of
from resbench.devices import open_device
from resbench.recipes import get_recipe
from resbench.training.engine import Engine

_NEAR = 1e-2
"""Relative difference of logits that fused kernels, which round elsewhere, explain in fp32."""
_STEPS, _LEARNING_RATE = 8, 0.003


def whole_graph(specimen: Specimen) -> Outcome:
    """``torch.compile`` can trace the network as one graph, in training mode and in evaluation, once for a shape."""
    torch._dynamo.reset()
    graphs = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    model = specimen.build()
    traced = torch.compile(model, backend=count, fullgraph=True, dynamic=False)
    try:
        for mode in (True, False):
            model.train(mode)
            with torch.no_grad():
                traced(specimen.images())
                traced(specimen.images(seed=1))
    except torch._dynamo.exc.TorchDynamoException as error:
        return warned(f"it breaks into several graphs, and is slower compiled: {_reason(error)}")
    finally:
        torch._dynamo.reset()
    if len(graphs) > 2:
        return warned(f"it is compiled {len(graphs)} times for two modes of one shape: something in it changes")
    return passed()


def _reason(error: Exception) -> str:
    """Returns what dynamo says and the line of the user's code that it says it of."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    places = [line for line in lines if line.startswith('File "') and "torch/" not in line]
    first = lines[0] if lines else type(error).__name__
    return f"{first} ({places[-1]})" if places else first


def compiled(specimen: Specimen) -> Outcome:
    """Compiled code runs and gives what eager code gives."""
    if not specimen.engine.compile:
        return skipped("asked for with --compile; on by itself with CUDA")
    engine = _engine(specimen, replace(specimen.engine, precision="fp32", cuda_graph=False))
    images, labels = engine.slots[0]
    plain = logits_of(engine.model, images)
    engine.warm_up(images, labels)
    if engine.fallbacks:
        return failed("; ".join(engine.fallbacks))
    engine.model.eval()
    with torch.no_grad():
        difference = apart(plain, engine.forward(images))
    if difference > _NEAR:
        return failed(f"the logits differ by {difference:.1e} of the largest")
    return passed(f"within {difference:.1e}")


def cuda_graph(specimen: Specimen) -> Outcome:
    """Whole training and evaluation steps can be recorded as CUDA graphs."""
    if specimen.device.type != "cuda":
        return skipped("graphs need CUDA")
    engine = _engine(specimen, replace(specimen.engine, compile=False, cuda_graph=True))
    engine.warm_up(*engine.slots[0])
    engine.capture()
    return passed() if engine.cuda_graph else failed("; ".join(engine.fallbacks) or "nothing was recorded")


def learning(specimen: Specimen) -> Outcome:
    """A few steps of the recipe `common`, at a small rate, lower the loss of one batch."""
    engine = _engine(specimen, replace(specimen.engine, compile=False, cuda_graph=False))
    images, labels = engine.slots[0]
    losses = []
    engine.train_mode()
    for _ in range(_STEPS):
        engine.set_learning_rate(_LEARNING_RATE)
        engine.train_step(images, labels)
        losses.append(engine.read_totals().mean_loss)
    words = f"loss {losses[0]:.3f}, after {_STEPS} steps {losses[-1]:.3f}"
    if not all(map(torch.isfinite, map(torch.tensor, losses))):
        return failed(f"the loss is not finite: {words}")
    return passed(words) if losses[-1] < losses[0] else warned(words)


def _engine(specimen: Specimen, settings: object) -> Engine:
    """Returns the engine that trials use, around the network, with a slot of noise."""
    changed = specimen.changed(engine=settings)
    torch.manual_seed(0)
    return changed.subject.engine_for(get_recipe("common"), open_device(changed.engine.device))

"""What a training changes, taken off the device and put back: what a checkpoint holds of an engine."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from resbench.training.engine import Engine

State = dict[str, Any]
"""Tensors on the host in dicts and lists, as ``torch.load(weights_only=True)`` gives them back."""


def engine_state(engine: Engine) -> State:
    """Copies weights, batch-norm statistics, the optimizer's state, totals, learning rate and torch's generators.

    Of several ranks all call it. Weights are the same on each, statistics are the caller's, and of totals and
    generators there is a row for each rank.
    """
    optimizer = engine.optimizer
    kept = {
        "model": dict(engine.model.state_dict()),
        "optimizer": [
            {name: value for name, value in optimizer.state.get(parameter, {}).items() if torch.is_tensor(value)}
            for parameter in _trained(optimizer)
        ],
        "totals": engine.ranks.gather(engine.totals),
        "learning_rate": engine.learning_rate,
        "generator": engine.ranks.gather(torch.get_rng_state()),
    }
    if engine.device.type == "cuda":
        kept["device_generator"] = engine.ranks.gather(torch.cuda.get_rng_state(engine.device))
    copied: State = tree_map(lambda value: value.detach().to("cpu", copy=True), kept)
    return copied


def load_engine_state(engine: Engine, state: State) -> None:
    """Puts a state back, in place: compiled and recorded code stays.

    Args:
        engine: Of the same network and recipe.
        state: From :func:`engine_state`.

    Raises:
        ValueError: It is of another network or optimizer.
    """
    trained = _trained(engine.optimizer)
    if len(trained) != len(state["optimizer"]):
        raise ValueError(f"a state of {len(state['optimizer'])} trained tensors, the network has {len(trained)}")
    try:
        engine.model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    engine.train_mode()
    for parameter, kept in zip(trained, state["optimizer"], strict=True):
        own = engine.optimizer.state[parameter]
        for name, value in kept.items():
            if name not in own:  # as the optimizer makes it: in the parameter's layout, or a scalar
                own[name] = torch.empty_like(parameter) if value.shape else value.to(engine.device, copy=True)
            with torch.no_grad():
                own[name].copy_(value)
    engine.totals.copy_(state["totals"][engine.ranks.rank])
    engine.learning_rate.copy_(state["learning_rate"])
    torch.set_rng_state(state["generator"][engine.ranks.rank].clone())  # torch reads from a storage's beginning
    if engine.device.type == "cuda":
        torch.cuda.set_rng_state(state["device_generator"][engine.ranks.rank].clone(), engine.device)


def _trained(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Returns the parameters that an optimizer changes, in its order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]

"""What a training changes, taken off the device and put back: what a checkpoint holds of an engine."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from resbench.host_state import generator_state, load_generator_state, load_plain_attributes, plain_attributes
from resbench.training.engine import Engine

State = dict[str, Any]
"""Tensors on the host in dicts and lists, and what else the network's state dict and attributes hold."""

_NEW = object()


def engine_state(engine: Engine) -> State:
    """Copies weights, batch-norm statistics and other state, the optimizer's, totals, learning rate and generators.

    Of several ranks all call it. Weights are the same on each, statistics are the caller's, and of totals and
    generators there is a row for each rank.
    """
    optimizer = engine.optimizer
    attributes = plain_attributes(engine.model)
    kept = {
        "model": dict(engine.model.state_dict()),
        "optimizer": [
            {name: value for name, value in optimizer.state.get(parameter, {}).items() if torch.is_tensor(value)}
            for parameter in _trained(optimizer)
        ],
        "totals": engine.ranks.gather(engine.totals),
        "learning_rate": engine.learning_rate,
        "generators": {name: engine.ranks.gather(value) for name, value in generator_state(engine.device).items()},
        "attributes": {name: value for name, value in attributes.items() if engine.attributes.get(name, _NEW) != value},
    }
    copied: State = tree_map(_on_host, kept)
    return copied


def _on_host(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if torch.is_tensor(value) else copy.deepcopy(value)


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
    load_plain_attributes(engine.model, {**engine.attributes, **state["attributes"]})
    try:
        engine.model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    engine.train_mode()
    for parameter, kept in zip(trained, state["optimizer"], strict=True):
        for name, value in kept.items():
            own = engine.optimizer.state[parameter]
            if name not in own:  # as the optimizer makes it: in the parameter's layout, or a scalar
                own[name] = torch.empty_like(parameter) if value.shape else value.to(engine.device, copy=True)
            with torch.no_grad():
                own[name].copy_(value)
    engine.totals.copy_(state["totals"][engine.ranks.rank])
    engine.learning_rate.copy_(state["learning_rate"])
    # Copies: torch reads from a storage's beginning.
    own_generators = {name: of_ranks[engine.ranks.rank].clone() for name, of_ranks in state["generators"].items()}
    load_generator_state(own_generators, engine.device)


def _trained(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Returns the parameters that an optimizer changes, in its order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]

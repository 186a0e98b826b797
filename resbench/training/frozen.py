"""Networks with frozen parameters: what their batch norm does while the rest is trained, and which module is the head.

That nothing is computed backward through a frozen backbone needs no code: autograd records nothing where no parameter
wants a gradient. Batch norm needs some, because its running statistics are no parameters and freezing leaves them free.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def train_mode(model: nn.Module, frozen_batch_norm: str) -> None:
    """Puts a network into the mode that it is trained in.

    Args:
        model: Changed in place.
        frozen_batch_norm: What frozen batch norm does, a recipe's
            :attr:`~resbench.recipes.Recipe.frozen_batch_norm`: ``train`` or ``eval``.

    Raises:
        ValueError: It is neither.
    """
    if frozen_batch_norm not in {"train", "eval"}:
        raise ValueError(f"frozen batch norm can be in 'train' or 'eval', not {frozen_batch_norm!r}")
    model.train()
    if frozen_batch_norm == "eval":
        for layer in frozen_batch_norms(model):
            layer.eval()


def frozen_batch_norms(model: nn.Module) -> list[nn.Module]:
    """Returns the batch-norm layers that are frozen: every parameter of their own needs no gradient.

    A layer without parameters (``affine=False``) goes with the smallest module around it that has some: it is frozen
    where all of these are. Where that module has both kinds, it goes with the last layer before it there that has
    parameters, whose output it mostly normalises; the first one goes with the layer after it.
    """
    modules = dict(model.named_modules())
    return [
        layer for name, layer in modules.items() if isinstance(layer, _BatchNorm) and _is_frozen(name, layer, modules)
    ]


def _is_frozen(name: str, layer: nn.Module, modules: dict[str, nn.Module]) -> bool:
    """Returns whether a batch norm is frozen, by the rule of :func:`frozen_batch_norms`."""
    while name and not any(True for _ in modules[name].parameters()):
        name = name.rpartition(".")[0]
    around = modules[name]
    trained = {parameter.requires_grad for parameter in around.parameters()}
    if len(trained) < 2 or around is layer:
        return trained == {False}
    beside: bool | None = None
    passed = False
    for module in around.modules():
        passed = passed or module is layer
        if passed and beside is not None:
            break
        own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
        beside = any(own) if own else beside
    return beside is False


def possible_heads(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yields the modules that may be the head of a frozen backbone: all that is trained is in it, and more is not.

    Yields:
        Name and module, the smallest one first; none where nothing is trained, where what is trained stands in several
        modules, or where no parameter is frozen outside.
    """
    everything = list(model.named_parameters(remove_duplicate=False))
    trained = [name.split(".")[:-1] for name, parameter in everything if parameter.requires_grad]
    path = trained[0] if trained else []
    while any(other[: len(path)] != path for other in trained):
        path = path[:-1]  # until it is the module that all of them are in
    while path:
        name = ".".join(path)
        if any(not inside.startswith(f"{name}.") for inside, _ in everything):
            yield name, model.get_submodule(name)
        path = path[:-1]

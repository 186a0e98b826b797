"""How findings name parameters and modules, and how far apart two tensors are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

NAMED = 6
"""Names that a finding spells out; the others are counted."""


def names(found: Sequence[str]) -> str:
    """Writes the first few names, and how many more there are."""
    shown = ", ".join(found[:NAMED])
    return f"{shown} and {len(found) - NAMED:,} more" if len(found) > NAMED else shown


def counted(found: Sequence[object], noun: str) -> str:
    """Writes how many there are of a noun."""
    return f"{len(found):,} {noun}{'' if len(found) == 1 else 's'}"


def size(tensor: torch.Tensor | torch.Size | Sequence[int]) -> str:
    """Writes a shape as (2, 10)."""
    return str(tuple(tensor.shape if isinstance(tensor, torch.Tensor) else tensor))


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Returns the names of a state dict whose values are not the same in another, to the bit; a value may be any."""
    return [name for name in {**one, **other} if not _same(one.get(name), other.get(name))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    leaves, kind = tree_flatten(one)
    others, other_kind = tree_flatten(other)
    if kind.is_leaf():
        return bool(one == other)
    return kind == other_kind and all(map(_same, leaves, others))


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Returns the largest difference of two tensors over the largest magnitude in either; 0 where all is 0."""
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    scale = float(torch.maximum(one.abs().max(), other.abs().max()))
    difference = float((one - other).abs().max())
    return difference / scale if scale else difference


def far(one: torch.Tensor, other: torch.Tensor) -> float:
    """Returns the length of the difference of two tensors over that of the second (relative L2 distance)."""
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    length = float(other.norm())
    return float((one - other).norm()) / length if length else float(one.norm())

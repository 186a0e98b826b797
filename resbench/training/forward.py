"""The forward pass under engine settings, of a whole network or of a part of one."""

from __future__ import annotations

import torch
from torch import nn

from resbench.schema import EngineSettings


def layout_of(settings: EngineSettings) -> torch.memory_format:
    """Returns the layout that images and convolutions have in memory."""
    return torch.channels_last if settings.memory_format == "channels_last" else torch.contiguous_format


def forward_pass(model: nn.Module, images: torch.Tensor, settings: EngineSettings) -> torch.Tensor:
    """Returns a network's output in float32, under the precision and layout of the settings.

    Args:
        model: On the settings' device.
        images: float32 [B, C, H, W] in any layout, or features [B, ...] of images.
        settings: Decide precision and layout; a layout is of what has four dimensions.
    """
    layout = layout_of(settings) if images.dim() == 4 else torch.contiguous_format
    images = images.contiguous(memory_format=layout)
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"):
        output: torch.Tensor = model(images)
    return output.float()

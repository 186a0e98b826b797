"""Networks that train in plain torch and that a meta tensor, a module tracker or a counter of MACs may not know.

All take images of 3x8x8 and give two logits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torchvision.ops import DeformConv2d

PIXELS, CLASSES = 64, 2
VALUES = 3 * PIXELS


class Network(nn.Module):
    """A network by its layers, its parameters and what it does with both."""

    def __init__(self, forward: Callable[..., torch.Tensor], *shapes: tuple[int, ...], **layers: nn.Module) -> None:
        super().__init__()
        self.compute = forward
        self.own = nn.ParameterList([nn.Parameter(torch.randn(shape) / 8) for shape in shapes])
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.compute(self, images, *self.own)


def tokens(images: torch.Tensor) -> torch.Tensor:
    """[B, 64, 3]"""
    return images.flatten(2).transpose(1, 2)


class Given(nn.Module):
    """Gives a view of its parameter, one for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.token.expand(len(images), -1, -1)


def rates_from_a_tensor() -> nn.Module:
    rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
    return nn.Sequential(nn.Flatten(), nn.Dropout(rates[-1]), nn.Linear(VALUES, CLASSES))


def width_from_a_tensor() -> nn.Module:
    width = int(torch.linspace(4, 8, 3)[-1])
    return nn.Sequential(nn.Flatten(), nn.Linear(VALUES, width), nn.ReLU(), nn.Linear(width, CLASSES))


def moved_by_the_builder() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(VALUES, CLASSES)).to("cpu")


def weights_through_numpy() -> nn.Module:
    layer = nn.Linear(VALUES, CLASSES)
    layer.weight.detach().numpy()[:] = np.linspace(-0.1, 0.1, CLASSES * VALUES).reshape(CLASSES, VALUES)
    return nn.Sequential(nn.Flatten(), layer)


def coordinate_channels() -> nn.Module:
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        count, _, height, width = images.shape
        places = torch.linspace(-1, 1, width).expand(count, 1, height, width)
        return self.conv(torch.cat([images, places], 1)).mean((2, 3))

    return Network(forward, conv=nn.Conv2d(4, CLASSES, 3, padding=1))


def exits_early() -> nn.Module:
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        out = self.first(images.flatten(1))
        if not self.training and out.softmax(1).max() > 0.9999:
            return out
        return out + self.second(images.flatten(1))

    return Network(forward, first=nn.Linear(VALUES, CLASSES), second=nn.Linear(VALUES, CLASSES))


def asks_any() -> nn.Module:
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        keep = flat.mean(1) > -100
        if keep.any():
            flat = self.inner(flat)
        return self.head(flat)

    return Network(forward, inner=nn.Linear(VALUES, VALUES), head=nn.Linear(VALUES, CLASSES))


def learned_positions() -> nn.Module:
    def forward(self: Network, images: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        there = tokens(images)
        return self.head(self.inner(there + self.norm(positions[:, : there.shape[1]])).mean(1))

    layers = {"norm": nn.LayerNorm(3), "inner": nn.Linear(3, 4), "head": nn.Linear(4, CLASSES)}
    return Network(forward, (1, 100, 3), **layers)


def class_token() -> nn.Module:
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.given(images), tokens(images)], 1).mean(1))

    return Network(forward, given=Given(), head=nn.Linear(3, CLASSES))


def frozen_class_token() -> nn.Module:
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            given = self.given(images)
        return self.head(torch.cat([given, tokens(images)], 1).mean(1))

    return Network(forward, given=Given(), head=nn.Linear(3, CLASSES))


def learned_queries() -> nn.Module:
    def forward(self: Network, images: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        keys = self.inner(tokens(images))
        found, _ = self.attention(queries.expand(len(images), -1, -1), keys, keys, need_weights=False)
        return self.head(found.mean(1))

    layers = {"inner": nn.Linear(3, 4), "head": nn.Linear(4, CLASSES)}
    return Network(forward, (1, 2, 4), attention=nn.MultiheadAttention(4, 2, batch_first=True), **layers)


def elementwise_head() -> nn.Module:
    return Network(lambda self, images, scale: images.mean((2, 3))[:, :CLASSES] * scale, (CLASSES,))


def cdist_head() -> nn.Module:
    return Network(lambda self, images, prototypes: -torch.cdist(images.flatten(1), prototypes), (CLASSES, VALUES))


def deformable() -> nn.Module:
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.deformed(images, self.offsets(images)).mean((2, 3)))

    layers = {"offsets": nn.Conv2d(3, 18, 3, padding=1), "deformed": DeformConv2d(3, 4, 3, padding=1)}
    return Network(forward, **layers, head=nn.Linear(4, CLASSES))


def bilinear() -> nn.Module:
    def forward(self: Network, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.flatten(1), images.flatten(1))

    return Network(forward, head=nn.Bilinear(VALUES, VALUES, CLASSES))


def by_a_vector() -> nn.Module:
    def forward(self: Network, images: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        margin = images.flatten(1) @ vector
        return torch.stack([margin, -margin], 1)

    return Network(forward, (VALUES,))


def by_addbmm() -> nn.Module:
    return Network(
        lambda self, images, bias, weight: torch.addbmm(bias, images.flatten(1)[None], weight),
        (CLASSES,),
        (1, VALUES, CLASSES),
    )


LINEAR = VALUES * CLASSES
MACS: dict[Callable[[], nn.Module], int] = {
    rates_from_a_tensor: LINEAR,
    width_from_a_tensor: VALUES * 8 + 8 * CLASSES,
    moved_by_the_builder: LINEAR,
    weights_through_numpy: LINEAR,
    coordinate_channels: PIXELS * CLASSES * 4 * 9,
    exits_early: 2 * LINEAR,
    asks_any: VALUES * VALUES + LINEAR,
    learned_positions: PIXELS * 3 * 4 + 4 * CLASSES,
    class_token: 3 * CLASSES,
    frozen_class_token: 3 * CLASSES,
    # Keys, their and the queries' projections, two heads' scores and sums, the output's projection, the head.
    learned_queries: PIXELS * 12 + 2 * 16 + PIXELS * 32 + 2 * (2 * 2 * PIXELS * 2) + 2 * 16 + 4 * CLASSES,
    elementwise_head: 0,
    cdist_head: 0,
    deformable: PIXELS * 9 * 3 * (18 + 4) + 4 * CLASSES,
    bilinear: VALUES * VALUES * CLASSES,
    by_a_vector: VALUES,
    by_addbmm: LINEAR,
}
"""The networks, and the multiply-adds of an image by hand."""

"""Augmentation of whole batches as tensor work, with every draw from one seeded generator.

Parameters are drawn per image on the generator's device and nothing is read back, so a batch costs a handful
of kernels whatever its size. Geometry that moves whole pixels (crop, flip) is done while the batch is gathered
(:func:`gather_crops`); the rest works on float images in 0..1, shape [B, C, H, W].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from resbench.recipes import ColourJitter

_LUMA = (0.2989, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue, as torchvision rounds them."""


def gather_crops(
    images: torch.Tensor,
    index: torch.Tensor,
    *,
    padding: int,
    flip: bool,
    generator: torch.Generator,
) -> torch.Tensor:
    """Gathers images by index, each with its own crop of the reflected image and its own flip.

    Reflection is arithmetic on row and column numbers, so no padded copy of the data exists.

    Args:
        images: uint8 [N, H, W, C], contiguous.
        index: int64 [B], which images.
        padding: Pixels reflected at each border before cropping back to H x W; less than H and W.
        flip: Mirror each image left to right with probability one half.
        generator: Of the images' device.

    Returns:
        uint8 [B, C, H, W] in channels_last memory format.
    """
    _, height, width, channels = images.shape
    batch, device = len(index), images.device
    rows = torch.arange(height, device=device).expand(batch, height)
    cols = torch.arange(width, device=device).expand(batch, width)
    if padding:
        offsets = torch.randint(-padding, padding + 1, (2, batch, 1), generator=generator, device=device)
        rows = _reflect(rows + offsets[0], height)
        cols = _reflect(cols + offsets[1], width)
    if flip:
        mirrored = torch.rand(batch, 1, generator=generator, device=device) < 0.5
        cols = torch.where(mirrored, cols.flip(1), cols)
    pixels = (index[:, None, None] * height + rows[:, :, None]) * width + cols[:, None, :]
    batch_pixels = images.view(-1, channels).index_select(0, pixels.view(-1))
    return batch_pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _reflect(position: torch.Tensor, size: int) -> torch.Tensor:
    """Mirrors positions outside 0..size-1 back inside, without repeating the border pixel."""
    last = size - 1
    return last - (last - position.abs()).abs()


def flip_vertically(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrors each image top to bottom with probability one half."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(2), images)


def resize(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resizes with antialiased bilinear interpolation; returns the images themselves where nothing changes."""
    if images.shape[-2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True, align_corners=False)


def centre_crop(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Keeps the central ``height`` x ``width`` pixels."""
    top, left = round((images.shape[-2] - height) / 2), round((images.shape[-1] - width) / 2)
    return images[..., top : top + height, left : left + width]


def rotate(images: torch.Tensor, degrees: float, generator: torch.Generator) -> torch.Tensor:
    """Rotates each image about its centre by its own uniform angle in +-``degrees``; corners become 0.

    Nearest-neighbour sampling, as torchvision's ``RandomRotation`` does by default.
    """
    draw = torch.rand(len(images), generator=generator, device=images.device)
    return rotate_by(images, (draw * 2 - 1) * degrees)


def rotate_by(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Rotates each image counter-clockwise by its own angle.

    Args:
        images: float [B, C, H, W].
        degrees: float [B].
    """
    _, _, height, width = images.shape
    angle = degrees * (math.pi / 180)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Normalised coordinates are stretched by the aspect ratio, so the off-diagonal terms undo that.
    ratio = height / width
    matrix = torch.stack([torch.stack([cos, -sin * ratio, zero], 1), torch.stack([sin / ratio, cos, zero], 1)], 1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def cutout(images: torch.Tensor, size: int, fill: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Sets one ``size`` x ``size`` square of each image, placed wholly inside it, to ``fill``.

    Args:
        images: float [B, C, H, W].
        size: Side of the square in pixels, at most H and W.
        fill: float [1, C, 1, 1], or anything that broadcasts to the images.
        generator: Of the images' device.

    Source: Cutout, arXiv 1708.04552; the square stays inside the image here.
    """
    batch, _, height, width = images.shape
    draw = torch.rand(2, batch, 1, generator=generator, device=images.device)
    top = (draw[0] * (height - size + 1)).long()
    left = (draw[1] * (width - size + 1)).long()
    rows = torch.arange(height, device=images.device)
    cols = torch.arange(width, device=images.device)
    in_rows = (rows >= top) & (rows < top + size)
    in_cols = (cols >= left) & (cols < left + size)
    return torch.where((in_rows[:, :, None] & in_cols[:, None, :])[:, None], fill, images)


def grayscale(images: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Replaces each RGB image by its luma with a probability."""
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < probability
    return torch.where(chosen, _luma(images), images)


def colour_jitter(images: torch.Tensor, jitter: ColourJitter, generator: torch.Generator) -> torch.Tensor:
    """Changes brightness, contrast, saturation and hue of each RGB image by its own uniform amounts.

    Factors are uniform in 1 +- the strength and the hue shift in +- the strength (a fraction of the circle), as
    in torchvision's ``ColorJitter``; the order is fixed, where torchvision draws one.

    Args:
        images: float [B, 3, H, W] in 0..1.
        jitter: The strengths.
        generator: Of the images' device.
    """
    draw = torch.rand(4, len(images), 1, 1, 1, generator=generator, device=images.device) * 2 - 1
    images = (images * (1 + draw[0] * jitter.brightness)).clamp(0, 1)
    images = _blend(images, _luma(images).mean((1, 2, 3), keepdim=True), 1 + draw[1] * jitter.contrast)
    images = _blend(images, _luma(images), 1 + draw[2] * jitter.saturation)
    return shift_hue(images, draw[3] * jitter.hue)


def _blend(images: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Returns ``other`` at factor 0, the images at factor 1, and further away beyond it."""
    return (other + (images - other) * factor).clamp(0, 1)


def _luma(images: torch.Tensor) -> torch.Tensor:
    """Returns the luma of RGB images, [B, 1, H, W]."""
    red, green, blue = images.split(1, dim=1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def shift_hue(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turns the hue of each RGB image by a fraction of the colour circle, through HSV.

    Args:
        images: float [B, 3, H, W] in 0..1.
        turns: float, broadcast against [B, 1, H, W].
    """
    value, brightest = images.max(1, keepdim=True)
    chroma = value - images.min(1, keepdim=True).values
    scale = chroma.clamp_min(1e-12)
    red, green, blue = images.split(1, dim=1)
    sextant = torch.where(
        brightest == 0,
        (green - blue) / scale,
        torch.where(brightest == 1, 2 + (blue - red) / scale, 4 + (red - green) / scale),
    )
    hue = sextant / 6 + turns
    # Each channel is the value less the chroma times a trapezoid of the hue (the "alternative" HSV formula).
    shift = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    position = (shift + hue * 6) % 6
    return value - chroma * torch.minimum(position, 4 - position).clamp(0, 1)

"""Augmentation of whole batches as tensor work; every random number is an argument.

A ``draw`` holds numbers uniform in [0, 1), one an image, so each function here is a pure one: it can be compiled,
and one image's result depends on its own numbers alone. Nothing is read back from the device. Geometry that moves
whole pixels works on the bytes, [B, H, W, C] (:func:`gather_crops`, :func:`mirror`); the rest on float images in
0..1, [B, C, H, W].

What treats all images of a batch alike (resizing, centre crop, luma) is torchvision's own function: it takes
batches and compiles into the same one graph. Where each image has parameters of its own the work is done here,
because torchvision's functions take one set of parameters a call. torchvision is imported where it is called: that
takes a second or two, and batches that need none of this do without.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from resbench.recipes import ColourJitter

_WORDS = (torch.int64, torch.int32, torch.int16, torch.uint8)


def reflect_columns(images: torch.Tensor, padding: int) -> torch.Tensor:
    """Returns the images with ``padding`` reflected columns at either side, as :func:`gather_crops` wants them.

    Args:
        images: uint8 [N, H, W, C].
        padding: Less than H and W. At 0 the images themselves come back.
    """
    if not padding:
        return images
    width = images.shape[2]
    columns = torch.arange(-padding, width + padding, device=images.device)
    return images.index_select(2, _reflect(columns, width))


def gather_crops(padded: torch.Tensor, index: torch.Tensor, draw: torch.Tensor, *, padding: int) -> torch.Tensor:
    """Gathers images by index, each with its own crop of the image that is reflected at all four borders.

    A row of a crop is W x C bytes in a row of memory, wherever it begins. So rows are gathered whole: which row is
    arithmetic (reflection at the top and the bottom), and where in it the crop begins is an offset in bytes.

    Args:
        padded: uint8 [N, H, W + 2 x padding, C], contiguous, from :func:`reflect_columns`.
        index: int64 [B], which images.
        draw: [2, B], how far down and how far right.
        padding: Pixels reflected at each border before cropping back to H x W.

    Returns:
        uint8 [B, H, W, C], contiguous.
    """
    _, height, padded_width, channels = padded.shape
    width, batch = padded_width - 2 * padding, len(index)
    down, right = (draw * (2 * padding + 1)).long().unbind()
    rows = torch.arange(-padding, height - padding, device=padded.device)
    rows = _reflect(rows + down[:, None], height)
    begins = ((index[:, None] * height + rows) * padded_width + right[:, None]) * channels
    windows = padded.view(-1).unfold(0, width * channels, 1)
    return windows.index_select(0, begins.view(-1)).view(batch, height, width, channels)


def _reflect(position: torch.Tensor, size: int) -> torch.Tensor:
    """Mirrors positions outside 0..size-1 back inside, without repeating the border pixel."""
    last = size - 1
    return last - (last - position.abs()).abs()


def mirror(pixels: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    """Mirrors each image left to right with probability one half.

    Args:
        pixels: uint8 [B, H, W, C], contiguous.
        draw: [B].
    """
    chosen, mirrored = draw < 0.5, pixels.flip(2)
    if torch.compiler.is_compiling():  # compiled, it is one loop that reads every byte from its place
        return torch.where(chosen[:, None, None, None], mirrored, pixels)
    # Choosing between words of 8 bytes is an eighth of the work.
    batch, length = len(pixels), pixels[0].numel()
    word = next(dtype for dtype in _WORDS if length % dtype.itemsize == 0)
    words = torch.where(chosen[:, None], mirrored.view(batch, length).view(word), pixels.view(batch, length).view(word))
    return words.view(torch.uint8).view(pixels.shape)


def flip_vertically(images: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    """Mirrors each image [C, H, W] top to bottom with probability one half; ``draw`` is [B].

    torchvision's ``vertical_flip`` is the same one call of ``flip``, so there is nothing to take from it.
    """
    return torch.where((draw < 0.5)[:, None, None, None], images.flip(2), images)


def resize(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resizes with antialiased bilinear interpolation; returns the images themselves where nothing changes."""
    if images.shape[-2:] == (height, width):
        return images
    from torchvision.transforms.v2 import functional as transforms

    resized: torch.Tensor = transforms.resize(images, [height, width], antialias=True)
    return resized


def centre_crop(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Keeps the central ``height`` x ``width`` pixels; where the images are smaller, their border is 0."""
    from torchvision.transforms.v2 import functional as transforms

    cropped: torch.Tensor = transforms.center_crop(images, [height, width])
    return cropped


def rotate(images: torch.Tensor, degrees: float, draw: torch.Tensor) -> torch.Tensor:
    """Rotates each image about its centre by its own uniform angle in +-``degrees``; corners become 0.

    Nearest-neighbour sampling, as torchvision's ``RandomRotation`` does by default. ``draw`` is [B].
    """
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


def cutout(images: torch.Tensor, size: int, draw: torch.Tensor) -> torch.Tensor:
    """Sets one ``size`` x ``size`` square of each image, placed wholly inside it, to 0, in place.

    Args:
        images: float [B, C, H, W], normalised: 0 is the mean.
        size: Side of the square in pixels, at most H and W.
        draw: [2, B], how far down and how far right.

    Source: Cutout, arXiv 1708.04552; the square stays inside the image here.
    """
    _, _, height, width = images.shape
    top = (draw[0] * (height - size + 1)).long()[:, None]
    left = (draw[1] * (width - size + 1)).long()[:, None]
    rows = torch.arange(height, device=images.device)
    cols = torch.arange(width, device=images.device)
    in_rows = (rows >= top) & (rows < top + size)
    in_cols = (cols >= left) & (cols < left + size)
    return images.masked_fill_((in_rows[:, :, None] & in_cols[:, None, :])[:, None], 0)


def grayscale(images: torch.Tensor, probability: float, draw: torch.Tensor) -> torch.Tensor:
    """Replaces each image by its luma with a probability; ``draw`` is [B]. One channel is its own luma."""
    return torch.where((draw < probability)[:, None, None, None], _luma(images), images)


def colour_jitter(images: torch.Tensor, jitter: ColourJitter, draw: torch.Tensor) -> torch.Tensor:
    """Changes brightness, contrast, saturation and hue of each image by its own uniform amounts.

    Factors are uniform in 1 +- the strength and the hue shift in +- the strength (a fraction of the circle), as
    in torchvision's ``ColorJitter``; the order is fixed, where torchvision draws one. One channel has neither
    saturation nor hue, so both leave it as it is.

    Args:
        images: float [B, 3, H, W] or [B, 1, H, W] in 0..1.
        jitter: The strengths.
        draw: [4, B].
    """
    amount = (draw * 2 - 1)[:, :, None, None, None]
    images = (images * (1 + amount[0] * jitter.brightness)).clamp(0, 1)
    images = _blend(images, _luma(images).mean((1, 2, 3), keepdim=True), 1 + amount[1] * jitter.contrast)
    images = _blend(images, _luma(images), 1 + amount[2] * jitter.saturation)
    return shift_hue(images, amount[3] * jitter.hue)


def _blend(images: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Returns ``other`` at factor 0, the images at factor 1, and further away beyond it."""
    return (other + (images - other) * factor).clamp(0, 1)


def _luma(images: torch.Tensor) -> torch.Tensor:
    """Returns the luma of the images (ITU-R BT.601), [B, 1, H, W]."""
    from torchvision.transforms.v2 import functional as transforms

    luma: torch.Tensor = transforms.rgb_to_grayscale(images, num_output_channels=1)
    return luma


def shift_hue(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turns the hue of each RGB image by a fraction of the colour circle, through HSV; one channel has none.

    Args:
        images: float [B, 3, H, W] or [B, 1, H, W] in 0..1.
        turns: float, broadcast against [B, 1, H, W].
    """
    if images.shape[1] == 1:
        return images
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
    shift = torch.arange(5.0, 0.0, -2.0, device=images.device).view(1, 3, 1, 1)
    position = (shift + hue * 6) % 6
    return value - chroma * torch.minimum(position, 4 - position).clamp(0, 1)

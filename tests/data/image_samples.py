"""Images made on the spot for the tests of the data room."""

from __future__ import annotations

import numpy as np
from PIL import Image


def random_image(size: tuple[int, int] = (8, 8), mode: str = "RGB", seed: int = 0) -> Image.Image:
    """An image of (height, width) with random pixels, mode "RGB" or "L"."""
    shape = (*size, 3) if mode == "RGB" else size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))

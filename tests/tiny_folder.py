"""A dataset of real image files that takes no time: two classes, 8x8 pixels, dark and bright noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TRAIN_IMAGES, TEST_IMAGES, CLASSES = 32, 16, ("dark", "bright")


def make_tiny_folder(root: Path, *, seed: int = 0, size: int = 8) -> Path:
    """Writes an ImageFolder tree and returns its root; half of the images are JPEG, half are PNG."""
    random = np.random.default_rng(seed)
    for split, total in (("train", TRAIN_IMAGES), ("test", TEST_IMAGES)):
        for level, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(total // len(CLASSES)):
                pixels = random.integers(90 * level, 90 * level + 160, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index:02}.{'png' if index % 2 else 'jpg'}", quality=95)
    return root

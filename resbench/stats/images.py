"""How a difference of two models would come out on other test images: a paired bootstrap over the images.

The intervals over seeds say how far another training would move a difference on *these* test images. This one says how
far other images, drawn from where these came from, would move it for the networks that *were* trained. Images are drawn
with replacement, each with what both models made of it under every seed, so that what is hard for both cancels.

Seeds are not drawn again: three of them allow ten different draws, which understate their spread, and the t-interval
over the seeds holds it already. A difference that is to hold for other seeds and other images must be clear of 0 in
both intervals.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from resbench.stats.differences import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REACH = 12
"""Standard deviations on either side of the mean beyond which a bootstrap distribution holds nothing that counts."""


def image_interval(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns the interval of accuracy(first) - accuracy(second) over test images drawn anew.

    It is the percentile bootstrap (Efron 1979) with every possible draw instead of some thousand random ones. An
    image's difference, summed over n seeds, is a whole number from -n to n, so the sum over a draw of images has the
    distribution of one image's, convolved with itself as often as there are images: a power of its Fourier transform.

    Args:
        first: bool [seeds, images]: what a model got right, each row under another seed.
        second: The same seeds and images of the other model.

    Returns:
        The 2.5 % and the 97.5 % quantile, fractions.

    Raises:
        ValueError: The shapes differ, or there is no seed or no image.
    """
    import numpy as np

    if first.shape != second.shape or 0 in first.shape:
        raise ValueError(f"hits of shapes {first.shape} and {second.shape} are no pair")
    seeds, images = first.shape
    totals = first.sum(axis=0, dtype=np.int64) - second.sum(axis=0, dtype=np.int64)
    share = np.bincount(totals + seeds, minlength=2 * seeds + 1) / images
    sd = float(totals.std())
    # Sums of all images, as many of them around their mean as can occur or as carry any weight.
    size = min(2 * seeds * images + 1, 2 * math.ceil(_REACH * sd * math.sqrt(images)) + 2 * seeds + 1)
    lowest = int(totals.sum()) - size // 2
    values = np.arange(-seeds, seeds + 1)
    one_image = np.zeros(size)
    np.add.at(one_image, values % size, share)
    shifted = np.fft.ifft(np.fft.fft(one_image) ** images).real
    cumulative = np.cumsum(np.roll(shifted, -lowest % size))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.searchsorted(cumulative, [tail, 1 - tail])
    return (lowest + int(low)) / (seeds * images), (lowest + int(high)) / (seeds * images)

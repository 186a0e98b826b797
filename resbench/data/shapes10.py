"""shapes10: ten classes of shapes and textures, drawn by resbench itself where no dataset can be had.

Images are 32x32 RGB. Each shows one figure, of random colour, place, size, aspect and rotation, on a shaded
background with clutter (strokes behind and in front) and noise:

    0 disc      filled ellipse          5 star      five-pointed
    1 ring      ellipse with a hole     6 crescent  disc with a disc cut out of its side
    2 square    filled rectangle        7 stripes   parallel bars in two colours, on a round or square patch
    3 triangle  equilateral             8 checks    checkerboard in two colours, likewise
    4 cross     two crossing bars       9 dots      grid of dots on a patch, likewise

Figures are as often light on dark as dark on light, so the mean image of every class is nearly the same and a
linear model learns little. The same seed gives the same bytes on every machine: random numbers are raw words of
PCG64 (whose stream NumPy guarantees) and all geometry and colour is integer arithmetic.
"""

from __future__ import annotations

import math

import numpy as np

from resbench.data.cache import Decoded

VERSION = 1  # changes whenever the images do
CLASSES = ("disc", "ring", "square", "triangle", "cross", "star", "crescent", "stripes", "checks", "dots")
TRAIN_IMAGES, TRAIN_SEED = 10_000, 1
TEST_IMAGES, TEST_SEED = 2_000, 2

SIZE = 32  # pixels a side
BATCH = 500  # images drawn at a time: small enough for the processor's cache
UNIT = 1024  # the figure's radius, in its own coordinates
PIXEL = 64  # one pixel, in fixed point; samples lie at odd multiples of a quarter pixel, two a side
TURN = 240  # angles in a full turn; 3, 4 and 5 divide it
SINE = np.array([round(16384 * math.sin(2 * math.pi * k / TURN)) for k in range(TURN)], dtype=np.int32)

Array = np.ndarray


def make_shapes10(count: int, *, seed: int) -> tuple[Array, Array]:
    """Draws images; classes take turns, so they are balanced in every prefix.

    Args:
        count: How many.
        seed: The same seed gives the same images; a longer draw starts with the shorter one's whole batches.

    Returns:
        Images uint8 ``[count, 32, 32, 3]`` and labels int64 ``[count]``.
    """
    images = np.empty((count, SIZE, SIZE, 3), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    dice = _Dice(seed)
    for start in range(0, count, BATCH):
        batch = slice(start, min(start + BATCH, count))
        images[batch] = _draw(dice, labels[batch])
    return images, labels


def decoded() -> Decoded:
    """The dataset: 10,000 images to train on and 2,000 to test on, with different seeds."""
    train = make_shapes10(TRAIN_IMAGES, seed=TRAIN_SEED)
    test = make_shapes10(TEST_IMAGES, seed=TEST_SEED)
    return Decoded(CLASSES, *train, *test)


class _Dice:
    """Integers from raw PCG64 words, without NumPy's samplers (whose streams may change between versions)."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.PCG64(seed)

    def __call__(self, low: int, high: int, *shape: int) -> Array:
        """int32 integers in ``low..high`` (both included)."""
        words = self._words.random_raw(math.prod(shape)) >> np.uint64(32)
        words = (words * np.uint64(high - low + 1)) >> np.uint64(32)
        return words.astype(np.int32).reshape(shape) + np.int32(low)

    def bytes(self, *shape: int) -> Array:
        """uint8 integers in 0..255, eight a word."""
        count = math.prod(shape)
        words = self._words.random_raw(-(-count // 8)).astype("<u8")
        return words.view(np.uint8)[:count].reshape(shape)


def _draw(dice: _Dice, labels: Array) -> Array:
    """Draws one image a label: background, clutter, figure, clutter, noise."""
    n = len(labels)
    on_dark = dice(0, 1, n)[:, None] == 1
    canvas = _background(dice, n, on_dark)
    for _ in range(3):
        _paint(canvas, _stroke(dice, n), _colour(dice, n, (40, 215), 128))
    u, v = _frame(dice, n, (9 * PIXEL, 14 * PIXEL), (9 * PIXEL, 14 * PIXEL), margin=10 * PIXEL)
    figure, pattern = _figure(dice, u, v, labels)
    bright, deep = _colour(dice, n, (190, 255), 200), _colour(dice, n, (25, 105), 220)
    _paint(canvas, figure, np.where(on_dark, bright, deep))
    pale, shade = _colour(dice, n, (200, 255), 90), _colour(dice, n, (20, 70), 160)
    _paint(canvas, pattern, np.where(on_dark, shade, pale))
    _paint(canvas, _stroke(dice, n), _colour(dice, n, (40, 215), 128))
    strength = dice(4, 24, n).astype(np.int16)[:, None, None, None]
    canvas += ((dice.bytes(n, SIZE, SIZE, 3).astype(np.int16) - 128) * strength) >> 7
    return canvas.clip(0, 255).astype(np.uint8)


def _colour(dice: _Dice, n: int, values: tuple[int, int], saturation: int) -> Array:
    """Colours of any hue, int16 ``[n, 3]``; the brightest channel is in ``values``, saturation is of 256."""
    hue = dice(0, 1535, n)[:, None] + np.array([0, 512, 1024], dtype=np.int32)
    pure = (abs(hue % 1536 - 768) - 256).clip(0, 256)
    value = dice(*values, n)[:, None]
    return ((value * (256 * (256 - saturation) + saturation * pure)) >> 16).astype(np.int16)


def _background(dice: _Dice, n: int, on_dark: Array) -> Array:
    """A muted colour that gets lighter in some direction: int16 ``[n, 32, 32, 3]``."""
    base = np.where(on_dark, _colour(dice, n, (25, 85), 110), _colour(dice, n, (165, 235), 50))
    along: Array = np.arange(SIZE, dtype=np.int32) - SIZE // 2
    slope_x, slope_y = dice(-24, 24, n, 1, 1), dice(-24, 24, n, 1, 1)
    shade = ((slope_x * along + slope_y * along[:, None]) >> 4).astype(np.int16)
    return base[:, None, None, :] + shade[..., None]


def _frame(
    dice: _Dice, n: int, radius_u: tuple[int, int], radius_v: tuple[int, int], *, margin: int
) -> tuple[Array, Array]:
    """Coordinates of every sample in a figure's own frame, which is placed, turned and scaled at random.

    Args:
        dice: Where random numbers come from.
        n: How many frames.
        radius_u: Bounds of the figure's radius along u, in fixed point; UNIT in its own frame.
        radius_v: Likewise along v.
        margin: The centre's least distance from the edges, in fixed point.

    Returns:
        u and v, int32 ``[n, 64, 64]``.
    """
    middle = dice(margin, SIZE * PIXEL - margin, 2, n, 1)
    x, y = np.arange(2 * SIZE, dtype=np.int32) * (PIXEL // 2) + PIXEL // 4 - middle
    angle = dice(0, TURN - 1, n)
    cosine, sine = SINE[(angle + TURN // 4) % TURN] * UNIT, SINE[angle] * UNIT
    scale_u, scale_v = dice(*radius_u, n), dice(*radius_v, n)
    u = _affine(x, cosine // scale_u, y, sine // scale_u)
    v = _affine(x, -sine // scale_v, y, cosine // scale_v)
    return u, v


def _affine(x: Array, x_factor: Array, y: Array, y_factor: Array) -> Array:
    """``(x * x_factor + y * y_factor) / 2**14`` on the grid of ``x`` and ``y``, both ``[n, 64]``."""
    return ((x * x_factor[:, None])[:, None, :] + (y * y_factor[:, None])[:, :, None]) >> 14


def _paint(canvas: Array, samples: Array, colour: Array) -> None:
    """Blends ``colour`` ``[n, 3]`` in where ``samples`` (bool ``[n, 64, 64]``) are set, four a pixel."""
    hits = samples.view(np.uint8)
    hits = hits[:, 0::2, 0::2] + hits[:, 0::2, 1::2] + hits[:, 1::2, 0::2] + hits[:, 1::2, 1::2]
    canvas += ((colour[:, None, None, :] - canvas) * hits[..., None].astype(np.int16)) >> 2


def _stroke(dice: _Dice, n: int) -> Array:
    """Samples of a small bar, from a dot to a dash."""
    u, v = _frame(dice, n, (PIXEL, 5 * PIXEL), (PIXEL // 2, PIXEL), margin=0)
    return (abs(u) <= UNIT) & (abs(v) <= UNIT)


def _figure(dice: _Dice, u: Array, v: Array, labels: Array) -> tuple[Array, Array]:
    """Samples of each label's figure, and of the pattern on it where it has one: bool ``[n, 64, 64]``."""
    figure = np.zeros(u.shape, dtype=bool)
    pattern = np.zeros(u.shape, dtype=bool)
    phase_u, phase_v = dice(0, UNIT, 2, len(u), 1, 1)
    is_round = dice(0, 1, len(u), 1, 1) == 1
    for label, name in enumerate(CLASSES):
        rows = np.flatnonzero(labels == label)
        a, b = u[rows], v[rows]
        if name in SHAPES:
            figure[rows] = SHAPES[name](a, b)
        else:
            figure[rows] = np.where(is_round[rows], _disc(a, b), _square(a, b))
            pattern[rows] = figure[rows] & TEXTURES[name](a + phase_u[rows], b + phase_v[rows])
    return figure, pattern


def _disc(u: Array, v: Array, radius: int = 1000) -> Array:
    return u * u + v * v <= radius * radius


def _square(u: Array, v: Array) -> Array:
    return (abs(u) <= 850) & (abs(v) <= 850)


def _sides(u: Array, v: Array, sides: int, distance: int) -> Array:
    """How many of a regular polygon's side lines each sample is on the inside of."""
    inside = np.zeros(u.shape, dtype=np.uint8)
    for angle in range(0, TURN, TURN // sides):
        inside += (u * SINE[(angle + TURN // 4) % TURN] + v * SINE[angle]) >> 14 <= distance
    return inside


SHAPES = {
    "disc": _disc,
    "ring": lambda u, v: _disc(u, v) & ~_disc(u, v, 580),
    "square": _square,
    "triangle": lambda u, v: _sides(u, v, 3, 560) == 3,
    "cross": lambda u, v: ((abs(u) <= 290) & (abs(v) <= 1000)) | ((abs(v) <= 290) & (abs(u) <= 1000)),
    "star": lambda u, v: _sides(u, v, 5, 370) >= 4,
    "crescent": lambda u, v: _disc(u, v) & ~_disc(u - 520, v, 820),
}
TEXTURES = {
    "stripes": lambda u, v: u // 320 % 2 == 0,
    "checks": lambda u, v: (u // 400 + v // 400) % 2 == 0,
    "dots": lambda u, v: _disc(u % 640 - 320, v % 640 - 320, 210),
}

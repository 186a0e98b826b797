"""Places the names of points so that no two overlap: each takes the nearest free spot around its point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias, cast

from resbench.report.style import INK

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels."""
Boxes: TypeAlias = "NDArray[np.float64]"
"""Many of them, one a row."""

_RINGS_PT = (5, 12, 20, 30, 42, 56, 72, 90, 110, 135)
"""Distances from the point that are tried, in typographic points, nearest first."""
_ANGLES = (0, 180, 60, 120, -60, -120, 30, 150, -30, -150, 90, -90)
"""Directions that are tried at each distance, in degrees: beside the point first."""
_LEADER_PT = 12
"""From this distance on a thin line leads from the name to its point."""
_MARKER_PT = 4.5
"""Half the room that a marker takes."""


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    colours: Sequence[str],
    *,
    half_heights: Sequence[float] = (),
    avoid: Sequence[tuple[float, float]] = (),
    dots: Sequence[tuple[float, float]] = (),
    font_size: float = 8,
) -> list[Box]:
    """Writes a name at every point, greedily, the most crowded point first.

    The axes' limits and the figure's layout must be final, and its canvas Agg's. A spot is free where the
    name touches no other name, marker, error bar or line, and stays inside the axes; where none is, the one
    that covers least is taken.

    Args:
        axes: Where to write.
        points: (x, y) of each point in data coordinates.
        texts: The name of each point.
        colours: The colour of the line that leads from a name that is far off to its point.
        half_heights: Half the height of each point's error bar in data coordinates; empty for none.
        avoid: Corners, in data coordinates, of a line of level and upright stretches that names stay off.
        dots: (x, y) of points without a name, which names stay off.
        font_size: Of the names, in points.

    Returns:
        The box of each name, in the order of ``points``.
    """
    import numpy as np

    figure = cast("Figure", axes.get_figure())
    renderer = cast("FigureCanvasAgg", figure.canvas).get_renderer()
    pixel = figure.dpi / 72
    at = [(float(x), float(y)) for x, y in axes.transData.transform(points)]
    taken = _obstacles(axes, points, at, half_heights, avoid, pixel)
    taken += [(x - 2, y - 2, x + 2, y + 2) for x, y in (axes.transData.transform(dots) if dots else ())]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(cast("Box", tuple(legend.get_window_extent(renderer).extents)))
    inside = cast("Box", tuple(axes.get_window_extent(renderer).extents))
    boxes: dict[int, Box] = {}
    for index in sorted(range(len(at)), key=lambda index: -_crowding(index, at)):
        x, y = at[index]
        annotation = axes.annotate(
            texts[index],
            points[index],
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=font_size,
            color=INK,
            ha="left",
            va="bottom",
            zorder=5,
        )
        size = annotation.get_window_extent(renderer)
        spots = _spots(x, y, size.width, size.height, pixel)
        reach_x, reach_y = (_RINGS_PT[-1] * pixel + side + 2 for side in (size.width, size.height))
        reach = (x - reach_x, y - reach_y, x + reach_x, y + reach_y)
        near = np.array([box for box in taken if _overlap(box, reach)])
        distance, box = _best(spots, (x, y), near, np.array([inside]))
        annotation.set_position(((box[0] - x) / pixel, (box[1] - y) / pixel))
        boxes[index] = box
        taken.append(box)
        if distance >= _LEADER_PT:
            taken += _leader(box, x, y)
            ends = axes.transData.inverted().transform([(x, y), _nearest(box, x, y)])
            axes.plot(*ends.T, color=colours[index], linewidth=0.7, zorder=2, scalex=False, scaley=False)
    return [boxes[index] for index in range(len(at))]


def _obstacles(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    at: Sequence[tuple[float, float]],
    half_heights: Sequence[float],
    avoid: Sequence[tuple[float, float]],
    pixel: float,
) -> list[Box]:
    """Returns the boxes of what is drawn already: markers, error bars and a line."""
    reach = _MARKER_PT * pixel
    boxes = [(x - reach, y - reach, x + reach, y + reach) for x, y in at]
    for (x, y), half in zip(points, half_heights, strict=False):
        (left, low), (right, high) = axes.transData.transform([(x, y - half), (x, y + half)])
        boxes.append((left - 2 * pixel, low, right + 2 * pixel, high))
    for (x0, y0), (x1, y1) in pairwise(axes.transData.transform(avoid) if avoid else ()):
        boxes.append((min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1))
    return boxes


def _crowding(index: int, at: Sequence[tuple[float, float]]) -> float:
    """Sums the nearness of the other points."""
    return sum(1 / (20 + math.dist(at[index], other)) for i, other in enumerate(at) if i != index)


def _spots(x: float, y: float, width: float, height: float, pixel: float) -> list[tuple[float, Box]]:
    """Returns (distance in points, box) of every spot to try, nearest first."""
    spots: list[tuple[float, Box]] = []
    for distance in _RINGS_PT:
        for angle in _ANGLES:
            side, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            # The name's near edge, not its middle, lies on the ring.
            left = x + side * (distance * pixel + width / 2) - width / 2
            low = y + up * (distance * pixel + height / 2) - height / 2
            spots.append((distance, (left, low, left + width, low + height)))
    return spots


def _best(
    spots: Sequence[tuple[float, Box]],
    point: tuple[float, float],
    taken: Boxes,
    inside: Boxes,
) -> tuple[float, Box]:
    """Returns the first free spot, or the one that covers least; outside of the axes counts threefold."""
    boxes = [box for _, box in spots]
    areas = [(right - left) * (top - low) for left, low, right, top in boxes]
    shared = zip(areas, _shared(boxes, inside), _shared(boxes, taken), strict=True)
    least, best = math.inf, spots[0]
    for (distance, box), (area, in_axes, on_others) in zip(spots, shared, strict=True):
        covered = 3 * (area - in_axes) + on_others
        if distance >= _LEADER_PT and covered < least:
            covered += sum(_shared(_leader(box, *point), taken))
        if covered < least:
            least, best = covered, (distance, box)
        if covered <= 0.5:
            break
    return best


def _shared(boxes: Sequence[Box], others: Boxes) -> list[float]:
    """Returns the area that each box shares with the others, in square pixels, summed over them."""
    import numpy as np

    if not boxes or not len(others):
        return [0.0] * len(boxes)
    left, low, right, top = np.array(boxes).T[..., np.newaxis]
    width = (np.minimum(right, others[:, 2]) - np.maximum(left, others[:, 0])).clip(min=0)
    height = (np.minimum(top, others[:, 3]) - np.maximum(low, others[:, 1])).clip(min=0)
    areas: list[float] = (width * height).sum(axis=1).tolist()
    return areas


def _leader(box: Box, x: float, y: float) -> list[Box]:
    """Returns the line from a point to its name as a string of small boxes."""
    end_x, end_y = _nearest(box, x, y)
    steps = max(2, int(math.dist((x, y), (end_x, end_y)) / 5))
    # The first few lie on the point's own marker.
    dots = ((x + (end_x - x) * i / steps, y + (end_y - y) * i / steps) for i in range(3, steps))
    return [(at_x - 2, at_y - 2, at_x + 2, at_y + 2) for at_x, at_y in dots]


def _overlap(one: Box, other: Box) -> float:
    """Returns the area that two boxes share, in square pixels."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _nearest(box: Box, x: float, y: float) -> tuple[float, float]:
    """Returns the point of a box that is nearest to (x, y)."""
    return min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])

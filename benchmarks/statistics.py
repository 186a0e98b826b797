"""Simulates how often `resbench compare` calls unchanged code worse, and how often it finds what is there.

    python -m benchmarks.statistics            # writes results/statistics/compare.md, about five minutes

Every figure is made by the functions that decide: :func:`resbench.compare.judging.judge` and what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from resbench.compare.cells import MeasuredCell
from resbench.compare.judging import LONG_WEIGHT, NOTHING_KNOWN, SIGNIFICANCE, Spread, accuracy_spread, judge
from resbench.compare.metrics import METRICS, Thresholds, limit_of, repeatability
from resbench.noise import REPEATS
from resbench.stats.differences import moderated_tests

PAGE = Path("results/statistics/compare.md")
ACCURACY, *SPEEDS = METRICS
MODELS = 5


def speed(
    draws: int, *, seeds: int = 1, noise: float = 0.03, slower: float = 0.0, repeats: int = REPEATS
) -> tuple[float, float]:
    """Simulates comparisons of two folders of five models in all metrics of speed and memory.

    Args:
        draws: How many comparisons.
        seeds: A side.
        noise: Standard deviation of a reading, of its logarithm.
        slower: By which fraction the first model's training is slower.
        repeats: How often the first trial is measured again in either folder.

    Returns:
        How often anything that is unchanged is called worse, and how often the first model's training is.
    """
    generator, columns = np.random.default_rng(0), [metric.source for metric in SPEEDS]
    limits = [limit_of(metric, Thresholds(), {}) for metric in SPEEDS]
    false = found = 0
    for _ in range(draws):
        readings = np.exp(generator.normal(0, noise, (2, MODELS, len(SPEEDS), seeds)))
        again = np.exp(generator.normal(0, noise, (2, repeats, len(SPEEDS))))
        events = [_events(columns, first[0, :, 0], rest) for first, rest in zip(readings, again, strict=True)]
        known = repeatability(*(SimpleNamespace(noise_floors=of) for of in events))  # type: ignore[arg-type]
        readings[1, 0, 0] *= 1 - slower
        worse = np.array(
            [
                [
                    judge(
                        metric, readings[0, model, place].tolist(), readings[1, model, place].tolist(), limits[place],
                        Spread(*known[metric.source]) if metric.source in known else NOTHING_KNOWN,
                        tests=MODELS * len(SPEEDS),
                    ).verdict == "worse"
                    for place, metric in enumerate(SPEEDS)
                ]
                for model in range(MODELS)
            ]
        )  # fmt: skip
        found += int(worse[0, 0])
        worse[0, 0] &= not slower
        false += int(worse.any())
    return false / draws, found / draws


def _events(columns: list[str], first: NDArray[np.float64], again: NDArray[np.float64]) -> list[dict[str, object]]:
    """Returns the events of a trial that was measured again."""
    own = dict(zip(columns, first.tolist(), strict=True))
    return [{"trial_id": "x", "first": own, "again": dict(zip(columns, row, strict=True))} for row in again.tolist()]


def accuracy(
    draws: int,
    *,
    seeds: int,
    sd: float,
    loss: float = 0.0,
    mean: float = 94.0,
    epochs: float = 26.0,
    images: int | None = None,
) -> tuple[float, float]:
    """Simulates comparisons of one model's accuracy; all in points.

    Args:
        draws: How many.
        seeds: A side.
        sd: From run to run.
        loss: Of the second folder.
        mean: Of the first one.
        epochs: How long was trained.
        images: Of the test set; those of the published figures if not given.

    Returns:
        How often it is called worse, and how often the 95 % interval of the difference holds the loss. The assumed
        deviation is that of the mean; every comparison takes that of its own accuracies.
    """
    runs = np.random.default_rng(0).normal(mean, sd, (draws, 2, seeds))
    runs[:, 1] -= loss
    cell, some = MeasuredCell({}, frozenset(), {}, {}, {}, epochs, images), [mean] * seeds
    known = accuracy_spread(cell, some, some)
    tests = moderated_tests(runs[:, 1], runs[:, 0], deviation=known.deviation, weight=known.weight)
    limit = limit_of(ACCURACY, Thresholds(), {}).size
    worse = (tests.p < SIGNIFICANCE) & (tests.difference < -limit)
    return float(worse.mean()), float((np.abs(tests.difference + loss) < tests.half_width).mean())


def accuracy_on(draws: int, *, images: int, mean: float = 0.94, share: float = 0.64) -> float:
    """Simulates two networks that were trained alike, image by image, and returns how often one is called worse.

    Args:
        draws: How many pairs.
        images: Of the test set.
        mean: The accuracy, a fraction.
        share: What the variance from run to run is of that of a binomial: 0.64 is the largest published, and 1 that of
            networks which get every image right with the same chance.
    """
    generator = np.random.default_rng(0)
    size = share / max(1 - share, 1e-6)
    chances = generator.beta(mean * size, (1 - mean) * size, images) if share < 1 else np.full(images, mean)
    cell, limit = MeasuredCell({}, frozenset(), {}, {}, {}, 26.0, images), limit_of(ACCURACY, Thresholds(), {})
    worse = 0
    for _ in range(draws):
        base, new = ([100 * float(one)] for one in (generator.random((2, images)) < chances).mean(axis=1))
        worse += judge(ACCURACY, base, new, limit, accuracy_spread(cell, base, new)).verdict == "worse"
    return worse / draws


def _tables(draws: int) -> Iterator[str]:
    """Yields the page, line by line."""
    yield "# How often `resbench compare` is wrong, and what it finds"
    yield ""
    yield (
        "Made by `python -m benchmarks.statistics`, by the code that judges, with "
        f"{draws:,} simulated comparisons a figure ({draws // 20:,} of folders, {draws // 100:,} where something is "
        f"slower, {draws // 5:,} image by image)."
    )
    yield ""
    yield "## Speed and memory: five models, six metrics, unchanged code"
    yield ""
    yield (
        "Called worse anywhere, and one training that is slower by so much found; A/A is how often a trial is measured "
        "again in either folder."
    )
    yield ""
    yield "| noise of a reading | A/A | seeds a side | false worse | 15 % slower | 25 % slower | 40 % slower |"
    yield "|---|---|---|---|---|---|---|"
    for noise, repeats, seeds in [
        (0.03, 0, 1), (0.03, 1, 1), (0.03, 3, 1), (0.03, 6, 1), (0.01, 3, 1), (0.08, 3, 1), (0.03, 0, 3), (0.03, 3, 2),
        (0.03, 3, 3), (0.03, 3, 5),
    ]:  # fmt: skip
        false = speed(draws // 20, seeds=seeds, noise=noise, repeats=repeats)[0]
        found = [
            speed(draws // 100, seeds=seeds, noise=noise, repeats=repeats, slower=slower)[1]
            for slower in (0.15, 0.25, 0.4)
        ]
        yield f"| {noise:.0%} | {repeats} | {seeds} | {false:.1%} | {' | '.join(f'{one:.0%}' for one in found)} |"
    yield ""
    yield "## Accuracy: long trainings, 94 % on 10,000 images"
    yield ""
    yield f"The assumed deviation is 0.19 points and is worth {LONG_WEIGHT:g} degrees of freedom beside seeds."
    yield ""
    yield "| true deviation | seeds a side | false worse | in the 95 % interval | loss of 0.8 points found |"
    yield "|---|---|---|---|---|"
    for sd in (0.15, 0.19, 0.38):
        for seeds in (1, 2, 3, 5):
            false, within = accuracy(draws, seeds=seeds, sd=sd)
            found_loss = accuracy(draws, seeds=seeds, sd=sd, loss=0.8)[0]
            yield f"| {sd} | {seeds} | {false:.1%} | {within:.1%} | {found_loss:.0%} |"
    yield ""
    yield "## Accuracy: trainings under 16 epochs"
    yield ""
    yield "| true deviation | seeds a side | false worse | in the 95 % interval | loss of 10 points found |"
    yield "|---|---|---|---|---|"
    for sd in (0.5, 1.63, 5.03):
        for seeds in (1, 2, 3, 5):
            false, within = accuracy(draws, seeds=seeds, sd=sd, mean=40.0, epochs=1.0)
            found_loss = accuracy(draws, seeds=seeds, sd=sd, mean=40.0, epochs=1.0, loss=10.0)[0]
            yield f"| {sd} | {seeds} | {false:.1%} | {within:.1%} | {found_loss:.0%} |"
    yield ""
    yield "## Accuracy: one seed a side on fewer test images, image by image at 94 %"
    yield ""
    yield "The share is what the variance from run to run is of a binomial's: 0.40 and 0.64 are published."
    yield ""
    yield "| test images | share | false worse |"
    yield "|---|---|---|"
    for images in (500, 2000, 10_000):
        for share in (0.4, 0.64, 1.0):
            yield f"| {images:,} | {share} | {accuracy_on(draws // 5, images=images, share=share):.1%} |"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(_tables(20_000)) + "\n", encoding="utf-8")

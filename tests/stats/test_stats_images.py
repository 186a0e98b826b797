from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from resbench.stats.images import image_interval


def hits(generator: np.random.Generator, seeds: int, images: int, *, easy: float = 0.8) -> np.ndarray:
    """Two models that find the same images hard: bool [2, seeds, images]."""
    chance = np.clip(generator.normal(easy, 0.3, images), 0.02, 0.98)
    return generator.random((2, seeds, images)) < chance


@pytest.mark.parametrize(("seeds", "images"), [(1, 60), (3, 200), (3, 2_000), (20, 500)])
def test_it_is_the_percentile_bootstrap_over_images(seeds, images):
    first, second = hits(np.random.default_rng(seeds), seeds, images)
    difference = first.mean(axis=0) - second.mean(axis=0)
    drawn = scipy.stats.bootstrap(
        (difference,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    )
    low, high = drawn.confidence_interval
    error = 4 * drawn.standard_error * np.sqrt(0.025 * 0.975 / 20_000) / 0.058  # of a quantile at 0.025: density 0.058
    assert image_interval(first, second) == pytest.approx((low, high), abs=error + 1 / (seeds * images))


def test_a_few_images_are_counted_exactly():
    # One image of two differs: of the four draws of two images one holds it twice, two hold it once.
    first, second = np.array([[True, True]]), np.array([[True, False]])
    assert image_interval(first, second) == (0.0, 1.0)
    # Of 3 ** 3 draws of three images, 1 has a sum of -3 and 1 one of 3: each more than 2.5 %.
    assert image_interval(np.array([[1, 0, 0]], dtype=bool), np.array([[0, 1, 0]], dtype=bool)) == (-1.0, 1.0)


def test_the_other_way_round_the_signs_change():
    first, second = hits(np.random.default_rng(5), 3, 1_000)
    low, high = image_interval(first, second)
    assert image_interval(second, first) == pytest.approx((-high, -low), abs=1 / 3_000)


def test_what_both_models_get_right_and_wrong_alike_has_no_spread():
    first, _ = hits(np.random.default_rng(0), 3, 100)
    assert image_interval(first, first) == (0.0, 0.0)
    assert image_interval(np.ones((2, 9), dtype=bool), np.zeros((2, 9), dtype=bool)) == (1.0, 1.0)


def test_pairing_makes_the_interval_narrower_than_two_apart():
    generator = np.random.default_rng(3)
    first, second = hits(generator, 3, 5_000)
    low, high = image_interval(first, second)
    shuffled = image_interval(first, second[:, generator.permutation(5_000)])
    assert high - low < 0.8 * (shuffled[1] - shuffled[0])


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="no pair"):
        image_interval(np.ones((2, 9), dtype=bool), np.ones((2, 8), dtype=bool))
    with pytest.raises(ValueError, match="no pair"):
        image_interval(np.ones((0, 9), dtype=bool), np.ones((0, 9), dtype=bool))

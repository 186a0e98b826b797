from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resbench.stats.tiers import share_tier, tier_letters


def apart(models: int, *pairs: tuple[int, int]) -> np.ndarray:
    separated = np.zeros((models, models), dtype=bool)
    for one, other in pairs:
        separated[one, other] = separated[other, one] = True
    return separated


@pytest.mark.parametrize(
    ("separated", "letters"),
    [
        (apart(0), []),
        (apart(1), ["a"]),
        (apart(3), ["a", "a", "a"]),
        (apart(3, (0, 1), (0, 2), (1, 2)), ["a", "b", "c"]),
        (apart(3, (0, 2)), ["a", "ab", "b"]),
        (apart(4, (0, 2), (0, 3), (1, 3)), ["a", "ab", "bc", "c"]),
        # The one in the middle varies so much that nothing is separated from it, and its neighbours are.
        (apart(4, (0, 2), (0, 3)), ["a", "ab", "b", "b"]),
        (apart(3, (0, 1)), ["a", "b", "ab"]),
    ],
)
def test_letters_of_small_cases(separated, letters):
    assert tier_letters(separated) == letters


@given(st.integers(1, 14), st.randoms(use_true_random=False))
def test_two_models_share_a_tier_exactly_where_nothing_separates_them(models, random):
    pairs = [(a, b) for a in range(models) for b in range(a) if random.random() < 0.5]
    separated = apart(models, *pairs)
    letters = tier_letters(separated)
    for one in range(models):
        for other in range(models):
            assert share_tier(letters[one], letters[other]) == (not separated[one, other])


def test_the_best_model_is_in_the_first_tier_and_every_tier_is_used():
    letters = tier_letters(apart(6, (0, 3), (1, 4), (2, 5), (0, 5)))
    assert letters[0].startswith("a")
    used = sorted(set("".join(letters)))
    assert used == [chr(ord("a") + place) for place in range(len(used))]


def test_there_are_names_for_more_tiers_than_letters():
    # No two share: thirty tiers.
    letters = tier_letters(~np.eye(30, dtype=bool))
    assert letters[24:28] == ["y", "z", "a1", "b1"]
    assert len(set(letters)) == 30
    assert not share_tier("a", "a1")
    assert share_tier("yza1", "a1b1")
    assert all(re.fullmatch(r"[a-z]\d*", letter) for letter in letters)


def test_pairs_that_exclude_each_other_two_by_two_take_few_tiers():
    # Of 25 such pairs 2 ** 25 largest sets can be made; a tier for each would never end.
    letters = tier_letters(apart(50, *((2 * place, 2 * place + 1) for place in range(25))))
    assert len(set(re.findall(r"[a-z]\d*", "".join(letters)))) < 100

"""Which executor runs a suite's trials, and what can be asked of it."""

from __future__ import annotations

from typing import Any

import pytest

from resbench.errors import InputError
from resbench.planning.settings import resolve_conduct
from resbench.suite import RunOptions, make_suite


def test_a_cluster_is_asked_for_in_a_suite_or_by_flags() -> None:
    data = {"name": "x", "models": ["cnn"], "run": {"executor": "ray", "cpus_per_trial": 2, "retries": 5}}
    suite = make_suite(data, ray_address="10.0.0.1:6379", retries=0)
    conduct = resolve_conduct(suite.run)
    assert (conduct.executor, conduct.ray_address) == ("ray", "10.0.0.1:6379")
    assert (conduct.cpus_per_trial, conduct.retries) == (2, 0)
    assert resolve_conduct(RunOptions()).executor == "local"


@pytest.mark.parametrize(
    ("options", "seeds", "message"),
    [
        ({"executor": "rya"}, 1, r"unknown executor 'rya'. Did you mean ray\? Accepted: local, ray."),
        ({"ray_address": "auto"}, 1, "--ray-address: for trials on a Ray cluster. Give --executor ray too"),
        ({"ray_address": "auto", "cpus_per_trial": 1}, 1, "--ray-address, --cpus-per-trial: for trials"),
        ({"executor": "ray"}, 2, "concurrent_seeds is 2 and the executor is ray, which gives each trial a GPU"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(options: dict[str, Any], seeds: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_conduct(RunOptions(**options), concurrent_seeds=seeds)

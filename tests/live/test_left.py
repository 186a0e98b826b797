from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from records import make_record, make_trial

from resbench.live.left import TimeLeft
from resbench.schema import Trial


class Suite:
    """A suite under a clock that goes where it is told to go."""

    def __init__(self, *trials: Trial, expected_s: Mapping[str, float] | None = None, **how: Any) -> None:
        self.time = 0.0
        self.left = TimeLeft(trials, expected_s=expected_s, now=lambda: self.time, **how)

    def begin(self, trial: Trial, *, after: float = 0.0) -> None:
        self.time += after
        self.left(trial, "phase", {"phase": "data"})

    def progress(self, trial: Trial, fraction: float, seconds_left: float, *, after: float = 0.0) -> None:
        self.time += after
        self.left(trial, "progress", {"fraction": fraction, "seconds_left": seconds_left})

    def end(self, trial: Trial, *, after: float = 0.0, **record: Any) -> None:
        self.time += after
        self.left(trial, "trial", make_record(trial, **record))


CNN, CNN_1, R34, R34_1 = (make_trial(model, seed) for model in ("cnn", "resnet34") for seed in (0, 1))


def test_of_what_nothing_is_known_nothing_is_said() -> None:
    suite = Suite(CNN, R34)
    assert suite.left.of_suite() is None
    suite.begin(CNN)
    assert suite.left.of_trial(CNN.trial_id) is None
    suite.progress(CNN, 0.1, 90.0, after=10)
    assert suite.left.of_trial(CNN.trial_id) == 90
    assert suite.left.of_suite() is None  # the other network may take any time


def test_a_training_without_evaluations_takes_what_its_clock_says() -> None:
    suite = Suite(CNN)
    suite.begin(CNN)
    for second in range(100):
        suite.progress(CNN, second / 100, 100 - second, after=1)
        assert suite.left.of_suite() == pytest.approx(100 - second)


def test_the_wall_time_that_evaluations_took_so_far_is_expected_of_the_rest_too() -> None:
    suite = Suite(CNN)
    suite.begin(CNN)
    suite.progress(CNN, 0.0, 100.0, after=7)  # 7 s before the training are none of it
    for epoch in range(1, 10):  # 10 s of training, 5 s of evaluation
        suite.progress(CNN, epoch / 10, 100 - 10 * epoch, after=15)
        assert suite.left.of_trial(CNN.trial_id) == pytest.approx(150 - 15 * epoch)


def test_a_training_that_goes_on_is_judged_by_what_it_did_since_then() -> None:
    suite = Suite(CNN)
    suite.begin(CNN)
    suite.left(CNN, "training", {"steps": 500})
    suite.progress(CNN, 0.5, 50.0)
    suite.progress(CNN, 0.6, 40.0, after=20)  # 10 s of its clock
    assert suite.left.of_trial(CNN.trial_id) == pytest.approx(80)


def test_another_attempt_begins_anew() -> None:
    suite = Suite(CNN)
    suite.begin(CNN)
    suite.progress(CNN, 0.0, 100.0)
    suite.progress(CNN, 0.5, 50.0, after=500)
    suite.left(CNN, "training", {"steps": 0})
    assert suite.left.of_trial(CNN.trial_id) is None
    suite.progress(CNN, 0.0, 100.0, after=30)
    assert suite.left.of_trial(CNN.trial_id) == 100


def test_between_two_messages_the_time_goes_on_and_ends_at_nothing() -> None:
    suite = Suite(CNN)
    suite.begin(CNN)
    suite.progress(CNN, 0.5, 10.0)
    for second in range(12):
        assert suite.left.of_trial(CNN.trial_id) == max(0, 10 - second)
        suite.time += 1


def test_a_spent_budget_leaves_nothing() -> None:
    suite = Suite(CNN)
    suite.begin(CNN)
    suite.progress(CNN, 0.0, 10.0)
    suite.progress(CNN, 1.0, 0.0, after=10)
    assert suite.left.of_suite() == 0
    suite.end(CNN)
    assert suite.left.of_trial(CNN.trial_id) is None
    assert suite.left.of_suite() == 0


def test_seeds_that_wait_take_as_long_as_those_that_ended_and_the_starts_between_count() -> None:
    others = [make_trial("cnn", seed) for seed in (2, 3)]
    suite = Suite(CNN, R34, CNN_1, R34_1, *others)
    for trial, took in ((CNN, 10), (R34, 40), (CNN_1, 20)):
        suite.begin(trial, after=4)
        suite.end(trial, after=took)
    assert suite.left.of_trial(others[0].trial_id) == 15
    assert suite.left.of_suite() == 40 + 15 + 15 + 3 * 4
    suite.begin(R34_1, after=4)
    assert suite.left.of_trial(R34_1.trial_id) == 40
    suite.time += 30
    assert suite.left.of_suite() == 10 + 15 + 15 + 2 * 4


def test_an_expectation_that_has_passed_says_nothing_more() -> None:
    suite = Suite(CNN, expected_s={CNN.trial_id: 20.0})
    suite.begin(CNN)
    suite.time += 20
    assert suite.left.of_trial(CNN.trial_id) is None
    assert suite.left.of_suite() is None
    suite.progress(CNN, 0.0, 30.0, after=5)
    assert suite.left.of_suite() == 30


@pytest.mark.parametrize("changes", [{"budget": "1ep"}, {"batch_size": 8}, {"recipe": "common"}])
def test_the_same_network_otherwise_trained_says_nothing(changes: dict[str, Any]) -> None:
    other = make_trial("cnn", 1, **changes)
    suite = Suite(CNN, other)
    suite.begin(CNN)
    suite.end(CNN, after=10)
    assert suite.left.of_suite() is None


@pytest.mark.parametrize("record", [{"status": "crashed"}, {"status": "ok", "resumed": 1}])
def test_a_trial_that_was_not_whole_does_not_say_how_long_one_takes(record: dict[str, Any]) -> None:
    suite = Suite(CNN, CNN_1)
    suite.begin(CNN)
    suite.end(CNN, after=10, **record)
    assert suite.left.of_suite() is None


def test_what_was_expected_holds_until_a_trial_like_it_has_ended() -> None:
    suite = Suite(CNN, CNN_1, R34, expected_s={CNN.trial_id: 100.0, CNN_1.trial_id: 100.0, R34.trial_id: 300.0})
    assert suite.left.of_suite() == 500
    suite.begin(CNN)
    suite.time += 60
    assert suite.left.of_trial(CNN.trial_id) == 40
    assert suite.left.of_suite() == 440
    suite.end(CNN)
    assert suite.left.of_suite() == 60 + 300


def test_seeds_that_run_together_count_once() -> None:
    seeds = [make_trial("cnn", seed) for seed in range(6)]
    suite = Suite(*seeds, R34, together=4, expected_s={trial.trial_id: 100.0 for trial in (*seeds, R34)})
    assert suite.left.of_suite() == 300  # four, two, and the other network
    suite.begin(seeds[0])
    assert suite.left.of_suite() == 300
    for trial in seeds[1:4]:
        suite.begin(trial)
    for trial, seconds in zip(seeds, (10.0, 60.0, 30.0, 20.0), strict=False):
        suite.progress(trial, 0.5, seconds)
    assert suite.left.of_suite() == 60 + 100 + 100
    suite.left(seeds[0], "training", {"steps": 0})
    suite.time = 1000.0
    suite.progress(seeds[1], 0.5, 60.0)  # the others are long over what was expected, and not as far
    assert suite.left.of_suite() == 60 + 100 + 100
    for trial in seeds[:4]:
        suite.end(trial, status="crashed")
    suite.begin(seeds[4])
    suite.begin(seeds[5])
    suite.progress(seeds[4], 0.5, 25.0)
    suite.progress(seeds[5], 0.5, 35.0)
    assert suite.left.of_suite() == 35 + 100


def test_trials_on_a_cluster_share_what_is_left_and_none_ends_before_the_longest() -> None:
    trials = [make_trial("cnn", seed) for seed in range(6)]
    suite = Suite(*trials, expected_s={trial.trial_id: 60.0 for trial in trials}, side_by_side=True)
    assert suite.left.of_suite() == 360  # nobody knows yet how many run at once
    for trial in trials[:3]:
        suite.begin(trial)
    assert suite.left.of_suite() == 120
    suite.end(trials[0], after=60)
    suite.end(trials[1])
    suite.begin(trials[3])
    suite.begin(trials[4])
    suite.progress(trials[2], 0.1, 90.0)
    assert suite.left.of_suite() == pytest.approx((90 + 60 + 60 + 60) / 3)
    for trial in trials[3:5]:
        suite.end(trial, after=30)
    suite.begin(trials[5])
    suite.end(trials[5], after=1)
    assert suite.left.of_suite() == pytest.approx(29)  # the longest, whatever its share

"""Suites whose networks are partly not there, since the code that was to register them is at fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_folder import make_tiny_folder
from user_code import LINEAR, builder, forgetting, write

from resbench.errors import InputError
from resbench.origins import Fault, note_fault
from resbench.planning.missing import leave_out_missing
from resbench.planning.plan import plan_suite
from resbench.plugins import code_of
from resbench.registry import model_entry
from resbench.suite import Suite, make_suite


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forgets what a test imports."""
    with forgetting():
        yield


def arms() -> Suite:
    return make_suite(
        {
            "name": "mine",
            "arms": [{"name": "ours", "model": "resnet34"}, {"name": "theirs", "model": "lost"}],
            "compare": [{"question": "which?", "arm": "ours", "against": "theirs"}],
            "source": {
                "title": "A page",
                "said": ["something"],
                "claims": [
                    {"arm": "theirs", "column": "params", "value": 1.0},
                    {"arm": "ours", "column": "params", "value": 2.0},
                ],
            },
        }
    )


def test_where_all_code_was_imported_nothing_is_left_out():
    suite = make_suite({"name": "x", "models": ["lost", "resnet34"]})
    assert leave_out_missing(suite) == (suite, {})  # planning refuses it: the name is a mistake


def test_networks_that_are_there_stay():
    note_fault(Fault("nets.py:1", "cannot be imported"))
    suite = make_suite({"name": "x", "models": ["lost", "resnet34", "lost*", "d2l*"]})
    changed, why = leave_out_missing(suite)
    assert changed.models == ["resnet34", "d2l*"]
    assert [*why] == ["lost", "lost*"]
    same = make_suite({"name": "x", "models": ["resnet34"]})
    assert leave_out_missing(same) == (same, {})


def test_a_question_goes_with_a_network_that_it_is_about():
    note_fault(Fault("nets.py:1", "cannot be imported"))
    compare = [
        {"question": "how?", "arm": "resnet50", "against": "resnet34"},
        {"question": "which?", "arm": "lost", "against": "resnet34"},
    ]
    changed, _ = leave_out_missing(make_suite({"name": "x", "models": ["resnet*", "lost"], "compare": compare}))
    assert [pair.question for pair in changed.compare] == ["how?"]


def test_an_arm_goes_with_what_is_said_of_it():
    note_fault(Fault("nets.py:1", "cannot be imported"))
    changed, why = leave_out_missing(arms())
    assert [arm.name for arm in changed.arms] == ["ours"]
    assert changed.compare == []
    assert [claim.arm for claim in changed.source.claims] == ["ours"]
    assert [*why] == ["lost"]


def test_where_nothing_is_left_the_faults_are_told():
    note_fault(Fault("nets.py:7", "cannot be imported: ValueError"))
    with pytest.raises(InputError, match=r"none of the suite's networks is there: lost\. .* nets\.py:7: cannot be"):
        leave_out_missing(make_suite({"name": "x", "models": ["lost"]}))


def test_a_plan_knows_the_code_of_its_networks_and_tells_of_faults(tmp_path: Path):
    good = write(tmp_path / "good_nets.py", builder("good", LINEAR))
    bad = write(tmp_path / "bad_nets.py", "\n1 / 0\n")
    suite = make_suite(
        {
            "name": "x",
            "models": ["good", "lost", "cnn"],
            "imports": [str(good), str(bad)],
            "dataset": f"folder:{make_tiny_folder(tmp_path / 'shades')}",
            "batch_size": 8,
            "budget": "1e9flop",
        }
    )
    plan = plan_suite(suite)
    assert {trial.model: trial.code for trial in plan.trials} == {"good": code_of(model_entry("good")), "cnn": None}
    assert plan.inputs.imports == (str(good),)  # what a trial needs, and no more
    assert plan.notices == [
        "bad_nets.py:4: cannot be imported: ZeroDivisionError: division by zero",
        "lost is left out: nothing that could be imported registers it",
    ]
    assert [*plan.left_out] == ["lost"]


def test_a_network_that_cannot_be_counted_is_left_to_its_trial(tmp_path: Path):
    path = write(tmp_path / "nets.py", builder("raises", "1 / 0"))
    suite = make_suite(
        {
            "name": "x",
            "models": ["raises"],
            "imports": [str(path)],
            "dataset": f"folder:{make_tiny_folder(tmp_path / 'shades')}",
            "batch_size": 8,
            "budget": "1e9flop",
        }
    )
    assert [trial.model for trial in plan_suite(suite).trials] == ["raises"]

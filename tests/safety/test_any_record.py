"""Whatever happens to a records file, what stands before the damage is read; whatever is in it, no table breaks."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import try_out
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from records import make_epochs, make_record, make_trial

from resbench.frames import collect
from resbench.measure.ruler import Reading, Ruler
from resbench.measure.telemetry import WindowReport
from resbench.noise import noise_floor
from resbench.report.details import noise_words
from resbench.report.experiments.reading import own_run
from resbench.schema import SCHEMA_VERSION, STATUSES, Hits, ProfileRecord
from resbench.schema.events import _EVENTS, check_event
from resbench.store import Store, load_results

QUICK = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
KEYS = st.text(max_size=10).filter(lambda key: key not in {"event", "schema_version"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=6,
)
EVENTS = st.dictionaries(KEYS, JSON, max_size=4)
numbers = itertools.count()


def new_store(tmp_path: Path) -> Store:
    """A fresh one: the folder outlives the single examples of a test."""
    return Store(tmp_path / str(next(numbers)), create=True)


@given(st.lists(EVENTS, min_size=1, max_size=4))
@example([{"text": "\ud800\u2028\x00\r\n\x1b"}])
@QUICK
def test_any_event_that_is_appended_comes_back_as_it_was(tmp_path: Path, events: list[dict[str, Any]]) -> None:
    store = new_store(tmp_path)
    for event in events:
        store.append("epoch", event)
    assert store.events() == [{"schema_version": SCHEMA_VERSION, "event": "epoch", **event} for event in events]


def read_until_refused(store: Store) -> list[dict[str, Any]]:
    """The events before the first that is refused, or that is torn."""
    events = []
    reading = store.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while (event := try_out(lambda: next(reading, None))[0]) is not None:
            events.append(event)
    return events


@given(st.lists(EVENTS, min_size=1, max_size=4), st.data())
@QUICK
def test_a_file_cut_at_any_byte_keeps_every_line_before_and_can_be_gone_on_with(
    tmp_path: Path, events: list[dict[str, Any]], data: st.DataObject
) -> None:
    store = new_store(tmp_path)
    for event in events:
        store.append("epoch", event)
    written, content = store.events(), store.path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    store.path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n") + (content[cut : cut + 1] == b"\n")  # a line may lack no more than its end
    assert read_until_refused(store) == written[:whole]
    store.append("epoch", {"after": True})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is torn any more
        assert [event.get("after") for event in store.read()] == [None] * whole + [True]


@given(st.lists(EVENTS, min_size=1, max_size=3), st.binary(min_size=1, max_size=40))
@example([{}], b"\x00" * 40)
@example([{}], b'{"schema_version": 1e999, "event": ""}')
@example([{}], b'{"schema_version": 2, "event": "x", "y": ' + b"[" * 50_000)
@QUICK
def test_garbage_at_the_end_costs_no_line_before_it(
    tmp_path: Path, events: list[dict[str, Any]], garbage: bytes
) -> None:
    store = new_store(tmp_path)
    for event in events:
        store.append("epoch", event)
    written = store.events()
    with store.path.open("ab") as file:
        file.write(garbage)
    assert read_until_refused(store)[: len(written)] == written
    store.append("epoch", {"after": True})
    assert read_until_refused(store)[: len(written)] == written
    if b"\n" not in garbage:
        assert read_until_refused(store)[-1].get("after") is True


@given(st.lists(st.booleans(), max_size=70))
@settings(deadline=None)
def test_hits_come_back_bit_by_bit(correct: list[bool]) -> None:
    hits = Hits.pack(np.array(correct, dtype=bool))
    again = Hits.from_dict(json.loads(json.dumps(hits.to_dict())))
    assert again == hits
    assert again.unpack().tolist() == correct


# The order of events -----------------------------------------------------------------------------------------------

TRIALS = [make_trial(seed=seed) for seed in range(3)]
EPOCHS = {trial.trial_id: make_epochs(trial, accuracy=0.5, seconds=1.0, epochs=5) for trial in TRIALS}


WINDOW = WindowReport("train", 1.0, 2, 1.0, 1.0, 1.0, None, None, ["idle"], None, 0.1, 0.01, "valid", [])


def _event(kind: str, index: int, number: int) -> dict[str, Any]:
    """An event of one of three trials, as a run writes it; what ``number`` says depends on the kind."""
    trial, trial_id = TRIALS[index], TRIALS[index].trial_id
    data: dict[str, Any] = {
        "suite": lambda: {"trials": [trial.to_dict() for trial in TRIALS[: index + 1]]},
        "start": lambda: {"trial": trial.to_dict(), "steps": 98 * number, "started_at": "2030-01-01T00:00:00+00:00"},
        "training": lambda: {"trial_id": trial_id, "steps": 98 * number},
        "epoch": lambda: EPOCHS[trial_id][number],
        "trial": lambda: make_record(trial, status=STATUSES[number]),
        "hits": lambda: {"trial_id": trial_id, **Hits.pack(np.ones(number, dtype=bool)).to_dict()},
        "profile": lambda: {**dict.fromkeys(field.name for field in fields(ProfileRecord)), "trial_id": trial_id},
        "ruler": lambda: Ruler("CPU", "fp32", (Reading("sleep", None, math.nan, "s", None, False),)).to_dict(),
        "telemetry": lambda: {"trial_id": trial_id, **WINDOW.to_dict()},
        "noise_floor": lambda: noise_floor(make_record(trial), {**make_record(trial), "reasons": []}),
    }[kind]()
    return {"schema_version": SCHEMA_VERSION, "event": kind, **data}


KINDS = (
    "ruler",
    "telemetry",
    "noise_floor",
    "suite",
    "start",
    "training",
    "epoch",
    "epoch",
    "trial",
    "hits",
    "profile",
)
ORDERS = st.lists(st.builds(_event, st.sampled_from(KINDS), st.integers(0, 2), st.integers(0, 4)), max_size=25)


def _last_words(events: list[dict[str, Any]]) -> dict[str, str]:
    """How each trial ended, as the events tell it: the last word counts."""
    statuses: dict[str, str] = {}
    for event in events:
        if event["event"] == "suite":
            for data in event["trials"]:
                statuses.setdefault(data["trial_id"], "not_run")
        elif event["event"] == "start":
            statuses[event["trial"]["trial_id"]] = "interrupted"
        elif event["event"] == "trial":
            statuses[event["trial_id"]] = event["status"]
    return statuses


@given(ORDERS)
@QUICK
def test_in_whatever_order_events_come_there_is_one_row_a_trial_and_epochs_only_rise(
    events: list[dict[str, Any]],
) -> None:
    for event in events:
        check_event(event)
    collected = collect(events)
    trials, epochs, profile = collected.trial_frame(), collected.epoch_frame(), collected.profile_frame()
    expected = _last_words(events)
    assert dict(zip(trials["trial_id"], trials["status"], strict=True)) == expected
    assert len(trials) == len(expected)
    for _, of_one in epochs.groupby("trial_id"):
        assert of_one["steps"].is_monotonic_increasing
        assert of_one["steps"].is_unique
    assert not profile.duplicated("trial_id").any()
    assert set(profile["trial_id"]) <= set(trials["trial_id"])


# What an event holds -----------------------------------------------------------------------------------------------

PLACES = [(kind, name) for kind, model in _EVENTS.items() for name in model.model_fields]


@given(st.sampled_from(PLACES), JSON)
@example(("trial", "params"), 2**63)
@example(("trial", "test_accuracy"), 1e308)
@example(("trial", "test_accuracy"), 10**400)
@example(("trial", "weights"), None)
@example(("suite", "trials"), [{}])
@example(("suite", "suite"), None)
@example(("suite", "inputs"), {"resize": 5})
@example(("noise_floor", "relative"), {"step_ms_p50": "x"})
@example(("noise_floor", "relative"), ["step_ms_p50"])
@QUICK
def test_an_event_with_anything_in_one_place_is_refused_or_makes_tables(
    tmp_path: Path, place: tuple[str, str], value: Any
) -> None:
    kind, name = place
    store = new_store(tmp_path)
    store.append("trial", make_record(make_trial(seed=7)))
    changed = {**_event(kind, 0, 1), name: value}
    store.append(kind, {key: entry for key, entry in changed.items() if key not in {"event", "schema_version"}})
    results, refusal = try_out(lambda: load_results(store.folder))
    if results is None:
        assert f"{store.path}, line 2: not a resbench record" in refusal
    else:
        assert len(results.trials) >= 1
        store.derive()
        assert noise_words(results)
        assert own_run(results) is None


@pytest.mark.parametrize("kind", _EVENTS)
@pytest.mark.parametrize(
    ("value", "fits"), [("x", "str"), (True, "bool"), (1e300, None), ([[]], None), ({"x": [{}]}, None)], ids=str
)
def test_each_kind_of_event_with_something_else_in_any_place_is_refused(
    kind: str, value: Any, fits: str | None
) -> None:
    for name, field in _EVENTS[kind].model_fields.items():
        if fits is None or fits not in str(field.annotation):
            with pytest.raises(ValueError, match=rf"^{kind}\.{name}"):
                check_event({**_event(kind, 0, 1), name: value})


@pytest.mark.parametrize("kind", _EVENTS)
def test_what_a_run_writes_passes(kind: str) -> None:
    check_event(_event(kind, 0, 1))


def test_a_kind_of_event_that_is_not_known_is_left_alone() -> None:
    check_event({"schema_version": SCHEMA_VERSION, "event": "weather", "trial_id": []})

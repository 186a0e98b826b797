from __future__ import annotations

from types import SimpleNamespace

import pytest

from resbench.schema import TrialRecord, columns
from resbench.training import ledger as module
from resbench.training.ledger import PARTS, Ledger


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def go(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_parts_add_up_to_wall_as_a_trial_books_them(clock):
    ledger = Ledger()
    clock.go(1)  # loading the dataset: no part's
    with ledger.part("profile"):
        clock.go(16)
    ledger.add("compile", 5)  # what of it was the compiler's
    ledger.add("profile", -5)
    with ledger.part("build"):
        clock.go(2)
    with ledger.part("warmup"):
        clock.go(4)
    for _ in range(2):
        clock.go(8)  # an epoch, booked from the device's own marks afterwards
        ledger.add("data", 3)
        ledger.add("step", 4.5)
        with ledger.part("eval"):
            clock.go(32)
    expected = dict.fromkeys(PARTS, 0.0) | {
        "profile": 11, "compile": 5, "build": 2, "warmup": 4, "data": 6, "step": 9, "eval": 64, "other": 2, "wall": 103
    }  # fmt: skip
    written = ledger.columns()
    assert written == {f"{part}_s": seconds for part, seconds in expected.items()}
    assert sum(written[f"{part}_s"] for part in (*PARTS, "other")) == written["wall_s"]


def test_a_part_of_its_own_is_read_while_the_ledger_is_open(clock):
    ledger = Ledger()
    with ledger.part("eval"):
        clock.go(3)
    with ledger.part("eval"):
        clock.go(4)
    assert ledger["eval"] == 7
    assert ledger["step"] == 0


def test_a_block_that_raises_is_booked_too(clock):
    ledger = Ledger()

    def fail() -> None:
        with ledger.part("build"):
            clock.go(5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert ledger["build"] == 5


def test_an_unknown_part_is_an_error():
    with pytest.raises(KeyError):
        Ledger().add("lunch", 1.0)


def test_every_column_is_one_of_the_trials_record():
    assert set(Ledger().columns()) == {name for name in columns(TrialRecord) if name.endswith("_s")}

from __future__ import annotations

import itertools

import pytest

from resbench.live.board import Row
from resbench.live.layout import GAP, LONGEST_BAR, fit_columns, fit_rows

NEEDED = {"number": 2, "trial": 23, "status": 14, "test": 6, "rate": 8, "left": 5, "memory": 10}
ALL = ["number", "trial", "status", "test", "rate", "left", "memory"]


def rows(count: int, first: int = 1) -> list[Row]:
    return [Row(f"id{number}", f"trial {number}", number) for number in range(first, first + count)]


def test_every_trial_has_a_row_or_is_counted_and_all_stays_in_order() -> None:
    for before, now, after, lines in itertools.product(range(7), range(5), range(7), range(3, 12)):
        ended, running, waiting = rows(before), rows(now, before + 1), rows(after, before + now + 1)
        shown = fit_rows(ended, running, waiting, lines)
        assert [*shown.earlier, *shown.rows, *shown.later] == [*ended, *running, *waiting]
        assert len(shown.rows) + bool(shown.earlier) + bool(shown.later) <= lines
        assert all(row in shown.rows for row in running[: lines - 2])
        if before + now + after <= lines:
            assert not shown.earlier
            assert not shown.later


def test_what_ended_last_and_what_comes_next_share_the_room_that_is_left() -> None:
    shown = fit_rows(rows(20), rows(1, 21), rows(20, 22), 11)
    assert [row.number for row in shown.rows] == [17, 18, 19, 20, 21, 22, 23, 24, 25]
    assert len(shown.earlier) == len(shown.later) == 16


def test_room_that_one_side_does_not_need_is_the_others() -> None:
    assert [row.number for row in fit_rows([], rows(1), rows(20, 2), 8).rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row.number for row in fit_rows(rows(20), rows(1, 21), [], 8).rows] == [15, 16, 17, 18, 19, 20, 21]


def test_80_columns_have_every_figure_of_the_longest_name_and_the_bar_in_the_place_of_the_status() -> None:
    widths = fit_columns(NEEDED, 80)
    assert list(widths) == ALL
    assert widths == NEEDED


def test_a_wide_terminal_has_a_bar_of_its_own() -> None:
    widths = fit_columns(NEEDED, 200)
    assert list(widths) == ["number", "trial", "status", "bar", *ALL[3:]]
    assert widths["bar"] == LONGEST_BAR
    assert {name: widths[name] for name in ALL} == NEEDED


@pytest.mark.parametrize(
    ("width", "names"),
    [
        (73, ALL),
        (72, ALL[1:]),
        (69, ALL[1:]),
        (68, ["trial", "status", "test", "rate", "left"]),
        (57, ["trial", "status", "test", "rate", "left"]),
        (56, ["trial", "status", "test", "left"]),
        (46, ["trial", "status", "test"]),
    ],
)
def test_a_narrow_terminal_leaves_out_what_tells_less(width: int, names: list[str]) -> None:
    assert list(fit_columns(NEEDED, width)) == names


def test_what_is_chosen_fits() -> None:
    for width in range(24, 240):
        widths = fit_columns(NEEDED, width)
        assert sum(widths.values()) + GAP * (len(widths) - 1) <= max(width, 1 + 14 + 6 + 2 * GAP)
        assert widths["trial"] >= min(NEEDED["trial"], width - 24, 16)

from __future__ import annotations

import pytest

from resbench.errors import InputError
from resbench.units import parse_duration, parse_memory


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30min", 1800), (" 2 H ", 7200), ("0.5s", 0.5), (".5h", 1800), ("0s", 0)]
)
def test_a_duration(text, seconds):
    assert parse_duration(text, "the timeout") == seconds


@pytest.mark.parametrize(("text", "mib"), [("800MiB", 800), ("8GiB", 8192), ("1.5 gib", 1536), ("2.7mib", 2)])
def test_an_amount_of_memory(text, mib):
    assert parse_memory(text, "the memory limit") == mib


@pytest.mark.parametrize("text", ["", "90", "s", "-1s", "1d", "1e3s", "9" * 400 + "s", "1 2s", "nan s", "8GB"])
def test_anything_else_is_refused_with_what_would_do(text):
    with pytest.raises(InputError, match=r"cannot read the timeout .* such as 90s, 30min or 2h"):
        parse_duration(text, "the timeout")
    with pytest.raises(InputError, match=r"cannot read the limit .* such as 800MiB or 8GiB"):
        parse_memory(text, "the limit")


def test_less_than_a_mib_is_no_memory():
    with pytest.raises(InputError, match="less than 1MiB"):
        parse_memory("0.5MiB", "the memory limit")

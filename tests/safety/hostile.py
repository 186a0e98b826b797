"""What somebody who means harm, or just has unusual names, could give; and what would show that it got through."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from typer.testing import CliRunner, Result

from resbench.cli import app
from resbench.errors import InputError

Given = TypeVar("Given")

NAMES = {
    "HTML": "<script>alert(1)</script>",
    "path": "../../x",
    "absolute path": "/etc/x",
    "too long for a file": "x" * 300,
    "right to left": "\u202egnp.exe",
    "emoji, Chinese, combining": "\U0001f600猫e\u0301",
    "zero width": "cifar10\u200b",
    "terminal colours": "\x1b[31mred\x1b[0m",
    "terminal title": "\x1b]0;owned\x07",
    "8-bit escape": "\x9b31mred",
    "NUL": "nu\x00l",
    "two lines": "one\nok  test 99.99%",
    "carriage return": "one\rtwo",
    "line separator": "one\u2028two",
    "not UTF-8": "\udcffbytes",
    "table": "a | b",
    "code": "`whoami`",
    "link": "![x](https://example.org/x.png)",
    "shell": "$(rm -rf ~);",
    "formula": "$\\frac{$",
    "spreadsheet": "=cmd|' /C calc'!A0",
    "markup": "[bold]b[/bold]",
    "open markup": "[/]\\",
    "hidden from legends": "_x",
    "format": "%s{0}%n",
    "option": "--help",
}
"""Names of models, datasets, classes, files and suites, by what is bad about them."""

COMMANDS = ("\x1b", "\x9b", "\x07", "\x00", "\r", "\u202e", "\u200b", "\u2028")
"""What a terminal acts on, or a reader does not see."""

PLAIN = {"COLUMNS": None, "FORCE_COLOR": None, "TTY_COMPATIBLE": None, "TERM": "dumb"}
"""The environment of a command whose output goes to a file."""


def invoke(*arguments: object, env: dict[str, str | None] | None = None, **options: Any) -> Result:
    """Runs the command line in this process."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, words, prog_name="resbench", env={**PLAIN, **(env or {})}, **options)


def errors(result: Result) -> list[str]:
    """The lines on stderr that are not about progress, nor about what distorts measurements on this machine."""
    others = ("decoding ", "warning: ")
    return [line for line in result.stderr.splitlines() if line.strip() and not line.startswith(others)]


def assert_one_message(result: Result, *said: str, exit_code: int = 2) -> str:
    """Checks that a command refused with one message and without a traceback; returns it."""
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == exit_code, result.output
    assert "Traceback" not in result.output
    (message,) = errors(result)
    assert message.startswith("error: ")
    for words in said:
        assert words in message
    return message


def try_out(call: Callable[[], Given]) -> tuple[Given | None, str]:
    """Returns what a call gives, or the message with which it refused its input; any other exception is a failure."""
    try:
        return call(), ""
    except InputError as error:
        return None, str(error)


def assert_harmless(text: str) -> None:
    """Checks that nothing in a text commands a terminal or hides from a reader."""
    assert [mark for mark in COMMANDS if mark in text] == []


def tree(folder: Path) -> set[str]:
    """Everything below a folder, links included and not followed."""
    return {
        os.path.relpath(os.path.join(parent, name), folder)  # noqa: PTH118
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }

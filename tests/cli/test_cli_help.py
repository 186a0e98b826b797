"""What the command line says of itself and of the registry: its help, and `list`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from typer.testing import Result

from resbench import console
from resbench.registry import list_models

Invoke = Callable[..., Result]


# Help ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["list", "profile", "check", "bench", "report", "compare", "reproduce", "env"]),
        (["list"], ["[pattern]", "--json"]),
        (
            ["profile"],
            ["[models]", "--stem", "--input", "--batch-size", "--precision", "--out", "--device", "--compile"],
        ),
        (
            ["bench"],
            [
                *("[suite]", "--models", "--stem", "--dataset", "--data-dir", "--recipe", "--budget", "--seeds"),
                *("--device", "--precision", "--compile", "--out", "--dry-run", "--input", "--batch-size", "--weights"),
                *("--train-images", "--test-images", "--no-cache-features"),
                *("--concurrent-seeds", "--trial-timeout", "--oom", "--memory-limit", "--checkpoint-every"),
                *("--calibrate", "--no-calibrate", "--estimate", "--no-estimate", "--retry-failed", "--tensorboard"),
                *("--executor", "--ray-address", "--cpus-per-trial", "--retries"),
            ],
        ),
        (["report"], ["folders", "--format", "--columns", "--names", "--out"]),
        (["compare"], ["base", "new", "--against", "--threshold", "--json", "--markdown"]),
        (
            ["check"],
            [
                *("[models]", "--stem", "--input", "--classes", "--batch-size", "--device", "--precision", "--compile"),
                *("--json", "--list"),
            ],
        ),
        (["reproduce"], ["folder", "trial_id", "--dataset", "--data-dir", "--weights", "--out"]),
        (["env"], ["--json"]),
    ],
    ids=lambda value: " ".join(value[:1]),
)
def test_help_names_every_argument_and_flag(invoke: Invoke, command: list[str], words: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    for word in words:
        assert word in result.stdout.lower(), word
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_without_a_command_the_help_is_shown(invoke: Invoke) -> None:
    assert "Compare residual networks" in invoke().output


# list ---------------------------------------------------------------------------------------------------------


def test_list_has_a_whole_line_for_each_model_where_it_goes_to_a_file(invoke: Invoke) -> None:
    result = invoke("list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list_models()
    assert "…" not in result.stdout


def test_list_takes_a_wildcard(invoke: Invoke) -> None:
    lines = invoke("list", "resnet152*").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["resnet152", "resnet152_frozen"]


def test_list_can_print_json(invoke: Invoke) -> None:
    rows = json.loads(invoke("list", "resnet*", "--json").stdout)
    assert [row["name"] for row in rows] == list_models("resnet*")
    assert all(row["source"] and row["summary"] for row in rows)


def test_list_cuts_nothing_in_a_terminal_of_80_columns(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    lines = invoke("list").stdout.splitlines()
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines))
    assert max(map(len, text.splitlines())) <= 80
    for row in json.loads(invoke("list", "--json").stdout):
        for word in f"{row['name']} {row['summary']} {row['source']}".replace("`", "").split():
            assert word in text


def test_list_has_a_line_for_each_network_of_a_library(invoke: Invoke) -> None:
    lines = invoke("list", "torchvision:resnet1*").stdout.splitlines()
    names = [f"torchvision:resnet{layers}" for layers in (18, 101, 152)]
    assert [line.split()[0] for line in lines] == names
    assert [row["name"] for row in json.loads(invoke("list", "torchvision:resnet1*", "--json").stdout)] == names


def test_in_a_terminal_a_librarys_names_stand_in_columns_and_the_list_says_how_to_ask_for_them(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    first, second, last = invoke("list", "torchvision:resnet*").stdout.splitlines()
    assert first.split() == [f"torchvision:resnet{layers}" for layers in (18, 50, 152)]
    assert second.split() == [f"torchvision:resnet{layers}" for layers in (34, 101)]
    assert last.startswith("5 networks of torchvision ")
    assert invoke("list").stdout.splitlines()[-1] == "Libraries have more: resbench list 'timm:*' or 'torchvision:*'"
    assert "Libraries" not in invoke("list", "resnet*").stdout

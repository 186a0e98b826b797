"""Commands that only print must not wait seconds for libraries that only building and measuring need."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW_TO_IMPORT = {"torch", "torchvision", "timm", "numpy", "pandas", "matplotlib"}


def imported_by(*arguments: str) -> set[str]:
    """Runs Python in a fresh process and returns the modules that it tells of importing on stderr."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["-m", "resbench", "--help"], "resbench.cli"),
        (["-m", "resbench", "list"], "resbench.models.resnet"),
        (["-m", "resbench", "list", "--json"], "resbench.models.resnet"),
        (["-c", "import resbench; resbench.list_models()"], "resbench.models.resnet"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_printing_imports_nothing_that_is_slow_to_import(arguments: list[str], needed: str) -> None:
    imported = imported_by(*arguments)
    assert needed in imported
    assert imported & SLOW_TO_IMPORT == set(), "import these inside the functions that use them"


def test_building_a_network_imports_torch_and_only_the_libraries_that_it_is_made_of() -> None:
    imported = imported_by("-c", "import resbench; resbench.create_model('cnn')")
    assert "torch" in imported
    assert imported & {"torchvision", "timm"} == set()

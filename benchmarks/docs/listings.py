"""What there is, as tables: networks and commands. Each tells what it says of itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import typer
from tabulate import tabulate

from resbench.cli import app
from resbench.errors import InputError
from resbench.measure.flops import count_forward_flops
from resbench.registry import create_model, list_models, model_entry
from resbench.report.numbers import escape

CLASSES = 10
INPUT = (3, 32, 32)
MAKEFILE = "Makefile"
_TARGET = re.compile(r"^([a-z][a-z-]*):.*?## (.+)$", re.MULTILINE)


def networks(root: Path) -> str:
    """Lists the networks of the registry, with parameters and the MACs of one image for either stem."""
    rows = []
    for name in list_models():
        summary = model_entry(name).summary.replace("`", "").rstrip(".")
        (params, macs), (_, macs_cifar) = (_size(name, stem) for stem in ("source", "cifar"))
        rows.append([f"`{name}`", escape(summary), f"{params:,}", _millions(macs), _millions(macs_cifar)])
    size = f"{INPUT[1]}x{INPUT[2]}"
    headers = ["name", "network", f"parameters, {CLASSES} classes", f"MACs at {size}, source stem", "CIFAR stem"]
    return _table(headers, rows)


def commands(root: Path) -> str:
    """Lists the commands of the command line and the targets of the Makefile, each with what its own help says first.

    Args:
        root: Of the repository.

    Raises:
        InputError: There is no Makefile.
    """
    group: Any = typer.main.get_command(app)
    rows = [
        [" ".join(["resbench", name, *_arguments(command)]), command.help.partition("\n\n")[0].rstrip(".")]
        for name, command in group.commands.items()
    ]
    try:
        makefile = (root / MAKEFILE).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {MAKEFILE}: {error.strerror}.") from error
    rows += [[f"make {name}", words] for name, words in _TARGET.findall(makefile)]
    return _table(["command", "what it does"], [[f"`{command}`", escape(words)] for command, words in rows])


def _size(name: str, stem: str) -> tuple[int, int]:
    """Returns parameters and MACs of a network."""
    weights = "random" if model_entry(name).accepts_weights else None
    with torch.device("meta"):
        network = create_model(name, num_classes=CLASSES, stem=stem, weights=weights)
    params = sum(parameter.numel() for parameter in network.parameters())
    return params, count_forward_flops(network, INPUT) // 2


def _millions(macs: int) -> str:
    """Writes MACs in millions."""
    millions = macs / 1e6
    return f"{millions:,.1f} M" if millions < 100 else f"{millions:,.0f} M"


def _arguments(command: Any) -> list[str]:
    """Writes the arguments of a command as a usage line has them; options are no part of it."""
    words = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = parameter.name.upper() + (" ..." if parameter.nargs == -1 else "")
            words.append(name if parameter.required else f"[{name}]")
    return words


def _table(headers: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table; numbers stand to the right."""
    align = ["right" if re.fullmatch(r"[\d,.]+( M)?", cell) else "left" for cell in rows[0]]
    return tabulate(rows, headers=headers, tablefmt="pipe", colalign=align, disable_numparse=True)

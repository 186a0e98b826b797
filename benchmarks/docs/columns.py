"""The columns of a CSV file as a table: what the fields of :mod:`resbench.schema.rows` say of themselves."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from resbench.errors import InputError, unknown
from resbench.schema import rows

FILES: dict[str, type] = {
    "trials": rows.TrialRecord,
    "epochs": rows.EpochRecord,
    "profile": rows.ProfileRecord,
}
"""By CSV file, what one row of it is."""

UNITS = {
    "overshoot": "the budget's",
    "params": "parameters",
    "trainable_params": "parameters",
    "macs": "MACs",
    "macs_fvcore": "MACs",
    "forward_flops": "FLOPs",
    "train_flops_per_image": "FLOPs",
    "train_flops_spent": "FLOPs",
    "activations": "elements",
    "batch_size": "images",
    "micro_batch_size": "images",
    "images_seen": "images",
    "steps": "steps",
    "epochs": "epochs",
    "epoch": "epochs",
    "cpu_threads": "threads",
    "other_load": "threads",
    "concurrent_seeds": "seeds",
    "mfu": "fraction",
    "budget_fraction": "fraction",
}
"""By column, where neither its name nor its type says it."""

SUFFIXES = {
    "_images_per_second": "images/s",
    "_accuracy": "fraction",
    "_loss": "nats",
    "_ms": "ms",
    "_ms_p50": "ms",
    "_ms_p90": "ms",
    "_mib": "MiB",
    "_mhz": "MHz",
    "_s": "s",
    "_j": "J",
    "_w": "W",
    "_c": "°C",
}
"""By the end of a column's name, its unit."""
_TYPES = {"str": "text", "list[str]": "text", "bool": "True, False", "int": "number", "float": "number"}


@dataclass(frozen=True)
class Field:
    """One column."""

    name: str
    kind: str
    """Its type, without ``None``."""
    words: str
    """Its docstring; empty where it has none."""
    heading: str
    """Of the columns that it stands among; empty where the class has no headings."""


def columns(root: Path, file: str) -> str:
    """Lists the columns of a CSV file with unit and meaning.

    Args:
        root: Of the repository.
        file: ``trials``, ``epochs`` or ``profile``.

    Raises:
        InputError: There is no such file, or nothing is said of a column.
    """
    if file not in FILES:
        raise unknown("CSV file", file, FILES)
    of_trials = {field.name: field.words for field in fields_of(FILES["trials"])}
    listed: list[list[str]] = []
    heading = ""
    for field in fields_of(FILES[file]):
        words = field.words or of_trials.get(field.name)
        if not words:
            raise InputError(f"nothing is said of the column {field.name} of {file}.csv: give the field a docstring.")
        if field.heading != heading:
            heading = field.heading
            listed.append([f"**{heading}**", "", ""])
        listed.append([f"`{field.name}`", unit_of(field), escape_words(words)])
    body = tabulate(listed, headers=["column", "unit", "what it is"], tablefmt="pipe", disable_numparse=True)
    return re.sub(" {2,}(?=\\|)", " ", re.sub("-{4,}", "---", body))  # as wide as they are: one is very wide


def fields_of(record: type) -> Iterator[Field]:
    """Yields the fields of a record, in their order.

    Args:
        record: A dataclass; a comment above its fields, up to its first mark, is their heading, and a text below one
            is its docstring.
    """
    source = inspect.getsource(record)
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    lines = enumerate(source.splitlines(), start=1)
    headings = {number: words[1] for number, line in lines if (words := re.match(r" {4}# ([^.:]+)", line))}
    statements = body.body
    for place, statement in enumerate(statements):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        following = statements[place + 1] if place + 1 < len(statements) else None
        above = [words for number, words in headings.items() if number < statement.lineno]
        yield Field(
            statement.target.id,
            ast.unparse(statement.annotation).removesuffix(" | None"),
            _text(following),
            above[-1] if above else "",
        )


def unit_of(field: Field) -> str:
    """Returns the unit of a column: by its name where that has one, else by its type."""
    if field.name in UNITS:
        return UNITS[field.name]
    ends = [unit for end, unit in SUFFIXES.items() if f"_{field.name}".endswith(end)]
    return ends[0] if ends and field.kind in {"int", "float"} else _TYPES[field.kind]


def escape_words(text: str) -> str:
    """Writes a docstring as a cell of a table: what is code there is code here."""
    parts = " ".join(text.split()).replace("|", "\\|").split("``")
    return "".join(f"`{part}`" if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))


def _text(statement: ast.stmt | None) -> str:
    """Returns what a statement says that is a text and nothing else."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value)
    return ""

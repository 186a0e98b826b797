"""The columns of a CSV file as a table: what the fields of :mod:`resbench.schema.rows` say of themselves."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
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

_TYPES = {"str": "text", "list[str]": "text", "bool": "True, False", "int": "number", "float": "number"}


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
    record = FILES[file]
    headings = headings_of(record)
    kinds = {field.name: str(field.type).removesuffix(" | None") for field in fields(record)}
    of_trials = rows.describe(rows.TrialRecord)
    listed: list[list[str]] = []
    heading = ""
    for name, column in rows.describe(record).items():
        known = of_trials.get(name, column)
        words, unit = column.help or known.help, column.unit or known.unit or _TYPES[kinds[name]]
        if not words:
            raise InputError(f"nothing is said of the column {name} of {file}.csv: describe the field.")
        if headings.get(name, heading) != heading:
            heading = headings[name]
            listed.append([f"**{heading}**", "", ""])
        listed.append([f"`{name}`", unit, escape_words(words)])
    body = tabulate(listed, headers=["column", "unit", "what it is"], tablefmt="pipe", disable_numparse=True)
    return re.sub(" {2,}(?=\\|)", " ", re.sub("-{4,}", "---", body))  # as wide as they are: one is very wide


def headings_of(record: type) -> dict[str, str]:
    """Returns the heading of each field of a record: the comment above it, up to its first mark; none is empty."""
    found, heading = {}, ""
    for line in inspect.getsource(record).splitlines():
        if words := re.match(r" {4}# ([^.:]+)", line):
            heading = words[1]
        elif field := re.match(r" {4}(\w+): ", line):
            found[field[1]] = heading
    return found


def escape_words(text: str) -> str:
    """Writes a docstring as a cell of a table: what is code there is code here."""
    parts = " ".join(text.split()).replace("|", "\\|").split("``")
    return "".join(f"`{part}`" if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))

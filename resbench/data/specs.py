"""What names a dataset: a spec, as a user gives it, and the name that records carry for it. Nothing is loaded."""

from __future__ import annotations

import os
import re
from pathlib import Path

from resbench.data.variants import variant_names
from resbench.errors import InputError, unknown
from resbench.untrusted import printable, user_path

BUILT_IN = ("cifar10", "fashion_mnist", "shapes10")
SPECS = (*BUILT_IN, "folder:PATH", "filelist:TRAIN.txt,TEST.txt")


def dataset_name(spec: str) -> str:
    """The name that records carry for a spec; nothing is loaded.

    A folder gives its own name. Lists give the training list's name without "train" (``pets-train.txt``: pets),
    or the name of their folder where nothing else is left (``pets/train.txt``: pets). A name that is a built-in
    dataset's, or one of its variants', gets the kind appended (``cifar10-folder``, ``cifar10-gray-folder``), so that
    no record passes for what it is not. What does not print is written as its escape.

    Raises:
        InputError: The spec is not a valid one.
    """
    kind, paths = parse_spec(spec)
    if not paths:
        return kind
    name = paths[0].name
    if kind == "filelist":
        stem = paths[0].stem
        name = re.sub(r"(^|[-_. ]+)train(ing)?([-_. ]+|$)", "", stem) or paths[0].parent.name
    taken = {other for built_in in BUILT_IN for other in variant_names(built_in)}
    return f"{name}-{kind}" if name in taken else printable(name) or kind


def parse_spec(spec: str) -> tuple[str, list[Path]]:
    """The kind of dataset and the paths that a spec names, made absolute (symbolic links stay).

    Raises:
        InputError: The spec is not a valid one.
    """
    kind, colon, rest = spec.partition(":")
    if spec in BUILT_IN:
        return kind, []
    if kind not in ("folder", "filelist") or not colon:
        raise unknown("dataset", spec, SPECS)
    parts = [rest] if kind == "folder" else rest.split(",")
    if len(parts) != (1 if kind == "folder" else 2) or not all(part.strip() for part in parts):
        usage = "folder:PATH" if kind == "folder" else "filelist:TRAIN.txt,TEST.txt (no commas in the paths)"
        raise InputError(f"the dataset {spec!r} is not of the form {usage}.")
    return kind, [Path(os.path.normpath(user_path(part.strip()).absolute())) for part in parts]

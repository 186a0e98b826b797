"""Suites: TOML files that name models, seeds and the rest of what a comparison holds fixed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from resbench.errors import InputError, nearest, unknown
from resbench.schema import format_input
from resbench.untrusted import user_path

MOST_SEEDS = 10_000
LARGEST_SEED = 2**32 - 1
"""What every generator takes."""
LONGEST_NAME = 100
"""Bytes of a suite's name: it names a folder."""

Seeds = Annotated[int, Field(ge=1, le=MOST_SEEDS)] | list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]]


class EngineOptions(BaseModel):
    """The ``[engine]`` table: what changes speed, not learning."""

    model_config = ConfigDict(extra="forbid", strict=True)

    device: str = "auto"
    """``auto`` (cuda, then mps, then cpu), ``cpu``, ``mps``, ``cuda`` or ``cuda:N``."""
    precision: str = "auto"
    """``auto`` (bf16 where the device has it and is faster in it, else fp32), ``fp32``, ``tf32`` or ``bf16``."""
    compile: str = "auto"
    """``auto`` (on with CUDA, else off), ``on``, ``off``, ``max-autotune`` (tries more kernels, takes minutes) or
    ``reduce-overhead`` (torch's own graphs around forward and backward, in the place of ``cuda_graph``)."""
    cuda_graph: str = "auto"
    """Record the whole step and replay it: ``auto`` (on with CUDA), ``on`` or ``off``."""
    memory_format: str = "channels_last"
    """``channels_last`` or ``contiguous``."""
    concurrent_seeds: int = Field(default=1, ge=1)
    """Seeds of one network that train at once, for a GPU that one of them leaves idle. Speed, latency and memory are
    measured before, one at a time, and a seed's accuracy is what it is alone."""


class RunOptions(BaseModel):
    """The ``[run]`` table: how trials are watched over.

    What a trial learns does not depend on it, and a run that goes on may change it.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    trial_timeout: str | None = None
    """Such as ``30min``: a trial that takes longer is ended and recorded as ``timeout``. None where it is not given."""
    checkpoint_every: str = "60s"
    """How much of a trial may be lost when it is cut short."""
    oom: str = "record"
    """Where memory runs out: ``record`` it and go on with the next trial, or ``accumulate``: run the trial again in
    halves of its batch whose gradients are added up, and say so in its row."""
    memory_limit: str | None = None
    """Such as ``8GiB``: what a trial may allocate on the host (Linux); what is available where it is not given and the
    trial runs on the processor."""
    calibrate: bool = True
    """Test the instruments before the first trial, and measure that one's speed again after the last."""


class Suite(BaseModel):
    """What to compare, and what is the same for all."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    models: list[str] = Field(min_length=1)
    """Registry names; wildcards are welcome."""
    description: str = ""
    stem: str = "source"
    dataset: str = "cifar10"
    fallback_dataset: str | None = None
    """Used, and said loudly, where the dataset is neither on disk nor downloadable."""
    input: str | None = None
    """Such as ``3x224x224``; the dataset's own size where it is not given."""
    recipe: str = "common"
    budget: str | None = None
    """The recipe's own where it is not given."""
    batch_size: int | None = Field(default=None, ge=1)
    """The recipe's own where it is not given."""
    seeds: Seeds = 1
    """How many (0, 1, ...), or which."""
    weights: str | None = None
    """For models that take them: ``random``, ``default`` or a state-dict file."""
    engine: EngineOptions = EngineOptions()
    run: RunOptions = RunOptions()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        """Refuses a name that is not one folder's: results go to ``results/NAME`` unless they are told where to go."""
        plain = name.isprintable() and name == name.strip() and not set(name) & set("/\\")
        if not plain or name[:1] in {"", ".", "-", "~"} or len(name.encode()) > LONGEST_NAME:
            raise ValueError(
                f"it names the results folder, so give at most {LONGEST_NAME} printable characters, none of them / or "
                "\\, the first not . - or ~"
            )
        return name

    @field_validator("seeds")
    @classmethod
    def _not_empty(cls, seeds: int | list[int]) -> int | list[int]:
        """Refuses an empty or repeating list of seeds."""
        if isinstance(seeds, list) and (not seeds or len(set(seeds)) < len(seeds)):
            raise ValueError("give at least one seed, and each only once")
        return seeds

    @property
    def seed_list(self) -> list[int]:
        """The seeds themselves."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


TABLES: dict[str, type[BaseModel]] = {"engine": EngineOptions, "run": RunOptions}
"""The tables of a suite file, by name."""


def suite_folders() -> list[Path]:
    """Returns where suites are looked up: a checkout's ``benchmarks/suites``, then the package's own."""
    package = Path(__file__).resolve().parent
    return [folder for folder in (package.parent / "benchmarks" / "suites", package / "suites") if folder.is_dir()]


def suite_names() -> list[str]:
    """Returns the names that :func:`load_suite` finds."""
    return sorted({path.stem for folder in suite_folders() for path in folder.glob("*.toml")})


def load_suite(name: str, **changes: Any) -> Suite:
    """Reads a suite by name or path and applies changes to it.

    Args:
        name: A name from :func:`suite_names`, or the path of a TOML file.
        **changes: Fields that replace the file's, unless they are ``None``. Fields of ``engine`` and ``run`` are
            given by their own names.

    Raises:
        InputError: There is no such suite, or it is not valid; the message names the key and the nearest.
    """
    path = user_path(name)
    if path.suffix != ".toml":
        found = [path for folder in suite_folders() for path in folder.glob("*.toml") if path.stem == name]
        if not found:
            raise unknown("suite", name, [*suite_names(), "or the path of a .toml file"])
        path = found[0]
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the suite {str(path)!r}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or digits or brackets beyond Python's limits
        raise InputError(f"the suite {str(path)!r} is not valid TOML: {error}.") from error
    data.setdefault("name", path.stem)
    return make_suite(data, where=f"the suite {str(path)!r}", **changes)


def make_suite(data: dict[str, Any], *, where: str = "the suite", **changes: Any) -> Suite:
    """Checks a suite's fields, with changes applied as in :func:`load_suite`.

    Raises:
        InputError: A key or a value is wrong; every fault is named.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    in_tables = {
        name: {key: given.pop(key) for key in table.model_fields if key in given} for name, table in TABLES.items()
    }
    merged = {**data, **given}
    for name, fields in in_tables.items():
        if fields and isinstance(merged.get(name, {}), dict):  # what is not a table is refused below
            merged[name] = {**merged.get(name, {}), **fields}
    try:
        return Suite.model_validate(merged)
    except ValidationError as error:
        faults = [_explain(fault) for fault in error.errors()]
        raise InputError(f"{where} is not valid: {'; '.join(dict.fromkeys(faults))}.") from error


def _explain(fault: Any) -> str:
    """Says in a user's words what pydantic found."""
    if not fault["loc"]:
        return f"{fault['input']!r} is no key"
    first, *rest = (str(part) for part in fault["loc"])
    if first == "seeds":  # pydantic adds which of the two forms it tried
        rest = [part for part in rest if part.isdecimal()]
    key = ".".join([first, *rest])
    if fault["type"] == "extra_forbidden":
        return f"unknown key {key!r}{_hint(rest[-1] if rest else first, table=first if rest else None)}"
    if fault["type"] == "missing":
        return f"the key {key!r} is missing"
    if fault["type"] == "model_type":
        return f"the key {key!r} is {fault['input']!r}: it should be a table, [{key}]"
    message = fault["msg"].removeprefix("Value error, ")
    return f"the key {key!r} is {fault['input']!r}: {message[0].lower()}{message[1:]}"


def _hint(name: str, *, table: str | None) -> str:
    """Says which key an unknown one may be meant for: the same in another table, or the nearest of its own."""
    here = TABLES[table] if table else Suite
    if table and name in Suite.model_fields:
        return f", it belongs above [{table}]"
    for other, fields in TABLES.items():
        if other != table and name in fields.model_fields:
            return f", it belongs below [{other}]"
    close = nearest(name, here.model_fields, limit=1)
    return f", did you mean {close[0]!r}?" if close else f" (known: {', '.join(here.model_fields)})"


def parse_input(text: str) -> tuple[int, int, int]:
    """Reads an input shape such as ``3x224x224`` (channels, height, width).

    Raises:
        InputError: It is not three positive numbers.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})x(\d{1,5})", text.strip().lower())
    sides = tuple(int(side) for side in match.groups()) if match else ()
    if len(sides) != 3 or 0 in sides:
        raise InputError(
            f"cannot read the input {text!r}. Give channels x height x width, such as {format_input((3, 224, 224))}."
        )
    return sides

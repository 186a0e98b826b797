"""Suites: TOML files that name models, seeds and the rest of what a comparison holds fixed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from resbench.errors import InputError, nearest, unknown
from resbench.experiment import ARM_FIELDS, Arm, Claim, Comparison, SourceTable, is_meant, still_asked
from resbench.schema import format_input
from resbench.untrusted import user_path

MOST_SEEDS = 10_000
LARGEST_SEED = 2**32 - 1
"""What every generator takes."""
LONGEST_NAME = 100
"""Bytes of a suite's name: it names a folder."""

Seeds = Annotated[int, Field(ge=1, le=MOST_SEEDS)] | list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]]


def check_folder_name(name: str) -> str:
    """Returns a name that can be a folder's, in the folder where it is made.

    Raises:
        ValueError: It could lead elsewhere, or could not be shown.
    """
    plain = name.isprintable() and name == name.strip() and not set(name) & set("/\\")
    if not plain or name[:1] in {"", ".", "-", "~"} or len(name.encode()) > LONGEST_NAME:
        raise ValueError(
            f"it names the results folder, so give at most {LONGEST_NAME} printable characters, none of them / or "
            "\\, the first not . - or ~"
        )
    return name


class EngineOptions(BaseModel):
    """The ``[engine]`` table: what changes speed, not learning."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    device: str = "auto"
    """``auto`` (cuda, then mps, then cpu), ``cpu``, ``mps``, ``cuda`` or ``cuda:N``."""
    devices: int = Field(default=1, ge=1)
    """How many train each trial together, every batch shared out evenly: GPUs from ``cuda:0`` on, or processes on
    ``cpu``. Learning does not change, but for batch norm, which sees a device's share unless the recipe synchronises
    it."""
    precision: str = "auto"
    """``auto`` (bf16 where the device has it and the networks are faster in it, else fp32), ``fp32``, ``tf32`` or
    ``bf16``."""
    compile: str = "auto"
    """``auto`` (on with CUDA, else off), ``on``, ``off``, ``max-autotune`` (tries more kernels, takes minutes) or
    ``reduce-overhead`` (torch's own graphs around forward and backward, in the place of ``cuda_graph``)."""
    cuda_graph: str = "auto"
    """Record the whole step and replay it: ``auto`` (on with CUDA), ``on`` or ``off``."""
    memory_format: str = "channels_last"
    """``channels_last`` or ``contiguous``."""
    lowering: str = "auto"
    """Compute convolutions on small maps as matrix products: ``auto`` (on a processor, without ``compile``) or
    ``off``. The same function, but for rounding."""
    cache_features: bool = True
    """Compute what a frozen backbone gives for an image once, where that changes nothing but rounding."""
    concurrent_seeds: int = Field(default=1, ge=1)
    """Seeds of one network that train at once, for a GPU that one of them leaves idle. Speed, latency and memory are
    measured before, one at a time, and a seed's accuracy is what it is alone."""


class RunOptions(BaseModel):
    """The ``[run]`` table: how trials are watched over.

    What a trial learns does not depend on it, and a run that goes on may change it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

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
    executor: str = "local"
    """``local`` (one trial after another on this machine) or ``ray`` (one a GPU, or one a node's processor, on a Ray
    cluster)."""
    ray_address: str | None = None
    """``auto`` or ``HOST:PORT`` of a running cluster; ``RAY_ADDRESS`` where it is not given, or else one that is
    started on this machine for the run."""
    cpus_per_trial: int | None = Field(default=None, ge=1)
    """With ray: processors, and threads of torch, for each trial. A node's processor runs one trial with all of it
    where it is not given; several trials on one processor spoil each other's times, which are then suspect."""
    retries: int = Field(default=2, ge=0, le=100)
    """With ray: how often a trial is run again whose worker or node died."""
    estimate: bool | None = None
    """Say beforehand what the trials are going to cost, from a short measurement. Where it is not given: if one of them
    takes more than 20 steps or 20 s of training, or nothing else is asked for (``--dry-run``)."""


class Suite(BaseModel):
    """What to compare, and what is the same for all."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    name: str
    models: list[str] = []
    """Registry names; wildcards are welcome. Where there are arms: only those of these networks."""
    imports: list[str] = []
    """Python files and modules that register networks of your own; a file's path is relative to the suite's."""
    arms: list[Arm] = []
    """In the place of models, where more than the network differs."""
    description: str = ""
    stem: str = "source"
    dataset: str = "cifar10"
    fallback_dataset: str | None = None
    """Used, and said loudly, where the dataset is neither on disk nor downloadable."""
    train_images: int | None = Field(default=None, ge=1)
    """At most so many training images, the same number of each class; all where it is not given."""
    test_images: int | None = Field(default=None, ge=1)
    """As ``train_images``, of the test images."""
    input: str | None = None
    """Such as ``3x224x224``; the dataset's own size where it is not given. One channel makes colour images gray."""
    num_classes: int | None = Field(default=None, ge=1)
    """Width of the logits, where a source has more than the dataset has classes."""
    recipe: str = "common"
    budget: str | None = None
    """The recipe's own where it is not given."""
    batch_size: int | None = Field(default=None, ge=1)
    """The recipe's own where it is not given."""
    seeds: Seeds = 1
    """How many (0, 1, ...), or which."""
    weights: str | None = None
    """For models that take them: ``random``, ``default`` or a state-dict file."""
    fallback_weights: Literal["random"] | None = None
    """Used, and said loudly, where default weights are neither on disk nor downloadable."""
    source: SourceTable | None = None
    """Whose experiment it is."""
    compare: list[Comparison] = []
    """Which arms answer which question; networks, where there are no arms."""
    engine: EngineOptions = EngineOptions()
    run: RunOptions = RunOptions()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        """Refuses a name that is not one folder's: results go to ``results/NAME`` unless they are told where to go."""
        return check_folder_name(name)

    @field_validator("seeds")
    @classmethod
    def _not_empty(cls, seeds: int | list[int]) -> int | list[int]:
        """Refuses an empty or repeating list of seeds."""
        if isinstance(seeds, list) and (not seeds or len(set(seeds)) < len(seeds)):
            raise ValueError("give at least one seed, and each only once")
        return seeds

    @model_validator(mode="after")
    def _fits_together(self) -> Suite:
        """Refuses a suite without models, and tables that name no arm or the same one twice."""
        if not (self.models or self.arms):
            raise ValueError("the key 'models' is missing or empty, and there are no [[arms]]")
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError("two [[arms]] have the same name: tables and pages tell them apart by it")
        claims = self.source.claims if self.source else []
        for pair in self.compare:
            if pair.arm == pair.against:
                raise ValueError(f"{pair.arm!r} is held against itself: give two different names")
        paired = [name for pair in self.compare for name in (pair.arm, pair.against)]
        for name in (*(claim.arm for claim in claims), *(paired if self.arms else ())):
            if name not in names:
                raise ValueError(f"{name!r} is no arm of it (it has: {', '.join(names) or 'none'})")
        for name in () if self.arms else paired:
            if not is_meant(name, self.models):
                raise ValueError(
                    f"{name!r}, which a question is about, is none of its models: {', '.join(self.models)}"
                )
        return self

    @property
    def seed_list(self) -> list[int]:
        """The seeds themselves."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


OPTIONS: dict[str, type[BaseModel]] = {"engine": EngineOptions, "run": RunOptions}
"""The tables of a suite file whose keys are flags as well, by name."""
TABLES: dict[str, type[BaseModel]] = {
    **OPTIONS,
    "arms": Arm,
    "source": SourceTable,
    "claims": Claim,
    "compare": Comparison,
}
"""All of them."""


def suite_folders() -> list[Path]:
    """Returns where suites are looked up: a checkout's ``benchmarks/suites``, then the package's own."""
    package = Path(__file__).resolve().parent
    return [folder for folder in (package.parent / "benchmarks" / "suites", package / "suites") if folder.is_dir()]


def suite_names() -> list[str]:
    """Returns the names of the suites and collections that resbench has."""
    return sorted({path.stem for folder in suite_folders() for path in folder.glob("*.toml")})


def find_suite_file(name: str) -> Path:
    """Returns the file of a suite or a collection, by its name or its path.

    Raises:
        InputError: None has that name; a path is taken as it is.
    """
    path = user_path(name)
    if path.suffix == ".toml":
        return path
    found = [path for folder in suite_folders() for path in folder.glob("*.toml") if path.stem == name]
    if not found:
        raise unknown("suite", name, [*suite_names(), "or the path of a .toml file"])
    return found[0]


def load_suite(name: str, /, **changes: Any) -> Suite:
    """Reads a suite by name or path and applies changes to it.

    Args:
        name: A name from :func:`suite_names`, or the path of a TOML file.
        **changes: Fields that replace the file's, unless they are ``None``; ``imports`` are added to the file's.
            Fields of ``engine`` and ``run`` are given by their own names.

    Raises:
        InputError: There is no such suite, or it is not valid; the message names the key and the nearest.
    """
    path = find_suite_file(name)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the suite {str(path)!r}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or digits or brackets beyond Python's limits
        raise InputError(f"the suite {str(path)!r} is not valid TOML: {error}.") from error
    if "suites" in data:
        raise InputError(
            f"{str(path)!r} is a collection of suites: `resbench bench` runs all of them. Here, give one: "
            f"{', '.join(map(str, data['suites']))}."
        )
    data.setdefault("name", path.stem)
    if isinstance(data.get("imports"), list):
        data["imports"] = [_beside(path, spec) for spec in data["imports"]]
    return make_suite(data, f"the suite {str(path)!r}", **changes)


def _beside(suite: Path, spec: Any) -> Any:
    """Returns what a suite's file says to import: a relative file lies beside it."""
    if not isinstance(spec, str) or not spec.endswith(".py") or user_path(spec).is_absolute():
        return spec
    return str(suite.parent / spec)


def make_suite(data: dict[str, Any], where: str = "the suite", /, **changes: Any) -> Suite:
    """Checks a suite's fields, with changes applied as in :func:`load_suite`.

    Raises:
        InputError: A key or a value is wrong; every fault is named.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    in_tables = {
        name: {key: given.pop(key) for key in table.model_fields if key in given} for name, table in OPTIONS.items()
    }
    merged = {**data, **given}
    if given.get("imports") and isinstance(data.get("imports"), list):  # a suite's networks need their own code
        merged["imports"] = [*dict.fromkeys([*data["imports"], *given["imports"]])]
    for name, fields in in_tables.items():
        if fields and isinstance(merged.get(name, {}), dict):  # what is not a table is refused below
            merged[name] = {**merged.get(name, {}), **fields}
    if "models" in given and not merged.get("arms"):
        merged["compare"] = still_asked(merged.get("compare", []), data.get("models"), given["models"])
    try:
        suite = Suite.model_validate(merged)
    except ValidationError as error:
        faults = [explain(fault) for fault in error.errors()]
        if not {"models", "arms"} & merged.keys():
            faults.append("the key 'models' is missing")
        raise InputError(f"{where} is not valid: {'; '.join(dict.fromkeys(faults))}.") from error
    _check_reach(suite, given, where)
    return suite


def _check_reach(suite: Suite, given: dict[str, Any], where: str) -> None:
    """Checks that a change is not one that every arm of a suite says for itself: it would change nothing.

    Raises:
        InputError: It is.
    """
    for name in ARM_FIELDS:
        if name in given and suite.arms and all(getattr(arm, name) is not None for arm in suite.arms):
            raise InputError(
                f"every arm of {where} says its own {name}: {given[name]!r} would change nothing. Leave it out, or "
                "choose other networks and settings with a suite that has none."
            )


def explain(fault: Any) -> str:
    """Says in a user's words what pydantic found."""
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return message if fault["type"] == "value_error" else f"{fault['input']!r} is no key"
    first, *rest = (str(part) for part in fault["loc"])
    if first == "seeds":  # pydantic adds which of the two forms it tried
        rest = [part for part in rest if part.isdecimal()]
    key = ".".join([first, *rest])
    if fault["type"] == "extra_forbidden":
        above = [name for name in (first, *rest[:-1]) if name in TABLES] if rest else []
        return f"unknown key {key!r}{_hint(rest[-1] if rest else first, table=above[-1] if above else None)}"
    if fault["type"] == "missing":
        return f"the key {key!r} is missing"
    if fault["type"] == "model_type":
        return f"the key {key!r} is {fault['input']!r}: it should be a table, [{key}]"
    return f"the key {key!r} is {fault['input']!r}: {message[0].lower()}{message[1:]}"


def _hint(name: str, *, table: str | None) -> str:
    """Says which key an unknown one may be meant for: the same in another table, or the nearest of its own."""
    here = TABLES[table] if table else Suite
    if table in OPTIONS and name in Suite.model_fields:
        return f", it belongs above [{table}]"
    for other, fields in OPTIONS.items():
        if other != table and name in fields.model_fields:
            return f", it belongs below [{other}]"
    close = nearest(name, here.model_fields, limit=1)
    return f", did you mean {close[0]!r}?" if close else f" (known: {', '.join(here.model_fields)})"


MOST_PIXELS = 99_999
"""Of a side of an image, and channels."""


def parse_input(text: str) -> tuple[int, int, int]:
    """Reads an input shape such as ``3x224x224`` (channels, height, width).

    Raises:
        InputError: It is not three positive numbers.
    """
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})x(\d{1,9})", text.strip().lower())
    sides = tuple(int(side) for side in match.groups()) if match else ()
    if any(side > MOST_PIXELS for side in sides):
        raise InputError(f"the input {text!r} is too large: no side is longer than {MOST_PIXELS:,} pixels here.")
    if len(sides) != 3 or 0 in sides:
        raise InputError(
            f"cannot read the input {text!r}. Give channels x height x width, such as {format_input((3, 224, 224))}."
        )
    return sides

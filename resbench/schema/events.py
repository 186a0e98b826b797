"""What a stored event must hold before anything is made of it: a results folder may come from anyone.

Each kind of event has one model. Fields that a model does not name are left alone, and so are kinds that have none: a
younger resbench may have written them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields
from reprlib import repr as short_repr
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError, create_model, model_validator

from resbench.inputs import Inputs
from resbench.schema import STATUSES, EngineSettings, EpochRecord, Hits, ProfileRecord, Trial, TrialRecord

Text = InstanceOf[str]  # pydantic's own str refuses half of a surrogate pair, which a path may hold
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # fits the frames that it is put into
Quantity = Annotated[float, Field(ge=-1e100, le=1e100, allow_inf_nan=False)]  # its square is still a number
_KINDS: dict[Any, Any] = {str: Text, int: Whole, float: Quantity, list[str]: list[Text]}


class _Fields(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True)


class _Named(_Fields):
    name: Text


def _model_of(record: type, needed: Iterable[str], *, extra: Literal["ignore", "forbid"] = "ignore", **own: Any) -> Any:
    """Makes a model of a dataclass.

    Args:
        record: The dataclass.
        needed: Fields that must have a value; the others may be empty or left out.
        extra: ``forbid`` if the dataclass is rebuilt from all that is there.
        own: Types of fields in place of the dataclass's.
    """
    kinds = {**get_type_hints(record), **own}
    columns: dict[str, Any] = {}
    for name, hint in kinds.items():
        kind = next((ours for theirs, ours in _KINDS.items() if hint in (theirs, theirs | None)), hint)
        columns[name] = (kind, ...) if name in needed else (kind | None, None)
    return create_model(record.__name__, __config__=ConfigDict(strict=True, extra=extra), **columns)


def _required(record: type) -> list[str]:
    return [column.name for column in fields(record) if column.default is column.default_factory is MISSING]


_Engine = _model_of(EngineSettings, _required(EngineSettings), extra="forbid")
_Plan = _model_of(
    Trial,
    ("trial_id", *_required(Trial)),
    extra="forbid",
    trial_id=str,
    input=Annotated[list[Whole], Field(min_length=3, max_length=3)],
    engine=_Engine,
)


_Inputs = _model_of(
    Inputs,
    (),
    extra="forbid",
    data_dir=str,
    resize=Annotated[list[Whole], Field(min_length=2, max_length=2)],
    imports=list[str],
)


class _Suite(_Named):
    """What readers of a stored suite take from it; arms and questions are checked where they are read."""

    dataset: Text | None = None
    fallback_dataset: Text | None = None
    weights: Text | None = None
    run: dict[Text, Any] = {}


class _Data(_Fields):
    train_images: Whole
    test_images: Whole
    classes: Whole


class _Arm(_Named):
    trial_ids: list[Text]


class _SuiteEvent(_Fields):
    trials: list[_Plan]  # type: ignore[valid-type]
    data: _Data | None = None
    notices: list[Text] = []
    suite: _Suite = _Suite(name="")
    inputs: _Inputs | None = None  # type: ignore[valid-type]
    arms: list[_Arm] = []


class _Start(_Fields):
    trial: _Plan  # type: ignore[valid-type]
    started_at: Text


class _Training(_Fields):
    trial_id: Text
    steps: Whole


class _Hits(_Fields):
    trial_id: Text
    images: Whole
    bits: Text

    @model_validator(mode="after")
    def _fit(self) -> _Hits:
        Hits.from_dict({"images": self.images, "bits": self.bits})
        return self


class _Telemetry(_Fields):
    trial_id: Text
    name: Text | None = None
    seconds: Quantity | None = None
    samples: Whole | None = None
    clock_mhz_mean: Quantity | None = None
    clock_mhz_min: Quantity | None = None
    clock_mhz_max: Quantity | None = None
    temperature_c_max: Quantity | None = None
    power_w_mean: Quantity | None = None
    throttle_reasons: list[Text] | None = None
    other_processes: Whole | None = None
    other_load: Quantity | None = None
    sampling_s: Quantity | None = None
    verdict: Text | None = None
    reasons: list[Text] = []


class _Reading(_Named):
    expected: Quantity | None
    measured: Quantity | None
    unit: Text
    tolerance: Quantity | None
    ok: bool


class _Ruler(_Fields):
    device_name: Text
    precision: Text
    ok: bool
    readings: list[_Reading]


class _NoiseFloor(_Fields):
    trial_id: Text | None = None
    model: Text | None = None
    device_name: Text | None = None
    first: dict[Text, Quantity | None] = {}
    again: dict[Text, Quantity | None] = {}
    relative: dict[Text, Quantity | None]
    verdict: Text | None = None
    verdict_reasons: list[Text] = []


_EVENTS: dict[str, Any] = {
    "suite": _SuiteEvent,
    "ruler": _Ruler,
    "start": _Start,
    "training": _Training,
    "epoch": _model_of(EpochRecord, ("trial_id", "steps")),
    "profile": _model_of(ProfileRecord, ()),
    "trial": _model_of(TrialRecord, (*_required(TrialRecord), "weights", "status"), status=Literal[STATUSES]),
    "hits": _Hits,
    "telemetry": _Telemetry,
    "noise_floor": _NoiseFloor,
}
"""What each kind of event must hold, in the order in which a run writes them."""


def check_event(event: dict[str, Any]) -> None:
    """Checks that an event can be put into tables; a kind that is not known is left alone.

    Args:
        event: As it was read, upgraded to this schema.

    Raises:
        ValueError: Something is missing or is of another type; the message names the kind of event and the field.
    """
    model = _EVENTS.get(event["event"])
    if model is None:
        return
    try:
        model.model_validate(event)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, (event["event"], *fault["loc"])))
        if fault["type"] == "value_error":
            raise ValueError(f"{place}: {fault['ctx']['error']}") from error
        if fault["input"] is None or fault["type"] == "missing":
            raise ValueError(f"{place} is missing") from error
        raise ValueError(f"{place} is {short_repr(fault['input'])}") from error

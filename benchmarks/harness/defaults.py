"""What is measured where nothing is said: it depends on the device."""

from __future__ import annotations

from benchmarks.harness.rows import CLASSES, REPEATS, SIZE, Setting
from resbench.devices import resolve_device
from resbench.measure.profile import Subject
from resbench.planning.arms import expand_models
from resbench.planning.precision_choice import settle_precision
from resbench.planning.settings import resolve_engine
from resbench.suite import EngineOptions

DEFAULTS = {
    "cpu": ("d2l_resnet18,resnet34,resnet50,se_resnet50,resnet152", "source", 128),
    "cuda": ("d2l_resnet18,resnet34,resnet50,se_resnet50,resnet152", "cifar", 512),
}
"""Networks, stem and batch size where none are given."""


def default_setting(
    device: str = "auto",
    *,
    models: str | None = None,
    stem: str | None = None,
    batch_size: int | None = None,
    precision: str = "auto",
    dataset: str = "noise",
    repeats: int = REPEATS,
    seconds: float = 3.0,
) -> Setting:
    """Returns what is measured, with what was not given filled in for the device.

    Raises:
        InputError: A name or a setting is wrong.
    """
    resolved = resolve_device(device)
    usual_models, usual_stem, usual_batch = DEFAULTS.get(resolved.partition(":")[0], DEFAULTS["cpu"])
    names = expand_models((models or usual_models).split(","))
    stem, batch_size = stem or usual_stem, batch_size or usual_batch
    engine = resolve_engine(EngineOptions(device=resolved, precision=precision))
    subjects = [Subject(name, stem, (3, SIZE, SIZE), CLASSES, batch_size, engine) for name in names]
    return Setting(
        device=resolved,
        models=tuple(names),
        stem=stem,
        batch_size=batch_size,
        precision=settle_precision(engine, subjects).precision,
        dataset=dataset,
        repeats=repeats,
        seconds=seconds,
    )

"""What is measured where nothing is said: it depends on the device."""

from __future__ import annotations

from benchmarks.harness.rows import REPEATS, Setting
from resbench.devices import resolve_device
from resbench.planning.arms import expand_models
from resbench.precision import resolve_precision

DEFAULTS = {
    "cpu": ("d2l_resnet18,resnet50", "source", 128),
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
    return Setting(
        device=resolved,
        models=tuple(expand_models((models or usual_models).split(","))),
        stem=stem or usual_stem,
        batch_size=batch_size or usual_batch,
        precision=resolve_precision(precision, resolved),
        dataset=dataset,
        repeats=repeats,
        seconds=seconds,
    )

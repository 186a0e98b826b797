"""Several devices for one trial: whether a machine has them, and whether the suite can be trained on them."""

from __future__ import annotations

from resbench.devices import check_devices
from resbench.errors import InputError
from resbench.measure.profile import Subject
from resbench.planning.arms import PlannedArm
from resbench.ranks import threads_of_each
from resbench.registry import without_memory
from resbench.schema import EngineSettings, Trial
from resbench.suite import EngineOptions
from resbench.training.distributed import check_batch_norm


def check_several(options: EngineOptions, device: str) -> None:
    """Checks that one trial can be trained on as many devices as the options ask for.

    Args:
        options: The ``[engine]`` table.
        device: What its ``device`` is here.

    Raises:
        InputError: There are not so many, or another setting cannot go with several.
    """
    if options.devices == 1:
        return
    check_devices(device, options.devices)
    if options.concurrent_seeds > 1:
        raise InputError(
            f"devices is {options.devices} and concurrent_seeds is {options.concurrent_seeds}: one is for trials that "
            "one device is too small for, the other for those that leave one idle. Give one of them."
        )
    if options.cuda_graph == "on":
        raise InputError(
            f"cuda_graph is on and devices is {options.devices}: gradients are exchanged while the backward pass runs, "
            "by code outside of it that a recorded step would leave out or freeze. Leave cuda_graph at auto."
        )


def check_share(arm: PlannedArm, engine: EngineSettings) -> None:
    """Checks that the devices of a trial can share an arm's batches, and its batch norm.

    Raises:
        InputError: They cannot.
    """
    devices, size = engine.devices, arm.batch_size
    if devices == 1:
        return
    if size % devices:
        near = sorted({max(devices, size - size % devices), size + devices - size % devices})
        raise InputError(
            f"{size} images a batch cannot be shared out evenly among {devices} devices. Give a batch size (--batch-"
            f"size) such as {' or '.join(map(str, near))}, or another number of devices (--devices)."
        )
    if arm.recipe.sync_batch_norm and not engine.device.startswith("cuda"):
        raise InputError(
            f"recipe {arm.recipe.name!r} synchronises batch norm over devices, which torch does on GPUs only, and the "
            f"device is {engine.device}. Take a recipe without sync_batch_norm, or one device."
        )


def check_layers(arm: PlannedArm, trial: Trial) -> None:
    """Checks that a network's batch norm can be synchronised, where that is going to be done.

    Raises:
        InputError: It cannot.
    """
    if arm.recipe.sync_batch_norm and trial.engine.devices > 1:
        subject = Subject(trial.model, trial.stem, trial.input, trial.num_classes, trial.batch_size, trial.engine)
        check_batch_norm(without_memory(subject.build))


def notices_of(engine: EngineSettings) -> list[str]:
    """Returns what the user must know of trials on several devices."""
    if engine.devices == 1 or engine.device != "cpu":
        return []
    threads = threads_of_each(engine.devices)
    return [
        f"{engine.devices} processes share this processor, with {threads} {'thread' if threads == 1 else 'threads'} "
        "each: no other device comes to help, so this tells whether a training works and not how fast it could be."
    ]

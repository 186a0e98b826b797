"""How a node comes to work: fit or not, its data sent, its processor taken. One step after another, many nodes at once.

A node's way is a generator: it yields what it waits for and is sent what came of it, so one loop follows all nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import ray

from resbench.conduct import Conduct
from resbench.data.cache import Decoded
from resbench.errors import InputError
from resbench.executors.ray_cluster.keeper import differing_software
from resbench.executors.ray_cluster.messages import Node, Told
from resbench.executors.ray_cluster.shipping import Manifest, ShippedFile, files_to_ship, imports_there
from resbench.inputs import Inputs
from resbench.schema import EngineSettings, Trial

STEP_S = 180.0
"""How long a step may take that only asks."""
SLOWEST_BYTES_S = 2e6
"""A network that sends less in a second counts as broken."""


@dataclass(frozen=True)
class Needs:
    """What trials need of any node."""

    run: str
    """Names the results folder, whatever its path."""
    inputs: Inputs
    engine: EngineSettings
    manifest: Manifest
    files: dict[ShippedFile, Path]
    size: int
    """Bytes of all that is sent."""
    device_given: bool = True
    """Whether a person named the device; else it is the best one of the machine that planned."""

    @cached_property
    def software(self) -> dict[str, str | None]:
        """The driver's own."""
        return self.manifest.software()


def needs_of(trials: Sequence[Trial], inputs: Inputs, run: str, *, device_given: bool = True) -> Needs:
    """Lists what trials need of any node.

    Args:
        trials: What is to run.
        inputs: What they read.
        run: Names the results folder.
        device_given: Whether a person named the device.

    Raises:
        InputError: The trials are for one of several GPUs, or a file of theirs cannot be read.
    """
    first = trials[0]
    if ":" in first.engine.device:
        raise InputError(
            f"the device is {first.engine.device} and the executor is ray, which gives each trial a GPU of its own. "
            "Give --device cuda."
        )
    files = files_to_ship(inputs, trials)
    dataset = inputs.load()
    size = sum(split.images.nbytes + split.labels.nbytes for split in (dataset.train, dataset.test))
    packages = ("timm",) if any(trial.model.startswith("timm:") for trial in trials) else ()
    manifest = Manifest(
        first.dataset, first.dataset_fingerprint, tuple(files), imports_there(inputs), packages=packages
    )
    size += sum(file.size for file in files)
    return Needs(run, inputs, first.engine, manifest, files, size, device_given)


class Luggage:
    """What is sent to nodes, put into Ray's store when the first node asks for it; from there nodes fetch it."""

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self._files: dict[ShippedFile, Any] = {}

    @cached_property
    def images(self) -> Any:
        """A reference to the decoded images.

        Raises:
            InputError: They are not the same any more.
        """
        dataset, manifest = self.needs.inputs.load(), self.needs.manifest
        train, test = dataset.train, dataset.test
        decoded = Decoded(
            dataset.classes, train.images.numpy(), train.labels.numpy(), test.images.numpy(), test.labels.numpy()
        )
        if decoded.fingerprint != manifest.fingerprint:
            raise InputError(f"the dataset {manifest.dataset} has changed since it was planned: plan it again.")
        return ray.put(decoded)

    def file(self, file: ShippedFile) -> Any:
        """Returns a reference to what a file holds."""
        if file not in self._files:
            self._files[file] = ray.put(self.needs.files[file].read_bytes())
        return self._files[file]


@dataclass(frozen=True)
class Step:
    """What a node's way waits for."""

    reference: Any
    what: str
    limit_s: float | None = STEP_S


class UnfitError(Exception):
    """Why a node is not used."""


Way = Generator[Step, Any, Node]


def join(node_id: str, name: str, slots: int, keeper: Any, luggage: Luggage, tell: Callable[[Told], None]) -> Way:
    """Leads a node to work.

    Args:
        node_id: Whose way it is.
        name: What records call it.
        slots: How many trials it runs at once.
        keeper: The actor there.
        luggage: What it may lack.
        tell: Told what a person must know.

    Yields:
        What it waits for.

    Returns:
        The node, ready.

    Raises:
        UnfitError: Its software is not the driver's.
    """
    needs = luggage.needs
    found = yield Step(keeper.look.remote(needs.run, needs.inputs, needs.manifest), "say what it is")
    differing = differing_software(needs.software, found.software)
    if differing is not None:
        raise UnfitError(f"its software is another: {differing}. Install there what runs here")
    if found.low_priority:
        tell(
            Told(
                f"{name}: Ray runs its workers there with low priority, so times are suspect. Start it with "
                "RAY_worker_niceness=0 in the environment."
            )
        )
    patience_s = STEP_S + needs.size / SLOWEST_BYTES_S
    if found.images_missing:
        yield Step(keeper.take_images.remote(needs.manifest, luggage.images), "take the images", patience_s)
    for file in found.files_missing:
        yield Step(keeper.take_file.remote(file, luggage.file(file)), f"take the {file.role}", patience_s)
    device = needs.engine.device
    holder = yield Step(keeper.hold.remote(device, wait=False), "take its processor")
    if holder is not None:
        tell(Told(f"{name}: {holder}"))
        yield Step(keeper.hold.remote(device, wait=True), "take its processor", limit_s=None)
    return Node(node_id, name, slots, found.inputs, found.folder, found.checkpoints)


def why_not(resources: dict[str, float], needs: Needs, conduct: Conduct) -> str | None:
    """Says why a node is not used, from what it has; None for one that is.

    Args:
        resources: As Ray lists them: ``CPU`` and ``GPU``.
        needs: What trials need.
        conduct: How many processors each gets.
    """
    device, gpus = needs.engine.device, resources.get("GPU", 0)
    if device == "cpu" and gpus and not needs.device_given:
        return (
            f"it has {gpus:g} {'GPU' if gpus == 1 else 'GPUs'}, and the trials were planned for a processor, since "
            "torch sees no GPU where resbench was started. Start it on a node like this one; or give --device cpu"
        )
    if not slots_of(resources, needs.engine, conduct):
        return f"it has {resources.get('CPU', 0):g} CPUs and {gpus:g} GPUs, not enough for a trial on {device}"
    return None


def slots_of(resources: dict[str, float], engine: EngineSettings, conduct: Conduct) -> int:
    """Returns how many trials a node runs at once.

    Args:
        resources: As Ray lists them: ``CPU`` and ``GPU``.
        engine: What a trial computes on.
        conduct: How many processors it gets.
    """
    cpus, each = int(resources.get("CPU", 0)), conduct.cpus_per_trial
    if not engine.device.startswith("cuda"):
        return cpus // each if each else int(cpus > 0)
    gpus = int(resources.get("GPU", 0)) // engine.devices
    return min(gpus, cpus // each) if each else gpus


def request_of(resources: dict[str, float], engine: EngineSettings, conduct: Conduct) -> dict[str, float]:
    """Returns what a trial asks Ray for on a node: its GPUs, or its part of the processor."""
    if engine.device.startswith("cuda"):
        return {"num_gpus": engine.devices, "num_cpus": conduct.cpus_per_trial or 0}
    return {"num_cpus": conduct.cpus_per_trial or int(resources.get("CPU", 0))}

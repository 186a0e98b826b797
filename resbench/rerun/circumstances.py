"""The code, software, machine and data of a stored trial, held against those that are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resbench.console import complain
from resbench.errors import InputError
from resbench.rerun.stored_trial import StoredTrial
from resbench.schema import MEASURING_VERSION, Trial

if TYPE_CHECKING:
    from resbench.inputs import Inputs

_CODE = "it is another code, so the accuracy need not be the same to the bit, and times may differ for a reason"
_MACHINE = "times and memory are not comparable, and the accuracy need not be the same to the bit"

MEANS = {
    "git_sha": _CODE,
    "git_dirty": _CODE,
    "git_diff_hash": _CODE,
    "resbench": _CODE,
    "measuring_version": "times and memory are measured in another way and are not comparable",
    "torch": _MACHINE,
    "torchvision": "the accuracy need not be the same to the bit",
    "cuda": _MACHINE,
    "cudnn": _MACHINE,
    "driver": _MACHINE,
    "python": "nothing that is compared should depend on it",
    "device_name": _MACHINE,
    "host_cpu": _MACHINE,
    "cpu_threads": _MACHINE,
}
"""What is held against the record before a rerun, and what a difference makes impossible."""

_NO_BITS = ("measuring_version", "python")
"""What an accuracy does not depend on."""


@dataclass(frozen=True)
class Check:
    """One thing that the record says, and what it is here."""

    name: str
    recorded: Any
    here: Any

    @property
    def agrees(self) -> bool:
        """Whether both are the same."""
        return bool(self.recorded == self.here)


def check_machine(stored: StoredTrial) -> list[Check]:
    """Holds a record's code, software and machine against those that are here.

    Raises:
        InputError: The device that it ran on is not here.
    """
    from resbench import provenance
    from resbench.devices import check_devices, open_device, resolve_device
    from resbench.ranks import threads_of_each

    row, name, devices = stored.row, stored.trial.engine.device, stored.trial.engine.devices
    try:
        name_here = resolve_device(name)
        check_devices(name_here, devices)
        device = open_device(name_here)
    except InputError as error:
        several, there_is = (f"{devices} x ", "are not so many devices") if devices > 1 else ("", "is no such device")
        raise InputError(
            f"the trial ran on {several}{row['device_name']} ({name}), and there {there_is} here: it can only be run "
            f"again on a machine that has {'them' if devices > 1 else 'one'}."
        ) from error
    here = {
        **provenance.collect().to_dict(),
        "measuring_version": MEASURING_VERSION,
        "device_name": device.name,
        "cpu_threads": threads_of_each(devices),
    }
    return [Check(name, row.get(name), here[name]) for name in MEANS]


def check_data(trial: Trial, inputs: Inputs) -> Check:
    """Loads the data and holds their fingerprint against the recorded one.

    Raises:
        InputError: They cannot be had, or are not the trial's.
    """
    data = inputs.load(complain)
    if data.fingerprint != trial.dataset_fingerprint:
        raise InputError(
            f"the data in {inputs.dataset!r} are not the trial's: their fingerprint is {data.fingerprint[:12]}, and "
            f"{trial.dataset_fingerprint[:12]} is recorded ({trial.dataset}). Give the trial's own with --dataset or "
            "--data-dir."
        )
    return Check("dataset_fingerprint", trial.dataset_fingerprint, data.fingerprint)


def bits_expected(trial: Trial, checks: Sequence[Check]) -> bool:
    """Says whether a rerun must reach the same accuracy to the bit.

    That is so on a processor, with the same code, software and threads, where steps and not seconds are the budget.

    Args:
        trial: What is run again.
        checks: From :func:`check_machine`.
    """
    from resbench.budget import parse_budget

    known = {check.name: check for check in checks}
    dirty, changes = known["git_dirty"], known["git_diff_hash"]
    code_known = not dirty.recorded or changes.recorded is not None
    alike = all(check.agrees for check in checks if check.name not in _NO_BITS)
    return trial.engine.device == "cpu" and parse_budget(trial.budget).unit != "s" and code_known and alike

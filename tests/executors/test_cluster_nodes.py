"""What a node must be and hold before trials run there."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_cluster import make_trials
from tiny_folder import make_tiny_folder

from resbench.conduct import Conduct
from resbench.data import cache
from resbench.data.cache import Decoded
from resbench.errors import InputError
from resbench.executors.ray_cluster import connection, joining, keeper, shipping
from resbench.executors.ray_cluster.joining import (
    Luggage,
    Needs,
    Step,
    UnfitError,
    needs_of,
    request_of,
    slots_of,
    why_not,
)
from resbench.executors.ray_cluster.keeper import Keeper, differing_software
from resbench.executors.ray_cluster.messages import Node, Told
from resbench.executors.ray_cluster.shipping import files_to_ship
from resbench.inputs import Inputs
from resbench.schema import EngineSettings
from resbench.source_files import source_digest


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two machines, by their cache folders: calling it moves from one to the other."""

    def move(name: str) -> Path:
        monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path / name))
        return tmp_path / name

    move("driver")
    return move


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(f"folder:{make_tiny_folder(tmp_path / 'tiny')}", channels=1, train_images=8)


def needs_for(inputs: Inputs, **trial: Any) -> Needs:
    dataset = inputs.load()
    (planned,) = make_trials(1)
    planned = replace(planned, dataset=dataset.name, dataset_fingerprint=dataset.fingerprint, **trial)
    return needs_of([planned], inputs, "run1")


class Calls:
    """Calls a keeper as an actor is called, at once: a reference is what came of it."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.keeper, name)
        return type("Remote", (), {"remote": staticmethod(lambda *a, **k: (name, method(*a, **k)))})


def lead(needs: Needs, keeper: Keeper) -> tuple[Node, list[str], list[str]]:
    """Leads a node to work; returns it, what was asked of its keeper, and what a person is told."""
    told: list[Told] = []
    way = joining.join("id", "name", 2, Calls(keeper), Luggage(needs), told.append)
    asked, step = [], next(way)
    try:
        while True:
            assert isinstance(step, Step)
            name, value = step.reference
            asked.append(name)
            step = way.send(value)
    except StopIteration as arrived:
        return arrived.value, asked, [one.text for one in told]


def test_images_reach_a_node_once_by_their_fingerprint_and_are_read_without_a_path(
    machines: Any, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.put", lambda value: value)
    dataset, needs = inputs.load(), needs_for(inputs)
    machines("node")
    first = Keeper()
    node, asked, _ = lead(needs, first)
    first._held.close()
    _, asked_again, _ = lead(needs, Keeper())
    assert asked == ["look", "take_images", "hold"]
    assert asked_again == ["look", "hold"]
    there = replace(node.inputs, dataset="folder:/nowhere").load()
    assert (there.fingerprint, there.classes) == (dataset.fingerprint, dataset.classes)
    assert there.train.images.numpy().tolist() == dataset.train.images.numpy().tolist()
    assert node.folder.is_relative_to(cache.cache_root())


def test_images_that_a_node_has_from_elsewhere_are_not_sent(machines: Any, tmp_path: Path) -> None:
    whole = Inputs(f"folder:{make_tiny_folder(tmp_path / 'tiny')}")
    needs = needs_for(whole)
    machines("node")
    whole.load()
    _, asked, _ = lead(needs, Keeper())
    assert asked == ["look", "hold"]


def test_images_that_are_gone_or_arrive_damaged_are_refused(machines: Any, inputs: Inputs) -> None:
    needs = needs_for(inputs)
    machines("node")
    with pytest.raises(InputError, match=r"are gone from the cache in .*node"):
        shipping.inputs_here(inputs, needs.manifest).load()
    zeros = np.zeros((2, 8, 8, 1), np.uint8)
    labels = np.zeros(2, np.int64)
    with pytest.raises(InputError, match="arrived damaged"):
        shipping.take_images(needs.manifest, Decoded(("a",), zeros, labels, zeros, labels))


def test_a_weights_file_reaches_a_node_by_what_it_holds(
    machines: Any, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.put", lambda value: value)
    weights = tmp_path / "best.pt"
    weights.write_bytes(b"weights")
    needs = needs_for(replace(inputs, weights=str(weights)))
    machines("node")
    node, asked, _ = lead(needs, Keeper())
    assert "take_file" in asked
    there = Path(str(node.inputs.weights))
    assert (there.name, there.read_bytes()) == ("best.pt", b"weights")
    assert there.is_relative_to(tmp_path / "node")
    there.write_bytes(b"weighty")  # somebody changed it: it is sent again
    assert shipping.missing(needs.manifest)[1] == needs.manifest.files
    with pytest.raises(InputError, match=r"the weights best.pt arrived damaged"):
        shipping.take_file(needs.manifest.files[0], b"weighty")


def test_a_users_code_reaches_a_node_with_what_it_imports(
    machines: Any, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.put", lambda value: value)
    nets = tmp_path / "here" / "nets.py"
    nets.parent.mkdir()
    nets.write_text("import blocks\n")
    (nets.parent / "blocks.py").write_text("width = 8\n")
    needs = needs_for(replace(inputs, imports=(str(nets), "installed.nets")))
    machines("node")
    node, asked, _ = lead(needs, Keeper())
    assert asked.count("take_file") == 2
    there, installed = node.inputs.imports
    assert installed == "installed.nets"  # a node has that already, or says that it lacks it
    assert Path(there).is_relative_to(tmp_path / "node")
    assert (Path(there).name, Path(there).read_text()) == ("nets.py", "import blocks\n")
    assert (Path(there).parent / "blocks.py").read_text() == "width = 8\n"


def test_default_weights_go_where_torch_looks_for_them(
    machines: Any, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    place = shipping.torch_hub_checkpoints()
    assert place == Path(torch.hub.get_dir(), "checkpoints")
    place.mkdir(parents=True)
    trials = [replace(trial, weights="default") for trial in make_trials(1)]
    assert files_to_ship(inputs, trials) == {}  # they are not here: planning has said so
    (place / shipping._default_weights().name).write_bytes(b"weights")
    ((file, path),) = files_to_ship(inputs, trials).items()
    assert (file.role, file.place, path) == ("default weights", path, place / file.name)


def test_a_node_with_other_software_is_refused_by_what_differs(
    machines: Any, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = needs_for(inputs)
    assert needs.software["torch"] is not None
    here = dict(needs.software)
    monkeypatch.setattr(shipping, "software", lambda packages: {**here, "torch": "1.0", "commit": None})
    with pytest.raises(UnfitError, match=rf"commit is none there .*, torch is 1.0 there and {here['torch']} here"):
        lead(needs, Keeper())
    assert differing_software(here, here) is None


def test_a_node_that_lacks_a_library_or_an_installed_module_of_the_trials_is_refused(
    machines: Any, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "their_nets.py").write_text("width = 8\n")
    monkeypatch.syspath_prepend(place)
    trials = [replace(trial, model="timm:resnet18") for trial in make_trials(1)]
    dataset = inputs.load()
    trials = [replace(trial, dataset_fingerprint=dataset.fingerprint) for trial in trials]
    needs = needs_of(trials, replace(inputs, imports=("their_nets",)), "run1")
    assert needs.software["timm"] == version("timm")
    assert needs.software["the module their_nets"] == source_digest(place / "their_nets.py", "their_nets")[:12]
    assert "timm" not in needs_for(inputs).software  # nothing else needs it
    assert differing_software(needs.software, Keeper().look("run1", inputs, needs.manifest).software) is None
    (place / "their_nets.py").write_text("width = 16\n")
    with pytest.raises(UnfitError, match=r"the module their_nets is [0-9a-f]{12} there and [0-9a-f]{12} here"):
        lead(needs, Keeper())
    (place / "their_nets.py").unlink()
    monkeypatch.setattr("resbench.provenance._version", {"torch": needs.software["torch"]}.get)
    with pytest.raises(UnfitError, match=r"timm is none there and .*, the module their_nets is none there"):
        lead(needs, Keeper())


def test_a_processor_that_another_run_holds_is_waited_for_and_said(machines: Any, inputs: Inputs) -> None:
    first, second = Keeper(), Keeper()
    assert first.hold("cpu", wait=False) is None
    holder = second.hold("cpu", wait=False)
    assert holder is not None
    assert f"in use by process {os.getpid()}" in holder
    assert second.hold("cuda", wait=False) is None  # the trial takes the GPU that it is given
    first._held.close()
    assert second.hold("cpu", wait=True) is None


def test_a_keeper_knows_what_an_earlier_driver_left_and_removes_what_nobody_came_back_for(
    machines: Any, inputs: Inputs
) -> None:
    needs = needs_for(inputs)
    root = machines("node") / "cluster" / keeper.host_name()
    for run, days in (("run1", 30), ("old", 15), ("recent", 1)):
        (root / run / "checkpoints").mkdir(parents=True)
        for path in (root / run / "checkpoints" / "abc.pt", root / run / "checkpoints", root / run):
            path.touch()
            os.utime(path, (0, time.time() - days * 86400))
    found = Keeper().look("run1", inputs, needs.manifest)
    assert found.checkpoints == {"abc"}
    assert sorted(path.name for path in root.iterdir()) == ["recent", "run1"]


@pytest.mark.parametrize(
    ("resources", "device", "devices", "each", "slots", "request_"),
    [
        ({"CPU": 8.0}, "cpu", 1, None, 1, {"num_cpus": 8}),
        ({"CPU": 8.0}, "cpu", 1, 3, 2, {"num_cpus": 3}),
        ({"CPU": 2.0}, "cpu", 1, 3, 0, {"num_cpus": 3}),
        ({}, "cpu", 1, None, 0, {"num_cpus": 0}),
        ({"CPU": 8.0, "GPU": 4.0}, "cuda", 1, None, 4, {"num_gpus": 1, "num_cpus": 0}),
        ({"CPU": 8.0, "GPU": 4.0}, "cuda", 2, None, 2, {"num_gpus": 2, "num_cpus": 0}),
        ({"CPU": 8.0, "GPU": 4.0}, "cuda", 1, 4, 2, {"num_gpus": 1, "num_cpus": 4}),
        ({"CPU": 8.0}, "cuda", 1, None, 0, {"num_gpus": 1, "num_cpus": 0}),
    ],
)
def test_how_many_trials_a_node_runs_at_once_and_what_each_asks_for(
    resources: dict[str, float],
    device: str,
    devices: int,
    each: int | None,
    slots: int,
    request_: dict[str, float],
) -> None:
    engine, conduct = EngineSettings(device, "fp32", devices=devices), Conduct(cpus_per_trial=each)
    assert slots_of(resources, engine, conduct) == slots
    assert request_of(resources, engine, conduct) == request_


@pytest.mark.parametrize(
    ("resources", "device", "given", "said"),
    [
        ({"CPU": 8.0}, "cpu", False, None),
        ({"CPU": 8.0, "GPU": 4.0}, "cpu", True, None),
        ({"CPU": 8.0, "GPU": 4.0}, "cpu", False, "it has 4 GPUs, and the trials were planned for a processor"),
        ({"CPU": 8.0, "GPU": 4.0}, "cuda", False, None),
        ({"CPU": 8.0}, "cuda", False, "it has 8 CPUs and 0 GPUs, not enough for a trial on cuda"),
        ({}, "cpu", True, "it has 0 CPUs and 0 GPUs, not enough for a trial on cpu"),
    ],
)
def test_a_node_whose_gpus_nobody_decided_to_leave_idle_is_refused(
    inputs: Inputs, resources: dict[str, float], device: str, given: bool, said: str | None
) -> None:
    needs = replace(needs_for(inputs, engine=EngineSettings(device, "fp32")), device_given=given)
    found = why_not(resources, needs, Conduct())
    assert found is None if said is None else found is not None and found.startswith(said)


@pytest.mark.parametrize("given", [{}, {"RAY_AUTH_TOKEN": "mine"}, {"RAY_AUTH_MODE": "disabled"}])
def test_a_cluster_that_is_started_has_a_token_of_its_own(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    tokens = []
    for _ in range(2):
        with connection._own_token():
            tokens.append(os.environ.get("RAY_AUTH_TOKEN"))
            os.environ["RAY_AUTH_MODE"] = "token"  # as Ray does where nothing was said
        assert {name: os.environ.get(name) for name in names} == {name: given.get(name) for name in names}
    assert tokens[0] == tokens[1]  # Ray reads one once
    assert given.get("RAY_AUTH_TOKEN", tokens[0]) == tokens[0]
    assert (tokens[0] is None) == ("RAY_AUTH_MODE" in given)


def test_one_gpu_of_several_cannot_be_asked_for(inputs: Inputs) -> None:
    with pytest.raises(InputError, match=r"the device is cuda:1 .* Give --device cuda"):
        needs_for(inputs, engine=EngineSettings("cuda:1", "fp32"))

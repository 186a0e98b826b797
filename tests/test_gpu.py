"""The CUDA path, on a machine that has one: a whole trial, agreement with the CPU, and no wait inside an epoch."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tiny_folder import make_tiny_folder

from resbench.data.datasets import load_dataset
from resbench.data.pipeline import Pipeline, normalisation_of, to_device
from resbench.devices import apply_precision
from resbench.recipes import get_recipe
from resbench.registry import create_model
from resbench.schema import EngineSettings, Trial
from resbench.training.engine import Engine
from resbench.trial import Inputs, run_trial

pytestmark = pytest.mark.gpu
BATCH = 8


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return f"folder:{make_tiny_folder(tmp_path / 'shades', size=32)}"


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_trial_fills_every_column_that_only_cuda_has(folder: str, precision: str) -> None:
    dataset = load_dataset(folder)
    trial = Trial(
        model="d2l_resnet18",
        stem="source",
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        num_classes=dataset.num_classes,
        input=dataset.image_shape,
        recipe="common",
        batch_size=BATCH,
        budget="2ep",
        seed=0,
        engine=EngineSettings("cuda", precision),
    )
    record = run_trial(trial, Inputs(folder), lambda kind, data: None)
    assert (record.status, record.error) == ("ok", None)
    assert record.peak_memory_reserved_mib >= record.peak_memory_allocated_mib > record.inference_memory_mib > 0
    assert record.tf32 == (precision == "tf32")
    assert all([record.cuda, record.cudnn, record.driver])
    parts = [value for name, value in vars(record).items() if name.endswith("_s") and name != "wall_s"]
    assert sum(parts) == pytest.approx(record.wall_s, rel=0.01)


def test_steps_on_the_gpu_and_on_the_cpu_agree_in_fp32() -> None:
    apply_precision("fp32")
    torch.manual_seed(0)
    model = create_model("d2l_resnet18")
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    losses = []
    for device in ("cpu", "cuda"):
        engine = Engine(copy.deepcopy(model), get_recipe("common"), EngineSettings(device, "fp32"))
        engine.set_learning_rate(0.01)
        for _ in range(5):
            engine.train_step(images.to(device), labels.to(device))
        losses.append(engine.read_totals().mean_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_neither_batches_nor_steps_wait_for_the_device(folder: str) -> None:
    device = torch.device("cuda")
    dataset = load_dataset(folder)
    recipe = get_recipe("common")
    engine = Engine(create_model("d2l_resnet18", num_classes=2), recipe, EngineSettings("cuda", "bf16"))
    pipeline = Pipeline(
        to_device(dataset.train, device),
        to_device(dataset.test, device),
        input_size=(32, 32),
        batch_size=BATCH,
        augmentation=recipe.augmentation,
        normalisation=normalisation_of(dataset, recipe.normalisation),
        seed=0,
    )
    engine.warm_up(*next(pipeline.epoch()))
    torch.cuda.set_sync_debug_mode("error")  # any operation that waits raises
    try:
        for images, labels in pipeline.epoch():
            engine.set_learning_rate(0.01)
            engine.train_step(images, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert engine.read_totals().images == len(dataset.train)

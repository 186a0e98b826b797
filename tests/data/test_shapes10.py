from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from resbench.data import shapes10
from resbench.data.datasets import Dataset, load_dataset
from resbench.data.shapes10 import CLASSES, make_shapes10
from resbench.models.parts import basic_block


@pytest.fixture(scope="module")
def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """3,000 training and 1,000 test images as float pixels [N, 3072] in 0..1, with their labels."""
    parts = []
    for count, seed in ((3000, 1), (1000, 2)):
        images, labels = make_shapes10(count, seed=seed)
        parts += [torch.from_numpy(images).flatten(1).double() / 255, torch.from_numpy(labels)]
    return tuple(parts)


def test_the_same_bytes_on_every_machine():
    images, labels = make_shapes10(60, seed=0)
    assert (
        hashlib.sha256(images.tobytes()).hexdigest()
        == "04a729f87e1c7c38aeef3ad6b644bdffeb997bc274110b90b3b670a85f5017f5"
    )
    assert labels.tolist() == list(range(10)) * 6


def test_shape_type_and_range():
    images, labels = make_shapes10(25, seed=3)
    assert (images.shape, images.dtype) == ((25, 32, 32, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((25,), np.int64)
    assert len(CLASSES) == 10
    assert images.min() < 30
    assert images.max() > 225


def test_seeds_differ_and_longer_draws_begin_alike():
    first, _ = make_shapes10(500, seed=1)
    longer, _ = make_shapes10(520, seed=1)
    np.testing.assert_array_equal(first, longer[:500])
    assert not np.array_equal(first, make_shapes10(500, seed=2)[0])
    assert len(np.unique(first.reshape(500, -1), axis=0)) == 500


def test_no_sine_lies_where_rounding_could_differ():
    exact = [16384 * math.sin(2 * math.pi * k / shapes10.TURN) for k in range(shapes10.TURN)]
    assert min(abs(value % 1 - 0.5) for value in exact) > 1e-6


def test_dice_are_fair_and_keep_to_their_bounds():
    throws = shapes10._Dice(0)(-2, 3, 60_000)
    values, counts = np.unique(throws, return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2, 3]
    # Chi-squared with five degrees of freedom: beyond 20.5 once in a thousand draws.
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 20.5


def test_a_linear_model_stays_under_sixty_percent(drawn):
    train, train_labels, test, test_labels = drawn
    mean = train.mean(0)
    train, test = train - mean, test - mean
    targets = F.one_hot(train_labels, 10).double() - 0.1
    products, test_products = train @ train.T, test @ train.T
    accuracies = []
    for ridge in (10.0, 100.0, 1000.0, 10_000.0):
        weights = torch.cholesky_solve(targets, torch.linalg.cholesky(products + ridge * torch.eye(len(train))))
        accuracies.append(((test_products @ weights).argmax(1) == test_labels).double().mean().item())
    assert max(accuracies) < 0.6


def test_no_class_is_told_by_its_mean_colour(drawn):
    train, train_labels, _, _ = drawn
    means = torch.stack([train[train_labels == label].mean() for label in range(10)])
    assert (means.max() - means.min()) < 0.1


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the whole dataset is kept, drawn once for all tests here."""
    return tmp_path_factory.mktemp("shapes10")


@pytest.fixture
def dataset(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("RESBENCH_CACHE", str(cache))
    return load_dataset("shapes10")


def test_as_a_dataset(dataset: Dataset):
    assert (len(dataset.train), len(dataset.test)) == (10_000, 2_000)
    assert dataset.image_shape == (3, 32, 32)
    assert dataset.classes == CLASSES
    assert dataset.train.labels.bincount().tolist() == [1000] * 10
    assert load_dataset("shapes10").fingerprint == dataset.fingerprint


@pytest.mark.slow
def test_a_small_residual_network_passes_ninety_percent(dataset: Dataset):
    torch.manual_seed(0)
    model = small_residual_network()
    train(model, dataset, epochs=2, batch_size=40, learning_rate=0.1)
    assert accuracy(model, dataset) > 0.9


def small_residual_network() -> nn.Sequential:
    """Three residual blocks of 16 to 64 channels: what these can learn in two epochs, the registry's larger ones can.

    It costs a twentieth of the smallest of those, and comes to 96 or 97 %.
    """
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(basic_block(16, 16, 1), basic_block(16, 32, 2), basic_block(32, 64, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


def pixels(images: torch.Tensor) -> torch.Tensor:
    return (images.permute(0, 3, 1, 2).float() - 104) / 73  # the mean and deviation of shapes10, whatever the channel


def train(model: nn.Module, dataset: Dataset, *, epochs: int, batch_size: int, learning_rate: float) -> None:
    images, labels = dataset.train.images, dataset.train.labels
    steps = epochs * (len(labels) // batch_size)
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(batch_size)[: steps // epochs]:
            optimizer.zero_grad()
            F.cross_entropy(model(pixels(images[rows])), labels[rows]).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, dataset: Dataset) -> float:
    model.eval()
    hits = sum(
        int((model(pixels(images)).argmax(1) == labels).sum())
        for images, labels in zip(dataset.test.images.split(500), dataset.test.labels.split(500), strict=True)
    )
    return hits / len(dataset.test)

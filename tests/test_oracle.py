"""A trial against a plain torch loop, figure by figure: to the bit, but for the test loss (1e-6).

The loop shares no code with the project but the network and the figures of the recipe. It decodes, crops, flips and
normalises images itself; only which numbers decide order and crops is taken over: each epoch ``randperm`` of a
generator seeded with 2 x seed, and ``rand(3, images)`` of one seeded with 2 x seed + 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small_trials import BATCH, of_kind, planner, run

from resbench.recipes import get_recipe
from resbench.registry import create_model
from resbench.schema import EngineSettings

TRAIN, TEST, CLASSES, SIDE, EPOCHS, SEED = 36, 13, ("ash", "birch", "cedar"), 12, 3, 7
"""The last 4 training images of each epoch are no whole batch; the last test batch is not full."""
FIGURES = (
    "epoch",
    "steps",
    "images_seen",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
)

LOSS = FIGURES.index("test_loss")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG files whose brightness tells the class, one more than the other."""
    root, draw = tmp_path_factory.mktemp("oracle") / "trees", np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("test", TEST)):
        for number in range(count):
            kind = number % len(CLASSES)
            place = root / split / CLASSES[kind]
            place.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(40 * kind, 40 * kind + 150, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number:03}.jpg", quality=90)
    return root


def decode(folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    files = sorted((folder / split).glob("*/*.jpg"))
    pixels = torch.from_numpy(np.stack([np.asarray(Image.open(file)) for file in files]))
    return pixels, torch.tensor([CLASSES.index(file.parent.name) for file in files])


def learning_rate(recipe: Any, spent: float) -> float:
    peak = recipe.learning_rate * (BATCH / recipe.reference_batch_size if recipe.reference_batch_size else 1)
    if recipe.name == "common":  # up from a fifth of the peak in the first fifth, then down to 0
        return peak * (0.2 + 0.8 * spent / 0.2 if spent < 0.2 else (1 - spent) / 0.8)
    return peak * 0.1 ** ((spent >= 5 / 12) + (spent >= 10 / 12))


def augmented(pixels: torch.Tensor, recipe: Any, draws: torch.Tensor) -> torch.Tensor:
    padding, images = recipe.augmentation.crop_padding, []
    for image, (down, right, mirror) in zip(pixels, draws.T, strict=True):
        if padding:
            around = np.pad(image.numpy(), ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
            top, left = int(down * (2 * padding + 1)), int(right * (2 * padding + 1))
            image = torch.from_numpy(around[top : top + SIDE, left : left + SIDE].copy())
        images.append(image.flip(1) if recipe.augmentation.horizontal_flip and mirror < 0.5 else image)
    return torch.stack(images)


def oracle(folder: Path, model: str, recipe: Any) -> list[list[float]]:
    """Trains a network and returns the figures of each epoch."""
    (pixels, labels), (test_pixels, test_labels) = decode(folder, "train"), decode(folder, "test")
    scaled = pixels.double() / 255
    mean, std = scaled.mean((0, 1, 2)), scaled.std((0, 1, 2), correction=0)
    if recipe.normalisation == "none":
        mean, std = torch.zeros(3), torch.ones(3)
    mean, std = mean.float(), std.float()

    def to_images(some: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(-mean / std, some.float(), 1 / std / 255).permute(0, 3, 1, 2)  # (x / 255 - mean) / std

    torch.manual_seed(SEED)
    network = create_model(model, num_classes=len(CLASSES), input_size=(SIDE, SIDE))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, recipe.momentum, 0, recipe.weight_decay, recipe.nesterov, fused=True
    )
    order_of, draws_of = torch.Generator().manual_seed(2 * SEED), torch.Generator().manual_seed(2 * SEED + 1)
    numbers = 2 * bool(recipe.augmentation.crop_padding) + recipe.augmentation.horizontal_flip
    epochs, step, total = [], 0, EPOCHS * (TRAIN // BATCH)
    for epoch in range(EPOCHS):
        order, draws = torch.randperm(TRAIN, generator=order_of), torch.rand(numbers, TRAIN, generator=draws_of)
        loss_sum, hits = 0.0, 0
        network.train()
        for start in range(0, TRAIN - BATCH + 1, BATCH):
            chosen, own = order[start : start + BATCH], torch.zeros(3, BATCH)
            own[:numbers] = draws[:, start : start + BATCH]
            optimizer.param_groups[0]["lr"] = torch.tensor(learning_rate(recipe, step / total))
            logits = network(to_images(augmented(pixels[chosen], recipe, own)))
            loss = F.cross_entropy(logits, labels[chosen], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum, step = loss_sum + loss.item() * BATCH, step + 1
            hits += int((logits.argmax(1) == labels[chosen]).sum())
        network.eval()
        with torch.inference_mode():
            parts = [network(to_images(some)) for some in test_pixels.split(BATCH)]
        of_parts = list(zip(parts, test_labels.split(BATCH), strict=True))
        test_loss = sum(F.cross_entropy(logits, some, reduction="sum").item() for logits, some in of_parts) / TEST
        test_hits = sum(int((logits.argmax(1) == some).sum()) for logits, some in of_parts)
        images, rate = TRAIN // BATCH * BATCH, float(optimizer.param_groups[0]["lr"])
        of_train = loss_sum / images, hits / images
        epochs.append([epoch + 1, step, step * BATCH, rate, *of_train, test_loss, test_hits / TEST])
    return epochs


UNLOWERED = EngineSettings("cpu", "fp32", lowering="off")
"""As products, convolutions round otherwise than a plain loop's."""


TRAINED = [
    ("cnn", "common"),
    pytest.param("d2l_resnet18", "common", marks=pytest.mark.slow),
    ("cnn", "se_resnet50"),
]


@pytest.mark.usefixtures("brief_timing")
@pytest.mark.parametrize(("model", "recipe"), TRAINED)
def test_a_trial_is_a_plain_loop(folder: Path, model: str, recipe: str) -> None:
    planned: Callable[..., Any] = planner(folder)
    record, events = run(planned(model=model, recipe=recipe, budget=f"{EPOCHS}ep", seed=SEED, engine=UNLOWERED))
    assert record.status == "ok", record.error
    figures = [[epoch[name] for name in FIGURES] for epoch in of_kind(events, "epoch")]
    expected = oracle(folder, model, get_recipe(recipe))
    for found, wanted in zip(figures, expected, strict=True):
        # A trial fills its last test batch up: another batch size may be another kernel, which rounds otherwise.
        assert found.pop(LOSS) == pytest.approx(wanted.pop(LOSS), rel=1e-6)
    assert figures == expected

"""Whole batches of the fine-tuning recipe against torchvision: JPEG files, one image at a time, from the same draws."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from image_samples import random_image
from PIL import Image
from torchvision.models import ResNet152_Weights
from torchvision.transforms import InterpolationMode

from resbench.data.datasets import load_dataset
from resbench.data.pipeline import Pipeline, normalisation_of
from resbench.recipes import RECIPES, Augmentation

RECIPE = RECIPES["resnet152_finetune"]
STEPS: Augmentation = RECIPE.augmentation
PRESET = ResNet152_Weights.IMAGENET1K_V1.transforms()
SIZES = [(60, 80), (80, 60), (72, 72), (41, 97), (120, 50), (64, 64)]
"""Height and width of the JPEG files of each class and split."""
ALMOST_1 = 1 - 2**-24
"""The largest number that ``torch.rand`` draws."""
SHAPES = [((300, 300), (256, 256)), ((48, 40), (32, 64)), ((33, 57), (45, 31))]
"""What the files are decoded to and what the network is given, (height, width) each; the first is the source's."""
TIES = 0.005
"""The share of an image's pixels that rotation may take from a neighbour: of two that are as near, either."""

EVERY_SHAPE = pytest.mark.parametrize(("stored", "shown"), SHAPES, ids=str)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG files that are smooth as photographs are, of many sizes."""
    root = tmp_path_factory.mktemp("data") / "photos"
    seed = 0
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for height, width in SIZES:
                image = random_image((5, 6), seed=seed).resize((width, height), Image.Resampling.BICUBIC)
                image.save(root / split / label / f"{seed:02}.jpg", quality=90)
                seed += 1
    return root


def pipeline(photos: Path, stored: tuple[int, int], shown: tuple[int, int]) -> Pipeline:
    dataset = load_dataset(f"folder:{photos}", resize=stored)
    return Pipeline(
        dataset.train,
        dataset.test,
        input_size=shown,
        batch_size=len(dataset.train),
        augmentation=STEPS,
        normalisation=normalisation_of(dataset, RECIPE.normalisation),
        seed=0,
    )


def opened(photos: Path, split: str, stored: tuple[int, int]) -> list[Image.Image]:
    """The files in the dataset's order, as Pillow opens and torchvision resizes them."""
    files = [Image.open(path).convert("RGB") for path in sorted((photos / split).glob("*/*.jpg"))]
    return [TF.resize(file, list(stored), InterpolationMode.BILINEAR) for file in files]


def augmented(image: torch.Tensor, draws: list[float], shown: tuple[int, int]) -> torch.Tensor:
    """What the recipe does to one image, float or bytes [C, H, W], by torchvision's functions.

    ``draws`` are in the pipeline's order: mirroring comes first, because bytes are mirrored where they lie.
    """
    mirrored, angle, flipped, brightness, contrast, saturation, hue, gray = draws
    jitter = STEPS.colour_jitter
    assert jitter is not None
    image = TF.horizontal_flip(image) if mirrored < 0.5 else image
    image = TF.resize(image, [round(side * STEPS.resize_ratio) for side in shown], antialias=True)
    image = TF.rotate(image, (2 * angle - 1) * STEPS.rotation_degrees, InterpolationMode.NEAREST, fill=[0.0])
    image = TF.center_crop(image, list(shown))
    image = TF.vertical_flip(image) if flipped < 0.5 else image
    image = TF.adjust_brightness(image, 1 + (2 * brightness - 1) * jitter.brightness)
    image = TF.adjust_contrast(image, 1 + (2 * contrast - 1) * jitter.contrast)
    image = TF.adjust_saturation(image, 1 + (2 * saturation - 1) * jitter.saturation)
    image = TF.adjust_hue(image, (2 * hue - 1) * jitter.hue)
    return TF.rgb_to_grayscale(image, num_output_channels=3) if gray < STEPS.grayscale_probability else image


def normalised(image: torch.Tensor) -> torch.Tensor:
    return TF.normalize(TF.to_dtype(image, torch.float32, scale=True), PRESET.mean, PRESET.std)


def fixed_draws(count: int) -> torch.Tensor:
    """Numbers [8, count]: both ends for the first two images, the middle for the third, any for the others."""
    draws = torch.rand(8, count, generator=torch.Generator().manual_seed(4))
    draws[:, 0], draws[:, 1], draws[:, 2] = 0.0, ALMOST_1, 0.5
    draws[7, 3:6] = 0.05  # some gray ones among them
    return draws


def training_batch(photos: Path, stored: tuple[int, int], shown: tuple[int, int]) -> tuple[torch.Tensor, list[int]]:
    subject = pipeline(photos, stored, shown)
    count = len(subject.train)
    order = torch.arange(count).flip(0)
    images, labels = subject.training_batch(order, fixed_draws(count), subject.new_batch())
    assert labels.tolist() == subject.train.labels.flip(0).tolist()
    return images, order.tolist()


@EVERY_SHAPE
def test_training_batches_are_torchvisions_but_for_a_few_pixels(photos, stored, shown):
    images, order = training_batch(photos, stored, shown)
    files, draws = opened(photos, "train", stored), fixed_draws(len(order)).double().T.tolist()
    for image, place, numbers in zip(images, order, draws, strict=True):
        source = TF.to_dtype(TF.pil_to_tensor(files[place]), torch.float32, scale=True)
        difference = (image - normalised(augmented(source, numbers, shown))).abs().amax(0)
        # Of a normalised pixel, some 5 of them to the whole range; contrast hands a tie on through the image's mean.
        assert float((difference > 1e-3).float().mean()) <= TIES


@EVERY_SHAPE
def test_training_batches_are_torchvisions_on_bytes_up_to_its_rounding(photos, stored, shown):
    images, order = training_batch(photos, stored, shown)
    files, draws = opened(photos, "train", stored), fixed_draws(len(order)).double().T.tolist()
    for image, place, numbers in zip(images, order, draws, strict=True):
        expected = normalised(augmented(TF.pil_to_tensor(files[place]), numbers, shown))
        difference = (image - expected).abs() * torch.tensor(PRESET.std)[:, None, None]  # of pixels in 0..1
        # torchvision cuts off to a byte after each change of colour: five times half a byte darker, and at most six.
        assert float(difference.mean()) < 3 / 255
        assert float((difference.amax(0) > 6 / 255).float().mean()) <= TIES


@EVERY_SHAPE
def test_evaluation_batches_are_torchvisions_resize_and_normalize(photos, stored, shown):
    subject = pipeline(photos, stored, shown)
    ((images, labels),) = subject.evaluation()
    assert labels.tolist() == subject.test.labels.tolist()
    for image, file in zip(images, opened(photos, "test", stored), strict=True):
        tensor = TF.to_dtype(TF.pil_to_tensor(file), torch.float32, scale=True)
        expected = TF.normalize(TF.resize(tensor, list(shown), antialias=True), PRESET.mean, PRESET.std)
        torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)
        of_bytes = normalised(TF.pil_to_tensor(TF.resize(file, list(shown), InterpolationMode.BILINEAR)))
        torch.testing.assert_close(image, of_bytes, atol=1.01 / 255 / min(PRESET.std), rtol=0)


def test_files_decoded_at_the_size_of_the_input_are_pillows_own_resized_and_normalised(photos):
    subject = pipeline(photos, (48, 40), (48, 40))
    ((images, _),) = subject.evaluation()
    for image, file in zip(images, opened(photos, "test", (48, 40)), strict=True):
        torch.testing.assert_close(image, normalised(TF.pil_to_tensor(file)), atol=1e-5, rtol=0)


def test_the_recipe_is_the_one_that_is_compared_here():
    assert (STEPS.crop_padding, STEPS.cutout, RECIPE.normalisation) == (0, 0, "imagenet")
    assert (STEPS.horizontal_flip, STEPS.vertical_flip, STEPS.rotation_degrees) == (True, True, 45)
    assert round(256 * STEPS.resize_ratio) == 300
    assert STEPS.grayscale_probability == 0.1

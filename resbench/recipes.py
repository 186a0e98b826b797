"""Recipes: everything that changes what a network learns, as plain data.

``common`` is the one that a comparison trains every network with. The others are the sources' own, kept as
their authors gave them; where a source is silent, the field's comment says what was chosen here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from resbench.errors import unknown

Schedule = Callable[[float], float]
"""Maps the fraction of the budget that is spent (0..1) to a fraction of the peak learning rate."""


@dataclass(frozen=True)
class Triangle:
    """Linear from ``start`` of the peak up to it over the first ``warmup`` of the budget, then linear to 0."""

    warmup: float = 0.2
    start: float = 0.2

    def __call__(self, spent: float) -> float:
        """Returns the fraction of the peak learning rate at a fraction of the budget."""
        if spent < self.warmup:
            return self.start + (1 - self.start) * spent / self.warmup
        return (1 - spent) / (1 - self.warmup)


@dataclass(frozen=True)
class Steps:
    """Multiplied by ``factor`` at each of the ``milestones``, which are fractions of the budget."""

    milestones: tuple[float, ...]
    factor: float = 0.1

    def __call__(self, spent: float) -> float:
        """Returns the fraction of the peak learning rate at a fraction of the budget."""
        return self.factor ** sum(spent >= milestone - 1e-9 for milestone in self.milestones)


@dataclass(frozen=True)
class Constant:
    """The same learning rate throughout."""

    def __call__(self, spent: float) -> float:
        """Returns 1."""
        return 1.0


@dataclass(frozen=True)
class ColourJitter:
    """How far each property may be changed, as in torchvision's transform of that name."""

    brightness: float
    contrast: float
    saturation: float
    hue: float


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image, in this order. Nothing of it happens to a test image."""

    crop_padding: int = 0
    """Random crop of the image's own size after reflecting this many pixels at each border."""
    horizontal_flip: bool = False
    resize_ratio: float = 1.0
    """The image is resized to this times the input's size; after the rotation the centre of it is kept."""
    rotation_degrees: float = 0.0
    """Rotated by a uniform angle of up to this much either way, the corners filled with 0."""
    vertical_flip: bool = False
    colour_jitter: ColourJitter | None = None
    grayscale_probability: float = 0.0
    cutout: int = 0
    """Side in pixels of one square that is set to what normalises to 0; 0 for none."""


@dataclass(frozen=True)
class Recipe:
    """One way of training."""

    name: str
    source: str
    """Where it comes from, and what was chosen here because the source is silent."""
    batch_size: int
    budget: str
    """The source's own length, used where neither suite nor flag gives a budget."""
    optimizer: str
    """``sgd`` or ``adam``."""
    learning_rate: float
    """The peak, at ``reference_batch_size`` where that is given."""
    reference_batch_size: int | None = None
    """The learning rate is scaled by batch size over this; ``None``: never scaled."""
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Schedule = field(default_factory=Constant)
    label_smoothing: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    normalisation: str = "dataset"
    """``dataset`` (its training images' mean and deviation), ``imagenet``, or ``none`` (pixels in 0..1)."""
    initialisation: str = "model"
    """``model`` (as the network's source has it) or ``xavier_uniform`` (conv and linear weights)."""
    frozen_batch_norm: str = "train"
    """What a batch-norm layer does in training if all its own parameters are frozen: ``train`` (it normalises by the
    batch, and its running statistics follow the batches, as the transfer tutorial leaves it) or ``eval`` (it normalises
    by its running statistics, and they stay as they are). One with a parameter that is trained is never affected."""
    sync_batch_norm: bool = False
    """Whether batch norm takes the statistics of the whole batch where several devices share it; otherwise each takes
    those of its share, and the first one's running statistics are evaluated. One device has the whole batch anyway."""

    def peak_learning_rate(self, batch_size: int) -> float:
        """Returns the peak learning rate for a batch size (linear scaling, arXiv 1706.02677)."""
        if self.reference_batch_size is None:
            return self.learning_rate
        return self.learning_rate * batch_size / self.reference_batch_size


_FINETUNE = Recipe(
    name="resnet152_finetune",
    source="torchvision ResNet-152, new head on frozen features; jitter strengths chosen here",
    batch_size=64,
    budget="20ep",
    optimizer="adam",
    learning_rate=1e-3,
    augmentation=Augmentation(
        resize_ratio=300 / 256,
        rotation_degrees=45,
        horizontal_flip=True,
        vertical_flip=True,
        colour_jitter=ColourJitter(brightness=0.2, contrast=0.1, saturation=0.1, hue=0.1),
        grayscale_probability=0.1,
    ),
    normalisation="imagenet",
)

COMMON = "common"
"""The recipe that all networks of a comparison share; what else is called so is a variant of it."""

_COMMON = Recipe(
    name="common",
    source="one fixed recipe for every network of a comparison, after the CIFAR-10 speed-run recipes",
    batch_size=512,
    budget="26ep",
    optimizer="sgd",
    learning_rate=0.4,
    reference_batch_size=512,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule=Triangle(warmup=0.2, start=0.2),
    label_smoothing=0.1,
    augmentation=Augmentation(crop_padding=4, horizontal_flip=True),
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _COMMON,
        replace(
            _COMMON,
            name="common_sync_bn",
            source="this project's variant of common: batch norm takes its statistics over all devices of a trial",
            sync_batch_norm=True,
        ),
        Recipe(
            name="d2l",
            source="Dive into Deep Learning, ResNet on Fashion-MNIST at 224 pixels",
            batch_size=256,
            budget="10ep",
            optimizer="sgd",
            learning_rate=0.05,
            normalisation="none",
            initialisation="xavier_uniform",
        ),
        Recipe(
            name="se_resnet50",
            source="SE-ResNet-50 on CIFAR-10, twelve epochs, x0.1 each five",
            batch_size=128,
            budget="12ep",
            optimizer="sgd",
            learning_rate=0.01,
            momentum=0.9,
            nesterov=True,
            weight_decay=5e-4,
            schedule=Steps(milestones=(5 / 12, 10 / 12)),
            normalisation="none",
        ),
        Recipe(
            name="resnet50_adam",
            source="ResNet-50 with Adam; batch size and length are not given there: 128 and 10 epochs here",
            batch_size=128,
            budget="10ep",
            optimizer="adam",
            learning_rate=1e-3,
        ),
        _FINETUNE,
        replace(
            _FINETUNE,
            name="resnet152_finetune_bn_eval",
            source=(
                "this project's variant of resnet152_finetune: frozen batch norm keeps its running statistics and "
                "normalises by them"
            ),
            frozen_batch_norm="eval",
        ),
        replace(
            _FINETUNE,
            name="resnet152_features",
            source=(
                "this project's variant of resnet152_finetune: frozen batch norm keeps its running statistics, and "
                "images are resized to the input and not augmented, so a frozen network gives the same features for "
                "an image each time"
            ),
            frozen_batch_norm="eval",
            augmentation=Augmentation(),
        ),
    )
}


def get_recipe(name: str) -> Recipe:
    """Returns the recipe of that name.

    Raises:
        InputError: There is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]

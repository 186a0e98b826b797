"""Training the head of a frozen network on features that are computed once for each image.

Features are made block by block. A block is a batch of the first epoch, so that epoch computes exactly what it would
compute without a cache, in the same batches, and no later one computes anything twice. The features of an image are
always computed in its block: a training that goes on after it was cut short makes them again with the same bits.

What it costs is booked where it arises. The features of a training image count as data, and so into the train clock,
into time budgets and into throughput; those of the test images count as evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from resbench.compiling import compile_function
from resbench.data.pipeline import Batch, Pipeline
from resbench.devices import is_out_of_memory
from resbench.errors import in_one_line
from resbench.recipes import Augmentation, Recipe
from resbench.training.backbone import Backbone, find_backbone
from resbench.training.engine import Engine
from resbench.training.forward import forward_pass
from resbench.training.frozen import possible_heads

Extract = Callable[[torch.Tensor], torch.Tensor]
"""Takes images float32 [B, C, H, W] and returns their features float32 [B, ...]."""


class FeaturePipeline:
    """Makes batches of features, in the order in which a :class:`~resbench.data.pipeline.Pipeline` makes images.

    Args:
        images: Where the order, the labels and the images come from; it augments nothing.
        extract: Computes features of a batch.
        feature_shape: Of one image.

    Attributes:
        features_made: Training images whose features were computed so far.
    """

    def __init__(self, images: Pipeline, extract: Extract, feature_shape: tuple[int, ...]) -> None:
        self.images, self.extract, self.feature_shape = images, extract, feature_shape
        self.train, self.test, self.batch_size = images.train, images.test, images.batch_size
        self.features_made = 0
        count, size, device = len(self.train), self.batch_size, self.train.labels.device
        with images.preserved():
            order = torch.randperm(count, generator=images.order, device=device)
        places = torch.arange(-(-count // size) * size, device=device).clamp(max=count - 1)
        self._blocks = order[places].view(-1, size)
        """int64 [blocks, B]: the images of each block. The last is filled up with copies of its last image."""
        self._block_of = np.empty(count, dtype=np.int64)
        self._block_of[order.cpu().numpy()] = np.arange(count) // size
        self._made = np.zeros(len(self._blocks), dtype=bool)
        self._features = torch.empty(count, *feature_shape, device=device)
        self._tested: list[Batch] | None = None
        """Batches of the test images' features, once they were computed."""
        self._slot = images.new_batch()
        self._no_draws = torch.zeros(0, count, device=device)[:, :size]

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training split."""
        return self.images.steps_per_epoch

    def new_batch(self) -> Batch:
        """Allocates the tensors of a batch; what they hold is undefined."""
        labels = self.train.labels
        features = torch.empty(self.batch_size, *self.feature_shape, device=labels.device)
        return features, torch.empty(self.batch_size, dtype=labels.dtype, device=labels.device)

    def epoch(self, slots: Sequence[Batch] = (), *, first: int = 0) -> Iterator[Batch]:
        """Yields one pass over the training split; order and arguments are those of the images' pipeline.

        Once all features are there nothing is read back from the device; before, the order is, once an epoch.
        """
        count, device, size = len(self.train), self.train.labels.device, self.batch_size
        order = torch.randperm(count, generator=self.images.order, device=device)
        blocks = None if self._made.all() else self._block_of[order.cpu().numpy()]
        for step in range(first, self.steps_per_epoch):
            window = slice(step * size, (step + 1) * size)
            if blocks is not None:
                self._make(blocks[window])
            slot = slots[step % len(slots)] if slots else self.new_batch()
            torch.index_select(self._features, 0, order[window], out=slot[0])
            torch.index_select(self.train.labels, 0, order[window], out=slot[1])
            yield slot

    def _make(self, blocks: NDArray[np.int64]) -> None:
        """Computes the features of those blocks that are missing."""
        for block in np.unique(blocks[~self._made[blocks]]).tolist():
            index = self._blocks[block]
            images, _ = self.images.training_batch(index, self._no_draws, self._slot)
            features = self.extract(images)
            within = min(self.batch_size, len(self.train) - block * self.batch_size)
            self._features.index_copy_(0, index[:within], features[:within])
            self._made[block] = True
            self.features_made += within

    def evaluation(self, slots: Sequence[Batch] = ()) -> Iterator[Batch]:
        """Yields the features of every test image once, as the images' pipeline yields the images."""
        if self._tested is None:
            batches = self.images.evaluation([self._slot])
            self._tested = [(self.extract(images), labels.clone()) for images, labels in batches]
        for step, made in enumerate(self._tested):
            slot = slots[step % len(slots)] if slots else self.new_batch()
            for tensor, value in zip(slot, made, strict=True):
                tensor.copy_(value)
            yield slot

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Puts both generators back to where they stood, and forgets the features that were made meanwhile."""
        made, features_made, tested = self._made.copy(), self.features_made, self._tested
        with self.images.preserved():
            yield
        self._made, self.features_made, self._tested = made, features_made, tested

    def state(self) -> dict[str, torch.Tensor]:
        """Returns where the generators stand, see :meth:`resbench.data.pipeline.Pipeline.state`; no features."""
        return self.images.state()

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Puts both generators back to where they stood."""
        self.images.load(state)


Batches = Pipeline | FeaturePipeline
"""What a training takes its batches from."""


@dataclass(frozen=True)
class HeadTraining:
    """What trains the head of a frozen network in place of the network."""

    engine: Engine
    """Around the head, warm."""
    pipeline: FeaturePipeline
    backbone: Backbone
    fallbacks: tuple[str, ...]
    """What was given up beyond what the whole network's engine has, and why."""


def train_head_only(engine: Engine, images: Pipeline, recipe: Recipe) -> tuple[HeadTraining | None, str | None]:
    """Sets up a training on features, where the network, the recipe and the memory allow it.

    That is where all that is trained belongs to one module whose output is the network's, nothing is augmented, and
    the backbone is fit for it (:func:`~resbench.training.backbone.find_backbone`), on one device.

    Args:
        engine: Around the whole network, with the weights that the training begins with.
        images: Its pipeline.
        recipe: The trial's.

    Returns:
        The training, or None; and why there is none, where the network has a frozen backbone.
    """
    if next(possible_heads(engine.model), None) is None:
        return None, None
    if engine.ranks.size > 1:
        return None, f"{engine.ranks.size} devices share every batch, and none of them sees every image"
    if recipe.augmentation != Augmentation():
        return None, f"the recipe {recipe.name!r} augments images, so features differ from epoch to epoch"
    with images.preserved():
        batch, _ = next(images.evaluation())
    backbone, reason = find_backbone(engine.model, recipe.frozen_batch_norm, batch, engine.settings)
    if backbone is None:
        return None, reason
    extract, fallback = _extraction(engine, backbone, batch)
    try:
        pipeline = FeaturePipeline(images, extract, backbone.feature_shape)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None, f"memory does not hold the features ({in_one_line(error)})"
    slots = [pipeline.new_batch() for _ in engine.slots]
    for features, labels in slots:
        features.zero_()
        labels.zero_()
    # What the whole network has given up is given up here too.
    settings = replace(engine.settings, compile=engine.compiled, cuda_graph=engine.cuda_graph)
    head = Engine(
        backbone.head, recipe, settings, slots=slots, micro_batch_size=engine.micro_batch_size, device=engine.seam
    )
    head.train_mode()
    if slots:
        head.warm_up(*slots[0])
        head.capture()
    return HeadTraining(head, pipeline, backbone, tuple(filter(None, (fallback, *head.fallbacks)))), None


def _extraction(engine: Engine, backbone: Backbone, images: torch.Tensor) -> tuple[Extract, str | None]:
    """Returns what computes features as the engine computes logits: in its precision, layout and parts, compiled.

    Args:
        engine: Of the whole network.
        backbone: Of that network.
        images: A batch, to compile for.

    Returns:
        The function, warm; and why the compiler was given up, or None.
    """

    def backbone_features(some: torch.Tensor) -> torch.Tensor:
        return forward_pass(backbone.network, some, engine.settings)

    def extraction(forward: Extract) -> Extract:
        @torch.inference_mode()
        def extract(images: torch.Tensor) -> torch.Tensor:
            labels = images.new_empty(len(images))
            # Copies: a compiled function may put its next result where this one is.
            parts = [forward(some).clone() for some, _ in engine.micro_batches(images, labels)]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        return extract

    if engine.compiled:
        try:
            extract = extraction(compile_function(backbone_features, mode=engine.settings.compile_mode))
            extract(images)
            return extract, None
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = f"torch.compile failed on the backbone ({in_one_line(error)}), eager instead"
            return extraction(backbone_features), reason
    return extraction(backbone_features), None

"""Batches made on the device: the decoded split lives there, and every batch is a few tensor operations.

No worker process and no per-image Python. The order of the images and the numbers that their augmentation takes
are drawn once an epoch from two generators that depend on the seed alone, so every model of a comparison sees the
same batches. A batch is one function of these and of the stored pixels, eager or compiled, and it is written where
the training step reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from resbench.compiling import compile_function
from resbench.data import augment
from resbench.data.datasets import Dataset, Split
from resbench.data.stages import Stage, byte_stages, image_stages, last_stages
from resbench.devices import is_out_of_memory
from resbench.errors import InputError, in_one_line
from resbench.ranks import ALONE, Ranks
from resbench.recipes import Augmentation

Batch = tuple[torch.Tensor, torch.Tensor]
"""images float32 [B, C, H, W] (channels_last), labels int64 [B]."""

PADDING = -100
"""The label of an image that only fills up a batch and does not count."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and deviation of pixels in 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def normalisation_of(dataset: Dataset, kind: str) -> Normalisation:
    """Returns the normalisation that a recipe asks for.

    Args:
        dataset: Whose training images' mean and deviation ``dataset`` means.
        kind: ``dataset``, ``imagenet`` or ``none``.

    Raises:
        InputError: ImageNet's three channels are asked of images with another number.
    """
    channels = dataset.image_shape[0]
    if kind == "none":
        return Normalisation((0.0,) * channels, (1.0,) * channels)
    if kind == "imagenet":
        if channels != 3:
            raise InputError(
                f"the recipe normalises with ImageNet's three channels and {dataset.name} has {channels}. "
                "Use another recipe, or have them in three channels with an input of three (--input 3xHxW)."
            )
        return Normalisation(_IMAGENET_MEAN, _IMAGENET_STD)
    # A channel that never changes has deviation 0; 1 leaves it at 0 instead of dividing by it.
    return Normalisation(dataset.mean, tuple(std or 1.0 for std in dataset.std))


def to_device(split: Split, device: torch.device) -> Split:
    """Returns the split with its tensors on a device."""
    return Split(split.images.to(device), split.labels.to(device))


class Pipeline:
    """Makes training and evaluation batches of one size from splits that are on the device.

    Args:
        train: On the device; uint8 [N, H, W, C].
        test: On the same device.
        input_size: Height and width of a batch; images of another size are resized on the device.
        batch_size: Of training and evaluation batches, over all ranks.
        augmentation: What happens to training images.
        normalisation: Of the channels.
        seed: Decides the order and the augmentation.
        compiled: Make training batches with compiled code, see :meth:`warm_up`.
        ranks: Who shares the batches. Each draws what all of them need and makes its own share of it, so that together
            they hold what one alone would make, image by image.

    Attributes:
        order: Draws the order of the images, once an epoch.
        draws: Draws every number that an epoch's augmentation needs, at its start.
        fallback: Why the compiler was given up, or None.
    """

    def __init__(
        self,
        train: Split,
        test: Split,
        *,
        input_size: tuple[int, int],
        batch_size: int,
        augmentation: Augmentation,
        normalisation: Normalisation,
        seed: int,
        compiled: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        self.train, self.test = train, test
        self.input_size, self.batch_size = input_size, batch_size
        self.ranks, self.share = ranks, ranks.share(batch_size)
        self.fallback: str | None = None
        device = train.images.device
        std, mean = (torch.tensor(values, device=device) for values in (normalisation.std, normalisation.mean))
        # (pixel / 255 - mean) / std as one multiply and one add, for a whole row of pixels at once.
        scale = (1 / std).repeat(input_size[1])
        self._scales = {torch.uint8: scale / 255, torch.float32: scale}
        self._shift = (-mean / std).repeat(input_size[1])
        self._padding = augmentation.crop_padding
        self._padded = augment.reflect_columns(train.images, self._padding)
        self._byte_stages = byte_stages(augmentation)
        self._image_stages = image_stages(augmentation, input_size, train.images.shape[1:3])
        self._last_stages = last_stages(augmentation)
        stages = (*self._byte_stages, *self._image_stages, *self._last_stages)
        self._draws_per_image = 2 * bool(self._padding) + sum(stage.draws for stage in stages)
        self._fill: Callable[..., None] = self._fill_batch
        if compiled:
            try:
                self._fill = compile_function(self._fill_batch)
            except RuntimeError as error:  # there is no compiler for this Python or platform
                self._give_up_compiling(error)
        self.order = torch.Generator(device).manual_seed(2 * seed)
        self.draws = torch.Generator(device).manual_seed(2 * seed + 1)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training split: the rest of each epoch's permutation is dropped."""
        return len(self.train) // self.batch_size

    def new_batch(self) -> Batch:
        """Allocates the tensors of this rank's share of a batch; what they hold is undefined."""
        images, labels = self.train.images, self.train.labels
        shape = (self.share, images.shape[-1], *self.input_size)
        return (
            torch.empty(shape, device=images.device, memory_format=torch.channels_last),
            torch.empty(self.share, dtype=labels.dtype, device=labels.device),
        )

    def epoch(self, slots: Sequence[Batch] = (), *, first: int = 0) -> Iterator[Batch]:
        """Yields one pass over the training split in a new random order, full batches only.

        Args:
            slots: Tensors to put the batches into, in turn: a batch holds until its slot comes round again.
                Without them every batch has tensors of its own.
            first: How many of the epoch's batches to leave out, for a training that goes on in the middle of it.
        """
        count, device = len(self.train), self.train.labels.device
        order = torch.randperm(count, generator=self.order, device=device)
        draws = torch.rand(self._draws_per_image, count, generator=self.draws, device=device)
        for step in range(first, self.steps_per_epoch):
            window = self.ranks.window(step * self.batch_size, self.batch_size)
            slot = slots[step % len(slots)] if slots else self.new_batch()
            yield self.training_batch(order[window], draws[:, window], slot)

    def training_batch(self, index: torch.Tensor, draws: torch.Tensor, slot: Batch) -> Batch:
        """Gathers, augments and normalises training images.

        Args:
            index: int64 [B], which images.
            draws: float32 [numbers an image, B], uniform in [0, 1).
            slot: Overwritten and returned.
        """
        self._fill(index, draws, *slot)
        return slot

    def warm_up(self) -> None:
        """Makes one batch and drops it, so that nothing is compiled later; no generator moves.

        Where the compiler fails, batches are made without it.
        """
        # Windows of a whole epoch's numbers, as an epoch takes them: compiled code is of one layout.
        count, device = len(self.train), self.train.labels.device
        index = torch.zeros(count, dtype=torch.int64, device=device)[: self.share]
        draws = torch.zeros(self._draws_per_image, count, device=device)[:, : self.share]
        try:
            self.training_batch(index, draws, self.new_batch())
        except Exception as error:
            if self._fill == self._fill_batch or is_out_of_memory(error):
                raise
            self._give_up_compiling(error)
            self.training_batch(index, draws, self.new_batch())

    def _give_up_compiling(self, error: Exception) -> None:
        """Goes back to eager and notes why."""
        self._fill = self._fill_batch
        self.fallback = f"torch.compile failed on the input pipeline ({in_one_line(error)}), eager instead"

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Puts both generators back to where they stood, so that the next epoch is the one that was due."""
        state = self.state()
        yield
        self.load(state)

    def state(self) -> dict[str, torch.Tensor]:
        """Returns where both generators stand, on the host: between two epochs, all that the next ones depend on."""
        return {"order": self.order.get_state(), "draws": self.draws.get_state()}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Puts both generators back to where they stood."""
        self.order.set_state(state["order"])
        self.draws.set_state(state["draws"])

    def _fill_batch(
        self, index: torch.Tensor, draws: torch.Tensor, images_out: torch.Tensor, labels_out: torch.Tensor
    ) -> None:
        """Does the work of :meth:`training_batch`, in one function so that the compiler sees all of it."""
        used = 0

        def apply(stages: Sequence[Stage], batch: torch.Tensor) -> torch.Tensor:
            nonlocal used
            for stage in stages:
                batch = stage.apply(batch, draws[used : used + stage.draws])
                used += stage.draws
            return batch

        if self._padding:
            pixels = augment.gather_crops(self._padded, index, draws[:2], padding=self._padding)
            used = 2
        else:
            pixels = self._padded.index_select(0, index)
        pixels = apply(self._byte_stages, pixels)
        if self._image_stages:
            images = pixels.permute(0, 3, 1, 2).float() / 255
            pixels = apply(self._image_stages, images).permute(0, 2, 3, 1)
        self._normalise(pixels, images_out)
        apply(self._last_stages, images_out)
        labels_out.copy_(self.train.labels.index_select(0, index))

    def evaluation(self, slots: Sequence[Batch] = ()) -> Iterator[Batch]:
        """Yields this rank's shares of every test image once, in order, without augmentation.

        The last batch is filled up with copies of the last image, labelled ``PADDING``: every batch has the same
        shape, so nothing is compiled or tuned for a second one.

        Args:
            slots: As for :meth:`epoch`.
        """
        count, device = len(self.test), self.test.labels.device
        for step, start in enumerate(range(0, count, self.batch_size)):
            images_out, labels_out = slot = slots[step % len(slots)] if slots else self.new_batch()
            share = self.ranks.window(start, self.batch_size)
            index = torch.arange(share.start, share.stop, device=device)
            inside = index.clamp(max=count - 1)
            pixels = self.test.images.index_select(0, inside)
            if pixels.shape[1:3] != self.input_size:
                images = pixels.permute(0, 3, 1, 2).float() / 255
                pixels = augment.resize(images, *self.input_size).permute(0, 2, 3, 1)
            self._normalise(pixels, images_out)
            labels_out.copy_(self.test.labels.index_select(0, inside).masked_fill(index >= count, PADDING))
            yield slot

    def _normalise(self, pixels: torch.Tensor, out: torch.Tensor) -> None:
        """Removes each channel's mean and deviation.

        Args:
            pixels: [B, H, W, C], bytes in 0..255 or floats in 0..1.
            out: float32 [B, C, H, W] in channels_last; overwritten.
        """
        batch, height, width, channels = pixels.shape
        rows = pixels.reshape(batch, height, width * channels).float()
        rows_out = out.permute(0, 2, 3, 1).view(batch, height, width * channels)
        torch.addcmul(self._shift, rows, self._scales[pixels.dtype], out=rows_out)

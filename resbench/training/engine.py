"""One training step and one evaluation step: forward, loss, backward, update.

Nothing here reads a value back from the device: losses and hits are added up there, and
:meth:`Engine.read_totals` fetches them once an epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from resbench.data.pipeline import PADDING
from resbench.devices import is_out_of_memory
from resbench.recipes import Recipe
from resbench.schema import EngineSettings


@dataclass(frozen=True)
class Totals:
    """Sums over the images since the last reading."""

    loss: float
    correct: int
    images: int

    @property
    def mean_loss(self) -> float:
        """Mean cross-entropy an image, in nats."""
        return self.loss / self.images

    @property
    def accuracy(self) -> float:
        """Fraction of images whose largest logit is their label's."""
        return self.correct / self.images


class Engine:
    """Trains and evaluates one model.

    Args:
        model: Moved to the device and put into the memory format, in place.
        recipe: Decides optimizer and loss; its schedule is the loop's to follow.
        settings: Device, precision, memory format, compile.

    Attributes:
        compiled: Whether compiled code runs; False after a fall-back to eager.
        fallback: Why the compiler was given up, or None.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, settings: EngineSettings) -> None:
        self.device = torch.device(settings.device)
        channels_last = settings.memory_format == "channels_last"
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(self.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.label_smoothing = recipe.label_smoothing
        self.autocast = settings.precision == "bf16"
        self.compiled = settings.compile
        self.fallback: str | None = None
        self._forward: Callable[..., Any] = self.model
        if settings.compile:
            try:
                self._forward = torch.compile(self.model)
            except RuntimeError as error:  # there is no compiler for this Python or platform
                self._fall_back(error)
        # A tensor on the device: a new learning rate is written to it without a wait or a recompilation.
        self.learning_rate = torch.zeros((), device=self.device)
        self.optimizer = make_optimizer(self.model, recipe, self.learning_rate)
        self._loss = torch.zeros((), dtype=torch.float64 if self.device.type != "mps" else None, device=self.device)
        self._correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self._images = torch.zeros((), dtype=torch.int64, device=self.device)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns float32 logits [B, classes] of images [B, C, H, W] under the engine's precision and layout."""
        images = images.contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            logits: torch.Tensor = self._forward(images)
        return logits.float()

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the mean training loss of a batch and its logits."""
        logits = self.forward(images)
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), logits

    def train_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Takes one optimizer step on a batch, at the learning rate that is set."""
        loss, logits = self.loss(images, labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._add(loss.detach() * len(labels), logits.detach(), labels)

    @torch.inference_mode()
    def eval_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Adds a batch's loss (without smoothing) and hits to the totals, those labelled ``PADDING`` aside."""
        logits = self.forward(images)
        self._add(F.cross_entropy(logits, labels, ignore_index=PADDING, reduction="sum"), logits, labels)

    def _add(self, loss_sum: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Adds to the totals on the device."""
        self._loss += loss_sum
        self._correct += (logits.argmax(1) == labels).sum()
        self._images += (labels != PADDING).sum()

    def read_totals(self) -> Totals:
        """Waits for the device, returns the totals and starts them anew."""
        totals = Totals(float(self._loss), int(self._correct), int(self._images))
        self._loss.zero_()
        self._correct.zero_()
        self._images.zero_()
        return totals

    def set_learning_rate(self, value: float) -> None:
        """Sets the learning rate of the next steps without waiting for the device."""
        self.learning_rate.fill_(value)

    def warm_up(self, images: torch.Tensor, labels: torch.Tensor, *, steps: int = 2) -> None:
        """Runs training and evaluation steps so that nothing is compiled, tuned or allocated later.

        Weights, batch-norm statistics, optimizer state and torch's generators are as before afterwards. Where
        the compiler fails on the model, the engine falls back to eager.
        """
        kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            try:
                self._warm_up_steps(images, labels, steps)
            except Exception as error:
                if not self.compiled or is_out_of_memory(error):
                    raise
                self._fall_back(error)
                self.optimizer.zero_grad(set_to_none=True)
                self._warm_up_steps(images, labels, steps)
        self.model.load_state_dict(kept)
        self.optimizer.state.clear()
        self.read_totals()

    def _fall_back(self, error: Exception) -> None:
        """Gives the compiler up and notes why."""
        self.compiled, self._forward = False, self.model
        reason = str(error).strip().partition("\n")[0]
        self.fallback = f"torch.compile failed ({type(error).__name__}: {reason}), eager instead"

    def _warm_up_steps(self, images: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
        """Runs ``steps`` training steps at learning rate 0 and one evaluation step."""
        self.set_learning_rate(0.0)
        self.model.train()
        for _ in range(steps):
            self.train_step(images, labels)
        self.model.eval()
        self.eval_step(images, labels)
        self.model.train()


def make_optimizer(model: nn.Module, recipe: Recipe, learning_rate: torch.Tensor) -> torch.optim.Optimizer:
    """Builds the recipe's optimizer over the parameters that are trained, one fused update a step.

    Args:
        model: Parameters that need no gradient are left out.
        recipe: Optimizer, momentum and weight decay (applied to every trained parameter).
        learning_rate: A scalar tensor on the model's device that the loop writes to.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(trained, lr=learning_rate, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(
        trained,
        lr=learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def initialise(model: nn.Module, kind: str) -> None:
    """Draws the initial weights that a recipe asks for, in place.

    Args:
        model: As its builder left it.
        kind: ``model`` (nothing to do) or ``xavier_uniform`` (convolution and linear weights).
    """
    if kind == "xavier_uniform":
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)

"""One training step and one evaluation step, each one unit: forward, loss, backward, update.

The step is the same function however it runs: eager, with ``torch.compile`` in it, or recorded as a CUDA graph and
replayed (compiled or not). Nothing here reads a value back from the device: losses and hits are added up there, and
:meth:`Engine.read_totals` fetches them once an epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from resbench.compiling import compile_function
from resbench.data.pipeline import PADDING, Batch
from resbench.devices import Device, is_out_of_memory, open_device
from resbench.errors import ModelError, in_one_line
from resbench.host_state import (
    forked_generators,
    generator_state,
    load_plain_attributes,
    plain_attributes,
    same_generators,
)
from resbench.ranks import ALONE, Ranks
from resbench.recipes import Recipe
from resbench.schema import EngineSettings
from resbench.training.distributed import Averaged, Own, check_gradients, synchronise_batch_norm
from resbench.training.forward import forward_pass, layout_of
from resbench.training.frozen import train_mode
from resbench.training.lowering import constant_weights, lower
from resbench.training.optimizer import make_optimizer
from resbench.training.totals import Totals, totals_of

WARM_UP_STEPS = 3
"""Enough for cuDNN's search, for the optimizer's state and for a compiled step to settle."""


class Engine:
    """Trains and evaluates one model.

    Args:
        model: Moved to the device and put into the memory format, in place.
        recipe: Decides optimizer and loss; its schedule is the loop's to follow.
        settings: Device, precision, memory format, compile, CUDA graphs, lowering.
        slots: Tensors on the device that batches are going to arrive in; only a step on one of them can be
            replayed from a graph. Labels int64 [B], images float32 [B, C, H, W] (or features of images, where the
            model is the head of a network).
        micro_batch_size: Images of one forward and backward pass, where memory does not hold a whole batch's. The
            gradients of a step are added up over the batch.
        device: The seam of the settings' device, opened here by default.
        ranks: Who trains the model together. Each has an engine of its own, whose batches are its share of theirs.

    Attributes:
        compiled: Whether compiled code runs; False after a fall-back to eager.
        lowering: ``auto`` where convolutions on small maps may run as matrix products, else ``off``.
        cuda_graph: Whether steps on the slots are replayed from graphs; False until :meth:`capture`.
        fallbacks: What was asked for and given up, and why.
        synchronised: Whether a pass in train mode asks the other ranks for their statistics.
        correct: bool [B]: which images of the last evaluation step got their label, of the padding too.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        settings: EngineSettings,
        *,
        slots: Sequence[Batch] = (),
        micro_batch_size: int | None = None,
        device: Device | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.seam = device or open_device(settings.device)
        self.device = torch.device(settings.device)
        self.settings, self.slots = settings, tuple(slots)
        self.micro_batch_size, self.ranks = micro_batch_size, ranks
        self.synchronised = recipe.sync_batch_norm and ranks.size > 1
        if self.synchronised:
            model = synchronise_batch_norm(model)
        self.layout = layout_of(settings)
        self.model = model.to(self.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.lowering = settings.lowering if self.device.type == "cpu" and not settings.compile else "off"
        lower(self.model, self.lowering)
        self.attributes = plain_attributes(self.model)
        """Of the network as it was built, see :func:`~resbench.host_state.plain_attributes`."""
        self.label_smoothing, self.frozen_batch_norm = recipe.label_smoothing, recipe.frozen_batch_norm
        self.compiled, self.cuda_graph = settings.compile, False
        self.fallbacks: list[str] = []
        self._logits: Callable[..., torch.Tensor] = self._eager_logits
        self._loss: Callable[..., tuple[torch.Tensor, torch.Tensor]] = self._eager_loss
        if settings.compile:
            try:
                self._logits = compile_function(self._eager_logits, mode=settings.compile_mode)
                self._loss = compile_function(self._eager_loss, mode=settings.compile_mode)
            except RuntimeError as error:  # there is no compiler for this Python or platform
                self._give_up_compiling(error)
        self._pass = Averaged(self.model, self.loss) if ranks.size > 1 else Own(self.loss)
        # A tensor on the device: a new learning rate is written to it without a wait or a recompilation.
        self.learning_rate = torch.zeros((), device=self.device)
        self.optimizer = make_optimizer(self.model, recipe, self.learning_rate)
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        self.totals = torch.zeros(4, dtype=exact, device=self.device)
        """Loss, hits, images, steps of a finite loss."""
        self.correct = torch.zeros(len(self.slots[0][1]) if slots else 0, dtype=torch.bool, device=self.device)
        self._changes_in_python = False
        """Whether the last step of the warm-up moved a generator of the host, or a plain attribute of the network."""
        self._replays: dict[tuple[str, int], Callable[[], object]] = {}
        """Recorded steps by kind and by the slot whose images they read."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns float32 logits [B, classes] of images [B, C, H, W] under the engine's precision and layout."""
        return self._logits(images)

    def _eager_logits(self, images: torch.Tensor) -> torch.Tensor:
        return forward_pass(self.model, images, self.settings)

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the mean training loss of a batch, and what the batch adds to the totals; of this rank alone."""
        return self._loss(images, labels)

    def _eager_loss(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self._eager_logits(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        hits = (logits.detach().argmax(1) == labels).sum()
        count = len(labels)
        sums = [loss.detach() * count, hits, torch.full_like(hits, count), torch.isfinite(loss.detach())]
        return loss, torch.stack(sums)

    def micro_batches(self, images: torch.Tensor, labels: torch.Tensor) -> list[Batch]:
        """Splits a batch into what goes through the network at once, mostly the batch itself."""
        passes = self._passes(len(labels))
        return [*zip(images.tensor_split(passes), labels.tensor_split(passes), strict=True)]

    def _passes(self, images: int) -> int:
        """Returns how many passes a batch takes; their sizes differ by one image at most."""
        return 1 if self.micro_batch_size is None else -(-images // self.micro_batch_size)

    def check_frozen(self) -> None:
        """Checks that what was frozen when the network was built still is: the optimizer has no other parameters.

        Raises:
            ModelError: The network has unfrozen some of it.
        """
        trained = [name for name, parameter in self.model.named_parameters() if parameter.requires_grad]
        if new := [name for name in trained if not self.attributes[f"{name}.requires_grad"]]:
            raise ModelError(
                f"the network has unfrozen {', '.join(new[:3])} in training, and only what requires a gradient when it "
                "is built is trained. Build it with requires_grad=True and freeze it in the first forward pass."
            )

    def train_mode(self) -> None:
        """Puts the model into the mode that it is trained in: its frozen batch norm is as the recipe has it."""
        train_mode(self.model, self.frozen_batch_norm)

    def train_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Takes one optimizer step on a batch, at the learning rate that is set."""
        self._run("train", self._train_step, images, labels)

    def _train_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        if self.micro_batch_size is None:
            loss, sums = self._pass(images, labels)
            loss.backward()
        else:
            sums = self._accumulate(images, labels)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.totals += sums

    def _accumulate(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Adds up the gradients of a batch pass by pass: those of its mean loss. Returns what goes to the totals."""
        parts: list[torch.Tensor] = []
        passes = self.micro_batches(images, labels)
        for some, their_labels in passes:
            last = len(parts) == len(passes) - 1  # what is added up by then is averaged over the ranks with it
            with nullcontext() if last else self._pass.apart():
                loss, sums = self._pass(some, their_labels)
                (loss * (len(their_labels) / len(labels))).backward()
            parts.append(sums)
        stacked = torch.stack(parts)
        return torch.cat([stacked[:, :3].sum(0), stacked[:, 3:].amin(0)])

    @torch.inference_mode()
    def eval_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Adds a batch's loss (without smoothing) and hits to the totals, those labelled ``PADDING`` aside."""
        self._run("eval", self._eval_step, images, labels)

    def _eval_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        if len(self.correct) != len(labels):
            self.correct = torch.zeros(len(labels), dtype=torch.bool, device=self.device)
        places = self.correct.tensor_split(self._passes(len(labels)))
        for (some, their_labels), correct in zip(self.micro_batches(images, labels), places, strict=True):
            logits = self.forward(some)
            loss = F.cross_entropy(logits, their_labels, ignore_index=PADDING, reduction="sum")
            torch.eq(logits.argmax(1), their_labels, out=correct)
            counted = (their_labels != PADDING).sum()
            self.totals += torch.stack([loss, correct.sum(), counted, torch.zeros_like(counted)])

    def constant_weights(self) -> AbstractContextManager[None]:
        """Returns a context in which weights stay as they are, so that a processor casts each to bf16 only once."""
        return constant_weights() if self.device.type == "cpu" and not self.compiled else nullcontext()

    def _run(self, kind: str, step: Callable[..., None], images: torch.Tensor, labels: torch.Tensor) -> None:
        """Replays the step where it was recorded on these tensors, and otherwise takes it."""
        replay = self._replays.get((kind, id(images)))
        if replay is None:
            step(images, labels)
        else:
            replay()

    def read_totals(self) -> Totals:
        """Waits for the device, returns the totals of all ranks and starts them anew."""
        totals = totals_of(self.totals, self.ranks)
        self.totals.zero_()
        return totals

    def peek(self) -> Callable[[], int | None]:
        """Asks how many steps since the last reading had a finite loss on this rank, without waiting for the device.

        Returns:
            What gives the number of the steps that were queued before this call, and None while it is on its way.
        """
        totals = self.seam.peek(self.totals)

        def finite_steps() -> int | None:
            values = totals()
            return None if values is None else int(values[3])

        return finite_steps

    def set_learning_rate(self, value: float) -> None:
        """Sets the learning rate of the next steps without waiting for the device."""
        self.learning_rate.fill_(value)

    def warm_up(self, images: torch.Tensor, labels: torch.Tensor, *, steps: int = WARM_UP_STEPS) -> None:
        """Runs training and evaluation steps so that nothing is compiled, tuned or allocated later.

        Everything is as before afterwards, see :meth:`preserved`. Where the compiler fails on the model, the
        engine falls back to eager.

        Raises:
            ModelError: Several ranks train it, and it has trained parameters that no pass uses.
        """
        with self.preserved():
            if self.ranks.size > 1:
                self.train_mode()
                check_gradients(self.model, self._eager_loss(*self.micro_batches(images, labels)[0])[0])
            try:
                self._warm_up_steps(images, labels, steps)
                if self.compiled and self._changes_in_python:
                    raise ModelError("the network draws or counts in Python: each step would be compiled anew")
            except Exception as error:
                if not self.compiled or is_out_of_memory(error):
                    raise
                self._give_up_compiling(error)
                self.optimizer.zero_grad(set_to_none=True)
                self._warm_up_steps(images, labels, steps)

    def _warm_up_steps(self, images: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
        """Runs ``steps`` training steps at learning rate 0 and one evaluation step, as a recording wants them."""
        self.set_learning_rate(0.0)
        # What is exchanged with other ranks stays on the stream that it is going to be on: it is not recorded.
        with nullcontext() if self.ranks.size > 1 else self.seam.aside():
            self.train_mode()
            for _ in range(steps):
                generators, attributes = generator_state(), plain_attributes(self.model)
                self._train_step(images, labels)
            if self.device.type == "cpu":  # whose generator a replay draws from
                del generators["torch"]
            same = same_generators(generators, generator_state()) and attributes == plain_attributes(self.model)
            self._changes_in_python = not same
            self.model.eval()
            with torch.inference_mode():
                self._eval_step(images, labels)

    def capture(self) -> None:
        """Records both kinds of step on every slot, where the settings ask for it; the engine is warmed up.

        Everything is as before afterwards. A network that cannot be recorded goes on without.
        """
        if not (self.settings.cuda_graph and self.slots):
            return
        with self.preserved():
            try:
                if self._changes_in_python:
                    raise ModelError("the network draws or counts in Python, which a replay does not do again")
                for images, labels in self.slots:
                    self.train_mode()
                    train = partial(self._train_step, images, labels)
                    self._replays["train", id(images)] = self.seam.capture(train)
                    self.model.eval()
                    with torch.inference_mode():
                        evaluate = partial(self._eval_step, images, labels)
                        self._replays["eval", id(images)] = self.seam.capture(evaluate)
                self.cuda_graph = True
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                self._replays.clear()
                self.optimizer.zero_grad(set_to_none=True)
                self.fallbacks.append(f"the step cannot be recorded as a CUDA graph ({in_one_line(error)}), none used")

    def inference(self, images: torch.Tensor) -> Callable[[], object]:
        """Returns a forward pass of these images in inference mode to call again and again, replayed as steps are.

        Args:
            images: float32 [B, C, H, W], on the device; the call reads what they hold then.
        """

        @torch.inference_mode()
        def forward() -> torch.Tensor:
            return self.forward(images)

        if not self.cuda_graph:
            return forward
        with self.seam.aside():
            forward()
        return self.seam.capture(forward)

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Puts everything that steps change back as it was.

        That is weights, batch-norm statistics and other state, plain attributes, the optimizer's state, the totals,
        the learning rate, all generators and train mode; tensors in place, where a graph reads them.
        """
        kept, attributes = copy.deepcopy(self.model.state_dict()), plain_attributes(self.model)
        state = [{name: value.clone() for name, value in of.items()} for of in self._optimizer_state()]
        totals, rate, training = self.totals.clone(), self.learning_rate.clone(), self.model.training
        with forked_generators(self.device):
            yield
        load_plain_attributes(self.model, attributes)
        self.model.load_state_dict(kept)
        self.train_mode() if training else self.model.eval()
        for number, of in enumerate(self._optimizer_state()):
            for name, value in of.items():
                # What the first step makes starts at 0: momentum times 0 is what no momentum is.
                value.copy_(state[number][name]) if number < len(state) else value.zero_()
        self.totals.copy_(totals)
        self.learning_rate.copy_(rate)

    def _optimizer_state(self) -> list[dict[str, torch.Tensor]]:
        """Returns the optimizer's tensors, parameter by parameter in the order in which they came to be."""
        states = self.optimizer.state.values()
        return [{name: value for name, value in of.items() if torch.is_tensor(value)} for of in states]

    @property
    def optimizer_bytes(self) -> int:
        """What the optimizer's state takes, which appears in the first step."""
        return sum(value.nbytes for of in self._optimizer_state() for value in of.values())

    def restart(self, weights: dict[str, torch.Tensor]) -> None:
        """Begins a training anew from other weights; compiled and recorded code stays.

        Args:
            weights: The ``state_dict`` of a network of the same structure.
        """
        load_plain_attributes(self.model, self.attributes)
        self.model.load_state_dict(weights)
        self.train_mode()
        for of in self._optimizer_state():
            for value in of.values():
                value.zero_()
        self.totals.zero_()

    def _give_up_compiling(self, error: Exception) -> None:
        """Goes back to eager and notes why."""
        self.compiled, self._logits, self._loss = False, self._eager_logits, self._eager_loss
        self.lowering = self.settings.lowering if self.device.type == "cpu" else "off"
        lower(self.model, self.lowering)
        self.fallbacks.append(f"torch.compile failed ({in_one_line(error)}), eager instead")

"""From what a few steps took to what a whole trial takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from resbench.budget import Spending, parse_budget, plan_spending
from resbench.devices import MIB
from resbench.estimate.measurement import Measurement
from resbench.measure import latency
from resbench.recipes import Recipe
from resbench.schema import Trial
from resbench.training.engine import WARM_UP_STEPS
from resbench.training.feature_cost import plan_feature_spending


@dataclass(frozen=True)
class Data:
    """What an estimate must know of a dataset."""

    train_images: int
    test_images: int
    shape: tuple[int, int, int]
    """Channels, height, width of the images as they are stored."""
    train_mib: float
    test_mib: float
    load_s: float
    """Read as every trial reads it, from the cache of decoded images."""

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns how many full batches there are."""
        return self.train_images // batch_size

    def held_mib(self, crop_padding: int) -> float:
        """Returns what a trial keeps of it: the images, and the training images once more with reflected borders.

        Args:
            crop_padding: The recipe's.
        """
        width = self.shape[2]
        padded = self.train_mib * (width + 2 * crop_padding) / width if crop_padding else 0.0
        return self.train_mib + self.test_mib + padded


@dataclass(frozen=True)
class TrialTimes:
    """What one trial takes, in seconds."""

    steps: int
    evaluations: int
    step_s: float
    """A training step with its batch, as most of them are."""
    train_s: float
    """Of the train clock: data and steps."""
    eval_s: float
    profile_s: float
    """Size, latency and memory, measured before the training."""
    setup_s: float
    """Device, dataset and network."""

    @property
    def wall_s(self) -> float:
        """All of it, as the records have it: from when the trial's process is there."""
        return self.train_s + self.eval_s + self.profile_s + self.setup_s


def trial_times(trial: Trial, measured: Measurement, data: Data) -> TrialTimes:
    """Returns what a trial takes.

    Args:
        trial: Its budget decides.
        measured: Of its network.
        data: Of its dataset.

    Raises:
        InputError: The budget buys not even one step.
    """
    batches = math.ceil(data.test_images / trial.batch_size)
    if measured.head and not measured.head.cost.measures(parse_budget(trial.budget)):
        measured = replace(measured, head=None)
    head, per_epoch = measured.head, data.steps_per_epoch(trial.batch_size)
    if head is None:
        later_s = first_s = measured.data_s + measured.step_s
        eval_s = measured.eval_s
    else:  # the steps of the first epoch compute the features as well
        later_s = head.data_s + head.step_s
        first_s, eval_s = head.features_s + later_s, head.eval_s
    spending = _spending(trial, measured, data)
    if spending.total_steps is None:
        train_s = spending.budget.amount
        steps = _steps_within(train_s, first_s, later_s, per_epoch)
    else:
        steps = spending.total_steps
        making = min(steps, per_epoch)
        train_s = making * first_s + (steps - making) * later_s
    evaluations = math.ceil(steps / per_epoch)
    return TrialTimes(
        steps=steps,
        evaluations=evaluations,
        step_s=later_s,
        train_s=train_s,
        eval_s=evaluations * batches * eval_s + (batches * head.features_s if head else 0.0),
        profile_s=_profile_s(trial, measured),
        # The network is built once more for the counters and once from the trial's seed.
        setup_s=measured.setup_s + data.load_s + 2 * measured.build_s,
    )


def _spending(trial: Trial, measured: Measurement, data: Data) -> Spending:
    """Returns the budget in terms of the trial, as the trial itself will have it."""
    budget, size = parse_budget(trial.budget), trial.batch_size
    steps = data.steps_per_epoch(size)
    if measured.head is None:
        flops = measured.train_flops_per_image
        return plan_spending(budget, batch_size=size, steps_per_epoch=steps, train_flops_per_image=flops)
    cost, images = measured.head.cost, data.train_images
    return plan_feature_spending(budget, cost, batch_size=size, steps_per_epoch=steps, train_images=images)


def _steps_within(seconds: float, first_s: float, later_s: float, per_epoch: int) -> int:
    """Returns how many steps reach a time, of which those of the first epoch may take longer."""
    first_epoch_s = per_epoch * first_s
    if seconds <= first_epoch_s:
        return math.ceil(seconds / first_s)
    return per_epoch + math.ceil((seconds - first_epoch_s) / later_s)


def _profile_s(trial: Trial, measured: Measurement) -> float:
    """Returns how long :func:`resbench.measure.profile.measure_profile` takes: its calls, counted.

    These are a forward pass and two steps for the memory; one image, a batch, and forward and backward for the
    latency; the counters; and on CUDA, or where it is compiled, the warm-up.
    """
    forward_s, step_s = measured.eval_s, measured.step_s
    warm_up = trial.engine.compile or trial.engine.device.startswith("cuda")
    return (
        (WARM_UP_STEPS * step_s + forward_s if warm_up else 0.0)
        + forward_s
        + 2 * step_s
        + sum(map(timing_s, (measured.single_s, forward_s, step_s)))
        + measured.count_s
    )


def timing_s(call_s: float) -> float:
    """Returns how long :func:`resbench.measure.latency.time_calls` takes for a call of so many seconds."""
    wanted = math.ceil(latency.MAX_SECONDS / call_s) if call_s > 0 else latency.MAX_CALLS
    calls = min(latency.MAX_CALLS, max(latency.MIN_CALLS, wanted))
    return (latency.WARM_UP_CALLS + calls) * call_s


def kept_mib(recipe: Recipe, *, params: int, trainable: int) -> float:
    """Returns what a checkpoint holds of a network: its weights, and what the optimizer keeps of the trained ones."""
    kept = 2 if recipe.optimizer == "adam" else int(recipe.momentum > 0)
    return 4 * (params + kept * trainable) / MIB


def scaled(
    known: Sequence[tuple[Trial, Measurement]], trial: Trial, train_flops_per_image: int, *, state_mib: float
) -> Measurement:
    """Returns what a network takes that was not measured: as many seconds a FLOP as the measured ones together.

    Memory does not follow the FLOPs: it is left out. A frozen backbone counts as if it ran in every step.

    Args:
        known: Networks that were measured; what they take together is by their FLOPs, of which there must be some.
        trial: Of the one that was not.
        train_flops_per_image: Of that one.
        state_mib: Of that one, see :func:`kept_mib`.
    """
    counted = [(one, measured, measured.train_flops_per_image or 0) for one, measured in known]
    batches = train_flops_per_image * trial.batch_size / sum(flops * one.batch_size for one, _, flops in counted)
    images = train_flops_per_image / sum(flops for _, _, flops in counted)
    all_of = [measured for _, measured in known]
    return replace(
        all_of[0],
        setup_s=fmean(one.setup_s for one in all_of),
        start_s=fmean(one.start_s for one in all_of),
        build_s=fmean(one.build_s for one in all_of),
        count_s=fmean(one.count_s for one in all_of),
        data_s=fmean(one.data_s for one in all_of),
        single_s=images * sum(one.single_s for one in all_of),
        step_s=batches * sum(one.step_s for one in all_of),
        eval_s=batches * sum(one.eval_s for one in all_of),
        train_flops_per_image=train_flops_per_image,
        peak_mib=None,
        taken_mib=None,
        state_mib=state_mib,
        head=None,
        doubts=[],
    )

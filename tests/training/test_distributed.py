"""Two processes that train one network over gloo, held against one process that trains it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rank_checks
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from rank_checks import gradients, make_loop, normalised, plain, trained
from small_engines import CLASSES, CPU, SGD
from small_loops import BATCH
from torch import nn
from warm_processes import warm_processes

from resbench.errors import InputError, ModelError
from resbench.executors.process import run_in_process
from resbench.ranks import ALONE, Ranks
from resbench.training.distributed import Averaged, Own, check_batch_norm, check_gradients, synchronise_batch_norm
from resbench.training.engine import Engine

Array = NDArray[Any]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What both processes have seen; they are started once."""
    folder = tmp_path_factory.mktemp("ranks")
    messages: list[tuple[str, dict[str, Any]]] = []
    (folder / "checkpoints").mkdir()
    with warm_processes():
        ended = run_in_process(
            rank_checks.checks_job,
            (folder / "checkpoints",),
            log=folder / "log",
            on_message=lambda kind, data: messages.append((kind, data)),
            processes=2,
        )
    assert ended.code == 0, (folder / "log").read_text()
    ((kind, data),) = messages
    assert kind == "seen"
    return data


@pytest.mark.parametrize("how", ["gradients", "gradients in parts"])
def test_gradients_of_a_step_are_those_of_one_process(seen: dict[str, Any], how: str) -> None:
    first, second = seen[how]
    alone = gradients(ALONE, SGD).numpy()
    assert np.array_equal(first, second)
    assert np.abs(alone).max() > 0.01
    np.testing.assert_allclose(first, alone, rtol=0, atol=1e-6)


def test_shares_put_together_are_the_batches_of_one_process_to_the_bit(seen: dict[str, Any]) -> None:
    alone = rank_checks.batches(ALONE)
    assert len(seen["batches"]) == len(alone) == 10 + 10 + 5
    for (images, labels), (images_alone, labels_alone) in zip(seen["batches"], alone, strict=True):
        assert images.shape == (2, BATCH // 2, 3, 8, 8)
        assert np.array_equal(np.concatenate(images), images_alone.numpy())
        assert np.array_equal(np.concatenate(labels), labels_alone.numpy())


def curve(of: dict[str, Any]) -> Array:
    """Loss and hits in training and test, epoch by epoch."""
    return np.array([[part[name] for part in parts for name in ("loss", "correct", "images")] for parts in of["curve"]])


def test_a_training_without_batch_norm_is_that_of_one_process(seen: dict[str, Any]) -> None:
    two, alone = seen["trained"], rank_checks.as_arrays(trained(make_loop(ALONE, plain)))
    assert curve(two).shape == (2, 6)
    np.testing.assert_allclose(curve(two), curve(alone), rtol=1e-5)
    np.testing.assert_allclose(two["weights"], alone["weights"], rtol=0, atol=1e-5)
    assert np.array_equal(two["hits"], alone["hits"])
    assert two["images_seen"] == alone["images_seen"] == 17 * BATCH


def test_weights_and_what_is_evaluated_are_the_same_on_both(seen: dict[str, Any]) -> None:
    for name in ("weights", "weights with batch norm"):
        first, second = seen[name]
        assert np.array_equal(first, second)


def test_batch_norm_sees_a_share_as_it_sees_a_part_of_a_batch(seen: dict[str, Any]) -> None:
    """Parts in one process have the same statistics and gradients; only running statistics take in both of them."""
    network = normalised()
    names = {name for name, _ in network.named_parameters()}
    learned = np.concatenate([np.full(value.numel(), name in names) for name, value in network.state_dict().items()])
    two = seen["trained with batch norm"]["weights"][learned]
    parts = trained(make_loop(ALONE, normalised, micro_batch_size=BATCH // 2))["weights"].numpy()[learned]
    whole = trained(make_loop(ALONE, normalised))["weights"].numpy()[learned]
    np.testing.assert_allclose(two, parts, rtol=0, atol=1e-4)
    assert np.abs(two - whole).max() > 1e-3


def test_a_training_with_dropout_that_goes_on_ends_with_the_same_bits_and_one_rank_writes(seen: dict[str, Any]) -> None:
    whole, again, files = seen["resumed"]
    assert np.array_equal(whole, again)
    assert files == ["first"]


def test_both_stop_at_the_step_where_the_loss_of_one_broke(seen: dict[str, Any]) -> None:
    assert seen["diverged at"] == [3, 3]


def test_a_time_budget_ends_when_the_first_says_so(seen: dict[str, Any]) -> None:
    alone = rank_checks.steps_in_time(ALONE)
    assert seen["steps in time"] == [alone, alone]


def test_what_they_tell_one_another(seen: dict[str, Any]) -> None:
    assert seen["agreed"] == [0.25, 1.0]
    assert seen["largest"] == [1.0, None]
    assert seen["total"] == [5.0, None]
    assert seen["threads"] == [1.0, 1.0]


class TestAlone:
    def test_nothing_is_sent_and_everything_comes_back(self) -> None:
        values = torch.tensor([1.0, 2.0])
        assert ALONE.agree([0.5, True]) == [0.5, 1.0]
        assert (ALONE.largest(None), ALONE.total(3.0)) == (None, 3.0)
        assert ALONE.add_up(values) is values
        assert ALONE.least(values) is values
        assert ALONE.gather(values).tolist() == [[1.0, 2.0]]
        ALONE.follow([values])
        torch.manual_seed(3)
        drawn = torch.initial_seed()
        ALONE.draw_apart(7)
        assert torch.initial_seed() == drawn

    def test_a_batch_is_shared_out_in_order(self) -> None:
        windows = [Ranks(rank, 4).window(8, 8) for rank in range(4)]
        assert windows == [slice(8, 10), slice(10, 12), slice(12, 14), slice(14, 16)]
        with pytest.raises(ValueError, match="10 images cannot be shared out evenly among 4 ranks"):
            Ranks(size=4).share(10)

    def test_other_ranks_draw_other_numbers(self) -> None:
        drawn = []
        for rank in range(3):
            torch.manual_seed(11)
            Ranks(rank, 3).draw_apart(11)
            drawn.append(torch.rand(8).tolist())
        assert drawn[0] == torch.rand(8, generator=torch.Generator().manual_seed(11)).tolist()
        assert len({tuple(numbers) for numbers in drawn}) == 3


class WithSpare(nn.Module):
    """A classifier with a second head that no pass uses, or that only the first one does."""

    def __init__(self, *, once: bool = False) -> None:
        super().__init__()
        self.used, self.spare, self.once = nn.Linear(12, CLASSES), nn.Linear(12, CLASSES), once

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.used(images.flatten(1))
        if self.once:
            self.once = False
            logits = logits + self.spare(images.flatten(1))
        return logits


class TestParametersWithoutGradient:
    images, labels = torch.ones(4, 3, 2, 2), torch.arange(4)

    def test_they_are_named_and_no_gradient_stays(self) -> None:
        model = WithSpare()
        with pytest.raises(ModelError, match=r"2 of 4 trained parameters get no gradient \(spare.weight, spare.bias\)"):
            check_gradients(model, model(self.images).sum())
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_what_is_frozen_needs_none(self) -> None:
        model = WithSpare()
        model.spare.requires_grad_(False)
        check_gradients(model, model(self.images).sum())
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_an_engine_of_several_ranks_finds_them_before_it_trains(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("resbench.training.engine.Averaged", lambda model, loss: Own(loss))
        engine = Engine(WithSpare(), SGD, CPU, ranks=Ranks(0, 2))
        before = {name: value.clone() for name, value in engine.model.state_dict().items()}
        with pytest.raises(ModelError, match="or train on one device"):
            engine.warm_up(self.images, self.labels)
        assert all(torch.equal(value, before[name]) for name, value in engine.model.state_dict().items())
        Engine(WithSpare(), SGD, CPU).warm_up(self.images, self.labels)  # alone, none is waited for

    def test_one_that_is_left_out_later_is_told_of_in_a_line(self, tmp_path: Path) -> None:
        dist.init_process_group("gloo", rank=0, world_size=1, init_method=f"file://{tmp_path / 'store'}")
        try:
            model = WithSpare(once=True)
            averaged = Averaged(model, lambda images, labels: (model(images).sum(), labels))
            for _ in range(2):
                averaged(self.images, self.labels)[0].backward()
            with pytest.raises(ModelError, match=r"2 of 4 trained .* gradient \(spare.weight, spare.bias\): several"):
                averaged(self.images, self.labels)
        finally:
            dist.destroy_process_group()


class TestSynchronisedBatchNorm:
    def test_names_and_values_stay(self) -> None:
        before = normalised()
        kept = {name: value.clone() for name, value in before.state_dict().items()}
        after = synchronise_batch_norm(before)
        assert isinstance(after.norm, nn.SyncBatchNorm)
        assert after.state_dict().keys() == kept.keys()
        assert all(torch.equal(value, kept[name]) for name, value in after.state_dict().items())

    def test_batch_norm_that_does_more_is_refused(self) -> None:
        class WithActivation(nn.BatchNorm2d):
            """Does more."""

        with pytest.raises(InputError, match="1 is a WithActivation, which torch would replace by a plain one"):
            check_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 1), WithActivation(4)))

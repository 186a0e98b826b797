"""A frozen network is taken apart only where its features stand for its images."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from frozen_networks import BN_TRAIN, CLASSES, FEATURES, SETTINGS, frozen_network, image_pipeline, statistics
from small_engines import same, snapshot
from torch import nn

from resbench.recipes import Recipe
from resbench.training.backbone import Backbone, find_backbone


def images() -> torch.Tensor:
    return next(image_pipeline(batch_size=16).epoch())[0]


def part(model: nn.Module, recipe: Recipe = FEATURES, precision: str = "fp32") -> tuple[Backbone | None, str | None]:
    settings = dataclasses.replace(SETTINGS, precision=precision)
    return find_backbone(model, recipe.frozen_batch_norm, images(), settings)


class DropsPaths(nn.Module):
    """Drops an image's features once in a thousand: a draw shows in the generator alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand(len(x), 1, 1, 1) < 0.999) if self.training else x


class Centres(nn.Module):
    """Takes the mean over the batch away, as batch norm without statistics would."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0, keepdim=True)


class DoublesInTraining(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x if self.training else x


class Counts(nn.Module):
    """Counts its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return x


class AsksItsHead(nn.Module):
    """Cannot do without the head that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3 * 8 * 8, 4).requires_grad_(False)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x.flatten(1))[:, : self.head.in_features])


class Then(nn.Module):
    """Does something with the output of its head, which may be 0."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3 * 8 * 8, 4).requires_grad_(False)
        self.head = nn.Linear(4, CLASSES)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.head(self.body(x.flatten(1))))


class Twice(nn.Module):
    """Calls its head for two halves of its features."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3 * 8 * 8, 8).requires_grad_(False)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.body(x.flatten(1)).chunk(2, 1)
        return self.head(left) + self.head(right)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3 * 8 * 8, 4).requires_grad_(False)
        self.one, self.other = nn.Linear(4, CLASSES), nn.Linear(4, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.body(x.flatten(1))
        return self.one(features) + self.other(features)


class TestFit:
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_the_head_of_the_backbones_features_is_the_network(self, precision):
        model = frozen_network()
        backbone, reason = part(model, precision=precision)
        assert (reason, backbone.head is model.head, backbone.feature_shape) == (None, True, (32,))
        assert not any(module.training for module in backbone.network.modules())
        whole = model.eval()(images())
        assert torch.equal(backbone.head(backbone.network(images())), whole)

    def test_every_tensor_is_shared_with_the_whole_network(self):
        model = frozen_network()
        backbone, _ = part(model)
        own = backbone.network.state_dict(keep_vars=True)
        theirs = model.state_dict(keep_vars=True)
        assert own.keys() == theirs.keys() - {"head.weight", "head.bias"}
        assert all(value is theirs[name] for name, value in own.items())

    def test_the_network_and_the_generator_are_as_before(self):
        model = frozen_network()
        before, generator = snapshot(model), torch.get_rng_state()
        assert part(model)[0] is not None
        assert same(before, snapshot(model))
        assert torch.equal(generator, torch.get_rng_state())
        assert isinstance(model.head, nn.Linear)
        assert not model.head._forward_hooks

    def test_a_head_of_several_layers_with_batch_norm_of_its_own(self):
        model = frozen_network(head=nn.Sequential(nn.BatchNorm1d(32, affine=False), nn.Linear(32, CLASSES)))
        backbone, reason = part(model)
        assert (reason, backbone.head is model.head) == (None, True)  # its BN takes statistics of the batch

    def test_dropout_that_drops_nothing_and_dropout_of_the_head_are_no_matter(self):
        assert part(frozen_network(backbone=nn.Dropout(0.0)))[0] is not None
        head = nn.Sequential(nn.Dropout(0.5), nn.Linear(32, CLASSES))
        assert part(frozen_network(head=head))[0].head is head  # the linear layer alone would follow what is random

    def test_features_that_are_maps(self):
        head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 64, CLASSES))
        model = frozen_network(head=head)
        model.pool = nn.Identity()
        assert part(model)[0].feature_shape == (512,)


class TestRefusal:
    @pytest.mark.parametrize(
        ("model", "recipe", "reason"),
        [
            (frozen_network(), BN_TRAIN, r"batch norm of the backbone \(norm\) normalises by its batch"),
            (
                frozen_network(backbone=nn.BatchNorm2d(8, affine=False, track_running_stats=False)),
                FEATURES,
                r"batch norm of the backbone \(more\) normalises by its batch",
            ),
            (frozen_network(backbone=nn.Dropout(0.1)), FEATURES, r"dropout of the backbone \(more\) is active"),
            (frozen_network(backbone=DropsPaths()), FEATURES, "draws random numbers"),
            (frozen_network(backbone=nn.RReLU()), FEATURES, "draws random numbers"),
            (frozen_network(backbone=Centres()), FEATURES, "depend on its batch"),
            (frozen_network(backbone=DoublesInTraining()), FEATURES, "something else in training"),
            (frozen_network(backbone=Counts()), FEATURES, "training moves 'more.count'"),
            (
                frozen_network(backbone=nn.InstanceNorm2d(8, track_running_stats=True)),
                FEATURES,
                "training than in evaluation",
            ),
            (AsksItsHead(), FEATURES, "does not run without its head 'head'"),
            (Then(), FEATURES, "output of the head 'head' is not the network's"),
            (Twice(), FEATURES, "output of the head 'head' is not the network's"),
        ],
    )
    def test_says_why(self, model, recipe, reason):
        before = statistics(model)
        backbone, said = part(model, recipe)
        assert backbone is None
        assert re.search(reason, said)
        assert same(before, statistics(model))

    @pytest.mark.parametrize("model", [TwoHeads(), frozen_network().requires_grad_(True)], ids=["two heads", "trained"])
    def test_says_nothing_where_no_single_head_is_on_a_frozen_backbone(self, model):
        assert part(model) == (None, None)

    def test_memory_that_runs_out_is_no_refusal(self):
        class Large(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        with pytest.raises(torch.OutOfMemoryError):
            part(frozen_network(backbone=Large()))

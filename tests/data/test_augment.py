"""Augmentations by what they are; test_augment_torchvision.py holds each to torchvision's function of that name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as TF
from torchvision.transforms import InterpolationMode

from resbench.data import augment
from resbench.recipes import ColourJitter

BATCH = 64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(count: int = BATCH, height: int = 9, width: int = 7, channels: int = 3, seed: int = 1) -> torch.Tensor:
    """uint8 [N, H, W, C], as a split holds them."""
    return torch.randint(256, (count, height, width, channels), generator=generator(seed), dtype=torch.uint8)


def images(count: int = BATCH, channels: int = 3, height: int = 9, width: int = 7, seed: int = 1) -> torch.Tensor:
    """float [B, C, H, W] in 0..1."""
    return torch.rand(count, channels, height, width, generator=generator(seed))


def draws(numbers: int, count: int = BATCH, seed: int = 0) -> torch.Tensor:
    """Random numbers as an augmentation takes them, [numbers, count]."""
    return torch.rand(numbers, count, generator=generator(seed))


ALMOST_1 = 1 - 2**-24
"""The largest number that ``torch.rand`` draws."""


class TestGatherCrops:
    INDEX = torch.randint(BATCH, (200,), generator=generator(5))

    def gather(self, source: torch.Tensor, draw: torch.Tensor, *, padding: int) -> torch.Tensor:
        return augment.gather_crops(augment.reflect_columns(source, padding), self.INDEX, draw, padding=padding)

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("size", [(9, 7), (7, 12)])
    @pytest.mark.parametrize("padding", [1, 4, 6])
    def test_equals_reflect_padding_then_slicing(self, padding, size, channels):
        height, width = size
        source, draw = pixels(height=height, width=width, channels=channels), draws(2, 200)
        down, right = (draw.double() * (2 * padding + 1)).floor().int()
        padded = F.pad(source.permute(0, 3, 1, 2).float(), (padding,) * 4, mode="reflect").to(torch.uint8)
        crops = self.gather(source, draw, padding=padding)
        for crop, image, top, left in zip(crops, self.INDEX, down, right, strict=True):
            expected = padded[image, :, top : top + height, left : left + width]
            assert torch.equal(crop, expected.permute(1, 2, 0))

    def test_from_the_middle_are_the_images_themselves(self):
        source = pixels()
        assert torch.equal(self.gather(source, torch.full((2, 200), 0.5), padding=3), source[self.INDEX])

    @pytest.mark.parametrize("padding", [1, 2, 3, 4, 6])
    @pytest.mark.parametrize("down", [0.0, ALMOST_1])
    @pytest.mark.parametrize("right", [0.0, ALMOST_1])
    def test_of_the_outermost_numbers_are_the_outermost_ones(self, padding, down, right):
        source = pixels()
        draw = torch.tensor([[down], [right]]).expand(2, 200)
        padded = F.pad(source.permute(0, 3, 1, 2).float(), (padding,) * 4, mode="reflect").to(torch.uint8)
        top, left = (2 * padding if number else 0 for number in (down, right))
        expected = padded[self.INDEX, :, top : top + 9, left : left + 7].permute(0, 2, 3, 1)
        assert torch.equal(self.gather(source, draw, padding=padding), expected)

    def test_every_offset_occurs(self):
        # Each pixel's value says where it is, and the middle of a crop is never a reflection.
        rows, cols = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
        source = (rows * 9 + cols).to(torch.uint8)[None, :, :, None].contiguous()
        padded, index = augment.reflect_columns(source, 3), torch.zeros(2000, dtype=torch.int64)
        crops = augment.gather_crops(padded, index, draws(2, 2000), padding=3)
        middle = crops[:, 4, 4, 0].long()
        seen = {(int(value) // 9 - 4, int(value) % 9 - 4) for value in middle}
        assert seen == {(down, right) for down in range(-3, 4) for right in range(-3, 4)}

    def test_gives_contiguous_bytes(self):
        crops = self.gather(pixels(), draws(2, 200), padding=2)
        assert crops.dtype == torch.uint8
        assert crops.shape == (200, 9, 7, 3)
        assert crops.is_contiguous()


class TestReflectColumns:
    @pytest.mark.parametrize("padding", [1, 4, 6])
    def test_equals_reflect_padding_at_two_sides(self, padding):
        source = pixels()
        expected = F.pad(source.permute(0, 3, 1, 2).float(), (padding, padding, 0, 0), mode="reflect")
        padded = augment.reflect_columns(source, padding)
        assert torch.equal(padded, expected.permute(0, 2, 3, 1).to(torch.uint8))
        assert padded.is_contiguous()

    def test_without_padding_returns_the_images(self):
        source = pixels()
        assert augment.reflect_columns(source, 0) is source


class TestMirror:
    # Lengths of an image that are a multiple of 8, 4, 2 and 1: it is chosen in words of as many bytes.
    @pytest.mark.parametrize("shape", [(8, 8, 3), (6, 2, 1), (3, 2, 3), (9, 7, 3), (1, 1, 1)])
    def test_mirrors_images_left_to_right_whose_number_is_below_one_half(self, shape):
        height, width, channels = shape
        source, draw = pixels(200, height, width, channels), draws(1, 200)[0]
        mirrored = augment.mirror(source, draw)
        for before, after, number in zip(source, mirrored, draw, strict=True):
            assert torch.equal(after, before.flip(1) if number < 0.5 else before)
        assert mirrored.dtype == torch.uint8
        assert mirrored.is_contiguous()

    def test_mirrors_about_half_of_the_images(self):
        source = pixels(200)
        changed = (augment.mirror(source, draws(1, 200)[0]) != source).flatten(1).any(1)
        assert 70 <= int(changed.sum()) <= 130  # 200 draws: the mean and more than 4 deviations of it

    def test_compiled_chooses_the_same(self, monkeypatch):
        source, draw = pixels(), draws(1)[0]
        words = augment.mirror(source, draw)
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert torch.equal(augment.mirror(source, draw), words)


def test_vertical_flip_mirrors_about_half_of_the_images_top_to_bottom():
    before = images(400)
    after = augment.flip_vertically(before, draws(1, 400)[0])
    mirrored = (after == before.flip(2)).flatten(1).all(1)
    assert torch.equal(mirrored, ~(after == before).flatten(1).all(1))
    assert torch.equal(mirrored, draws(1, 400)[0] < 0.5)
    assert 160 <= int(mirrored.sum()) <= 240


@pytest.mark.parametrize("size", [(12, 10), (50, 60)])
def test_resize_equals_pillows_up_to_its_rounding(size):
    source = pixels(1, 31, 29)
    before = source.permute(0, 3, 1, 2).float() / 255
    pillow = TF.to_pil_image(source[0].permute(2, 0, 1)).resize(size[::-1], resample=2)
    expected = TF.pil_to_tensor(pillow).float() / 255
    torch.testing.assert_close(augment.resize(before, *size)[0], expected, atol=1.5 / 255, rtol=0)


def test_resize_to_the_same_size_returns_the_images():
    before = images()
    assert augment.resize(before, 9, 7) is before


class TestRotation:
    @pytest.mark.parametrize("shape", [(8, 8), (9, 9), (6, 10), (11, 5)])
    @pytest.mark.parametrize("degrees", [-180.0, -90.0, 0.0, 90.0, 180.0])
    def test_by_right_angles_equals_torchvisions_exactly(self, degrees, shape):
        before = images(4, height=shape[0], width=shape[1])
        expected = TF.rotate(before, degrees, InterpolationMode.NEAREST, fill=[0.0])
        assert torch.equal(augment.rotate_by(before, torch.full((4,), degrees)), expected)

    @pytest.mark.parametrize("degrees", [90.0, 180.0, -90.0])
    def test_by_right_angles_turns_a_square_counter_clockwise(self, degrees):
        before = images(4, height=8, width=8)
        expected = before.rot90(round(degrees / 90), dims=(2, 3))
        assert torch.equal(augment.rotate_by(before, torch.full((4,), degrees)), expected)

    @pytest.mark.parametrize("shape", [(32, 32), (33, 33), (20, 45), (45, 20)])
    def test_by_other_angles_equals_torchvisions_but_for_a_few_pixels(self, shape):
        angles = torch.tensor([-44.9, -30.0, -7.3, 0.4, 12.0, 45.0, 71.0, 133.0])
        before = images(len(angles), height=shape[0], width=shape[1])
        after = augment.rotate_by(before, angles)
        for image, rotated, angle in zip(before, after, angles, strict=True):
            expected = TF.rotate(image, float(angle), InterpolationMode.NEAREST, fill=[0.0])
            differing = (rotated != expected).any(0).float().mean()
            assert differing < 0.005

    def test_draws_an_angle_of_its_own_for_each_image(self):
        before, draw = images(32, height=16, width=16), draws(1, 32)[0]
        angles = (draw * 2 - 1) * 45
        assert torch.equal(augment.rotate(before, 45, draw), augment.rotate_by(before, angles))
        assert angles.min() < -30
        assert angles.max() > 30


class TestCutout:
    def cut(self, size: int, draw: torch.Tensor) -> torch.Tensor:
        return augment.cutout(torch.ones(draw.shape[1], 3, 9, 7), size, draw)

    @pytest.mark.parametrize("size", [1, 4, 7])
    def test_sets_one_square_of_the_size_in_every_image_to_0(self, size):
        after = self.cut(size, draws(2, 1000))
        filled = after[:, 0] == 0
        assert torch.equal(filled, after[:, 1] == 0)
        assert torch.equal(filled, after[:, 2] == 0)
        assert torch.equal(filled, after[:, 0] != 1)
        assert (filled.any(2).sum(1) == size).all()
        assert (filled.any(1).sum(1) == size).all()
        assert (filled.sum((1, 2)) == size * size).all()

    @pytest.mark.parametrize("numbers", [(0.0, 0.0), (0.0, ALMOST_1), (ALMOST_1, 0.0), (ALMOST_1, ALMOST_1)])
    def test_of_the_outermost_numbers_fills_a_corner(self, numbers):
        filled = self.cut(4, torch.tensor(numbers)[:, None])[0, 0] == 0
        rows = slice(5, 9) if numbers[0] else slice(0, 4)
        cols = slice(3, 7) if numbers[1] else slice(0, 4)
        assert filled[rows, cols].all()
        assert int(filled.sum()) == 16

    def test_works_in_place(self):
        before = images()
        assert augment.cutout(before, 3, draws(2)) is before
        assert int((before == 0).sum()) == BATCH * 3 * 9

    def test_puts_it_at_every_place_about_equally_often(self):
        filled = self.cut(4, draws(2, 4800))[:, 0] == 0
        top, left = filled.any(2).int().argmax(1), filled.any(1).int().argmax(1)
        counts = torch.bincount(top * 4 + left, minlength=24)
        assert len(counts) == 24  # 6 rows x 4 columns of places
        assert counts.min() > 200 - 5 * 200**0.5
        assert counts.max() < 200 + 5 * 200**0.5


class TestGrayscale:
    def test_leaves_every_image_at_probability_0(self):
        before = images()
        assert torch.equal(augment.grayscale(before, 0.0, draws(1)[0]), before)

    def test_changes_the_given_share_of_images(self):
        before = images(2000)
        gray = augment.grayscale(before, 0.1, draws(1, 2000)[0])
        changed = (gray != before).flatten(1).any(1)
        assert torch.equal(gray[~changed], before[~changed])
        assert 140 <= int(changed.sum()) <= 260


class TestColour:
    @pytest.mark.parametrize("turn", [-0.5, -0.31, -0.1, 0.0, 0.03, 0.1, 0.25, 0.5])
    def test_hue_shift_equals_torchvisions(self, turn):
        before = torch.cat([images(), images().round(), images()[:, :1].expand(-1, 3, -1, -1)])  # and ties and greys
        after = augment.shift_hue(before, torch.tensor(turn))
        torch.testing.assert_close(after, TF.adjust_hue(before, turn), atol=1e-4, rtol=0)

    def test_jitter_of_strength_0_is_the_identity(self):
        before = images()
        after = augment.colour_jitter(before, ColourJitter(0, 0, 0, 0), draws(4))
        torch.testing.assert_close(after, before, atol=2e-6, rtol=0)

    def test_strong_jitter_stays_in_range(self):
        after = augment.colour_jitter(images(500), ColourJitter(1, 1, 1, 0.5), draws(4, 500))
        assert after.isfinite().all()
        assert after.min() >= 0
        assert after.max() <= 1


JITTER = ColourJitter(0.2, 0.1, 0.1, 0.1)
DRAWING: dict[str, tuple[int, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    # name: numbers an image, the work on some images and their numbers
    "gather_crops": (2, lambda index, draw: augment.gather_crops(PADDED, index, draw, padding=3)),
    "mirror": (1, lambda index, draw: augment.mirror(pixels()[index], draw[0])),
    "flip_vertically": (1, lambda index, draw: augment.flip_vertically(images()[index], draw[0])),
    "rotate": (1, lambda index, draw: augment.rotate(images()[index], 45, draw[0])),
    "cutout": (2, lambda index, draw: augment.cutout(images()[index], 3, draw)),
    "grayscale": (1, lambda index, draw: augment.grayscale(images()[index], 0.5, draw[0])),
    "colour_jitter": (4, lambda index, draw: augment.colour_jitter(images()[index], JITTER, draw)),
}
PADDED = augment.reflect_columns(pixels(), 3)
ALL = torch.arange(BATCH)


@pytest.mark.parametrize("name", DRAWING)
def test_the_given_numbers_alone_decide(name):
    numbers, work = DRAWING[name]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = work(ALL, draws(numbers))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(work(ALL, draws(numbers)), first)
    assert not torch.equal(work(ALL, draws(numbers, seed=1)), first)


@pytest.mark.parametrize("name", DRAWING)
def test_an_image_depends_on_its_own_numbers_alone(name):
    numbers, work = DRAWING[name]
    draw, some = draws(numbers), torch.tensor([40, 3, 17])
    assert torch.equal(work(some, draw[:, some]), work(ALL, draw)[some])

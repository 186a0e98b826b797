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


class TestGatherCrops:
    INDEX = torch.randint(BATCH, (200,), generator=generator(5))

    def gather(self, source: torch.Tensor, *, padding: int = 0, flip: bool = False) -> torch.Tensor:
        return augment.gather_crops(source, self.INDEX, padding=padding, flip=flip, generator=generator(3))

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize("padding", [1, 4, 6])
    def test_equals_reflect_padding_then_slicing(self, padding, flip, channels):
        source = pixels(channels=channels)
        twin = generator(3)
        offsets = torch.randint(-padding, padding + 1, (2, len(self.INDEX), 1), generator=twin).squeeze(-1)
        mirrored = torch.rand(len(self.INDEX), 1, generator=twin).squeeze(-1) < 0.5 if flip else [False] * 200
        padded = F.pad(source.permute(0, 3, 1, 2).float(), (padding,) * 4, mode="reflect").to(torch.uint8)
        crops = self.gather(source, padding=padding, flip=flip)
        for crop, image, down, right, mirror in zip(crops, self.INDEX, *offsets, mirrored, strict=True):
            top, left = padding + int(down), padding + int(right)
            expected = padded[image, :, top : top + 9, left : left + 7]
            assert torch.equal(crop, expected.flip(-1) if mirror else expected)

    def test_without_padding_and_flip_are_the_images_themselves(self):
        source = pixels()
        assert torch.equal(self.gather(source), source[self.INDEX].permute(0, 3, 1, 2))

    def test_every_offset_occurs(self):
        # Each pixel's value says where it is, and the middle of a crop is never a reflection.
        rows, cols = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
        source = (rows * 9 + cols).to(torch.uint8)[None, :, :, None].contiguous()
        index = torch.zeros(2000, dtype=torch.int64)
        crops = augment.gather_crops(source, index, padding=3, flip=False, generator=generator())
        middle = crops[:, 0, 4, 4].long()
        seen = {(int(value) // 9 - 4, int(value) % 9 - 4) for value in middle}
        assert seen == {(down, right) for down in range(-3, 4) for right in range(-3, 4)}

    def test_flips_about_half_of_the_images_left_to_right(self):
        source = pixels()
        plain = source[self.INDEX].permute(0, 3, 1, 2)
        flipped = self.gather(source, flip=True)
        mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(flipped, plain, strict=True)])
        same = torch.tensor([torch.equal(a, b) for a, b in zip(flipped, plain, strict=True)])
        assert torch.equal(mirrored, ~same)
        assert 70 <= int(mirrored.sum()) <= 130  # 200 draws: the mean and more than 4 deviations of it

    def test_gives_uint8_in_channels_last(self):
        crops = self.gather(pixels(), padding=2, flip=True)
        assert crops.dtype == torch.uint8
        assert crops.shape == (200, 3, 9, 7)
        assert crops.is_contiguous(memory_format=torch.channels_last)


def test_vertical_flip_mirrors_about_half_of_the_images_top_to_bottom():
    before = images(400)
    after = augment.flip_vertically(before, generator())
    mirrored = (after == before.flip(2)).flatten(1).all(1)
    assert torch.equal(mirrored, ~(after == before).flatten(1).all(1))
    assert 160 <= int(mirrored.sum()) <= 240


@pytest.mark.parametrize("size", [(32, 32), (5, 4), (9, 14), (18, 7), (3, 20)])
def test_resize_equals_torchvisions_antialiased_one(size):
    before = images()
    expected = TF.resize(before, list(size), InterpolationMode.BILINEAR, antialias=True)
    torch.testing.assert_close(augment.resize(before, *size), expected, atol=1e-6, rtol=0)


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


@pytest.mark.parametrize("size", [(9, 7), (8, 7), (4, 4), (5, 2), (1, 1)])
def test_centre_crop_equals_torchvisions(size):
    before = images()
    assert torch.equal(augment.centre_crop(before, *size), TF.center_crop(before, list(size)))


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
        before = images(32, height=16, width=16)
        angles = (torch.rand(32, generator=generator(9)) * 2 - 1) * 45
        assert torch.equal(augment.rotate(before, 45, generator(9)), augment.rotate_by(before, angles))
        assert angles.min() < -30
        assert angles.max() > 30


class TestCutout:
    def cut(self, size: int, count: int = 1000) -> torch.Tensor:
        fill = torch.tensor([0.0, 0.25, 0.5]).view(1, 3, 1, 1)
        return augment.cutout(torch.ones(count, 3, 9, 7), size, fill, generator())

    @pytest.mark.parametrize("size", [1, 4, 7])
    def test_fills_one_square_of_the_size_in_every_image(self, size):
        after = self.cut(size)
        filled = after[:, 0] == 0
        assert torch.equal(filled, after[:, 1] == 0.25)
        assert torch.equal(filled, after[:, 2] == 0.5)
        assert torch.equal(filled, after[:, 0] != 1)
        assert (filled.any(2).sum(1) == size).all()
        assert (filled.any(1).sum(1) == size).all()
        assert (filled.sum((1, 2)) == size * size).all()

    def test_puts_it_at_every_place_about_equally_often(self):
        filled = self.cut(4, count=4800)[:, 0] == 0
        top, left = filled.any(2).int().argmax(1), filled.any(1).int().argmax(1)
        counts = torch.bincount(top * 4 + left, minlength=24)
        assert len(counts) == 24  # 6 rows x 4 columns of places
        assert counts.min() > 200 - 5 * 200**0.5
        assert counts.max() < 200 + 5 * 200**0.5


class TestGrayscale:
    def test_equals_torchvisions(self):
        before = images()
        expected = TF.rgb_to_grayscale(before, num_output_channels=3)
        torch.testing.assert_close(augment.grayscale(before, 1.0, generator()), expected, atol=1e-6, rtol=0)

    def test_leaves_every_image_at_probability_0(self):
        before = images()
        assert torch.equal(augment.grayscale(before, 0.0, generator()), before)

    def test_changes_the_given_share_of_images(self):
        before = images(2000)
        gray = augment.grayscale(before, 0.1, generator())
        changed = (gray != before).flatten(1).any(1)
        assert torch.equal(gray[~changed], before[~changed])
        assert 140 <= int(changed.sum()) <= 260


class TestColour:
    @pytest.mark.parametrize("turn", [-0.5, -0.31, -0.1, 0.0, 0.03, 0.1, 0.25, 0.5])
    def test_hue_shift_equals_torchvisions(self, turn):
        before = torch.cat([images(), images().round(), images()[:, :1].expand(-1, 3, -1, -1)])  # and ties and greys
        after = augment.shift_hue(before, torch.tensor(turn))
        torch.testing.assert_close(after, TF.adjust_hue(before, turn), atol=1e-4, rtol=0)

    def test_jitter_equals_torchvisions_adjustments_in_order(self):
        before = images(16)
        jitter = ColourJitter(brightness=0.4, contrast=0.5, saturation=0.6, hue=0.3)
        draw = torch.rand(4, 16, 1, 1, 1, generator=generator(4)).view(4, 16) * 2 - 1
        after = augment.colour_jitter(before, jitter, generator(4))
        for image, changed, (brightness, contrast, saturation, hue) in zip(before, after, draw.T.tolist(), strict=True):
            expected = TF.adjust_brightness(image, 1 + 0.4 * brightness)
            expected = TF.adjust_contrast(expected, 1 + 0.5 * contrast)
            expected = TF.adjust_saturation(expected, 1 + 0.6 * saturation)
            expected = TF.adjust_hue(expected, 0.3 * hue)
            torch.testing.assert_close(changed, expected, atol=1e-4, rtol=0)

    def test_jitter_of_strength_0_is_the_identity(self):
        before = images()
        after = augment.colour_jitter(before, ColourJitter(0, 0, 0, 0), generator())
        torch.testing.assert_close(after, before, atol=2e-6, rtol=0)

    def test_strong_jitter_stays_in_range(self):
        after = augment.colour_jitter(images(500), ColourJitter(1, 1, 1, 0.5), generator())
        assert after.isfinite().all()
        assert after.min() >= 0
        assert after.max() <= 1


JITTER = ColourJitter(0.2, 0.1, 0.1, 0.1)
DRAWING: dict[str, Callable[[torch.Generator], torch.Tensor]] = {
    "gather_crops": lambda g: augment.gather_crops(pixels(), torch.arange(BATCH), padding=3, flip=True, generator=g),
    "flip_vertically": lambda g: augment.flip_vertically(images(), g),
    "rotate": lambda g: augment.rotate(images(), 45, g),
    "cutout": lambda g: augment.cutout(images(), 3, torch.zeros(1), g),
    "grayscale": lambda g: augment.grayscale(images(), 0.5, g),
    "colour_jitter": lambda g: augment.colour_jitter(images(), JITTER, g),
}


@pytest.mark.parametrize("name", DRAWING)
def test_draws_come_from_the_given_generator_alone(name):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = DRAWING[name](generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(DRAWING[name](generator(1)), first)
    assert not torch.equal(DRAWING[name](generator(2)), first)


@pytest.mark.parametrize("name", DRAWING)
def test_successive_draws_of_one_generator_differ(name):
    source = generator(1)
    assert not torch.equal(DRAWING[name](source), DRAWING[name](source))

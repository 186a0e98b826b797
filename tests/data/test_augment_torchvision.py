"""Each augmentation against torchvision's own function, called for one image at a time with the same parameters.

Stated for each is how far a pixel in 0..1 may be off: of float images by the order of a few additions, of bytes by
torchvision's rounding, or cutting off, to a byte after each step. Rotation takes the nearest pixel, so where two are
as near either may be taken: there it is the share of pixels that may differ.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torchvision.transforms import InterpolationMode

from resbench.data import augment
from resbench.recipes import ColourJitter

BYTE = 1 / 255 + 1e-5
"""What cutting off, or rounding twice, to a byte takes."""
ALMOST_1 = 1 - 2**-24
"""The largest number that ``torch.rand`` draws."""
DRAWS = torch.tensor([0.0, 0.2, 0.4999, 0.5, 0.73, 0.9, ALMOST_1])
COUNT = len(DRAWS)
AMOUNTS = [2 * draw - 1 for draw in DRAWS.double().tolist()]
"""In -1..1: what a draw means for everything that is varied either way."""
TIES = 0.005
"""The share of a rotated image's pixels that may be a neighbour of torchvision's."""
SIZES = [(12, 12), (9, 7), (7, 16)]

BOTH_CHANNELS = pytest.mark.parametrize("channels", [3, 1], ids=["RGB", "one channel"])
EVERY_SIZE = pytest.mark.parametrize("size", SIZES, ids=str)


def bytes_of(channels: int = 3, size: tuple[int, int] = (9, 7)) -> torch.Tensor:
    """uint8 [B, C, H, W] with every value of a byte likely, and some images of few colours."""
    generator = torch.Generator().manual_seed(channels)
    images = torch.randint(256, (COUNT, channels, *size), generator=generator, dtype=torch.uint8)
    images[2] = images[2] // 128 * 255  # only the corners of the colour cube
    images[4] = images[4, :1]  # greys
    return images


def each(images: torch.Tensor, work: Callable[[torch.Tensor, int], torch.Tensor]) -> torch.Tensor:
    return torch.stack([work(image, number) for number, image in enumerate(images)])


def assert_alike(
    ours: Callable[[torch.Tensor], torch.Tensor],
    theirs: Callable[[torch.Tensor, int], torch.Tensor],
    *,
    images: torch.Tensor,
    atol: float,
    byte_atol: float,
) -> None:
    """Holds our work on a batch of floats to torchvision's on single images, floats and bytes."""
    floats = images / 255
    after = ours(floats)
    torch.testing.assert_close(after, each(floats, theirs), atol=atol, rtol=0)
    of_bytes = each(images, theirs)
    assert of_bytes.dtype == torch.uint8
    torch.testing.assert_close(after, of_bytes / 255, atol=byte_atol, rtol=0)


class TestGeometry:
    @BOTH_CHANNELS
    @EVERY_SIZE
    @pytest.mark.parametrize("target", [(14, 14), (5, 4), (9, 14), (18, 7), (3, 20)], ids=str)
    def test_resize(self, channels, size, target):
        assert_alike(
            lambda images: augment.resize(images, *target),
            lambda image, _: TF.resize(image, list(target), InterpolationMode.BILINEAR, antialias=True),
            images=bytes_of(channels, size),
            atol=1e-6,
            byte_atol=BYTE,
        )

    @BOTH_CHANNELS
    @EVERY_SIZE
    @pytest.mark.parametrize("target", [(9, 7), (7, 7), (6, 5), (5, 6), (1, 2), (1, 1)], ids=str)
    def test_centre_crop_of_odd_and_even_sizes(self, channels, size, target):
        images = bytes_of(channels, size)
        expected = each(images, lambda image, _: TF.center_crop(image, list(target)))
        assert torch.equal(augment.centre_crop(images, *target), expected)
        if target[0] <= size[0]:
            top, left = round((size[0] - target[0]) / 2), round((size[1] - target[1]) / 2)
            assert torch.equal(expected, images[:, :, top : top + target[0], left : left + target[1]])

    @BOTH_CHANNELS
    @EVERY_SIZE
    def test_both_flips_of_images_that_draw_less_than_one_half(self, channels, size):
        images = bytes_of(channels, size)
        vertical = each(images, lambda image, i: TF.vertical_flip(image) if DRAWS[i] < 0.5 else image)
        assert torch.equal(augment.flip_vertically(images, DRAWS), vertical)
        pixels = images.permute(0, 2, 3, 1).contiguous()
        horizontal = each(images, lambda image, i: TF.horizontal_flip(image) if DRAWS[i] < 0.5 else image)
        assert torch.equal(augment.mirror(pixels, DRAWS).permute(0, 3, 1, 2), horizontal)

    # No side is longer by an odd number: a right angle would put every sample of it halfway between two pixels.
    @BOTH_CHANNELS
    @pytest.mark.parametrize("size", [(48, 48), (33, 33), (30, 46), (47, 31)], ids=str)
    @pytest.mark.parametrize("degrees", [10, 45, 90, 180])
    def test_rotation_by_the_drawn_angle(self, channels, size, degrees):
        images = bytes_of(channels, size)
        rotated = augment.rotate(images / 255, degrees, DRAWS)
        for of in (images, images / 255):
            expected = each(of, lambda image, i: TF.rotate(image, AMOUNTS[i] * degrees, InterpolationMode.NEAREST))
            differing = (rotated != (expected / 255 if of is images else expected)).any(1).float().mean((1, 2))
            assert float(differing.max()) <= TIES

    def test_rotation_at_the_ends_of_the_draws_is_by_the_whole_angle_either_way(self):
        images = bytes_of(size=(31, 31))[:2] / 255
        ends = augment.rotate(images[:1].expand(2, -1, -1, -1), 45, torch.tensor([0.0, ALMOST_1]))
        for rotated, degrees in zip(ends, (-45, 45), strict=True):
            expected = TF.rotate(images[0], degrees, InterpolationMode.NEAREST)
            assert float((rotated != expected).any(0).float().mean()) <= TIES
        assert not torch.equal(ends[0], ends[1])

    def test_mirroring_before_a_rotation_is_mirroring_after_the_opposite_one(self):
        # The source flips after it rotates, here bytes are mirrored first: angles are as likely either way.
        images = torch.rand(COUNT, 3, 33, 33, generator=torch.Generator().manual_seed(0))
        angles = torch.tensor(AMOUNTS, dtype=torch.float32) * 44
        first = augment.rotate_by(images.flip(3), angles)
        differing = (first != augment.rotate_by(images, -angles).flip(3)).any(1).float().mean((1, 2))
        assert float(differing.max()) <= TIES

    @BOTH_CHANNELS
    @pytest.mark.parametrize("side", [1, 4, 7])
    def test_cutout_is_an_erased_square(self, channels, side):
        images = bytes_of(channels) / 255 + 1
        places = DRAWS, DRAWS.flip(0)
        top, left = ((draw.double() * (length - side + 1)).long() for draw, length in zip(places, (9, 7), strict=True))
        expected = each(
            images,
            lambda image, i: TF.erase(image, int(top[i]), int(left[i]), side, side, torch.zeros(1)),
        )
        assert torch.equal(augment.cutout(images.clone(), side, torch.stack(places)), expected)
        assert [int(top[0]), int(top[-1]), int(left[0]), int(left[-1])] == [0, 9 - side, 7 - side, 0]


PROPERTIES: dict[str, tuple[Callable[[torch.Tensor, float], torch.Tensor], float, float]] = {
    # name: torchvision's function of the amount, how far a float may be off, how far a byte
    "brightness": (lambda image, amount: TF.adjust_brightness(image, 1 + amount), 1e-6, BYTE),
    "contrast": (lambda image, amount: TF.adjust_contrast(image, 1 + amount), 1e-5, 2 * BYTE),  # a mean of bytes
    "saturation": (lambda image, amount: TF.adjust_saturation(image, 1 + amount), 1e-5, 2 * BYTE),  # a byte of luma
    "hue": (lambda image, amount: TF.adjust_hue(image, amount), 1e-4, BYTE),
}
STRENGTHS = {
    "brightness": (0.2, 1.0),
    "contrast": (0.1, 1.0),
    "saturation": (0.1, 1.0),
    "hue": (0.1, 0.5),
}


class TestColour:
    @BOTH_CHANNELS
    @pytest.mark.parametrize(
        ("name", "strength"), [(name, strength) for name in PROPERTIES for strength in STRENGTHS[name]]
    )
    def test_each_property_alone(self, name, strength, channels):
        theirs, atol, byte_atol = PROPERTIES[name]
        jitter = ColourJitter(**{**dict.fromkeys(PROPERTIES, 0.0), name: strength})
        numbers = torch.full((4, COUNT), 0.123)  # the draws of the others are there, and of no account
        numbers[list(PROPERTIES).index(name)] = DRAWS
        assert_alike(
            lambda images: augment.colour_jitter(images, jitter, numbers),
            lambda image, i: theirs(image, AMOUNTS[i] * strength),
            images=bytes_of(channels),
            atol=atol,
            byte_atol=byte_atol,
        )

    @BOTH_CHANNELS
    @pytest.mark.parametrize("jitter", [ColourJitter(0.2, 0.1, 0.1, 0.1), ColourJitter(0.4, 0.5, 0.6, 0.3)], ids=str)
    def test_all_of_them_in_our_order(self, channels, jitter):
        numbers = torch.stack([DRAWS.roll(2 * turn) for turn in range(4)])

        def theirs(image: torch.Tensor, i: int) -> torch.Tensor:
            for (name, (work, _, _)), draw in zip(PROPERTIES.items(), numbers[:, i].double().tolist(), strict=True):
                image = work(image, (2 * draw - 1) * getattr(jitter, name))
            return image

        assert_alike(
            lambda images: augment.colour_jitter(images, jitter, numbers),
            theirs,
            images=bytes_of(channels),
            atol=1e-4,
            byte_atol=6 * BYTE,  # what the four may be off by together
        )

    def test_at_the_ends_of_the_draws_a_full_strength_takes_all_of_it_away_or_doubles_it(self):
        image = torch.tensor([0.1, 0.2, 0.4]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
        ends = torch.tensor([0.0, ALMOST_1]).expand(4, 2)
        dark, bright = augment.colour_jitter(image, ColourJitter(1, 0, 0, 0), ends)
        assert float(dark.max()) == 0
        torch.testing.assert_close(bright, 2 * image[0], atol=1e-6, rtol=0)
        gray = augment.colour_jitter(image, ColourJitter(0, 0, 1, 0), ends)[0]
        luma = 0.299 * 0.1 + 0.587 * 0.2 + 0.114 * 0.4
        torch.testing.assert_close(gray, torch.full((3, 2, 2), luma), atol=1e-4, rtol=0)  # 0.2989 in torchvision

    @BOTH_CHANNELS
    @pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
    def test_grayscale_of_images_that_draw_less_than_the_probability(self, channels, probability):
        assert_alike(
            lambda images: augment.grayscale(images, probability, DRAWS),
            lambda image, i: TF.rgb_to_grayscale(image, channels) if DRAWS[i] < probability else image,
            images=bytes_of(channels),
            atol=1e-6,
            byte_atol=BYTE,
        )

"""Image files as people have them, through ``load_dataset``: decoded as they should be, or refused by name."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from image_samples import random_image
from PIL import Image
from user_data import KINDS, SIZE, encoded, png_16_bits, spec_of, with_odd, write_images

from resbench.data.datasets import load_dataset
from resbench.data.decoding import image_suffixes
from resbench.errors import InputError

pytestmark = [pytest.mark.parametrize("kind", KINDS), pytest.mark.filterwarnings("error")]

PHOTO = encoded(random_image(SIZE), "JPEG", quality=95)
UNREADABLE = {
    "no bytes": b"",
    "text": b"404 not found\n",
    "a page": b"<!doctype html><html><body>404</body></html>",
    "a JPEG cut in its first bytes": PHOTO[:3],
    "a JPEG cut in its header": PHOTO[:200],
    "a JPEG cut in its pixels": PHOTO[:-150],
    "a JPEG without its last byte but two": PHOTO[:-3],
    "a PNG cut in its header": encoded(random_image(SIZE))[:20],
    "a PNG cut in its pixels": encoded(random_image(SIZE))[:-100],
}


def cmyk(values: tuple[int, int, int, int]) -> bytes:
    """A JPEG of one CMYK colour, as Pillow writes it: inverted, with Adobe's marker."""
    return encoded(Image.merge("CMYK", [Image.new("L", SIZE[::-1], value) for value in values]), "JPEG", quality=100)


def adobe_marker(jpeg: bytes) -> slice:
    begin = jpeg.index(b"\xff\xee\x00\x0eAdobe")
    return slice(begin, begin + 16)


def decoded_odd(tmp_path: Path, kind: str, odd: bytes, *, mode: str = "RGB") -> torch.Tensor:
    """What becomes of the odd file, which is the second training image; the others must be what they were."""
    dataset = load_dataset(with_odd(tmp_path / "pets", kind, odd, mode=mode))
    others = torch.cat([dataset.train.images[:1], dataset.train.images[2:], dataset.test.images])
    for seed, image in enumerate(others):
        expected = np.asarray(random_image(SIZE, mode, seed).convert("RGB" if image.shape[-1] == 3 else "L"))
        np.testing.assert_array_equal(image.squeeze(-1), expected)
    return dataset.train.images[1]


class TestRefused:
    @pytest.mark.parametrize("name", ["z.jpg", "0.jpg"], ids=["last", "first"])
    @pytest.mark.parametrize("odd", UNREADABLE.values(), ids=UNREADABLE)
    def test_what_cannot_be_read_is_named_with_the_remedy(self, kind, odd, name, tmp_path):
        spec = with_odd(tmp_path / "my pets", kind, odd, name=name)
        message = rf"cannot read the image .*my pets.train.cat.{name} \(.*Replace the file, or remove it from the data"
        with pytest.raises(InputError, match=message):
            load_dataset(spec)

    @pytest.mark.parametrize("name", ["z.jpg", "0.jpg"], ids=["last", "first"])
    def test_a_broken_file_among_images_of_mixed_sizes(self, kind, name, tmp_path):
        spec = with_odd(tmp_path / "pets", kind, PHOTO[:-150], name=name)
        random_image((10, 20)).save(tmp_path / "pets" / "test" / "dog" / "a 1.png")
        with pytest.raises(InputError, match=rf"cannot read the image .*cat.{name}.*Replace the file"):
            load_dataset(spec, resize=(8, 8))

    def test_sixteen_bit_grayscale(self, kind, tmp_path):
        spec = with_odd(tmp_path / "pets", kind, png_16_bits(np.full(SIZE, 40_000, np.uint16)), name="z.png")
        with pytest.raises(InputError, match=r"cat.z\.png has more than 8 bits.*Convert the images to 8 bits first"):
            load_dataset(spec)

    def test_a_huge_image(self, kind, tmp_path, monkeypatch):
        spec = with_odd(tmp_path / "pets", kind, encoded(Image.new("RGB", (60, 50))), name="z.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 50 // 2 - 1)
        message = r"cat.z\.png is too large \(.*3000 pixels.*bomb.*\)\. Make it smaller, or remove it"
        with pytest.raises(InputError, match=message):
            load_dataset(spec, resize=SIZE)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 50 // 2)
        with pytest.warns(Image.DecompressionBombWarning):  # Pillow warns at the limit and refuses at twice it
            assert load_dataset(spec, resize=SIZE).image_shape == (3, *SIZE)


class TestGrayscale:
    def test_among_colour_has_three_equal_channels(self, kind, tmp_path):
        gray = random_image(SIZE, "L", seed=9)
        pixels = decoded_odd(tmp_path, kind, encoded(gray, "PNG"))
        np.testing.assert_array_equal(pixels, np.repeat(np.asarray(gray)[..., None], 3, axis=-1))

    def test_throughout_stays_one_channel(self, kind, tmp_path):
        gray = random_image(SIZE, "L", seed=9)
        pixels = decoded_odd(tmp_path, kind, encoded(gray, "PNG"), mode="L")
        np.testing.assert_array_equal(pixels, np.asarray(gray)[..., None])

    def test_but_for_one_colour_image_becomes_colour(self, kind, tmp_path):
        colour = random_image(SIZE, seed=9)
        pixels = decoded_odd(tmp_path, kind, encoded(colour, "PNG"), mode="L")
        np.testing.assert_array_equal(pixels, np.asarray(colour))


class TestCmyk:
    # Red, a dark green and a grey; what Pillow makes of CMYK is 255 - min(255, ink + black) a channel, nearly.
    @pytest.mark.parametrize(
        ("ink", "colour"),
        [((0, 255, 255, 0), (255, 0, 0)), ((255, 0, 255, 128), (0, 127, 0)), ((0, 0, 0, 155), (100, 100, 100))],
    )
    @pytest.mark.parametrize("marker", [True, False], ids=["of Adobe", "without a marker"])
    def test_has_its_colours_and_is_pillows_own(self, kind, marker, ink, colour, tmp_path):
        jpeg = cmyk(ink)
        place = adobe_marker(jpeg)
        if not marker:
            jpeg = jpeg[: place.start] + jpeg[place.stop :]
        pixels = decoded_odd(tmp_path, kind, jpeg)
        np.testing.assert_allclose(pixels, np.broadcast_to(colour, (*SIZE, 3)), atol=3)
        with Image.open(tmp_path / "pets" / "train" / "cat" / "z.jpg") as image:
            assert image.mode == "CMYK"
            np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))

    def test_stored_as_ycck_has_its_colours(self, kind, tmp_path):
        # Adobe's transform 2: the first three are the luma and chroma of what the inverted inks are, and the fourth
        # is the inverted black. Pillow inverts what it writes, so red, which is (0, 255, 255, 0) in ink, is this:
        luma, blue, red = 0.701 * 255, 128 + (1 - 0.701) / 1.772 * 255, 128 - 0.701 / 1.402 * 255
        jpeg = bytearray(cmyk((255 - round(luma), 255 - round(blue), 255 - max(0, round(red)), 0)))
        jpeg[adobe_marker(bytes(jpeg)).stop - 1] = 2
        pixels = decoded_odd(tmp_path, kind, bytes(jpeg))
        np.testing.assert_allclose(pixels, np.broadcast_to((255, 0, 0), (*SIZE, 3)), atol=3)


SAVED = [suffix for suffix, name in image_suffixes().items() if name in Image.SAVE and name != "IM"]  # deprecated


class TestFormats:
    @pytest.mark.parametrize("suffix", SAVED)
    def test_every_suffix_that_pillow_reads_and_writes(self, kind, suffix, tmp_path):
        name, gray = image_suffixes()[suffix], random_image(SIZE, "L", seed=9)
        modes = {"MSP": "1", "XBM": "1", "BLP": "P", "GIF": "P"}
        odd = encoded(gray.convert(modes[name]) if name in modes else random_image(SIZE, seed=9), name)
        dataset = load_dataset(with_odd(tmp_path / "pets", kind, odd, name=f"z{suffix.upper()}"), resize=SIZE)
        assert len(dataset.train) == 3
        with Image.open(BytesIO(odd), formats=[name]) as image:
            expected = image.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(dataset.train.images[1], np.asarray(expected))

    def test_what_runs_programs_or_is_no_picture_is_ignored_and_never_opened(self, kind, tmp_path, monkeypatch):
        monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *given, **options: pytest.fail("it ran"))
        page = encoded(random_image(SIZE), "EPS")
        for suffix in (".eps", ".ps", ".pdf", ".mpg", ".h5", ".grib", ".iim", ".wmf"):
            with_odd(tmp_path / "pets", "folder", page, name=f"z{suffix}")
        dataset = load_dataset(f"folder:{tmp_path / 'pets'}")
        assert len(dataset.train) == 2
        assert dataset.remarks[0].startswith("8 files of the dataset ignored: ")
        for suffix in (".png", ".eps"):  # whatever it is called
            if kind == "filelist" or suffix == ".png":
                with pytest.raises(InputError, match=rf"cannot read the image .*x{suffix}"):
                    load_dataset(with_odd(tmp_path / suffix, kind, page, name=f"x{suffix}"))


class TestOtherModes:
    def test_a_palette_with_transparency_keeps_the_colours_of_its_palette(self, kind, tmp_path):
        image = random_image(SIZE, seed=9).quantize(16)
        pixels = decoded_odd(tmp_path, kind, encoded(image, "PNG", transparency=bytes(range(0, 160, 10))))
        palette = np.array(image.getpalette()[: 3 * 16], dtype=np.uint8).reshape(16, 3)
        np.testing.assert_array_equal(pixels, palette[np.asarray(image)])

    def test_transparency_is_dropped_and_the_colour_behind_it_stays(self, kind, tmp_path):
        colour = random_image(SIZE, seed=9)
        image = colour.copy()
        image.putalpha(random_image(SIZE, "L", seed=10))
        np.testing.assert_array_equal(decoded_odd(tmp_path, kind, encoded(image, "PNG")), np.asarray(colour))

    def test_sixteen_bit_colour_keeps_the_upper_eight_bits(self, kind, tmp_path):
        deep = np.random.default_rng(3).integers(0, 2**16, (*SIZE, 3), dtype=np.uint16)
        np.testing.assert_array_equal(decoded_odd(tmp_path, kind, png_16_bits(deep)), (deep >> 8).astype(np.uint8))

    @pytest.mark.parametrize("suffix", ["GIF", "WEBP", "PNG"])
    def test_of_an_animation_the_first_frame_is_taken(self, kind, suffix, tmp_path):
        colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
        first, *rest = [Image.new("RGB", SIZE[::-1], colour) for colour in colours]
        options = {"lossless": True} if suffix == "WEBP" else {}
        odd = encoded(first, suffix, save_all=True, append_images=rest, duration=50, **options)
        pixels = decoded_odd(tmp_path, kind, odd)
        np.testing.assert_array_equal(pixels, np.broadcast_to(colours[0], (*SIZE, 3)))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_not_applied(self, kind, orientation, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = orientation
        plain, turned = (
            encoded(random_image(SIZE, seed=9), "JPEG", quality=95, **options) for options in ({}, {"exif": exif})
        )
        assert (
            struct.pack(">HHIH", 0x0112, 3, 1, orientation) in turned
            or struct.pack("<HHIH", 0x0112, 3, 1, orientation) in turned
        )
        expected = decoded_odd(tmp_path / "plain", kind, plain)
        assert torch.equal(decoded_odd(tmp_path / "turned", kind, turned), expected)


def test_folder_and_lists_of_the_same_files_are_the_same_dataset(kind, tmp_path):
    write_images(tmp_path / "my pets")
    (other,) = set(KINDS) - {kind}
    first, second = (load_dataset(spec_of(tmp_path / "my pets", each)) for each in (kind, other))
    assert (first.name, first.fingerprint) == (second.name, second.fingerprint)
    assert first.classes == second.classes == ("cat", "dog")

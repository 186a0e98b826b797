from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_samples import random_image
from PIL import Image

from resbench.data.decoding import CHUNK, decode
from resbench.errors import InputError


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_pixels_come_out_as_they_were_and_in_order(tmp_path):
    images = [random_image((6, 9), seed=seed) for seed in range(5)]
    pixels, resized = decode([save(tmp_path / f"{i}.png", image) for i, image in enumerate(images)], None)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (5, 6, 9, 3)
    assert not resized
    np.testing.assert_array_equal(pixels, np.stack([np.asarray(image) for image in images]))


@pytest.mark.parametrize("size", [(8, 8), (80, 80)], ids=["one thread", "several threads"])
def test_more_than_one_chunk(tmp_path, size):
    paths = [save(tmp_path / f"{i}.bmp", Image.new("RGB", size, (i % 256, i // 256, 7))) for i in range(CHUNK + 3)]
    pixels, _ = decode(paths, None)
    assert pixels[:, 0, 0].tolist() == [[i % 256, i // 256, 7] for i in range(CHUNK + 3)]


def test_jpeg_is_decoded_by_pillow(tmp_path):
    path = save(tmp_path / "a.jpg", random_image((16, 16)), quality=75)
    with Image.open(path) as image:
        np.testing.assert_array_equal(decode([path], None)[0][0], np.asarray(image))


def test_one_size_ignores_resize(tmp_path):
    pixels, resized = decode([save(tmp_path / "a.png", random_image((8, 8)))], (4, 4))
    assert pixels.shape == (1, 8, 8, 3)
    assert not resized


def test_only_grayscale_keeps_one_channel(tmp_path):
    gray = random_image(mode="L")
    pixels, _ = decode([save(tmp_path / "a.png", gray), save(tmp_path / "b.jpg", gray)], None)
    assert pixels.shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(pixels[0, ..., 0], np.asarray(gray))


@pytest.mark.parametrize("gray_first", [True, False])
def test_grayscale_among_colour_becomes_rgb(tmp_path, gray_first):
    paths = [save(tmp_path / "a.png", random_image(mode="L")), save(tmp_path / "b.png", random_image())]
    pixels, _ = decode(paths if gray_first else paths[::-1], None)
    gray = pixels[0 if gray_first else 1]
    assert pixels.shape == (2, 8, 8, 3)
    assert (gray == gray[..., :1]).all()


@pytest.mark.parametrize("kind", ["cmyk.jpg", "palette.png", "transparent.png", "alpha.png", "bilevel.png", "gray.gif"])
@pytest.mark.filterwarnings("error")
def test_every_mode_becomes_rgb(tmp_path, kind):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    image, expected = {
        "cmyk.jpg": (red.convert("CMYK"), (255, 0, 0)),
        "palette.png": (red.quantize(4), (255, 0, 0)),
        "transparent.png": (red.quantize(4), (255, 0, 0)),
        "alpha.png": (Image.new("RGBA", (8, 8), (255, 0, 0, 99)), (255, 0, 0)),
        "bilevel.png": (Image.new("1", (8, 8), 1), (255, 255, 255)),
        "gray.gif": (Image.new("L", (8, 8), 200), (200, 200, 200)),
    }[kind]
    options = {"transparency": b"\x00\x80"} if kind == "transparent.png" else {}
    pixels, _ = decode([save(tmp_path / "first.png", red), save(tmp_path / kind, image, **options)], None)
    np.testing.assert_allclose(pixels[1, 4, 4], expected, atol=3)


def test_mixed_sizes_are_resized_as_pillow_does(tmp_path):
    wide, tall = random_image((8, 12)), random_image((20, 10), seed=1)
    pixels, resized = decode([save(tmp_path / "a.png", wide), save(tmp_path / "b.png", tall)], (6, 5))
    assert resized
    assert pixels.shape == (2, 6, 5, 3)
    for ours, image in zip(pixels, (wide, tall), strict=True):
        np.testing.assert_array_equal(ours, np.asarray(image.resize((5, 6), Image.Resampling.BILINEAR)))


def test_mixed_sizes_without_resize_name_two_files(tmp_path):
    paths = [save(tmp_path / f"{n}.png", random_image(size)) for n, size in enumerate([(8, 8), (8, 8), (8, 12)])]
    with pytest.raises(InputError, match=r"0\.png is 8x8 and .*2\.png is 8x12 .*--input 3x224x224"):
        decode(paths, None)


def test_broken_files_are_named(tmp_path):
    good = save(tmp_path / "good.jpg", random_image((32, 32)), quality=95)
    truncated, empty, text = tmp_path / "cut.jpg", tmp_path / "empty.png", tmp_path / "text.png"
    truncated.write_bytes(good.read_bytes()[:-300])
    empty.touch()
    text.write_text("<html>404</html>")
    for path in (truncated, empty, text):
        for paths in ([path, good], [good, path]):
            with pytest.raises(InputError, match=rf"cannot read the image .*{path.name}.*Replace the file"):
                decode(paths, None)


def test_a_png_with_a_damaged_checksum_is_named(tmp_path):
    path = save(tmp_path / "a.png", random_image((32, 32)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cannot read the image .*a\.png"):
        decode([path], None)


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    path = save(tmp_path / "deep.png", Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)))
    with pytest.raises(InputError, match=r"deep\.png has more than 8 bits"):
        decode([path], None)


def test_formats_that_run_other_programs_are_not_opened(tmp_path):
    path = save(tmp_path / "a.eps", random_image())
    renamed = path.rename(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"cannot read the image .*a\.png"):
        decode([renamed], None)

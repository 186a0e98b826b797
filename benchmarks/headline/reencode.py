"""A dataset's images once more, as JPEG of a lower quality: ``python -m benchmarks.headline.reencode SPEC``.

What a network reaches on them, beside what it reaches on the images as they are, says what the encoding costs. The
chroma planes are halved (4:2:0), as encoders do where nothing else is asked for.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from resbench.console import complain, say
from resbench.data.datasets import Split, load_dataset
from resbench.errors import InputError, ResbenchError

SUBSAMPLING_420 = 2
"""Pillow's number for it."""


def main(
    dataset: Annotated[str, typer.Argument(help="As resbench bench --dataset takes it.")],
    quality: Annotated[int, typer.Option(min=1, max=95, help="Of JPEG.")],
    out: Annotated[Path, typer.Option(help="Gets train/CLASS/*.jpg and test/CLASS/*.jpg.")],
    train_images: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    test_images: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
) -> None:
    """Write a dataset's images as JPEG files that ``folder:`` reads; the folder is there whole or not at all."""
    try:
        reencode(dataset, quality, out, train_images=train_images, test_images=test_images)
    except ResbenchError as error:
        complain(str(error), label="error")
        raise typer.Exit(error.exit_code) from error
    say(f"written: {out}")


def reencode(
    dataset: str, quality: int, out: Path, *, train_images: int | None = None, test_images: int | None = None
) -> None:
    """Writes a dataset's images as JPEG files, unless they are there.

    Args:
        dataset: A spec, as :func:`~resbench.data.datasets.load_dataset` takes it.
        quality: Of JPEG, 1 to 95.
        out: A folder that gets ``train/CLASS/NNNNN.jpg`` and ``test/CLASS/NNNNN.jpg``, numbered over the split.
        train_images: At most so many, evenly over the classes.
        test_images: Likewise.

    Raises:
        InputError: The spec or the data are not valid, or the folder is there and holds something else.
    """
    if (out / "train").is_dir() and (out / "test").is_dir():
        return
    if out.exists():
        raise InputError(f"{out}: is there and holds no train and test folder. Remove it, or name another.")
    loaded = load_dataset(dataset, train_images=train_images, test_images=test_images, progress=complain)
    unfinished = out.with_name(f"{out.name}.{os.getpid()}")
    try:
        for name, split in (("train", loaded.train), ("test", loaded.test)):
            _write(split, loaded.classes, unfinished / name, quality)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(split: Split, classes: tuple[str, ...], folder: Path, quality: int) -> None:
    for name in classes:
        (folder / name).mkdir(parents=True)
    images, labels = split.images.numpy(), split.labels.tolist()

    def write(number: int) -> None:
        path = folder / classes[labels[number]] / f"{number:05}.jpg"
        image = Image.fromarray(np.squeeze(images[number]))
        image.save(path, quality=quality, subsampling=SUBSAMPLING_420)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(len(labels))))


if __name__ == "__main__":
    typer.run(main)

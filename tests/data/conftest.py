from __future__ import annotations

import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
from image_samples import random_image

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache_and_no_network(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes an ImageFolder tree of PNG files with random pixels."""

    def make(
        name: str = "pets",
        *,
        classes: tuple[str, ...] = ("cat", "dog"),
        train: int = 3,
        test: int = 2,
        size: tuple[int, int] = (8, 8),
        mode: str = "RGB",
    ) -> Path:
        seed = 0
        for split, count in (("train", train), ("test", test)):
            for label in classes:
                folder = tmp_path / name / split / label
                folder.mkdir(parents=True)
                for index in range(count):
                    random_image(size, mode, seed).save(folder / f"{index:02}.png")
                    seed += 1
        return tmp_path / name

    return make

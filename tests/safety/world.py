"""The files that bad inputs point at: good ones, and each kind of bad one."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from records import make_record, make_trial, write_folder
from tiny_folder import make_tiny_folder

from resbench.store import Store


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def make_world(root: Path) -> dict[str, Path]:
    """Writes all of them and returns their paths by name; ``sprung`` is there once a trap was."""
    world = {"nowhere": root / "nowhere", "sprung": root / "sprung"}
    world["tiny"] = make_tiny_folder(root / "tiny")
    world["suite"] = root / "suite.toml"
    settings = ["models = ['cnn']", f"dataset = 'folder:{world['tiny']}'", "batch_size = 8", "budget = '1steps'"]
    world["suite"].write_text("\n".join([*settings, "[engine]", "device = 'cpu'"]))
    for make in (_image_folders, _lists, _weights, _results):
        world.update(make(root, world))
    world["binary"] = root / "binary"
    world["binary_toml"] = root / "binary.toml"
    for name in ("binary", "binary_toml"):
        world[name].write_bytes(b"\xff\xfe\x00")
    world["folder_toml"] = root / "folder.toml"
    world["folder_toml"].mkdir()
    world["damaged"] = root / "damaged"
    raw = world["damaged"] / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03")
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"junk")
    return world


def png(width: int, height: int) -> bytes:
    """A PNG file that claims a size and has not the pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\x00"))


def _image_folders(root: Path, world: dict[str, Path]) -> dict[str, Path]:
    """Datasets of two classes and two images each, of which one thing is wrong."""
    folders = {}

    def start(name: str) -> Path:
        folders[name] = folder = root / name
        for split in ("train", "test"):
            for label in ("cat", "dog"):
                (folder / split / label).mkdir(parents=True)
                Image.new("RGB", (8, 8)).save(folder / split / label / "0.png")
        return folder

    shutil.rmtree(start("no_test") / "test")
    (start("other_classes") / "test/dog").rename(root / "other_classes/test/wolf")
    (start("empty_class") / "test/dog/0.png").unlink()
    (start("broken_image") / "test/dog/0.png").write_bytes((root / "broken_image/test/cat/0.png").read_bytes()[:45])
    (start("page_image") / "test/dog/0.png").write_text("<html>404</html>")
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(start("deep_image") / "test/dog/0.png")
    Image.new("RGB", (9, 9)).save(start("mixed_sizes") / "test/dog/0.png")
    (start("bomb") / "train/cat/0.png").write_bytes(png(60_000, 60_000))
    os.mkfifo(start("pipe") / "train/cat/1.png")
    (start("dangling") / "train/cat/1.png").symlink_to(root / "nowhere")
    return folders


def _lists(root: Path, world: dict[str, Path]) -> dict[str, Path]:
    """Lists of one image, of which one thing is wrong."""
    Image.new("RGB", (8, 8)).save(root / "a.png")
    texts = {
        "no_label": "a.png\n",
        "no_file": "b.png 0\n",
        "negative": "a.png -1\n",
        "two_kinds": "a.png 0\na.png cat\n",
    }
    for name, text in texts.items():
        (root / f"{name}.txt").write_text(text)
    return {name: root / f"{name}.txt" for name in texts}


def _weights(root: Path, world: dict[str, Path]) -> dict[str, Path]:
    """Files that are no weights of resnet152."""
    files = {name: root / f"{name}.pt" for name in ("pickle", "damaged_weights", "other_weights", "wrong_weights")}
    files["pickle"].write_bytes(pickle.dumps(Trap(world["sprung"]), protocol=2))
    files["damaged_weights"].write_bytes(b"PK\x03\x04 half an archive")
    torch.save([1, 2, 3], files["other_weights"])
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, files["wrong_weights"])
    return files


def _results(root: Path, world: dict[str, Path]) -> dict[str, Path]:
    """Results folders: a good one, one without records, one in which all failed."""
    good = write_folder(root / "good", models={"cnn": (1, 1, 0.5, 1.0, 1.0)}, epochs=1)
    no_records = Store(root / "no_records", create=True).folder
    none_ok = Store(root / "none_ok", create=True)
    none_ok.append("trial", make_record(make_trial(), status="crashed", error="boom", test_accuracy=None))
    return {"good": good, "no_records": no_records, "none_ok": none_ok.folder}

"""An archive that means harm: refused for its checksum, and where somebody had forged that, kept in its folder.

The path under test is the real one: ``load_dataset("cifar10")``, through torchvision's download and unpacking.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import sys
import tarfile
from pathlib import Path

import pytest
from hostile import tree
from torchvision.datasets import CIFAR10, FashionMNIST
from world import Trap

from resbench.data.datasets import DatasetUnavailableError, load_dataset

FILTERED = hasattr(tarfile, "data_filter")


def _file(name: str, content: bytes = b"harm") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def _other(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


INSIDE = "cifar-10-batches-py"
MEMBERS = {
    "a way up": [_file("../escaped")],
    "a way up behind a folder": [_file(f"{INSIDE}/../../escaped")],
    "an absolute path": [_file("{root}/escaped")],
    "a link to a file outside": [_other(f"{INSIDE}/data_batch_1", tarfile.SYMTYPE, "{root}/precious")],
    "a link up": [_other(f"{INSIDE}/data_batch_1", tarfile.SYMTYPE, "../../precious")],
    "a file through a link to a folder": [_other("way", tarfile.SYMTYPE, ".."), _file("way/escaped")],
    "a file through an absolute link": [_other("way", tarfile.SYMTYPE, "{root}"), _file("way/escaped")],
    "a hard link to a file outside": [_other("way", tarfile.LNKTYPE, "../precious"), _file("way", b"overwritten")],
    "a hard link by its whole path": [_other("way", tarfile.LNKTYPE, "{root}/precious"), _file("way", b"overwritten")],
    "a pipe": [_other("pipe", tarfile.FIFOTYPE)],
    "a device": [_other("device", tarfile.CHRTYPE)],
}


def write_archive(data_dir: Path, members: list[tuple[tarfile.TarInfo, bytes]], root: Path) -> Path:
    """Writes CIFAR-10's archive with these members; ``{root}`` in a name is the folder around the data folder."""
    data_dir.mkdir()
    archive = data_dir / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        for member, content in members:
            copy = tarfile.TarInfo(member.name.format(root=root))
            copy.type, copy.size, copy.linkname = member.type, member.size, member.linkname.format(root=root)
            tar.addfile(copy, io.BytesIO(content))
    return archive


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("forged", [False, True], ids=["its own checksum", "a forged checksum"])
@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS)
def test_nothing_of_a_hostile_archive_gets_outside_of_the_data_folder(
    members: list[tuple[tarfile.TarInfo, bytes]], forged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if forged and not FILTERED:
        pytest.skip("this Python's tarfile has no filters: the checksum alone protects")
    (tmp_path / "precious").write_text("precious")
    data_dir = tmp_path / "data"
    archive = write_archive(data_dir, members, tmp_path)
    if forged:
        monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    with pytest.raises(DatasetUnavailableError) as caught:
        load_dataset("cifar10", data_dir=data_dir)
    assert str(data_dir) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path for path in tree(tmp_path) if not path.startswith("data/")} == {"data", "precious"}
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "precious").stat().st_nlink == 1
    for path in data_dir.rglob("*"):
        assert path.resolve().is_relative_to(data_dir)
        assert path.is_file() or path.is_dir()
    if not forged:
        assert tree(data_dir) == {CIFAR10.filename}


def test_the_filter_is_there_for_the_unpacking_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tarfile.TarFile.__dict__.get("extraction_filter")
    archive = write_archive(tmp_path / "data", [_file("../escaped")], tmp_path)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    with pytest.raises(DatasetUnavailableError):
        load_dataset("cifar10", data_dir=tmp_path / "data")
    assert tarfile.TarFile.__dict__.get("extraction_filter") is before


def test_the_archive_would_get_out_if_nothing_held_it(tmp_path: Path) -> None:
    """The archives are real ones: tarfile alone, trusting, lets this one write outside."""
    archive = write_archive(tmp_path / "data", [_file("../escaped")], tmp_path)
    options = {"filter": "fully_trusted"} if FILTERED else {}
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "data", **options)
    assert (tmp_path / "escaped").is_file()


def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, _ in FashionMNIST.resources:
        (raw / name).write_bytes(gzip.compress(bytes(20 * 2**20), compresslevel=1))
    with pytest.raises(DatasetUnavailableError, match="no network in tests"):
        load_dataset("fashion_mnist", data_dir=tmp_path)
    assert {path.name for path in raw.iterdir()} == {name for name, _ in FashionMNIST.resources}


def test_pickles_in_an_archive_whose_checksum_is_forged_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm = pickle.dumps(Trap(tmp_path / "sprung"))
    names = [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)]
    members = [_file(f"{INSIDE}/{name}", harm) for name in (*names, "batches.meta")]
    archive = write_archive(tmp_path / "data", members, tmp_path)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    with pytest.raises(DatasetUnavailableError):
        load_dataset("cifar10", data_dir=tmp_path / "data")
    assert (tmp_path / "data" / INSIDE / "data_batch_1").read_bytes() == harm  # it was unpacked, and looked at
    assert not (tmp_path / "sprung").exists()


def test_a_legacy_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    """torchvision still reads what its old versions had written; by torch's loader of plain data."""
    processed = tmp_path / "FashionMNIST" / "processed"
    processed.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=2))
    with pytest.raises(DatasetUnavailableError, match="fashion_mnist cannot be read"):
        load_dataset("fashion_mnist", data_dir=tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.skipif(sys.version_info < (3, 11, 4), reason="no filters before")
def test_this_python_has_filters() -> None:
    assert FILTERED

"""Which files a user's code is made of, and when its digest changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from resbench.source_files import source_digest, source_files


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    """A file that imports others beside it in every way there is."""
    for name, text in {
        "nets.py": "import torch, blocks\nfrom heads import linear\n\n"
        "def f():\n    from late import x\n    import pkg.inner.deep\n",
        "blocks.py": "import math, nets",
        "heads.py": "import deeper\n",
        "deeper.py": "",
        "late.py": "",
        "other.py": "never imported",
        "pkg/__init__.py": "from . import sibling\n",
        "pkg/sibling.py": "from .inner.low import y\n",
        "pkg/inner/__init__.py": "",
        "pkg/inner/low.py": "from ..top import z\n",
        "pkg/inner/deep.py": "",
        "pkg/top.py": "from .. import outside\n",
        "pkg/unused.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def names(folder: Path, files: list[Path]) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in files}


def test_all_that_a_file_imports_of_its_own_folder_is_found(nets):
    found = source_files(nets / "nets.py", "nets")
    assert found[0] == nets / "nets.py"
    assert names(nets, found) == {
        "nets.py", "blocks.py", "heads.py", "deeper.py", "late.py", "pkg/__init__.py", "pkg/sibling.py",
        "pkg/inner/__init__.py", "pkg/inner/low.py", "pkg/inner/deep.py", "pkg/top.py",
    }  # fmt: skip


def test_a_module_of_a_package_is_made_of_that_packages_files_alone(nets):
    (nets / "pkg" / "nets.py").write_text("import blocks\nfrom pkg.inner import deep\nfrom . import sibling\n")
    found = source_files(nets / "pkg" / "nets.py", "pkg.nets")
    assert names(nets, found) == {
        "pkg/nets.py", "pkg/__init__.py", "pkg/inner/__init__.py", "pkg/inner/deep.py", "pkg/sibling.py",
        "pkg/inner/low.py", "pkg/top.py",
    }  # fmt: skip


def test_a_package_begins_at_its_init(nets):
    assert "pkg/sibling.py" in names(nets, source_files(nets / "pkg" / "__init__.py", "pkg"))


def test_a_script_is_a_module_like_any_other(nets):
    assert source_files(nets / "nets.py", "__main__") == source_files(nets / "nets.py", "nets")


@pytest.mark.parametrize("name", ["nets.py", "deeper.py", "late.py", "pkg/inner/low.py"])
def test_any_change_of_any_file_changes_the_digest(nets, name):
    before = source_digest(nets / "nets.py", "nets")
    (nets / name).write_text((nets / name).read_text() + "# a comment\n")
    assert source_digest(nets / "nets.py", "nets") != before


def test_what_is_not_imported_where_it_lies_and_how_lines_end_do_not_count(nets, tmp_path_factory):
    before = source_digest(nets / "nets.py", "nets")
    (nets / "other.py").write_text("changed")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for path in nets.rglob("*.py"):
        copy = elsewhere / path.relative_to(nets)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert source_digest(elsewhere / "nets.py", "nets") == before


def test_text_that_moves_from_one_file_to_the_next_changes_the_digest(tmp_path):
    for folder, (first, second) in {"a": ("import b\n#", "x"), "b": ("import b\n", "#x")}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text(first)
        (tmp_path / folder / "b.py").write_text(second)
    digests = {source_digest(tmp_path / folder / "a.py", "a") for folder in "ab"}
    assert len(digests) == 2


def test_one_file_alone_is_what_sha256_says(tmp_path):
    (tmp_path / "one.py").write_text("x = 1\n")
    by_hand = hashlib.sha256(b"one.py\x006\x00x = 1\n").hexdigest()
    assert source_digest(tmp_path / "one.py", "one") == by_hand


@pytest.mark.parametrize("text", [b"def x(:", b"\xff\xfe not utf-8", b"null \0 byte"])
def test_what_cannot_be_parsed_is_one_file(tmp_path, text):
    (tmp_path / "broken.py").write_bytes(text)
    assert source_files(tmp_path / "broken.py", "broken") == [tmp_path / "broken.py"]

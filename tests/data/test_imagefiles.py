from __future__ import annotations

import os
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from resbench.data.imagefiles import ImageFile, list_filelists, list_folder
from resbench.errors import InputError


def write_lists(root: Path, train: str, test: str) -> tuple[Path, Path]:
    for name in ("a.png", "b.png", "sub/c d.png", "t.png", "u.png"):  # the last two are for the test list
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    (root / "train.txt").write_text(train, encoding="utf-8")
    (root / "test.txt").write_text(test, encoding="utf-8")
    return root / "train.txt", root / "test.txt"


def test_folder_numbers_classes_alphabetically_and_sorts_files(make_folder):
    root = make_folder(classes=("dog", "ant", "cat"), train=2, test=1)
    files = list_folder(root)
    assert files.classes == ("ant", "cat", "dog")
    assert files.train[2:4] == [
        ImageFile(root / "train/cat/00.png", 1),
        ImageFile(root / "train/cat/01.png", 1),
    ]
    assert [file.label for file in files.test] == [0, 1, 2]


@pytest.mark.parametrize("stray", [".DS_Store", "Thumbs.db", "README", "._00.png", ".hidden/00.png", "notes.txt"])
def test_folder_skips_what_is_no_image(make_folder, stray):
    root = make_folder()
    path = root / "train/cat" / stray
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"not an image")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    (root / "train" / "labels.csv").touch()
    files = list_folder(root)
    assert len(files.train) == 6
    said = {".DS_Store": None, "README": "without suffix", "Thumbs.db": ".db", "notes.txt": ".txt"}.get(stray, "hidden")
    assert files.ignored == {".csv": 1, said: 1} if said else {".csv": 1}


def test_folder_finds_images_deeper_in_a_class_and_whatever_the_case_of_the_suffix(make_folder):
    root = make_folder()
    (root / "train/cat/images").mkdir()
    (root / "train/cat/images/deep.PNG").touch()
    assert root / "train/cat/images/deep.PNG" in [file.path for file in list_folder(root).train]


def test_what_is_ignored_is_counted_by_suffix_or_by_why(make_folder):
    root = make_folder()
    for number in range(10):
        (root / f"train/cat/{number}.TXT").touch()
    for name in ("train/dog/a.md", "test/dog/b.md", "train/loose.png", "test/cat/.hidden.jpg"):
        (root / name).touch()
    (root / "test/cat/more").symlink_to(root / "gone")
    files = list_folder(root)
    assert files.remark == (
        "15 files of the dataset ignored: .txt 10, .md 2, outside of class folders 1, broken links 1, hidden 1."
    )
    assert len(files.train + files.test) == 10


def test_folder_follows_links_to_classes_and_files(make_folder, tmp_path):
    root = make_folder()
    (tmp_path / "linked").mkdir()
    for split in ("train", "test"):
        (tmp_path / "linked" / split).symlink_to(root / split)
    (root / "train/cat/link.png").symlink_to(root / "train/dog/00.png")
    files = list_folder(tmp_path / "linked")
    assert files.classes == ("cat", "dog")
    assert len(files.train) == 7


def test_folder_follows_linked_folders_as_torchvision_does(make_folder, tmp_path):
    root, more = make_folder(), make_folder("more")
    (root / "train/cat/more").symlink_to(more / "train/cat")
    (more / "train/cat/deeper").symlink_to(more / "test")
    ours = list_folder(root).train
    assert len(ours) == 3 + 3 + 4 + 3
    assert sorted((str(path), label) for path, label in ours) == sorted(ImageFolder(root / "train").samples)


@pytest.mark.parametrize("target", [".", "..", "../..", "more", "more/back"])
def test_folder_enters_a_linked_folder_once_however_it_is_reached(make_folder, target):
    root = make_folder()
    (root / "train/cat/more").mkdir()
    (root / "train/cat/00.png").rename(root / "train/cat/more/00.png")
    before = list_folder(root).train
    (root / "train/cat/more/back").symlink_to(root / "train/cat")
    (root / "train/cat/again").symlink_to(root / "train/cat" / target)
    assert list_folder(root).train == before  # with the paths that they had, so that the fingerprint stays


@pytest.mark.parametrize("whole", [True, False])
def test_folder_whose_test_images_are_trained_on_through_a_link(make_folder, tmp_path, whole):
    root = make_folder()
    if whole:
        (tmp_path / "linked").mkdir()
        for split in ("train", "test"):
            (tmp_path / "linked" / split).symlink_to(root / "train")
        root = tmp_path / "linked"
    else:
        (root / "test/cat/link.png").symlink_to(root / "train/cat/00.png")
    with pytest.raises(InputError, match=r"the test image .*png is also trained on, as .*train/cat/.*worthless"):
        list_folder(root)


def test_folder_missing(tmp_path):
    with pytest.raises(InputError, match=r"no folder .*nowhere.*train/<class>/"):
        list_folder(tmp_path / "nowhere")


def test_folder_without_a_split_says_what_is_there(make_folder):
    root = make_folder()
    (root / "test").rename(root / "val")
    with pytest.raises(InputError, match=r"has no test/ \(it holds: train, val\)"):
        list_folder(root)


def test_folder_without_classes(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").touch()
    with pytest.raises(InputError, match=r"train has no class folders"):
        list_folder(tmp_path)


def test_folder_with_an_empty_class(make_folder):
    root = make_folder()
    for path in (root / "test/dog").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"test.dog has no images .*\.jpg.* remove the class"):
        list_folder(root)


def test_folder_whose_splits_differ(make_folder):
    root = make_folder()
    (root / "test/dog").rename(root / "test/wolf")
    with pytest.raises(InputError, match=r"only in train: dog; only in test: wolf"):
        list_folder(root)


def test_digest_changes_with_a_file_and_only_then(make_folder):
    root = make_folder()
    before = list_folder(root).digest()
    assert list_folder(root).digest() == before
    os.utime(root / "train/cat/00.png", ns=(1, 1))
    assert list_folder(root).digest() != before


def test_lists_with_words_spaces_and_a_byte_order_mark(tmp_path):
    train, test = write_lists(tmp_path, "\ufeff\n\na.png zebra\r\nsub/c d.png\tant\n  b.png   zebra  \n", "t.png ant\n")
    files = list_filelists(train, test)
    assert files.classes == ("ant", "zebra")
    assert files.train == [
        ImageFile(tmp_path / "a.png", 1),
        ImageFile(tmp_path / "sub/c d.png", 0),
        ImageFile(tmp_path / "b.png", 1),
    ]
    assert files.test == [ImageFile(tmp_path / "t.png", 0)]


def test_lists_with_numbers_keep_them_as_indices(tmp_path):
    labels = (10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9)
    for label in labels:
        (tmp_path / f"{label}.png").touch()
    body = "".join(f"{label}.png {label}\n" for label in labels)
    files = list_filelists(*write_lists(tmp_path, body, "t.png 02\n"))
    assert files.classes == tuple(str(label) for label in range(11))
    assert [file.label for file in files.train] == [10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert files.test[0].label == 2


def test_lists_may_hold_absolute_paths(tmp_path):
    files = list_filelists(*write_lists(tmp_path, f"{tmp_path / 'a.png'} 0\n", "t.png 0\n"))
    assert files.train[0].path == tmp_path / "a.png"


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("a.png 0\nb.png\n", "t.png 0\n", r"train\.txt:2: no label in 'b\.png'"),
        ("a.png 0\nsub/c d.png\n", "t.png 0\n", r"train\.txt:2: no label in 'sub/c d\.png'"),
        ("a.png 0\n", "  \n\n", r"test\.txt names no images"),
        ("a.png 0\n", "# nothing\n\n", r"test\.txt:1: no file .*#\..* and a list no comments\."),
        ("", "t.png 0\n", r"train\.txt names no images"),
        ("a.png 0\n\nx.png 0\n", "t.png 0\n", r"train\.txt:3: no file .*x\.png.*relative to the list"),
        ("a.png -1\n", "t.png 0\n", r"train\.txt:1: the label -1 is negative"),
        ("a.png 0\nb.png 3\n", "t.png 0\n", r"labels up to 3 but no image of 1, 2\."),
        ("a.png 0\nb.png 999999999999\n", "t.png 0\n", r"no image of 1, 2, 3, 4, 5\."),
        ("a.png 0\nb.png 1\n", "t.png 1\nu.png 2\n", r"test\.txt:2: the class 2 is not in the training list"),
        ("a.png cat\n", "t.png dog\n", r"test\.txt:1: the class dog is not in the training list"),
        ("a.png 0\nb.png cat\n", "t.png 0\n", r"train\.txt:2 has the label 'cat', .*train\.txt:1 the number 0"),
    ],
)
def test_bad_lists(tmp_path, train, test, message):
    with pytest.raises(InputError, match=message):
        list_filelists(*write_lists(tmp_path, train, test))


def test_list_missing_or_not_text(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the list .*train\.txt: No such file"):
        list_filelists(tmp_path / "train.txt", tmp_path / "test.txt")
    train, test = write_lists(tmp_path, "", "")
    train.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        list_filelists(train, test)

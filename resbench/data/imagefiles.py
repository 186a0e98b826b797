"""Image files of a user's own, as a folder or as two lists: which there are, and what class each has."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from resbench.data.decoding import image_suffixes
from resbench.errors import InputError


class ImageFile(NamedTuple):
    """One image: where it is, and the index of its class."""

    path: Path
    label: int


@dataclass(frozen=True)
class ImageFiles:
    """The images of a dataset, listed but not yet opened."""

    classes: tuple[str, ...]
    train: list[ImageFile]
    test: list[ImageFile]
    root: Path
    """What messages call the images by is relative to it."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Files in the folders that are no images of the dataset, by suffix or by why."""

    def name(self, image: ImageFile) -> str:
        """What messages call an image."""
        return str(image.path.relative_to(self.root) if image.path.is_relative_to(self.root) else image.path)

    @property
    def remark(self) -> str | None:
        """Says what is ignored; None if nothing is."""
        total = self.ignored.total()
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in (+self.ignored).most_common())
        return f"{total:,} {'file' if total == 1 else 'files'} of the dataset ignored: {kinds}." if total else None

    def digest(self) -> str:
        """sha256 over every file's split, path, label, size in bytes and time of change.

        Raises:
            InputError: One is no regular file: a pipe or a device could keep its reader waiting for ever.
        """
        digest = hashlib.sha256(repr(self.classes).encode())
        for split, files in (("train", self.train), ("test", self.test)):
            for path, label in files:
                found = path.stat()
                if not stat.S_ISREG(found.st_mode):
                    raise InputError(f"{path} is not a regular file. Remove it from the dataset.")
                line = f"{split} {path} {label} {found.st_size} {found.st_mtime_ns}\n"
                digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()


def list_folder(root: Path) -> ImageFiles:
    """Lists ``root/train/<class>/`` and ``root/test/<class>/``; classes are numbered in alphabetical order.

    Images may lie deeper inside a class folder, and behind links to folders. Hidden files and those whose suffix Pillow
    does not read are ignored, and counted.

    Raises:
        InputError: A folder is missing, or a class is empty or only in one of the two, or a link puts an
            image into both.
    """
    if not root.is_dir():
        raise InputError(f"no folder {root}. Give the folder that holds train/<class>/ and test/<class>/.")
    missing = [name for name in ("train", "test") if not (root / name).is_dir()]
    if missing:
        there = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
        raise InputError(
            f"{root} has no {' and no '.join(f'{name}/' for name in missing)} (it holds: {there}). "
            "The layout is train/<class>/* and test/<class>/*."
        )
    ignored: Counter[str] = Counter()
    train, test = _class_folders(root / "train", ignored), _class_folders(root / "test", ignored)
    if train != test:
        raise InputError(
            f"train/ and test/ in {root} have different classes "
            f"(only in train: {_names(set(train) - set(test))}; only in test: {_names(set(test) - set(train))}). "
            "Give both the same class folders."
        )
    trained_on, tested_on = (_split_files(root / split, train, ignored) for split in ("train", "test"))
    files = ImageFiles(tuple(train), trained_on, tested_on, root, ignored)
    trained = {_regular_file(path): path for path, _ in files.train}
    for path, _ in files.test:
        if (file := _regular_file(path)) is not None and file in trained:
            raise InputError(
                f"the test image {path} is also trained on, as {trained[file]}: one is a link to the other, which "
                "makes the test accuracy worthless. Remove it from one of the two folders."
            )
    return files


def _class_folders(split: Path, ignored: Counter[str]) -> list[str]:
    names = []
    for path in sorted(split.iterdir()):
        if not path.is_dir():
            is_image = path.suffix.lower() in image_suffixes() and path.exists()
            _ignore(path, ignored, why="outside of class folders" if is_image else None)
        elif not path.name.startswith("."):
            names.append(path.name)
    if not names:
        raise InputError(f"{split} has no class folders. The layout is {split.name}/<class>/*.")
    return names


def _split_files(split: Path, classes: list[str], ignored: Counter[str]) -> list[ImageFile]:
    files: list[ImageFile] = []
    for label, name in enumerate(classes):
        paths = sorted(_image_paths(split / name, ignored))
        if not paths:
            raise InputError(
                f"{split / name} has no images (of {', '.join(sorted(image_suffixes()))}). "
                "Put some there, or remove the class from both train/ and test/."
            )
        files += [ImageFile(path, label) for path in paths]
    return files


def _image_paths(folder: Path, ignored: Counter[str]) -> Iterator[Path]:
    """Yields the images below a class folder, those behind links too; each folder is entered once.

    Links wait until everything else was seen, so that an image keeps the path that it has without them.
    """
    seen: set[Path] = set()
    waiting = [folder]
    while waiting:
        for parent, folders, names in os.walk(waiting.pop(0), onerror=_fail):
            here, real = Path(parent), Path(parent).resolve()
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            links = sorted(here / name for name in folders if (here / name).is_symlink())
            waiting += [link for link in links if not real.is_relative_to(link.resolve())]  # else it leads back here
            hidden = any(part.startswith(".") for part in here.relative_to(folder).parts)
            for path in map(here.joinpath, names):
                if hidden or path.name.startswith(".") or path.suffix.lower() not in image_suffixes():
                    _ignore(path, ignored, why="hidden" if hidden else None)
                else:
                    yield path


def _ignore(path: Path, ignored: Counter[str], *, why: str | None = None) -> None:
    """Counts a file that is left out; a hidden one only if it looks like an image."""
    suffix = path.suffix.lower()
    if why == "hidden" or path.name.startswith("."):
        ignored["hidden"] += suffix in image_suffixes()
    else:
        ignored[why or ("broken links" if not path.exists() else suffix or "without suffix")] += 1


def _fail(error: OSError) -> None:
    raise error  # os.walk would skip a folder that it cannot read


class _Line(NamedTuple):
    place: str  # "LIST:NUMBER", for messages
    path: Path
    file: tuple[int, int]  # device and inode: one file, however its path is spelt
    label: str


def list_filelists(train_list: Path, test_list: Path) -> ImageFiles:
    """Lists the images of two text files: a path and a label a line, separated by white space.

    The label is the last field, so a path may contain spaces; a relative path starts at its list's folder.
    Labels are the numbers 0..K-1, or words, which are numbered in alphabetical order. A class may be missing from
    the test list (nothing is then said of it), not from the training list. Every line is an image unless it is blank:
    a list has no comments, for a path may begin with any character.

    An image may be named again in the training list, with the same label: it is then seen as many times an epoch.
    Anywhere else a second naming is refused, links and other spellings of its path included. Copies are files of
    their own and are not looked for.

    Raises:
        InputError: A list or an image is missing, a line has no label, the labels do not fit together, or an image
            is in both lists, in the test list twice, or in the training list with two labels.
    """
    train, test = _read_list(train_list), _read_list(test_list)
    classes, index = _number_classes(train, test)
    _check_repeats(train, test)
    return ImageFiles(
        classes,
        [ImageFile(line.path, index[line.label]) for line in train],
        [ImageFile(line.path, index[line.label]) for line in test],
        train_list.parent,
    )


def _read_list(path: Path) -> list[_Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"cannot read the list {path}: {error.strerror or error}. Give two text files: filelist:TRAIN.txt,TEST.txt."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"the list {path} is not UTF-8 text. Save it as UTF-8.") from error
    lines = []
    # Not splitlines(): it also breaks at characters that a path may hold, and would miscount lines.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        fields = line.strip().rsplit(maxsplit=1)
        if len(fields) < 2 or Path(fields[1]).suffix.lower() in image_suffixes():
            raise InputError(f"{place}: no label in {line.strip()!r}. A line is a path, white space, a label.")
        image, label = path.parent / fields[0], fields[1]
        file = _regular_file(image)
        if file is None:
            raise InputError(
                f"{place}: no file {image}. Paths are relative to the list's own folder; a label has no spaces"
                f"{' and a list no comments' if fields[0].startswith('#') else ''}."
            )
        lines.append(_Line(place, image, file, str(int(label)) if _is_number(label) else label))
    if not lines:
        raise InputError(f"the list {path} names no images. A line is a path, white space, a label.")
    return lines


def _regular_file(path: Path) -> tuple[int, int] | None:
    """Device and inode of a regular file, through links; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a character that no path can have
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _check_repeats(train: list[_Line], test: list[_Line]) -> None:
    """Refuses an image that is trained on and tested on, tested on twice, or trained on with two labels."""
    trained: dict[tuple[int, int], _Line] = {}
    for line in train:
        first = trained.setdefault(line.file, line)
        if first.label != line.label:
            raise InputError(
                f"{line.place}: the image {line.path} has the label {line.label} and, in {first.place}, "
                f"{first.label}. Remove one of the two lines."
            )
    tested: dict[tuple[int, int], _Line] = {}
    for line in test:
        if line.file in trained:
            raise InputError(
                f"{line.place}: the test image {line.path} is also trained on ({trained[line.file].place}), which "
                "makes the test accuracy worthless. Remove it from one of the two lists."
            )
        first = tested.setdefault(line.file, line)
        if first is not line:
            raise InputError(
                f"{line.place}: the image {line.path} is in the test list twice (first in {first.place}) and would "
                "count twice. Remove one of the two lines."
            )


def _is_number(label: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,18}", label) is not None


def _number_classes(train: list[_Line], test: list[_Line]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Class names, and the index of each label; checks that the labels of both lists fit together."""
    numbers = [line for line in train + test if _is_number(line.label)]
    words = [line for line in train + test if not _is_number(line.label)]
    if numbers and words:
        raise InputError(
            f"{words[0].place} has the label {words[0].label!r}, "
            f"{numbers[0].place} the number {numbers[0].label}. Use numbers or words throughout."
        )
    seen = {line.label for line in train}
    if numbers:
        negative = next((line for line in numbers if int(line.label) < 0), None)
        if negative is not None:
            raise InputError(f"{negative.place}: the label {negative.label} is negative. Labels are 0..K-1.")
        count = max(map(int, seen)) + 1
        absent = list(islice((str(label) for label in range(count) if str(label) not in seen), 5))
        if absent:
            raise InputError(
                f"the training list has labels up to {count - 1} but no image of {_names(absent)}. "
                "Labels are 0..K-1, each with at least one training image."
            )
        classes = tuple(str(label) for label in range(count))
    else:
        classes = tuple(sorted(seen))
    for line in test:
        if line.label not in seen:
            raise InputError(
                f"{line.place}: the class {line.label} is not in the training list. "
                "Add training images of it, or remove the line."
            )
    return classes, {label: index for index, label in enumerate(classes)}


def _names(names: Iterable[str], limit: int = 5) -> str:
    names = sorted(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "") if names else "none"

"""Names that mean harm, or are just unusual: no file lands elsewhere, no page, plot, table or terminal is broken."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hostile import NAMES, assert_harmless, assert_one_message, invoke, tree
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from records import make_trial
from torch import nn

from resbench import registry
from resbench.data.datasets import dataset_name, load_dataset
from resbench.errors import InputError
from resbench.registry import list_models, register_model
from resbench.report.numbers import escape
from resbench.untrusted import printable, user_path

HERE = "here"
"""The folder inside which everything must stay."""

# Text ----------------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(), max_size=40))
@settings(deadline=None)
def test_what_is_made_printable_prints_can_be_written_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    assert printable(shown) == shown
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("resnet50 é 猫 \U0001f600", "resnet50 é 猫 \U0001f600"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202egnp", "\\u202egnp"),
        ("\udcff", "\\udcff"),
    ],
)
def test_only_what_does_not_print_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=40))
@settings(deadline=None)
def test_any_text_is_one_cell_of_a_markdown_table_and_no_html(text: str) -> None:
    cell = escape(text)
    assert cell.isprintable()
    assert "<" not in cell
    assert ">" not in cell
    assert not re.search(r"(?<!\\)(\\\\)*\|", cell)


@pytest.mark.parametrize("path", ["~nobody-here/x", "a\0b"])
def test_a_path_that_cannot_be_is_refused_with_what_was_given(path: str) -> None:
    with pytest.raises(InputError) as caught:
        user_path(path)
    assert repr(path) in str(caught.value)


def test_a_path_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/x") == tmp_path / "x"
    assert user_path(Path("a/~b")) == Path("a/~b")


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 3))
@settings(deadline=None)
def test_the_names_of_a_trials_files_are_twelve_hexadecimal_digits_whatever_its_names(
    model: str, dataset: str, seed: int
) -> None:
    assert re.fullmatch("[0-9a-f]{12}", make_trial(model, seed, dataset=dataset).trial_id)


# Models --------------------------------------------------------------------------------------------------------------

REFUSED = sorted({*NAMES} - {"table", "emoji, Chinese, combining"})


@pytest.mark.parametrize("name", [*(NAMES[title] for title in REFUSED), "", " ", "a,b", "re[sn]et", "tiny\n"])
def test_a_network_cannot_be_registered_under_a_name_that_means_harm(name: str) -> None:
    before = list_models()
    with pytest.raises(InputError, match="the model name") as caught:
        register_model(name, source="a test")(_build)
    assert repr(name) in str(caught.value)
    assert list_models() == before


@pytest.mark.parametrize("name", ["tiny", "Réseau 50", "猫net", "50_layers", "a|b", "wide-resnet.v2+(x4)"])
def test_a_network_can_have_an_unusual_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    list_models()
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    register_model(name, source="a test")(_build)
    assert name in list_models()
    assert name in [row["name"] for row in json.loads(invoke("list", "--json").stdout)]


def _build(*, num_classes: int = 10, in_channels: int = 3, stem: str = "source") -> nn.Module:
    """Stands for a network."""
    return nn.Identity()


# Datasets ------------------------------------------------------------------------------------------------------------

ON_DISK = {title: name for title, name in NAMES.items() if "/" not in name and "\0" not in name and len(name) < 256}
FOLDER_NAMES = {**ON_DISK, "as long as can be": "猫" * 85}


def write_images(folder: Path, name: str = "0.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    with (folder / name).open("wb") as file:
        Image.fromarray(pixels).save(file, format="PNG")


@pytest.mark.parametrize("name", FOLDER_NAMES.values(), ids=FOLDER_NAMES)
def test_a_dataset_of_any_name_is_cached_in_the_cache_and_shown_harmlessly(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESBENCH_CACHE", str(tmp_path / HERE / "cache"))
    settings = ["models = ['cnn']", "batch_size = 2", "[engine]", "device = 'cpu'", "precision = 'fp32'"]
    root = tmp_path / HERE / name
    for split in ("train", "test"):
        for label in ("a", "b"):
            write_images(root / split / label)
    dataset = load_dataset(f"folder:{root}")
    assert dataset.name == printable(name.strip())
    assert load_dataset(f"folder:{root}").fingerprint == dataset.fingerprint  # from the cache
    suite = tmp_path / HERE / "suite.toml"
    suite.write_text("\n".join(settings))
    result = invoke("bench", suite, "--dataset", f"folder:{root}", "--dry-run", "--no-estimate")
    assert result.exit_code == 0, result.output
    assert_harmless(result.output)
    assert f"dataset   {dataset.name}  (3x8x8, 2 classes" in result.stdout
    assert {path.parts[0] for path in map(Path, tree(tmp_path))} == {HERE}
    assert all(
        re.fullmatch(r"[\w.-]+", entry.name, re.ASCII) for entry in (tmp_path / HERE / "cache/decoded").iterdir()
    )


def test_classes_and_images_of_any_name_are_read(tmp_path: Path) -> None:
    names = sorted(name for name in ON_DISK.values() if len(os.fsencode(name)) < 250)
    for split in ("train", "test"):
        for name in names:
            write_images(tmp_path / "pets" / split / name, f"{name}.png")
    dataset = load_dataset(f"folder:{tmp_path / 'pets'}")
    assert dataset.classes == tuple(names)
    assert dataset.train.labels.tolist() == [*range(len(names))]


@pytest.mark.parametrize("name", ON_DISK.values(), ids=ON_DISK)
def test_a_message_about_a_class_of_any_name_is_one_harmless_line(name: str, tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train" / name)
    write_images(tmp_path / "pets" / "test" / "other")
    result = invoke("bench", "smoke", "--dataset", f"folder:{tmp_path / 'pets'}", "--dry-run")
    message = assert_one_message(result, "only in train: ", "only in test: other")
    assert_harmless(message)
    assert printable(name) in message


@pytest.mark.parametrize("name", ON_DISK.values(), ids=ON_DISK)
def test_a_message_about_an_image_of_any_name_is_one_harmless_line(name: str, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "pets" / split / "a").mkdir(parents=True)
        (tmp_path / "pets" / split / "a" / f"{name}.png").write_text("<html>404</html>")
    message = assert_one_message(
        invoke("bench", "smoke", "--dataset", f"folder:{tmp_path / 'pets'}", "--dry-run"), "cannot read the image"
    )
    assert_harmless(message)
    assert printable(name) in message


@pytest.mark.parametrize("label", [name for name in ON_DISK.values() if not re.search(r"\s", name)], ids=ascii)
def test_a_label_of_any_name_in_a_list_is_one_harmless_line(label: str, tmp_path: Path) -> None:
    write_images(tmp_path)
    for name, other in (("train", "a"), ("test", label)):
        text = f"0.png {other}\n"
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8", errors="surrogateescape")
    spec = f"filelist:{tmp_path / 'train.txt'},{tmp_path / 'test.txt'}"
    result = invoke("bench", "smoke", "--dataset", spec, "--dry-run")
    message = assert_one_message(result, "test.txt")
    assert_harmless(message)
    if "\udcff" not in label:
        assert printable(label) in message


def test_a_name_that_hides_what_it_is_does_not_pass_for_cifar10() -> None:
    assert dataset_name("folder:x/cifar10\u200b") == "cifar10\\u200b"
    assert dataset_name("folder:x/cifar10 ") == "cifar10-folder"

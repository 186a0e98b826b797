"""Anything is a suite or refused with a message that names the key; no name of a suite leads out of the results."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hostile import NAMES, assert_harmless, invoke, tree, try_out
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_folder import make_tiny_folder

from resbench.suite import EngineOptions, Suite, load_suite, make_suite, parse_input

QUICK = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from([*Suite.model_fields, *EngineOptions.model_fields]) | st.text(max_size=12)
ENGINES = st.dictionaries(st.sampled_from([*EngineOptions.model_fields]) | st.text(max_size=12), VALUES, max_size=4)
GOOD = {"name": "good", "models": ["cnn"]}


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.booleans(), st.none() | ENGINES)
@example({"models": ["cnn"], "seeds": 10**30}, True, None)
@example({"models": ["cnn"], "seeds": [10**30]}, True, None)
@example({"models": [None], "": 1, "\ud800": 1}, True, {"\x1b": 1})
@QUICK
def test_any_data_is_a_suite_or_refused_with_a_message_that_names_a_key(
    data: dict[str, Any], complete: bool, engine: dict[str, Any] | None
) -> None:
    data = {**(GOOD if complete else {}), **data, **({} if engine is None else {"engine": engine})}
    suite, refusal = try_out(lambda: make_suite(data))
    if suite is None:
        assert re.search("the key |unknown key |is no key", refusal)
        assert any(repr(key)[1:-1] in refusal for key in (*data, *(engine or {}), *GOOD) if key)
    else:
        assert make_suite(suite.model_dump()) == suite
        json.dumps(suite.model_dump())  # it goes into the records
        assert 1 <= len(suite.seed_list) <= 1000
        assert all(0 <= seed < 2**32 for seed in suite.seed_list)


WORDS = ["['cnn']", "'x'", "true", "inf", "0x", "1", "1e9", "2020-01-01", "\\u0000", "\\ud800", '"', '"""', "'"]
MARKS = ["[engine]\n", "[", "]", "{", "}", "\n", ",", "=", "#", " "]
SCRAPS = st.sampled_from([*(f"{key} = " for key in Suite.model_fields), *WORDS, *MARKS])
TOML = st.lists(SCRAPS, max_size=12).map("".join)


@given(st.binary(max_size=60) | TOML.map(str.encode))
@example(b"\xef\xbb\xbfmodels = ['cnn']")
@example(b"models = ['cnn']\nengine.device.x = 1")
@example(b"[[engine]]\ndevice = 'cpu'")
@QUICK
def test_any_file_is_a_suite_or_refused_with_a_message_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    suite, refusal = try_out(lambda: load_suite(str(path)))
    assert suite.models if suite else str(path) in refusal


@given(st.text(max_size=40) | st.lists(st.sampled_from(["/", "..", ".", "\\", "~", "a", " ", "\0"])).map("".join))
@example("../../x")
@example("x" * 300)
@example("猫" * 40)
@QUICK
def test_whatever_name_a_suite_may_have_is_one_folder_inside_the_results(tmp_path: Path, name: str) -> None:
    suite, refusal = try_out(lambda: make_suite({**GOOD, "name": name}))
    if suite is None:
        assert "'name'" in refusal
        return
    folder = tmp_path / "results" / suite.name
    folder.mkdir(parents=True, exist_ok=True)  # a file system takes it
    assert folder.parent == tmp_path / "results"
    assert folder.resolve().parent == (tmp_path / "results").resolve()
    assert suite.name.isprintable()
    assert tree(tmp_path) <= {"results", *(f"results/{found}" for found in os.listdir(tmp_path / "results"))}  # noqa: PTH208


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_name_of_a_suite_file_writes_outside_of_the_results(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "deep" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    data = make_tiny_folder(tmp_path / "data")
    path = tmp_path / "suite.toml"
    escaped = json.dumps(name) if "\udcff" not in name else '"\\uDCFF"'  # JSON's strings are TOML's
    settings = [f"name = {escaped}", "models = ['cnn']", f"dataset = 'folder:{data}'", "batch_size = 8"]
    path.write_text("\n".join([*settings, "[engine]\ndevice = 'cpu'"]))
    before = tree(tmp_path)
    result = invoke("bench", path, "--dry-run", "--no-estimate")
    assert result.exit_code in (0, 2), result.output
    assert_harmless(result.output)
    assert "Traceback" not in result.output
    assert tree(tmp_path) == before
    if result.exit_code == 0:
        (told,) = (line.split(maxsplit=1)[1] for line in result.stdout.splitlines() if line.startswith("results"))
        assert Path(told).parent == Path("results")
        assert Path(told).resolve().parent == here / "results"


@given(
    st.text(max_size=20) | st.lists(st.sampled_from(["3", "x", "X", "0", " ", "-", "224", "٣", "9" * 400])).map("".join)
)
@example(f"3x{'9' * 5000}x3")
@settings(deadline=None)
def test_any_text_is_an_input_or_refused_with_a_message_that_names_it(text: str) -> None:
    sides, refusal = try_out(lambda: parse_input(text))
    if sides is None:
        assert repr(text) in refusal
        assert "3x224x224" in refusal
    else:
        assert all(0 < side < 100_000 for side in sides)

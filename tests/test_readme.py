"""What the README shows is true: its suite is valid, its code runs, its table is that of the committed results."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from resbench import registry
from resbench.plan import expand_models
from resbench.schema import TrialRecord, columns
from resbench.store import load_results
from resbench.suite import load_suite, make_suite, suite_names

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "results" / "cifar10-jpeg75-cpu"


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_suite_is_valid() -> None:
    (text,) = blocks("toml")
    suite = make_suite({"name": "readme", **tomllib.loads(text)})
    assert expand_models(suite.models) == ["d2l_resnet18", "resnet34", "resnet50"]


def test_the_python_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.list_models()
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))  # what the README registers goes again
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for text in blocks("python"):
        exec(text, names)
    assert "tiny" in registry.list_models()
    assert len(names["results"].trials) > 0


def test_every_suite_that_is_named_exists() -> None:
    named = set(re.findall(r"resbench bench ([a-z][a-z0-9-]*)(?= )", README)) | {"smoke", "cifar10"}
    assert named <= set(suite_names())
    for name in suite_names():
        assert expand_models(load_suite(name).models)


def test_every_network_is_listed_with_its_parameters() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \|", README, flags=re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(registry.list_models())
    for name, params in rows:
        weights = "random" if registry.model_entry(name).accepts_weights else None
        network = registry.create_model(name, weights=weights)
        assert f"{sum(weight.numel() for weight in network.parameters()):,}" == params


def test_the_table_is_that_of_the_committed_results() -> None:
    page = (RESULTS / "README.md").read_text(encoding="utf-8").splitlines()
    shown = [line for line in README.splitlines() if re.match(r"\| (d2l_)?\w*resnet\d+ +\|", line)]
    assert len(shown) == 5
    assert set(shown) <= set(page)


def test_the_committed_files_are_what_their_records_say() -> None:
    results = load_results(RESULTS)
    assert list(results.trials.columns) == columns(TrialRecord)
    assert set(results.trials["status"]) == {"ok"}
    assert set(results.trials["dataset"]) == {"cifar10-jpeg75"}
    for name in ("trials", "epochs", "profile", "summary"):
        frame: pd.DataFrame = getattr(results, name)
        assert frame.to_csv(index=False) == (RESULTS / f"{name}.csv").read_text(encoding="utf-8")

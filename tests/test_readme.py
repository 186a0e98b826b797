"""What the README shows is true: its suite is valid, its code runs, its table is that of the committed results."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_folder import make_tiny_folder
from typer.testing import CliRunner

from benchmarks.harness.table import Rows
from resbench import registry
from resbench.cli import app
from resbench.planning.arms import expand_models
from resbench.planning.collection import load_collection
from resbench.report import write_sources_page
from resbench.report.sources.stored import COLLECTION
from resbench.schema import TrialRecord, columns
from resbench.store import load_results
from resbench.suite import make_suite, suite_names

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "results" / "cifar10-jpeg75-cpu"
SOURCES = ROOT / "results" / "sources-jpeg75-cpu"


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
    table = set(re.findall(r"^\| `(source-[a-z0-9-]+)` \|", README, flags=re.MULTILINE))
    assert table == set(load_collection("sources").suites)


@pytest.mark.parametrize("line", [line for text in blocks("console") for line in text.splitlines()])
def test_every_bench_command_can_be_planned(line: str, tmp_path: Path) -> None:
    program, *words = shlex.split(line, comments=True)
    if (program, words[:1]) != ("resbench", ["bench"]):
        assert program == "make" or words[0] in {"report"}  # CI runs the ones, their own tests the others
        return
    (tmp_path / "my-suite.toml").write_text(blocks("toml")[0])
    words = [str(tmp_path / word) if word.endswith((".toml", ".pth")) else word for word in words]
    save_weights(tmp_path / "resnet152.pth")
    small = ["--dataset", f"folder:{make_tiny_folder(tmp_path / 'tiny')}", "--batch-size", "8", "--device", "cpu"]
    result = CliRunner().invoke(app, [*words, *small, "--dry-run"])
    assert (result.exit_code, result.stderr.count("error")) == (0, 0), result.stderr


def save_weights(path: Path) -> None:
    """Writes a state dict of resnet152 in kilobytes: each tensor is one number that is repeated."""
    with torch.device("meta"):
        state = registry.create_model("resnet152").state_dict()
    torch.save({name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for name, tensor in state.items()}, path)


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
    for name in ("trials", "epochs", "profile", "summary", "pairwise"):
        frame: pd.DataFrame = getattr(results, name)
        assert frame.to_csv(index=False) == (RESULTS / f"{name}.csv").read_text(encoding="utf-8")


def test_what_is_said_of_the_sources_stands_on_their_page() -> None:
    page = " ".join((SOURCES / "README.md").read_text(encoding="utf-8").split())
    words = " ".join(README.split())
    said = ("52.51 ± 0.65", "37.92 ± 4.48", "26 % more training time an image", "17 % more training memory")
    for text in (*said, "3.2 % more MACs", "6.05 times the training time an image", "23 of 23 planned trials"):
        assert text in page
    for text in (*said, "3.2 % more MACs", "6.05 times the training time an image", "23 trials"):
        assert text in words


def test_the_page_of_the_sources_is_what_its_records_say(tmp_path: Path) -> None:
    for path in (*SOURCES.glob("*/records.jsonl"), *SOURCES.glob("*/README.md"), SOURCES / COLLECTION):
        target = tmp_path / path.relative_to(SOURCES)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    page, *plots = write_sources_page(tmp_path)
    assert page.read_text(encoding="utf-8") == (SOURCES / "README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in plots) == sorted(path.name for path in (SOURCES / "plots").iterdir())


def test_the_harness_table_is_that_of_the_committed_measurement(tmp_path: Path) -> None:
    committed = ROOT / "results" / "harness-cpu"
    for name in ("harness.csv", "NOTES.md"):
        (tmp_path / name).write_bytes((committed / name).read_bytes())
    Rows(tmp_path).write_page()
    page = (committed / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == page
    shown = {
        cells(line) for line in README.splitlines() if re.match(r"\| (harness /|pipeline /|start-up|growth)", line)
    }
    assert len(shown) >= 8
    assert shown <= {cells(line)[:-1] for line in page.splitlines() if line.startswith("| ")}


def cells(line: str) -> tuple[str, ...]:
    """The cells of a line of a Markdown table."""
    return tuple(cell.strip() for cell in line.strip("|").split("|"))

"""What the README says is true: its suite is valid, its code runs, its figures are those of the committed records.

What it shows of results and of the command line is generated, and held to them by ``tests/docs``; so are its commands.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import typer

from resbench import registry
from resbench.cli import app
from resbench.compare.metrics import METRICS, noise_floors
from resbench.planning.arms import expand_models
from resbench.planning.collection import load_collection
from resbench.recipes import RECIPES
from resbench.report.experiments.runs import NEAR_CHANCE
from resbench.report.numbers import duration
from resbench.schema import STATUSES, TrialRecord, columns
from resbench.stats import standard_deviation, t_half_width
from resbench.store import load_results
from resbench.suite import OPTIONS, make_suite, suite_names

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
METHOD = (ROOT / "METHOD.md").read_text(encoding="utf-8")
WORDS = " ".join(README.split())
RESULTS = ROOT / "results" / "cifar10-jpeg75-cpu"
LONGER = ROOT / "results" / "longer-jpeg75-cpu"
SPEEDS = [metric for metric in METRICS if metric.threshold in ("throughput", "latency")]
SOURCES = ROOT / "results" / "sources-jpeg75-cpu"


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def prose() -> str:
    """The README's sentences and hand-made tables: without what is generated, and without code."""
    text = re.sub(r"^<!-- generated: .*?^<!-- end -->", "", README, flags=re.MULTILINE | re.DOTALL)
    return " ".join(re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL).split())


def test_the_suite_is_valid() -> None:
    text, _ = blocks("toml")  # the other one is a collection, which the commands of the documents run
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


def test_every_suite_recipe_and_status_that_is_named_exists() -> None:
    named = set(re.findall(r"resbench bench ([a-z][a-z0-9-]*)(?= )", README)) | {"smoke", "cifar10"}
    assert named <= {*suite_names(), "my-suite"}
    table = set(re.findall(r"^\| `(source-[a-z0-9-]+)` \|", README, flags=re.MULTILINE))
    assert table == set(load_collection("sources").suites)
    (recipes,) = re.findall(r"^\| `recipe` \| (.*) \|$", README, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", recipes)) == set(RECIPES)
    (statuses,) = re.findall(r"Every planned trial leaves a row: (.*?), with the", WORDS)
    assert re.findall(r"`(\w+)`", statuses) == [*STATUSES]


@pytest.mark.parametrize(("table", "options"), OPTIONS.items(), ids=[*OPTIONS])
def test_every_option_of_a_suite_is_named(table: str, options: type) -> None:
    (row,) = re.findall(rf"^\| `\[{table}\]` \| (.*) \|$", README, flags=re.MULTILINE)
    assert set(options.model_fields) <= set(re.findall(r"`(\w+)`", row))


def test_every_flag_that_is_named_exists() -> None:
    group = typer.main.get_command(app)
    options = {
        flag for verb in group.commands.values() for one in verb.params for flag in (*one.opts, *one.secondary_opts)
    }
    # Ray's commands have flags of Ray's, modules have their own.
    own = re.sub(r"^ray .*|`python -m [^`]*`", "", README + METHOD, flags=re.MULTILINE)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", own))
    assert len(named) > 20
    assert named - options <= {"--help"}


def test_every_extra_that_is_named_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"timm", "tensorboard"} <= set(re.findall(r"resbench\[(\w+)\]", README)) <= set(extras)


@pytest.mark.parametrize("document", ["README.md", "METHOD.md", "results/README.md"])
def test_every_link_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]*)(?:#([\w-]+))?\)", text)
    assert links
    for target, anchor in links:
        if target.startswith("https://"):
            continue
        file = (ROOT / document).parent / target if target else ROOT / document
        assert file.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, anchor


def test_the_rooms_are_those_that_there_are() -> None:
    table = README.partition("## How it is built")[2]
    named = set(re.findall(r"`([\w/]+/|\w+\.py)`", table))
    package = ROOT / "resbench"
    there = {
        *(f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()),
        *(path.name for path in package.glob("[a-z]*.py")),
    }
    assert there <= named
    assert all((package / name).exists() or any(package.glob(f"*/{name}")) for name in named - benchmarks())


def benchmarks() -> set[str]:
    """The rooms of ``benchmarks/``."""
    return {"benchmarks/", *(f"{path.name}/" for path in (ROOT / "benchmarks").iterdir() if path.is_dir())}


def test_every_network_is_listed_with_its_parameters() -> None:
    rows = re.findall(r"^\| `(\w+)` +\|.*?\| +([\d,]{7,}) \|", README, flags=re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(registry.list_models())
    for name, params in rows:
        weights = "random" if registry.model_entry(name).accepts_weights else None
        network = registry.create_model(name, weights=weights)
        assert f"{sum(weight.numel() for weight in network.parameters()):,}" == params


@pytest.mark.parametrize("folder", [RESULTS, LONGER], ids=lambda folder: folder.name)
def test_the_committed_files_are_what_their_records_say(folder: Path) -> None:
    results = load_results(folder)
    assert list(results.trials.columns) == columns(TrialRecord)
    assert set(results.trials["status"]) == {"ok"}
    assert set(results.trials["dataset"]) == {"cifar10-jpeg75"}
    for name in ("trials", "epochs", "profile", "summary", "pairwise"):
        frame: pd.DataFrame = getattr(results, name)
        assert frame.to_csv(index=False) == (folder / f"{name}.csv").read_text(encoding="utf-8")


def figures() -> list[str]:
    """Every figure of the README's sentences, as the committed CSV files have it."""
    short, long = (pd.read_csv(folder / "trials.csv") for folder in (RESULTS, LONGER))
    means = short.groupby("model").mean(numeric_only=True)
    se, plain = means.loc["se_resnet50"], means.loc["resnet50"]
    pair = pd.read_csv(SOURCES / "source-se-resnet50" / "trials.csv")
    pair = pair[pair["recipe"] == "se_resnet50"].groupby("model").mean(numeric_only=True)
    ratio = pair.loc["se_resnet50"] / pair.loc["resnet50"]
    adam = pd.read_csv(SOURCES / "source-resnet50-adam" / "trials.csv")
    adam = adam[adam["recipe"] == "resnet50_adam"].set_index("model")["train_images_per_second"]
    count = sum(len(pd.read_csv(path)) for path in SOURCES.glob("*/trials.csv"))
    floors = noise_floors(load_results(RESULTS))
    seeds = [0.1, 0.2, 0.4]
    began = pd.to_datetime(short["started_at"])
    minutes = ((began.max() - began.min()).total_seconds() + short.loc[began.idxmax(), "wall_s"]) / 60
    return [
        f"`se_resnet50` does {100 * (se.macs / plain.macs - 1):.0f} % more MACs than `resnet50`",
        f"trains {100 * (1 - se.train_images_per_second / plain.train_images_per_second):.0f} % slower",
        f"three whole epochs ({duration(long.data_s.iloc[0] + long.step_s.iloc[0])})",
        f"reaches {100 * long.test_accuracy.iloc[0]:.2f} %, one seed",
        f"{int(short.images_seen.iloc[0]):,} training images each, three seeds, on two CPU cores",
        f"`{short.model[(short.test_accuracy - 0.1).abs() < 0.01].unique().item()}` is still near chance",
        f"with three seeds {t_half_width(seeds) / standard_deviation(seeds):.2f} times the ±",
        f"{100 * (1 / ratio.train_images_per_second - 1):.0f} % more training time an image",
        f"{100 * (ratio.peak_memory_allocated_mib - 1):.0f} % more training memory",
        f"{100 * (ratio.macs - 1):.1f} % more MACs",
        f"{adam['resnet50'] / adam['resnet50_nopool']:.2f} times the training time an image",
        f"{count} trials, one hour",
        f"a speed differed from itself by up to {100 * max(floors[metric.source] for metric in SPEEDS):.0f} % there",
        f"at most {NEAR_CHANCE:g} times what guessing",
        f"{short.precision.iloc[0]}, torch {short.torch.iloc[0].split('+')[0]}, source stem, "
        f"batch {short.batch_size.iloc[0]}, recipe `common`, {short.started_at.iloc[0][:10]}, "
        f"{minutes:.0f} minutes for all {len(short)} trials",
    ]


def test_the_figures_are_those_of_the_committed_records() -> None:
    text = prose()
    for figure in figures():
        assert figure in text
        text = text.replace(figure, "")
    # What is explained and not measured: an interval's confidence, a probability in an example, the JPEG's quality.
    left = set(re.findall(r"[\d.,]*\d(?= %| times\b| points\b)", text))
    assert left <= {"95", "97"}, "no test holds these figures to the records"

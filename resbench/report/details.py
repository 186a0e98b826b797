"""What a run was and how its numbers were made: the words under the tables, each only where it is true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resbench.compare.metrics import METRICS, noise_floors
from resbench.recipes import COMMON
from resbench.report.groups import Group, describe, model_label
from resbench.report.numbers import count, names, present
from resbench.report.tables import Cell, Table
from resbench.stats import CELL, SETTINGS, SHARED

if TYPE_CHECKING:
    import pandas as pd

    from resbench.store import Results

_CODE = ("resbench", "git_sha", "git_dirty", "git_diff_hash")
"""What tells two states of resbench's code apart."""


def run_table(results: Results) -> Table:
    """Lists what the run was; where trials differ, every value that occurs.

    Args:
        results: What a results folder holds.
    """
    trials, suites = results.trials, results.suites

    def values(column: str) -> list[Any]:
        return list(dict.fromkeys(trials[column].dropna()))

    def described(*columns: str) -> str:
        return ", ".join(describe(column, value) for column in columns for value in values(column))

    datasets = dict.fromkeys(zip(trials["dataset"], trials["dataset_fingerprint"].str[:12], strict=True))
    dirty = any(bool(value) for value in values("git_dirty"))
    commits = ", ".join(str(sha)[:12] for sha in values("git_sha"))
    dates = sorted(str(moment)[:10] for moment in values("started_at"))
    seeds = sorted(values("seed"))
    rows = {
        "suite": ", ".join(dict.fromkeys(suite["suite"]["name"] for suite in suites if "suite" in suite)),
        "dataset": ", ".join(f"{name} (sha256 {fingerprint}…)" for name, fingerprint in datasets),
        "images": "; ".join(dict.fromkeys(describe_data(suite["data"]) for suite in suites if suite.get("data"))),
        "input, stem": described("input", "stem"),
        "recipe": ", ".join(f"single fixed recipe {name}" for name in values("recipe")),
        "budget": ", ".join(values("budget")),
        "seeds": f"{count(len(seeds), 'seed')}: {', '.join(map(str, seeds))}",
        "engine": described("batch_size", "precision", "tf32", "memory_format", "compiled", "cuda_graph").replace(
            "_", " "
        ),
        "device": ", ".join(_devices(trials)),
        "CPU": ", ".join(map(str, values("host_cpu"))),
        "CPU threads": ", ".join(map(str, values("cpu_threads"))),
        "versions": ", ".join(
            f"{name} {value}"
            for name in ("resbench", "torch", "torchvision", "cuda", "cudnn", "driver", "python")
            for value in values(name)
        ),
        "commit": f"{commits} (with uncommitted changes)" if commits and dirty else commits,
        "date": dates[0] if dates[:1] == dates[-1:] and dates else " to ".join(dates[:1] + dates[-1:]),
    }
    return Table(
        "",
        ["what", "value"],
        [[Cell(k), Cell(v)] for k, v in rows.items() if v],
        list(_code_states(trials)),
        text_columns=frozenset({0, 1}),
    )


def _code_states(trials: pd.DataFrame) -> Iterator[str]:
    """Says which rows were run by which state of resbench's code, where there are several."""
    ran = trials[trials["resbench"].notna()]
    states = sorted(ran.groupby(list(_CODE), sort=False, dropna=False), key=lambda state: len(state[1]))
    if len(states) < 2:
        return
    words = [_code_words(*state) for state, _ in states]
    shared = [part for part in words[0] if all(part in parts for parts in words)]
    told = [
        f"{', '.join(part for part in parts if part not in shared)}: {', '.join(_row_names(rows, ran))}"
        for parts, (_, rows) in zip(words[:-1], states, strict=False)
    ]
    told.append(f"{', '.join(part for part in words[-1] if part not in shared)}: all others")
    of = f" of {', '.join(shared)}" if shared else ""
    yield f"The rows come from {len(told)} states of the code{of}. {'; '.join(told)}."


def _code_words(version: Any, sha: Any, dirty: Any, changes: Any) -> list[str]:
    """Returns what tells a state of the code apart, part by part."""
    uncommitted = f"uncommitted changes {changes}" if present(changes) else "unknown uncommitted changes"
    return [
        f"resbench {version}",
        f"commit {str(sha)[:12]}" if present(sha) else "unknown commit",
        uncommitted if present(dirty) and dirty else "no uncommitted changes",
    ]


def _row_names(rows: pd.DataFrame, among: pd.DataFrame) -> Iterator[str]:
    """Names rows: a model if all of its rows are among them, else their seeds, or trial ids if seeds are ambiguous."""
    for (model, weights), own in rows.groupby(["model", "weights"], sort=False):
        every = among[(among["model"] == model) & (among["weights"] == weights)]
        label = model_label(model, weights)
        if len(own) == len(every):
            yield label
        elif every["seed"].is_unique:
            yield f"{label} (seed {', '.join(map(str, own['seed']))})"
        else:
            yield f"{label} (trial {', '.join(own['trial_id'])})"


def describe_data(data: Mapping[str, int]) -> str:
    """Says how many classes and images a dataset has, as a plan counts them."""
    classes = f"{data['classes']:,} {'class' if data['classes'] == 1 else 'classes'}"
    return f"{classes}, {count(data['train_images'], 'training image')}, {count(data['test_images'], 'test image')}"


def comparable(groups: Sequence[Group]) -> str:
    """Says which figures of a page may be compared, and which may not.

    Args:
        groups: All of a folder; empty where nothing ran.
    """
    within = (
        "Rows of one table may be compared: they share data, input, stem, recipe, budget, batch size, device, "
        "precision and engine settings"
    )
    if len(groups) < 2:
        return f"{within}. With results of other folders they may be compared where `resbench compare` says so."
    differing = [name for name in SHARED if len({str(group.settings[name]) for group in groups}) > 1]
    differ = names([_IN_WORDS.get(name, name.replace("_", " ")) for name in differing], len(differing))
    return f"{within}. Across the {len(groups)} tables, which differ in {differ}, nothing that was measured may be."


def noise_words(results: Results) -> list[str]:
    """Says how far the machine was from itself, or that this was not measured; nothing where no trial ended ok.

    Args:
        results: What a results folder holds.
    """
    if not (results.trials["status"] == "ok").any():
        return []
    floors = noise_floors(results)
    told = [
        f"{metric.name.partition(' (')[0]} {100 * floors[metric.source]:.1f} %"
        for metric in METRICS
        if metric.source in floors
    ]
    if not told:
        return ["Noise floor: not measured. How small a difference of speed or memory says something is not known."]
    models = dict.fromkeys(str(event.get("model")) for event in results.noise_floors)
    times = len(results.noise_floors)
    when = "after the last trial, differed" if times == 1 else f"{times} times, differed at most"
    return [
        f"Noise floor: {names(list(models))}, measured again {when} from the first time by "
        f"{names(told, len(told))}. Differences of speed and memory that are no larger say nothing."
    ]


def _devices(trials: pd.DataFrame) -> Iterator[str]:
    """Yields what trials ran on, and on how many where one trial had several."""
    pairs = zip(trials["device_name"], trials["devices"], strict=True)
    for name, number in dict.fromkeys(pair for pair in pairs if present(pair[0])):
        yield f"{number} x {name}" if present(number) and number > 1 else str(name)


_IN_WORDS = {"dataset_fingerprint": "the dataset's content", "device_name": "device", "tf32": "TF32"}


def method(trials: pd.DataFrame, *, has_hits: bool = False) -> list[str]:
    """Says how each number was measured and what it does not say, as sentences.

    Args:
        trials: The columns of ``trials.csv``.
        has_hits: Whether differences have an interval over test images.
    """
    ok = trials[trials["status"] == "ok"]
    on_cpu = not ok["cuda"].notna().any()
    said = [
        "Test accuracy is that of the last epoch over all test images. The best epoch's is in trials.csv; it "
        "was chosen on the test set, is therefore optimistic, and enters no table here.",
        _recipe_words(ok),
        "MACs count one multiply-add of a convolution or linear layer as one, for the forward pass of one "
        "image; FLOPs are twice that.",
        "Training images/s and train time are taken over the train clock, which is data + step. Building, "
        "profiling, compiling, warm-up, evaluation and checkpoints are outside it: see the time ledger.",
    ]
    if ok["latency_ms_p50"].notna().any():
        said.append("Latency is the median forward pass of one image in eval mode, measured on its own.")
    if ok["peak_memory_allocated_mib"].notna().any():
        how = (
            "the resident set of the process above its level before the model was built"
            if on_cpu
            else "what the CUDA allocator handed out at its peak"
        )
        said.append(f"Training memory is {how}, measured in a pass of its own.")
    if (ok["devices"] > 1).any():
        said.append(
            "Where several devices trained one trial, training images/s are of all of them, step times and the time "
            "ledger are the first one's, training memory is that of the one which takes most, and latency and "
            "inference are one device's with its share of a batch. Batch norm saw a device's share of each batch, "
            "unless the recipe synchronises it."
        )
    if on_cpu:
        said.append(
            "All times were taken on a CPU, where other programs and the number of threads move them: they "
            "order models on this machine at that time and say little about another."
        )
    if ok.duplicated([*CELL, *SETTINGS]).any():
        said += [
            "Under one seed every model sees the same order of images with the same augmentation, so none is lucky in "
            "its data. Means are compared by Welch's t-test, each model with its own spread, for models do not vary "
            "alike; the test takes accuracies to be independent between seeds and about normal.",
            "A tier needs two seeds at least and every planned one ended ok: what failed on some would otherwise be "
            "judged by those that went well. Holm's correction keeps the chance of even one false separation among all "
            "pairs of a table at about 5 % or less.",
            "A place on the Pareto front is judged by drawing each model's means from a t-distribution with its own "
            "spread over the seeds, cost and accuracy together. MACs and parameters have no spread: the cheapest in "
            "them is on the front by definition. Where models differ by less than their seeds do, a probability says "
            "more than so few seeds know.",
        ]
    if has_hits:
        said.append(
            "The interval over other images is a paired bootstrap over the test images: how the same trained networks "
            "would differ on images drawn anew. It holds the seeds fixed, as the t-interval holds the images fixed; a "
            "claim beyond both must stand in both."
        )
    if len(set(ok["weights"])) > 1:
        said.append("Not all models start from random weights: a pretrained one has seen other data before.")
    return said


def _recipe_words(ok: pd.DataFrame) -> str:
    """Says what the recipe means for the order of the models."""
    recipes = {*ok["recipe"]}
    if all(str(name).startswith(COMMON) for name in recipes):
        return (
            "Every model was trained with one fixed recipe that was tuned for none of them: another recipe or a "
            "longer budget may order them differently."
        )
    kept = (
        "Models of one table share a recipe"
        if len(recipes) > 1
        else f"Every model was trained with {next(iter(recipes))}"
    )
    return (
        f"{kept}; a source's own may suit the network that it was made for better than what stands beside it. Another "
        "recipe or a longer budget may order them differently."
    )


def trial_notes(trials: pd.DataFrame) -> list[str]:
    """Returns the notes that trials left, each once, with the models that left it."""
    models_of: dict[str, dict[str, None]] = {}
    for model, note in zip(trials["model"], trials["notes"], strict=True):
        if present(note) and note:
            models_of.setdefault(note, {})[model] = None
    return [f"{', '.join(models)}: {note}" for note, models in models_of.items()]

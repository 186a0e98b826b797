"""Writes the page of a folder in which networks were measured and none was trained, and its part of other pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resbench.report.formats import markdown
from resbench.report.numbers import count, escape
from resbench.report.parts import NOTES, PAGE, picture
from resbench.report.profiles import profile_page_table, profile_sets
from resbench.store import write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from resbench.report.plots import Plot
    from resbench.store import Results

NOT_TRAINED = "What networks cost before any training, as `resbench profile` measured it."

METHOD = (
    "Each network and batch size was measured in a process of its own. Nothing was trained here: nothing on this page "
    "is about accuracy.",
    "MACs count one multiply-add of a convolution or linear layer as one, forward pass of one image; activations are "
    "the outputs of these layers for one image.",
    "Latency is the median forward pass of one image in eval mode, inference throughput that of one batch of the batch "
    "size named, training throughput that of forward, backward and update on one fixed batch, without data loading.",
    "Memory is measured in a pass of its own: on CUDA what the allocator handed out at its peak, on a CPU the resident "
    "set of the process above its level before the network was built.",
    "Times are of the device named and of no other.",
)


def write_profile_page(results: Results) -> list[Path]:
    """Writes ``README.md`` and ``plots/`` of a folder that holds profiles and no trials.

    Args:
        results: The folder's tables, with at least one profile.

    Returns:
        The page and the plots, in the order in which they were written.
    """
    from resbench.report.plots import write_plots

    plots = write_plots([], results.epochs, results.folder, results.profile)
    page = results.folder / PAGE
    text = render(results, plots)
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    return [page, *(path for plot in plots for path in plot.files)]


def render(results: Results, plots: Sequence[Plot]) -> str:
    """Returns the page as Markdown.

    Args:
        results: The folder's tables.
        plots: Those that were written.
    """
    profile = results.profile
    models, sizes = profile["model"].nunique(), sorted({int(size) for size in profile["batch_size"]})
    parts = [f"# Profile: {escape(results.folder.resolve().name)}", NOT_TRAINED]
    parts.append(
        f"{count(models, 'network')} at the batch size{'s' if len(sizes) > 1 else ''} "
        f"{', '.join(f'{size:,}' for size in sizes)}."
    )
    own_words = results.folder / NOTES
    if own_words.is_file():
        parts.append(own_words.read_text(encoding="utf-8").strip())
    parts += profile_section(profile, plots)
    parts += ["## How the numbers were made", "\n".join(f"- {line}" for line in METHOD)]
    parts.append(
        "This page and its plots are derived from `records.jsonl`; `resbench report` rebuilds them. `report.html` "
        "beside it holds the same, to be sorted, filtered and pointed at. The table behind both is `profile.csv`."
    )
    return "\n\n".join(parts) + "\n"


def profile_section(profile: pd.DataFrame, plots: Sequence[Plot]) -> list[str]:
    """Returns the tables of profiles, one for each set of settings, then the plots against batch size.

    Args:
        profile: Rows of ``profile.csv``, perhaps none.
        plots: Those of no group.
    """
    parts = []
    for found in profile_sets(profile):
        parts += [f"### {escape(found.title)}", markdown(profile_page_table(found))]
    return [*parts, *map(picture, plots)]

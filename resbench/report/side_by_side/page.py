"""The page of several folders side by side, and the same tables for a terminal or to paste."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from resbench.errors import InputError, NothingMeasuredError
from resbench.report.experiments.stored import COLLECTION
from resbench.report.formats import markdown
from resbench.report.numbers import escape, names
from resbench.report.parts import PAGE
from resbench.report.printed import check_format, printed_tables
from resbench.report.side_by_side.accuracy import accuracy_table
from resbench.report.side_by_side.folders import read_folders
from resbench.report.side_by_side.gather import QUANTITIES, SideBySide, gather
from resbench.report.side_by_side.long import long_csv
from resbench.report.side_by_side.plots import write_plots
from resbench.report.side_by_side.sentences import sentences
from resbench.report.side_by_side.speed import speed_table
from resbench.report.side_by_side.tables import BESIDE, beside_table, folder_table
from resbench.report.tables import Table
from resbench.store import RECORDS, WRITTEN, refuse_others_files, write_atomically

LONG = "side_by_side.csv"
PLOTS = "plots"

ACCURACY_TITLE, SPEED_TITLE, BESIDE_TITLE = "Test accuracy", "Speed, memory and time", "Side by side, not compared"

METHOD = (
    "Accuracies are compared where everything that changes learning is the same: network, stem, weights, data, recipe, "
    "budget, batch size, precision and compilation. Where something of it differs, both are shown and not compared.",
    "Speed, memory and time are the networks' own difference only where machine, driver, libraries, threads and engine "
    "settings are the same besides. Ratios across machines are shown on purpose, and marked.",
    "Differences in accuracy are tested over the seeds of both sides, which are not paired across folders: training "
    "amplifies the smallest difference in arithmetic until little of a seed's own is left. Holm's correction keeps the "
    "chance of even one false separation in a table at about 5 % or less.",
    "A seed's trial that did not end ok enters no mean.",
)


def read_side_by_side(paths: Sequence[Path], called: Sequence[str] | None = None) -> SideBySide:
    """Reads results folders and puts them side by side.

    Args:
        paths: Two or more; the first is what the others are held against.
        called: What to call them; by default what tells their paths apart.

    Raises:
        InputError: As :func:`~resbench.report.side_by_side.folders.read_folders`.
        NothingMeasuredError: A folder's records are empty, or no trial of any folder ended ``ok``.
    """
    found = gather(read_folders(paths, called))
    if not found.measured:
        raise NothingMeasuredError(f"no trial in {names([repr(str(path)) for path in paths])} ended ok.")
    return found


def side_by_side_tables(found: SideBySide, quantities: Collection[str] | None = None) -> Iterator[tuple[str, Table]]:
    """Yields the tables with what each is about: accuracies and speed of each set, then what is not compared.

    Args:
        found: All folders.
        quantities: Names of :data:`~resbench.report.side_by_side.gather.QUANTITIES`; by default those that matter.
    """
    shown = tuple(QUANTITIES) if quantities is None else quantities
    for one, title in zip(found.alike, found.titles, strict=True):
        accuracies = accuracy_table(found, one, title) if "accuracy" in shown else None
        yield from ((ACCURACY_TITLE, table) for table in [accuracies] if table)
        speeds = speed_table(found, one, title, shown)
        yield from ((SPEED_TITLE, table) for table in [speeds] if table)
    beside = beside_table(found, BESIDE if quantities is None else quantities)
    yield from ((BESIDE_TITLE, table) for table in [beside] if table)


def printed_side_by_side(found: SideBySide, form: str, quantities: Collection[str] | None = None) -> str:
    """Returns the tables as text to paste; CSV is the long form, a row a figure.

    Args:
        found: All folders.
        form: ``markdown``, ``latex`` or ``csv``.
        quantities: As :func:`side_by_side_tables` takes them.

    Raises:
        InputError: There is no such format.
    """
    if check_format(form) == "csv":
        return long_csv(found, tuple(QUANTITIES) if quantities is None else quantities)
    tables = [
        replace(table, title=", ".join(part for part in (about, table.title) if part))
        for about, table in side_by_side_tables(found, quantities)
    ]
    called = names([folder.name for folder in found.folders], len(found.folders))
    captions = [f"{table.title}: {called}." for table in tables]
    return printed_tables(tables, captions, "tab:resbench-side-by-side", form)


def write_side_by_side(found: SideBySide, out: Path) -> list[Path]:
    """Writes ``README.md``, ``report.html``, ``side_by_side.csv`` and ``plots/`` into a folder of their own.

    Args:
        found: All folders.
        out: Made where it does not exist.

    Returns:
        What was written.

    Raises:
        InputError: The folder holds results itself, or another page that this would replace, or cannot be written to.
    """
    from resbench.report.html import write_side_by_side_html

    if (out / RECORDS).exists() or (out / COLLECTION).exists():
        raise InputError(f"{str(out)!r} is a results folder with a page of its own: give another --out.")
    refuse_others_files(out, LONG, WRITTEN[:2])
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {str(out)!r}: {error.strerror or error}. Give another --out.") from error
    plots = write_plots(found, out / PLOTS)
    interactive = write_side_by_side_html(found, out)
    for name, text in ((LONG, long_csv(found)), (PAGE, render(found, plots))):
        write_atomically(out / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    return [out / PAGE, interactive, out / LONG, *(path for paths in plots for path in paths)]


def render(found: SideBySide, plots: Sequence[Sequence[Path]]) -> str:
    """Returns the page as Markdown.

    Args:
        found: All folders.
        plots: As :func:`~resbench.report.side_by_side.plots.write_plots` returns them.
    """
    called = [folder.name for folder in found.folders]
    parts = [f"# Side by side: {escape(names(called, len(called)))}"]
    parts += ["\n".join(f"- {escape(sentence)}" for sentence in sentences(found))]
    parts += ["## The folders", markdown(folder_table(found.folders))]
    for one, title, paths in zip(found.alike, found.titles, plots, strict=True):
        heading = title or "Compared"
        parts.append(f"## {escape(heading[0].upper() + heading[1:])}")
        tables = ((ACCURACY_TITLE, accuracy_table(found, one, title)), (SPEED_TITLE, speed_table(found, one, title)))
        for (about, table), kind in zip(tables, ("accuracy_by_folder", "throughput_ratio"), strict=True):
            if table is not None:
                parts += [f"### {about}", markdown(table)]
            drawn = [f"{path.parent.name}/{path.name}" for path in paths if path.stem.endswith(kind)]
            if drawn:
                parts.append(f"[![{about}]({drawn[0]})]({drawn[1]})")
    beside = beside_table(found)
    if beside is not None:
        parts += [f"## {BESIDE_TITLE}", markdown(beside)]
    parts += ["## How the numbers were made", "\n".join(f"- {line}" for line in METHOD)]
    parts.append(
        f"This page and its plots are derived from the records of {escape(names(called, len(called)))}; `resbench "
        "report` with these folders and `--out` rebuilds them. Every figure, with its seeds and interval, is in "
        f"`{LONG}`."
    )
    return "\n\n".join(parts) + "\n"

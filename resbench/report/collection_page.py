"""The page of a collection: which kind it is, by whether its suites are sources' experiments."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from resbench.errors import NothingMeasuredError
from resbench.report import budgets, sources
from resbench.report.experiments.reading import read_run
from resbench.report.experiments.stored import read_collection
from resbench.report.readme import write_report
from resbench.store import RECORDS


def write_collection_page(folder: Path) -> list[Path]:
    """Writes ``README.md`` and ``plots/`` of a collection from its ``collection.json`` and the suites' records.

    Where a suite has a ``[source]`` the page tells source by source what was said, what was run and what follows. Where
    none has, the suites are settings of one question, and it tells what becomes of the networks' order from one to the
    other. Nothing is measured, and nothing is said of a suite that was not run. What a person wrote into ``NOTES.md``
    becomes part of the page. A suite's own page, which this one links to, is written by
    :func:`~resbench.report.write_report` and should be there before.

    Args:
        folder: A folder with a ``collection.json`` and a results folder for each suite that was run.

    Returns:
        The page and the plots, in the order in which they stand on it.

    Raises:
        InputError: There is no such file, it is not one that resbench wrote, or records cannot be read.
    """
    collection = read_collection(folder)
    runs = [read_run(name, collection.experiments[name], folder / name) for name in collection.suites]
    of_sources = any(run.source for run in runs)
    return (sources if of_sources else budgets).write_page(folder, collection, runs)


def rebuild_collection(folder: Path) -> list[Path]:
    """Rebuilds the CSV files and the page of every suite of a collection, then the collection's own page.

    Args:
        folder: As :func:`write_collection_page` takes it.

    Returns:
        All pages and plots, in the order in which they were written.

    Raises:
        InputError: As :func:`write_collection_page`.
    """
    written: list[Path] = []
    for name in read_collection(folder).suites:
        if (folder / name / RECORDS).is_file():
            with suppress(NothingMeasuredError):  # the page says how each trial ended
                written += write_report(folder / name)
    return [*written, *write_collection_page(folder)]

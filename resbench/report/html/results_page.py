"""The page of a results folder, ``report.html``: what ``README.md`` says, to be sorted, filtered and pointed at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resbench.report.curves import EpochsByTrial
from resbench.report.details import comparable, method, noise_words, run_table, trial_notes
from resbench.report.experiments.questions import own_answers
from resbench.report.groups import Group, groups_of
from resbench.report.headline import whole_headline
from resbench.report.html.charts import curves_chart, ledger_chart, throughput_chart, tradeoff_chart
from resbench.report.html.charts.marks import looks
from resbench.report.html.document import Block, Chart, Charts, Document, Figures, Section, Words
from resbench.report.html.headings import HEADINGS
from resbench.report.html.profiles import profile_document, profile_sections
from resbench.report.html.render import render
from resbench.report.html.surroundings import FOOTER, HTML_PAGE, files_beside, own_words
from resbench.report.numbers import count
from resbench.report.pairs import PAIR_WORDS, front_table, pair_table
from resbench.report.recipe_words import recipe_table
from resbench.report.tables import Table, comparison_table, failure_table, ledger_table
from resbench.store import write_atomically

if TYPE_CHECKING:
    from resbench.store import Results

MOST_CHARTED = 6
"""Groups that get charts, those that compare the most models first, as for plots."""


def write_html_page(
    results: Results, groups: Sequence[Group] | None = None, answers: Sequence[tuple[str, str]] | None = None
) -> Path:
    """Writes ``report.html`` into a results folder, whatever its trials came to, or of its profiles where it has none.

    Args:
        results: The folder's tables.
        groups: Its trials, split into what may be compared; found anew by default.
        answers: What its suite asks, and what the records say to it; found anew by default.

    Returns:
        The page.
    """
    if results.trials.empty and len(results.profile):
        document = profile_document(results)
    else:
        document = results_document(
            results,
            groups_of(results) if groups is None else groups,
            own_answers(results) if answers is None else answers,
        )
    text = render(document)
    page = results.folder / HTML_PAGE
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    return page


def results_document(results: Results, groups: Sequence[Group], answers: Sequence[tuple[str, str]]) -> Document:
    """Returns what the page says.

    Args:
        results: The folder's tables.
        groups: Its trials, split into what may be compared.
        answers: What its suite asks, and what the records say to it.
    """
    trials, suites = results.trials, results.suites
    names = list(dict.fromkeys(suite["suite"]["name"] for suite in suites if "suite" in suite))
    name = ", ".join(names) or results.folder.resolve().name
    ok = int((trials["status"] == "ok").sum())
    notices = list(dict.fromkeys(notice for suite in suites for notice in suite.get("notices", ())))
    main = max(groups, key=lambda group: len(group.rows), default=None)
    opening: list[Block] = [Words([whole_headline(main)], "headline")] if main else []
    opening.append(Words([f"{ok:,} of {count(len(trials), 'planned trial')} ended ok."]))
    opening += [Words([comparable(groups)])] if groups else []
    opening += [Words(words)] if (words := noise_words(results)) else []
    opening += [Words(notices, "warning")] if notices else []
    opening += own_words(results.folder)
    sections = [Section("summary", "", opening), *_comparisons(results, groups)]
    if answers:
        told = [f"{asked} {said}" for asked, said in answers]
        sections.append(Section("questions", "What was asked", [Words(told, "list")], short="Questions"))
    failures = failure_table(results)
    if failures:
        table = Figures("failures", "Trials that did not end ok", failures, interactive=True)
        sections.append(Section("failed", "Trials that did not end ok", [table], short="Failed"))
    sections += [*_closer_looks(results, groups), *profile_sections(results.profile)]
    sections.append(
        Section(
            "run",
            "What it holds for",
            [
                Figures("what-was-run", "What was run", run_table(results)),
                _recipes(trials),
                *_noted(trial_notes(trials)),
            ],
            short="Run",
        )
    )
    said = method(trials, has_hits=bool(results.pairwise["images_low"].notna().any()))
    sections.append(Section("method", "How the numbers were made", [Words(said, "list")], short="Method"))
    return Document(f"Results: {name}", _subtitle(trials), sections, FOOTER, files_beside(results.folder))


def _comparisons(results: Results, groups: Sequence[Group]) -> list[Section]:
    """Returns a section a group: headline, table, charts."""
    looks_of = looks(label for group in groups for label in (*group.shown, *group.labels))
    epochs = EpochsByTrial(results.epochs)
    ranked = sorted(range(len(groups)), key=lambda index: -len(groups[index].rows))
    charted = set(ranked[:MOST_CHARTED])
    sections = []
    for index, group in enumerate(groups):
        slug = f"group-{group.number}"
        title = f"{group.title[0].upper()}{group.title[1:]}" if group.title else "Comparison"
        table = Figures(f"{slug}-table", f"Models compared: {title}", comparison_table(group), HEADINGS, True)
        blocks: list[Block] = [Words([whole_headline(group)], "headline"), table] if len(groups) > 1 else [table]
        charts: list[Chart | None] = []
        if index in charted:
            charts = [
                tradeoff_chart(group, looks_of, slug),
                curves_chart(group, epochs, looks_of, slug),
                throughput_chart(group, slug),
                ledger_chart(group, slug),
            ]
        drawn = [chart for chart in charts if chart is not None]
        if drawn:
            blocks.append(Charts(drawn))
        elif index not in charted:
            blocks.append(Words([f"Charts: only the {MOST_CHARTED} tables that compare the most models have any."]))
        sections.append(Section(slug, title, blocks))
    return sections


def _closer_looks(results: Results, groups: Sequence[Group]) -> list[Section]:
    """Returns the tables below the comparison, folded: pairs, places on the front, time."""
    pairs = [(group, pair_table(group, results.pairwise)) for group in groups]
    fronts = [(group, front_table(group)) for group in groups]
    ledgers = [(group, ledger_table(group)) for group in groups]
    told = (
        (
            "pairs",
            "Pairwise differences in test accuracy",
            "Pairs",
            PAIR_WORDS,
            pairs,
        ),
        (
            "fronts",
            "How probable a place on the Pareto front is",
            "Pareto front",
            "The share of draws of the models' true means, as far as these seeds tell them, in which no other model is "
            "both cheaper and more accurate.",
            fronts,
        ),
        ("ledgers", "Where the time went, in figures", "Time", "Means over the trials that ended ok.", ledgers),
    )
    return [
        Section(slug, title, [Words([words]), *_tables(slug, title, tables)], folded=True, short=short)
        for slug, title, short, words, tables in told
        if any(table is not None for _, table in tables)
    ]


def _tables(slug: str, title: str, tables: Sequence[tuple[Group, Table | None]]) -> list[Block]:
    """Returns the tables that there are, each below its group's title where there are several groups."""
    blocks: list[Block] = []
    for group, table in tables:
        if table is not None:
            blocks += [Words([group.title])] if group.title else []
            blocks.append(Figures(f"{slug}-{group.number}", f"{title} {group.title}".strip(), table, HEADINGS, True))
    return blocks


def _recipes(trials: Any) -> Block:
    """Returns what the recipes decide, or that they are not known here."""
    table = recipe_table(trials)
    return Figures("recipes", "The recipe", table) if table.rows else Words(table.notes)


def _noted(notes: Sequence[str]) -> list[Block]:
    """Returns the notes that trials left."""
    return [Words(["Notes of the trials:"]), Words(notes, "list")] if notes else []


def _subtitle(trials: Any) -> str:
    """Names the data, the machine and the day."""

    def values(column: str) -> list[str]:
        return [str(value) for value in dict.fromkeys(trials[column].dropna())]

    days = sorted({moment[:10] for moment in values("started_at")})
    parts = [", ".join(values(column)) for column in ("dataset", "budget", "device_name", "precision")]
    return " · ".join(part for part in (*parts, " to ".join(dict.fromkeys(days[:1] + days[-1:]))) if part)

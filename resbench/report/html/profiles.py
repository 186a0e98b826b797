"""What networks cost before any training, as sections of a page and as a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resbench.report.html.charts import sizes_chart
from resbench.report.html.document import Block, Charts, Document, Figures, Section, Words
from resbench.report.html.headings import HEADINGS
from resbench.report.html.surroundings import FOOTER, files_beside, own_words
from resbench.report.numbers import count
from resbench.report.profile_page import METHOD, NOT_TRAINED
from resbench.report.profiles import ProfileSet, profile_page_table, profile_sets

if TYPE_CHECKING:
    import pandas as pd

    from resbench.store import Results


def profile_document(results: Results) -> Document:
    """Returns the page of a folder that holds profiles and no trials.

    Args:
        results: The folder's tables, with at least one profile.
    """
    profile = results.profile
    opening = [Words([NOT_TRAINED, f"{count(profile['model'].nunique(), 'network')} were measured."])]
    sections = [
        Section("summary", "", [*opening, *own_words(results.folder)]),
        *(_section(number, found, with_table=True) for number, found in enumerate(profile_sets(profile), start=1)),
        Section("method", "How the numbers were made", [Words(METHOD, "list")], short="Method"),
    ]
    devices = ", ".join(map(str, profile["device_name"].dropna().unique()))
    title = f"Profile: {results.folder.resolve().name}"
    return Document(title, devices, sections, FOOTER, files_beside(results.folder))


def profile_sections(profile: pd.DataFrame) -> list[Section]:
    """Returns what a page of trials says of profiles that were made beside them, by ``resbench profile`` say.

    Args:
        profile: The columns of ``profile.csv``. Profiles of the trials themselves stand in the comparison already, so
            that they are shown only where there are several batch sizes.
    """
    sections = []
    for number, found in enumerate(profile_sets(profile), start=1):
        alone = ProfileSet(found.title, [row for row in found.rows if row["trial_id"] is None])
        section = _section(number, found, with_table=bool(alone.rows))
        if section.blocks:
            sections.append(section)
    return sections


def _section(number: int, found: ProfileSet, *, with_table: bool) -> Section:
    """Returns the table and the chart of networks that were measured under the same settings."""
    slug = f"profile-{number}"
    blocks: list[Block] = []
    if with_table:
        table = profile_page_table(found)
        blocks.append(Figures(f"{slug}-table", f"Profiles: {found.title}", table, HEADINGS, interactive=True))
    chart = sizes_chart(found, f"{slug}-sizes")
    blocks += [Charts([chart])] if chart else []
    return Section(slug, f"Before training: {found.title}", blocks, short="Batch sizes")

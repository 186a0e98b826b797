"""Where the wall time of a trial went, stacked."""

from __future__ import annotations

from resbench.report.groups import Group
from resbench.report.html.charts.marks import hover, short_name
from resbench.report.html.document import Chart, View
from resbench.report.numbers import duration
from resbench.report.tables import LEDGER
from resbench.stats import mean


def ledger_chart(group: Group, slug: str) -> Chart | None:
    """Returns the chart, in seconds and in shares; ``None`` where no time was recorded.

    Args:
        group: Trials that may be compared.
        slug: Begins the chart's id.
    """
    labels = [label for label in group.shown if group.ok_places.get(label)]
    parts = {name: [mean(group.ok(label, source)) or 0.0 for label in labels] for name, source in LEDGER}
    totals = [sum(column) for column in zip(*parts.values(), strict=True)]
    if not any(totals):
        return None
    places = [short_name(label) for label in labels]
    views = [
        View(
            view,
            [
                {
                    "name": name,
                    "type": "bar",
                    "orientation": "h",
                    "x": [100 * s / total if share and total else s for s, total in zip(seconds, totals, strict=True)],
                    "y": places,
                    "part": index,
                    "hovertext": [
                        hover(label, f"{name}: {duration(s)}", f"{100 * s / total if total else 0:.1f} % of the trial")
                        for label, s, total in zip(labels, seconds, totals, strict=True)
                    ],
                }
                for index, (name, seconds) in enumerate(parts.items())
                if any(seconds)
            ],
            {
                "barmode": "stack",
                "xaxis": {"title": {"text": "share of the wall time (%)" if share else "wall time of a trial (s)"}},
                "yaxis": {"autorange": "reversed", "type": "category", "automargin": True},
            },
        )
        for view, share in (("seconds", False), ("shares", True))
    ]
    words = "Mean over the trials that ended ok. Training images/s and train time are over data + step alone."
    return Chart(f"{slug}-ledger", "Where the time went", views, words, height=180 + 34 * max(len(labels), 4))

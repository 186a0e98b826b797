"""The questions that a suite asks of its own networks, answered on the page of its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resbench.report.experiments.conclusions import answers_of
from resbench.report.experiments.reading import own_run

if TYPE_CHECKING:
    from resbench.store import Results


def own_answers(results: Results) -> list[tuple[str, str]]:
    """Returns each question of the suite that a folder holds, and what its records say to it.

    Args:
        results: The folder's tables.
    """
    run = own_run(results)
    if run is None or not run.ran:
        return []
    return [(answer.question, " ".join([answer.accuracy, *answer.cost])) for answer in answers_of(run)]

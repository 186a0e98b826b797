"""What a check says of a network: plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from resbench.audit.specimen import Specimen

Verdict = Literal["pass", "warn", "fail", "skipped"]
"""``fail``: figures of the network would be wrong, or its trial would fail. ``warn``: worth knowing before it runs."""

MOST_NAMED = 4
"""Names that a finding lists before it counts the rest."""


@dataclass(frozen=True)
class Outcome:
    """What a check came to."""

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class Check:
    """One property of a network, and how it is found out."""

    name: str
    """A few words, as the report's rows have them."""
    run: Callable[[Specimen], Outcome]
    """May raise: what a network raises is a finding too."""

    @property
    def proves(self) -> str:
        """The first line of the function's docstring: what is checked."""
        return (self.run.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True)
class Finding:
    """An outcome, with the name of its check."""

    check: str
    verdict: Verdict
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return asdict(self)


def passed(detail: str = "") -> Outcome:
    """Says that all is as it should be."""
    return Outcome("pass", detail)


def warned(detail: str) -> Outcome:
    """Says what is worth knowing."""
    return Outcome("warn", detail)


def failed(detail: str) -> Outcome:
    """Says what is wrong."""
    return Outcome("fail", detail)


def skipped(reason: str) -> Outcome:
    """Says why nothing was checked."""
    return Outcome("skipped", reason)


def listed(names: Iterable[str]) -> str:
    """Joins names, the first few of many."""
    every = [*names]
    more = f" and {len(every) - MOST_NAMED} more" if len(every) > MOST_NAMED else ""
    return ", ".join(every[:MOST_NAMED]) + more

"""What a check found, and what all checks of a network found, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

VERDICTS = ("pass", "warn", "fail", "skipped")
"""As it should be; to be known before training; a fault; not checked, and why."""


@dataclass(frozen=True)
class Outcome:
    """What a check returns."""

    verdict: str
    """One of `VERDICTS`."""
    detail: str = ""
    """In words, with the parameters, modules or sizes that it is about; empty where there is nothing to add."""


@dataclass(frozen=True)
class Finding:
    """What a check found in one network."""

    check: str
    theme: str
    verdict: str
    detail: str
    seconds: float


@dataclass
class Audit:
    """What was checked in one network, and what was found."""

    model: str
    source: str
    stem: str
    input: str
    num_classes: int
    batch_size: int
    device: str
    precision: str
    compile: str
    """``off``, ``capture`` (the compiler's tracing alone) or ``on``."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``fail`` where any check failed, else ``warn`` where any warned, else ``pass``."""
        found = {finding.verdict for finding in self.findings}
        return next((verdict for verdict in ("fail", "warn") if verdict in found), "pass")

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON types, the verdict included."""
        return {**asdict(self), "verdict": self.verdict}


def passed(detail: str = "") -> Outcome:
    """It is as it should be."""
    return Outcome("pass", detail)


def warned(detail: str) -> Outcome:
    """It can be trained, and this should be known before."""
    return Outcome("warn", detail)


def failed(detail: str) -> Outcome:
    """It is a fault."""
    return Outcome("fail", detail)


def skipped(reason: str) -> Outcome:
    """It was not checked."""
    return Outcome("skipped", reason)


def tally(findings: Sequence[Finding]) -> dict[str, int]:
    """Returns how many findings there are of each verdict."""
    counted = Counter(finding.verdict for finding in findings)
    return {verdict: counted[verdict] for verdict in VERDICTS}

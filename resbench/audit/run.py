"""Running the checks: on one network in this process, or on several in a process each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resbench.audit.findings import Audit, Finding
from resbench.errors import unknown
from resbench.executors.process import run_in_process
from resbench.planning.arms import expand_models
from resbench.plugins import with_code
from resbench.registry import check_stem, model_entry
from resbench.schema import EngineSettings, format_input
from resbench.suite import EngineOptions, parse_input

if TYPE_CHECKING:
    from resbench.measure.profile import Subject

COMPILING = ("auto", "on", "off")
"""``auto`` is ``on`` with CUDA, and elsewhere the compiler's tracing alone, which takes seconds and not minutes."""

Emit = Callable[[str, dict[str, Any]], None]


def audit_models(
    models: list[str],
    *,
    stem: str = "source",
    input_shape: str = "3x32x32",
    num_classes: int = 10,
    batch_size: int = 8,
    compiling: str = "auto",
    engine: dict[str, Any] | None = None,
    on_message: Callable[[str], None] = lambda text: None,
    on_audit: Callable[[Audit], None] = lambda audit: None,
) -> list[Audit]:
    """Audits networks, each in a process of its own, so that one that takes its process down stops no other.

    Args:
        models: Registry names; wildcards are welcome.
        stem: ``source`` or ``cifar``.
        input_shape: Such as ``3x32x32``.
        num_classes: Width of the logits.
        batch_size: Images a batch; checks that need two images take two at least.
        compiling: One of `COMPILING`.
        engine: Fields of :class:`~resbench.suite.EngineOptions` that differ from the defaults.
        on_message: Told what is being audited.
        on_audit: Told what was found, network by network.

    Raises:
        InputError: A name or a setting is wrong.
    """
    from resbench.measure.profile import Subject
    from resbench.planning.precision_choice import settle_precision
    from resbench.planning.settings import resolve_engine

    if compiling not in COMPILING:
        raise unknown("compile setting", compiling, COMPILING)
    names = expand_models(models)
    for name in names:
        check_stem(model_entry(name), stem)
    settings = resolve_engine(EngineOptions(**{**(engine or {}), "compile": compiling}))
    shape = parse_input(input_shape)
    subjects = [Subject(name, stem, shape, num_classes, batch_size, settings) for name in names]
    settings = settle_precision(settings, subjects, on_message)
    level = "capture" if compiling == "auto" and not settings.compile else "on" if settings.compile else "off"
    audits = []
    with tempfile.TemporaryDirectory(prefix="resbench-") as scratch:
        for number, subject in enumerate(subjects, start=1):
            on_message(f"[{number}/{len(names)}] {subject.model}")
            audits.append(_audit(replace(subject, engine=settings), level, Path(scratch) / f"log-{number}"))
            on_audit(audits[-1])
    return audits


def _audit(subject: Subject, compiling: str, log: Path) -> Audit:
    """Audits one network in a process of its own."""
    audit = empty_audit(subject, compiling)
    running, whole = ("process", "builder"), False

    def keep(kind: str, data: dict[str, Any]) -> None:
        nonlocal running, whole
        if kind == "check":
            running = data["check"], data["theme"]
        elif kind == "finding":
            audit.findings.append(Finding(**data))
        elif kind == "done":
            whole = True

    job, arguments = with_code([subject.model], run_audit, (subject, compiling))
    ended = run_in_process(job, arguments, log=log, on_message=keep)
    if not whole:  # how a process ends that has said everything is of no interest
        check, theme = running
        audit.findings.append(Finding(check, theme, "fail", f"{ended}; what comes after was not checked", 0.0))
    return audit


def empty_audit(subject: Subject, compiling: str) -> Audit:
    """Returns an audit in which nothing has been found yet."""
    settings: EngineSettings = subject.engine
    return Audit(
        model=subject.model,
        source=model_entry(subject.model).source,
        stem=subject.stem,
        input=format_input(subject.input),
        num_classes=subject.num_classes,
        batch_size=subject.batch_size,
        device=settings.device,
        precision=settings.precision,
        compile=compiling,
    )


def run_audit(subject: Subject, compiling: str, emit: Emit) -> None:
    """Runs every check on one network in this process; emits ``check`` before and ``finding`` after each.

    At the end it emits ``done``.
    """
    from resbench.audit.case import Case
    from resbench.audit.catalogue import CHECKS, run_check
    from resbench.precision import apply_precision

    apply_precision(subject.engine.precision)
    case = Case(subject, compiling)
    verdicts: dict[str, str] = {}
    for check in CHECKS:
        emit("check", {"check": check.name, "theme": check.theme})
        missing = [need for need in check.needs if verdicts[need] in ("fail", "skipped")]
        began = time.perf_counter()
        outcome = run_check(check, case) if not missing else None
        verdicts[check.name] = outcome.verdict if outcome else "skipped"
        detail = outcome.detail if outcome else f"needs the check {missing[0]!r}"
        finding = Finding(check.name, check.theme, verdicts[check.name], detail, time.perf_counter() - began)
        emit("finding", asdict(finding))
    emit("done", {})

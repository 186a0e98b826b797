"""Running the checks on networks, each network in a process of its own."""

from __future__ import annotations

import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch.nn.parameter import UninitializedParameter

from resbench.audit import arithmetic, compiled, gradients, modes, repeats, shapes
from resbench.audit.findings import Check, Finding, Outcome, failed
from resbench.audit.specimen import Specimen
from resbench.errors import InputError, in_one_line
from resbench.executors.process import run_in_process
from resbench.planning.arms import expand_models
from resbench.planning.settings import resolve_engine
from resbench.plugins import place_in, with_code
from resbench.precision import apply_precision
from resbench.registry import check_stem, model_entry
from resbench.suite import EngineOptions, parse_input

CHECKS = (
    Check("logits", shapes.logits),
    Check("batch of 1 in training", shapes.one_image_in_training),
    Check("number of classes", shapes.other_classes),
    Check("channels", shapes.other_channels),
    Check("other stem", shapes.other_stem),
    Check("other image sizes", shapes.other_sizes),
    Check("parameters", gradients.shared),
    Check("gradients", gradients.reached),
    Check("idle biases", gradients.idle_biases),
    Check("unused layers", gradients.unused),
    Check("train() and eval()", modes.switching),
    Check("training mode", modes.training),
    Check("evaluation mode", modes.evaluation),
    Check("neighbours in a batch", modes.neighbours),
    Check("hidden state", modes.hidden_state),
    Check("seeds", repeats.seeds),
    Check("checkpoint", repeats.checkpoint),
    Check("repeated training", repeats.training_steps),
    Check("FLOPs", arithmetic.flops),
    Check("channels_last", arithmetic.channels_last),
    Check("bf16", arithmetic.bf16),
    Check("one graph", compiled.whole_graph),
    Check("torch.compile", compiled.compiled),
    Check("CUDA graph", compiled.cuda_graph),
    Check("learning", compiled.learning),
)
"""In the order of the report."""

NO_NETWORK = "build"
"""The check that everything else needs."""


@dataclass
class Audit:
    """What was found of one network."""

    model: str
    stem: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``fail`` where a check failed, ``warn`` where one warns, else ``pass``."""
        verdicts = {finding.verdict for finding in self.findings}
        return next((worst for worst in ("fail", "warn") if worst in verdicts), "pass")

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        findings = [finding.to_dict() for finding in self.findings]
        return {"model": self.model, "stem": self.stem, "verdict": self.verdict, "findings": findings}


def audit(
    specimen: Specimen,
    checks: Sequence[Check] = CHECKS,
    *,
    on_check: Callable[[str], None] = lambda name: None,
    on_finding: Callable[[Finding], None] = lambda finding: None,
) -> list[Finding]:
    """Runs checks on a network, in this process.

    Args:
        specimen: The network and its settings.
        checks: Which, in their order.
        on_check: Told the name of each as it begins.
        on_finding: Told of each as it is found.

    Returns:
        One a check; one alone where the network cannot be built at all. What a network raises is a failure of that
        check, with file and line where they are of a user's code.
    """
    findings = []
    for check in (Check(NO_NETWORK, _build), *checks):
        on_check(check.name)
        outcome = _run(check, specimen)
        finding = Finding(check.name, outcome.verdict, outcome.detail)
        findings.append(finding)
        on_finding(finding)
        if check.name == NO_NETWORK and outcome.verdict == "fail":
            break
    return findings


def _build(specimen: Specimen) -> Outcome:
    """The network can be built and gives logits."""
    model = specimen.build()
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            return failed(f"{name} has no size before the first batch (a lazy layer): give sizes")
    specimen.subject.check_logits()
    count = sum(parameter.numel() for parameter in model.parameters())
    return Outcome("pass", f"{count:,} parameters")


def _run(check: Check, specimen: Specimen) -> Outcome:
    """Runs one check."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return check.run(specimen)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        where = place_in(specimen.entry, error)
        return failed(f"{where}: {in_one_line(error)}" if where else in_one_line(error))


def audit_job(specimen: Specimen, emit: Callable[[str, dict[str, Any]], None]) -> None:
    """Audits a network in this process and emits ``check`` and ``finding`` as it goes."""
    apply_precision(specimen.engine.precision)
    audit(
        specimen,
        CHECKS,
        on_check=lambda name: emit("check", {"name": name}),
        on_finding=lambda finding: emit("finding", finding.to_dict()),
    )


def audit_models(
    models: Sequence[str],
    *,
    stem: str = "source",
    input_shape: str = "3x32x32",
    num_classes: int = 10,
    batch_size: int = 4,
    engine: dict[str, Any] | None = None,
    on_audit: Callable[[Audit], None] = lambda audited: None,
    on_check: Callable[[str, str], None] = lambda model, check: None,
) -> list[Audit]:
    """Audits networks, each in a process of its own: one that takes its process along costs itself alone.

    Args:
        models: Registry names; wildcards are welcome.
        stem: ``source`` or ``cifar``.
        input_shape: Such as ``3x32x32``.
        num_classes: Width of the logits.
        batch_size: Images of a batch, at least 2.
        engine: Fields of :class:`~resbench.suite.EngineOptions` that differ from the defaults.
        on_audit: Told of each network when it is done.
        on_check: Told which network's which check begins.

    Returns:
        One a network, in their order.

    Raises:
        InputError: A name or a setting is wrong.
        KeyboardInterrupt: The user pressed Ctrl-C; the process has been ended.
    """
    names = expand_models([*models])
    for name in names:
        check_stem(model_entry(name), stem)
    if batch_size < 2:
        raise InputError(f"the batch size is {batch_size}: a batch has two images or more here.")
    settings = resolve_engine(EngineOptions(**{"precision": "fp32", **(engine or {})}))
    settings = replace(settings, cuda_graph=False)
    shape = parse_input(input_shape)
    audits = []
    with tempfile.TemporaryDirectory(prefix="resbench-") as scratch:
        for number, name in enumerate(names):
            specimen = Specimen(name, stem, shape, num_classes, batch_size, settings)
            audits.append(_audit_apart(specimen, Path(scratch) / f"{number}.log", on_check))
            on_audit(audits[-1])
    return audits


def _audit_apart(specimen: Specimen, log: Path, on_check: Callable[[str, str], None]) -> Audit:
    """Audits one network in a process of its own."""
    audited = Audit(specimen.model, specimen.stem)
    running = [NO_NETWORK]

    def hear(kind: str, data: dict[str, Any]) -> None:
        if kind == "check":
            running[0] = data["name"]
            on_check(specimen.model, data["name"])
        elif kind == "finding":
            audited.findings.append(Finding(**data))

    job, arguments = with_code([specimen.model], audit_job, (specimen,))
    ended = run_in_process(job, arguments, log=log, on_message=hear)
    if ended.code != 0:
        audited.findings.append(Finding(running[0], "fail", str(ended)))
    return audited

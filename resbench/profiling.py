"""Measuring networks without training them: what ``resbench profile`` does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resbench.errors import NothingMeasuredError
from resbench.executors.process import run_in_process
from resbench.measure.profile import Subject, run_profile
from resbench.planning.arms import expand_models
from resbench.planning.fitting import check_images, keep_fitting
from resbench.planning.precision_choice import settle_precision
from resbench.planning.settings import resolve_engine
from resbench.plugins import with_code
from resbench.registry import check_stem, model_entry
from resbench.schema import ProfileRecord, columns
from resbench.store import Store
from resbench.suite import EngineOptions, parse_input

if TYPE_CHECKING:
    import pandas as pd


def profile_models(
    models: list[str],
    *,
    stem: str = "source",
    input_shape: str = "3x32x32",
    num_classes: int = 10,
    batch_sizes: list[int],
    engine: dict[str, Any] | None = None,
    out: Path | None = None,
    on_message: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """Measures networks at one or more batch sizes, each in a process of its own.

    Args:
        models: Registry names; wildcards are welcome.
        stem: ``source`` or ``cifar``.
        input_shape: Such as ``3x32x32``.
        num_classes: Width of the logits.
        batch_sizes: Images a batch.
        engine: Fields of :class:`~resbench.suite.EngineOptions` that differ from the defaults.
        out: A results folder that gets ``profile`` events and ``profile.csv``.
        on_message: Told what is being measured, and what failed.

    Returns:
        The columns of :class:`~resbench.schema.ProfileRecord`; ``attrs["failed"]`` says how many cells failed.

    Raises:
        InputError: A name or a setting is wrong, or the folder cannot be written to.
        NothingMeasuredError: Every cell failed.
    """
    import pandas as pd

    settings = resolve_engine(EngineOptions(**(engine or {})))
    shape = parse_input(input_shape)

    def check(name: str) -> None:
        check_stem(model_entry(name), stem)
        check_images(name, stem, shape, num_classes)

    names = keep_fitting(
        expand_models(models),
        models,
        check,
        what=f"the stem {stem!r} and images of {input_shape}",
        on_left_out=on_message,
        on_message=on_message,
    )
    subjects = [
        Subject(name, stem, shape, num_classes, batch_size, settings) for name in names for batch_size in batch_sizes
    ]
    settings = settle_precision(settings, subjects, on_message)
    subjects = [replace(subject, engine=settings) for subject in subjects]
    store = Store(out, create=True) if out else None
    rows: list[dict[str, Any]] = []

    def keep(kind: str, data: dict[str, Any]) -> None:
        if kind == "notice":
            on_message(data["text"])
        if kind == "profile":
            rows.append(data)
            if store:
                store.append("profile", data)

    try:
        with tempfile.TemporaryDirectory(prefix="resbench-") as scratch:
            for number, subject in enumerate(subjects, start=1):
                on_message(f"[{number}/{len(subjects)}] {subject.model} at batch {subject.batch_size}")
                measured = len(rows)
                job, arguments = with_code([subject.model], run_profile, (subject,))
                ended = run_in_process(job, arguments, log=Path(scratch) / "log", on_message=keep)
                if len(rows) == measured:
                    on_message(f"{subject.model} at batch {subject.batch_size} failed: {ended}")
    finally:
        if store and rows:  # after Ctrl-C too: what was measured is kept
            store.derive()
    if not rows:
        raise NothingMeasuredError("nothing was measured: every network failed.")
    frame = pd.DataFrame(rows, columns=columns(ProfileRecord))
    frame.attrs["failed"] = len(subjects) - len(rows)
    return frame

"""``python -m benchmarks.timm_families``: profiles and trains the smallest network of every family of timm.

A family is a module of timm. Of each the network with the fewest parameters is planned, profiled and trained for two
steps, as ``resbench bench`` does it, on images of the size that it is made for. Prints a Markdown table of how each
ended, or writes it to a file with ``--out``. It takes about an hour on two CPU cores; the
records stay in ``--records``, and the same command goes on from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import typer

from resbench.console import complain
from resbench.errors import InputError, in_one_line
from resbench.report.numbers import escape
from resbench.run import run_suite
from resbench.schema import format_input
from resbench.suite import make_suite

MOST_PARAMETERS = 100_000_000
"""Two steps of a larger network take minutes and most of 24 GiB."""
COLUMNS = "| family | network | input | parameters | MACs | profile | two steps | notes |"


def size(name: str) -> int:
    """Returns how many parameters a network of timm has."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in timm.create_model(name).parameters())


def smallest(family: str) -> str:
    """Returns the network of a module of timm that has the fewest parameters, those of its own tests left out."""
    return min(timm.list_models(module=family, exclude_filters="test_*"), key=size)


def image_size(name: str) -> str:
    """Returns the input that a network of timm is made for, such as ``3x224x224``."""
    config = timm.get_pretrained_cfg(name)
    return format_input(config.input_size if config else (3, 224, 224))


def outcome(name: str, records: Path) -> dict[str, Any]:
    """Plans, profiles and trains one network, and returns what there is to say of it.

    Returns:
        ``input``, and either why it was ``refused`` or ``left out``, or ``row``, the trial's row of ``trials.csv``.
    """
    shape = image_size(name)
    if size(name) > MOST_PARAMETERS:
        return {"input": shape, "left out": f"{size(name):,} parameters are too many for this machine"}
    suite = {"name": "timm-families", "models": [f"timm:{name}"], "dataset": "shapes10", "input": shape}
    options = {"budget": "2steps", "batch_size": 2, "test_images": 20, "device": "cpu", "precision": "fp32"}
    try:
        results = run_suite(
            make_suite(suite, calibrate=False, estimate=False, trial_timeout="10min", **options),
            out=records / name,
            progress=False,
        )
    except InputError as error:
        return {"input": shape, "refused": in_one_line(error)}
    return {"input": shape, "row": results.trials.astype(object).where(results.trials.notna(), None).iloc[-1].to_dict()}


MEASURED = ("params", "macs", "macs_fvcore", "inference_memory_mib", "latency_ms_p50", "forward_ms", "backward_ms")
"""Columns of a complete profile."""


def profile_of(row: dict[str, Any]) -> str:
    """Says whether a trial's profile is complete, or what of it is missing."""
    missing = [name for name in MEASURED if row[name] is None]
    if len(missing) == len(MEASURED):
        return "no"
    return f"without {', '.join(missing)}" if missing else "complete"


def line(family: str, name: str, found: dict[str, Any]) -> str:
    """A family's row of the table."""
    start = f"| {family} | `{name}` | {found['input']} |"
    for why in {"refused", "left out"} & found.keys():
        return f"{start} | | {why} | {why} | {escape(found[why])} |"
    row = found["row"]
    counts = " | ".join("" if row[name] is None else f"{int(row[name]):,}" for name in ("params", "macs"))
    said = "; ".join(filter(None, (row["error"], row["notes"])))
    return f"{start} {counts} | {profile_of(row)} | {row['status']} | {escape(said)} |"


def main(
    families: Annotated[list[str] | None, typer.Argument(help="Modules of timm. Default: all.")] = None,
    records: Annotated[Path, typer.Option(help="Folder of the records; what ended there is not run again.")] = Path(
        "results/timm-families"
    ),
    out: Annotated[Path | None, typer.Option(help="A file that gets the table, instead of the terminal.")] = None,
) -> None:
    """Profiles and trains the smallest network of each family, and prints a table of how they ended."""
    rows, found = [], []
    for family in families or timm.list_modules():
        name = smallest(family)
        complain(f"{family}: timm:{name}")
        found.append(outcome(name, records))
        rows.append(line(family, name, found[-1]))
    refused, left_out = (sum(why in one for one in found) for why in ("refused", "left out"))
    ended = [one["row"] for one in found if "row" in one]
    complete = sum(profile_of(row) == "complete" for row in ended)
    trained = sum(row["status"] == "ok" for row in ended)
    head = (
        f"timm {timm.__version__}, {len(found)} families: {trained} trained two steps ({complete} of all with a "
        f"complete profile), {refused} refused with a reason, {left_out} left out, {len(ended) - trained} ended "
        "otherwise."
    )
    text = "\n".join([head, "", COLUMNS, "|:--|:--|:--|--:|--:|:--|:--|:--|", *rows, ""])
    out.write_text(text, encoding="utf-8") if out else typer.echo(text)


if __name__ == "__main__":
    typer.run(main)

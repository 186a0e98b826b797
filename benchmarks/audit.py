"""``python -m benchmarks.audit``: audits every network of the registry and twenty of timm, and prints what was found.

It takes half an hour on two CPU cores. What it prints is Markdown: a row for each network, with every check that did
not pass but for those that need another device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from resbench.audit.findings import Audit
from resbench.audit.run import audit_models
from resbench.console import complain
from resbench.report.numbers import escape


@dataclass(frozen=True)
class Group:
    """Networks that are audited on images of one size."""

    models: tuple[str, ...]
    input: str
    batch_size: int


GROUPS = (
    Group(("*",), "3x32x32", 8),
    Group(
        (
            "timm:resnet18", "timm:resnet50d", "timm:seresnet50", "timm:resnext50_32x4d", "timm:wide_resnet50_2",
            "timm:densenet121", "timm:efficientnet_b0", "timm:mobilenetv3_small_100", "timm:convnext_atto",
            "timm:regnety_002", "timm:vgg11_bn", "timm:resnest14d", "timm:skresnet18", "timm:cspresnet50", "timm:dla34",
            "timm:hrnet_w18_small", "timm:ghostnet_100", "timm:rexnet_100",
        ),
        "3x64x64",
        4,
    ),
    Group(("timm:vit_tiny_patch16_224", "timm:mixer_s32_224"), "3x224x224", 2),
)  # fmt: skip
"""Residual networks and their relatives, and what else timm has: dense, mobile, plain, multi-scale, without
convolutions. Images are small but where a network takes one size only."""


def row(audit: Audit) -> str:
    """A network's row of the table."""
    found = [one for one in audit.findings if one.verdict in ("warn", "fail")]
    said = "<br>".join(f"{one.verdict}: {one.check}: {escape(one.detail)}" for one in found)
    return f"| `{audit.model}` | {audit.input} | {audit.verdict} | {said} |"


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Which of them. Default: all.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, tf32 or bf16.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="A file that gets the table, instead of the terminal.")] = None,
) -> None:
    """Audits the networks and prints a table of what was found."""
    lines = ["| network | input | verdict | what was found |", "|:--|:--|:--|:--|"]
    for group in GROUPS:
        chosen = [name for name in group.models if not models or name in models]
        if chosen:
            options = {"device": device, "precision": precision}
            audits = audit_models(
                chosen, input_shape=group.input, batch_size=group.batch_size, engine=options, on_message=complain
            )
            lines += map(row, audits)
    text = "\n".join(lines)
    out.write_text(text + "\n", encoding="utf-8") if out else typer.echo(text)


if __name__ == "__main__":
    typer.run(main)

"""The commands around the benchmarks: what runs, in which order, and what is said of what did not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.harness import __main__ as command
from benchmarks.harness import kernels
from benchmarks.harness.catalogue import Entry
from benchmarks.harness.defaults import default_setting
from benchmarks.harness.rows import Row, Setting
from resbench.errors import InputError

SETTING = Setting("cpu", ("cnn", "resnet34"), "source", 4, "fp32", "noise", repeats=1, seconds=0.01)


def one_row(name: str, setting: Setting) -> list[Row]:
    """Stands in for a benchmark in a process of its own."""
    if name == "broken":
        raise RuntimeError("no such luck\nand why")
    return [Row(name, ", ".join(setting.models), "ratio", 1.0, 0.5, 2.0, 5)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"each": Entry(iter, each_model=True), "broken": Entry(iter), "once": Entry(iter)}  # type: ignore[arg-type]
    monkeypatch.setattr(command, "BENCHMARKS", entries)
    monkeypatch.setattr(command, "in_fresh_process", lambda function, *arguments: one_row(*arguments))


@pytest.mark.usefixtures("fake")
def test_a_failure_is_named_and_the_others_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["each", "broken", "once"], SETTING, tmp_path) == 1
    frame = pd.read_csv(tmp_path / "harness.csv")
    assert list(zip(frame.benchmark, frame.subject, strict=True)) == [
        ("each", "cnn"), ("each", "resnet34"), ("once", "cnn, resnet34"),
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "measuring each: resnet34" in said
    assert "failed: broken: RuntimeError: no such luck\n" in said
    assert "cnn, resnet34" in (tmp_path / "README.md").read_text()


@pytest.mark.usefixtures("fake")
def test_what_was_not_begun_in_time_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 30.0, 90.0, 91.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    assert command.run(["each", "once"], SETTING, tmp_path, minutes=1) == 2
    assert list(pd.read_csv(tmp_path / "harness.csv").subject) == ["cnn"]
    said = capsys.readouterr().err
    assert "each: resnet34: not begun within 1 minutes" in said
    assert "once: not begun within 1 minutes" in said


def test_an_unknown_benchmark_is_refused() -> None:
    app = typer.Typer()
    app.command()(command.main)
    result = CliRunner().invoke(app, ["stp", "--precision", "fp32"])
    assert result.exit_code == 2
    assert "unknown benchmark 'stp'. Did you mean step or startup?" in result.output


def test_a_processor_has_smaller_defaults_than_a_gpu() -> None:
    setting = default_setting("cpu", precision="fp32")
    five = ("d2l_resnet18", "resnet34", "resnet50", "se_resnet50", "resnet152")
    assert (setting.models, setting.stem, setting.batch_size) == (five, "source", 128)
    given = default_setting("cpu", models="cnn,resnet34", stem="cifar", batch_size=8, precision="bf16")
    assert (given.models, given.stem, given.batch_size) == (("cnn", "resnet34"), "cifar", 8)
    assert given.precision == "bf16"
    with pytest.raises(InputError, match="unknown model"):
        default_setting("cpu", models="resnet43", precision="fp32")


def test_a_profile_holds_the_steps_operators_and_adds_up() -> None:
    described, listed = kernels.shares(SETTING, "cnn")
    assert described == "cnn, source stem, batch 4, fp32, eager"
    by_name = {one.name: one for one in listed}
    assert by_name["aten::convolution_backward"].calls == 4  # cnn has four convolutions
    assert by_name["aten::_fused_sgd_"].calls == 1
    assert sum(one.share for one in listed) == pytest.approx(1)
    assert [one.ms for one in listed] == sorted((one.ms for one in listed), reverse=True)


def test_the_page_sums_the_rest_up() -> None:
    listed = [kernels.Share(f"op{number}", 2.0, 1.0, 1 / 25) for number in range(25)]
    page = kernels.page("what", "A Xeon", listed)
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == kernels.ROWS + 1
    assert [cell.strip() for cell in rows[-1].strip("|").split("|")] == ["`5 others`", "10.0", "5.00", "20.0"]

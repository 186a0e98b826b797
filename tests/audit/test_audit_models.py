"""Networks audited in processes of their own, and what ``resbench check`` prints of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from user_code import LINEAR, builder, forgetting, write

from resbench.audit import Audit, audit_models
from resbench.audit import run as audits
from resbench.audit.findings import Finding
from resbench.errors import InputError

Invoke = Callable[..., Any]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forgets what a test imports."""
    with forgetting():
        yield


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs an audit's job here, with two of its checks."""

    class Ended:
        code = 0

    def run(job: Callable[..., None], arguments: tuple[Any, ...], **options: Any) -> Ended:
        job(*arguments, options["on_message"])
        return Ended()

    monkeypatch.setattr(audits, "run_in_process", run)
    monkeypatch.setattr(audits, "apply_precision", lambda precision: None)


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves three checks."""
    chosen = [check for check in audits.CHECKS if check.name in ("logits", "batch of 1 in training", "CUDA graph")]
    monkeypatch.setattr(audits, "CHECKS", chosen)


def test_one_that_takes_its_process_along_costs_itself_alone(tmp_path: Path):
    # In real processes: one dies in the middle of a check, the next is audited all the same.
    path = write(
        tmp_path / "nets.py",
        "import os\nclass Dies(nn.Linear):\n    def forward(self, x):\n        x.device.type == 'meta' or os.abort()\n"
        "        return super().forward(x.flatten(1))\n",
        builder("dies", "Dies(3 * 8 * 8, num_classes)"),
    )
    from resbench.plugins import import_code

    import_code([str(path)])
    (dead,) = audit_models(["dies"], input_shape="3x8x8", engine={"device": "cpu"})
    assert [finding.check for finding in dead.findings] == ["build", "logits"]
    assert dead.verdict == "fail"
    assert "the process was killed by SIGABRT" in dead.findings[1].detail


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"models": ["resnet43"]}, "unknown model 'resnet43'"),
        ({"models": ["cnn"], "stem": "cifer"}, "unknown stem 'cifer'"),
        ({"models": ["cnn"], "batch_size": 1}, "the batch size is 1: a batch has two images or more"),
        ({"models": ["cnn"], "input_shape": "8"}, "cannot read the input '8'"),
    ],
)
def test_what_cannot_be_audited_is_refused(options: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said):
        audit_models(**options)


@pytest.mark.parametrize(
    ("verdicts", "worst"), [("pass skipped", "pass"), ("pass warn", "warn"), ("warn fail pass", "fail"), ("", "pass")]
)
def test_the_worst_finding_is_the_verdict(verdicts: str, worst: str):
    assert Audit("x", "source", [Finding("c", verdict) for verdict in verdicts.split()]).verdict == worst


@pytest.mark.usefixtures("in_this_process", "few_checks")
def test_the_verb_lists_what_was_found_and_fails_on_a_fault(invoke: Invoke, tmp_path: Path):
    wide = builder("wide", "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 11))")
    path = write(tmp_path / "nets.py", builder("sound", LINEAR), wide)
    done = invoke("check", "sound", "wide", "--import", path, "--input", "3x8x8", "--device", "cpu")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "sound, stem source, input 3x8x8: 3 of 3 checks passed",
        "wide, stem source, input 3x8x8: 0 of 1 check passed",
        "  FAIL  build                   ModelError: model 'wide' (nets.py:9) gives torch.float32 (2, 11) for two "
        "images, and logits (2, 10) are wanted: one float for each image and class.",
        "2 networks: 1 without a finding, 1 with faults",
    ]
    assert "failed: wide has a fault" in done.stderr
    alone = invoke("check", "sound", "--input", "3x8x8", "--device", "cpu")
    assert alone.exit_code == 0
    assert "  ok    logits                  (N, 10) float32" in alone.stdout
    assert "  -     CUDA graph              graphs need CUDA" in alone.stdout


@pytest.mark.usefixtures("in_this_process", "few_checks")
def test_json_holds_every_finding(invoke: Invoke, tmp_path: Path):
    path = write(tmp_path / "nets.py", builder("sound", LINEAR))
    done = invoke("check", "sound", "--import", path, "--input", "3x8x8", "--device", "cpu", "--json")
    assert done.exit_code == 0
    data = json.loads(done.stdout)
    assert (data["version"], data["input"]) == (1, "3x8x8")
    (network,) = data["networks"]
    assert (network["model"], network["stem"], network["verdict"]) == ("sound", "source", "pass")
    assert [finding["check"] for finding in network["findings"]] == [
        "build", "logits", "batch of 1 in training", "CUDA graph",
    ]  # fmt: skip


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("name", "known"), [("cnn", set()), ("d2l_resnet18", {"idle biases", "batch of 1 in training"})]
)
def test_of_the_projects_own_networks_is_known_what_is_to_be_known(name: str, known: set[str]):
    (audited,) = audit_models([name], input_shape="3x16x16", engine={"device": "cpu"})
    wrong = {finding.check: finding for finding in audited.findings if finding.verdict in ("warn", "fail")}
    assert set(wrong) == known
    assert {finding.verdict for finding in wrong.values()} <= {"warn"}

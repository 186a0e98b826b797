"""What `make latency` runs: the benchmarks themselves, on the smallest network, read as a user's program would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resbench import create_model

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_each_pass_of_a_network_is_timed_and_says_what_it_was(tmp_path: Path) -> None:
    record = tmp_path / "latency.json"
    flags = ["--models=cnn", "--batch-size=2", "--device=cpu", "--precision=fp32", f"--benchmark-json={record}"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "benchmarks/test_latency.py"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # no xdist's worker
    done = subprocess.run(
        [*command, "--benchmark-only", *flags], cwd=ROOT, env=alone, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    benchmarks = json.loads(record.read_text())["benchmarks"]
    assert [(one["name"], one["group"].split(",")[0]) for one in benchmarks] == [
        ("cnn", "1 forward"), ("cnn", "2 forward and loss"), ("cnn", "3 backward"),
    ]  # fmt: skip
    assert [one["extra_info"]["batch_size"] for one in benchmarks] == [1, 2, 2]
    params = sum(parameter.numel() for parameter in create_model("cnn", num_classes=10).parameters())
    for one in benchmarks:
        assert (one["extra_info"]["params"], one["stats"]["rounds"]) == (params, 10)
        assert one["extra_info"]["macs"] > params

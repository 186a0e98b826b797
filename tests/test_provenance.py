from __future__ import annotations

import json
import platform
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import resbench
from resbench import provenance
from resbench.schema import TrialRecord, columns


def test_it_holds_the_versions_that_are_installed() -> None:
    collected = provenance.collect()
    assert collected.torch == torch.__version__
    assert collected.torchvision == metadata.version("torchvision")
    assert collected.resbench == resbench.__version__
    assert collected.python == platform.python_version()


def test_every_field_is_a_column_of_a_trial_and_json() -> None:
    collected = provenance.collect().to_dict()
    assert set(collected) <= set(columns(TrialRecord))
    assert json.loads(json.dumps(collected)) == collected


def test_what_only_cuda_has_is_empty_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    collected = provenance.collect()
    assert (collected.cuda, collected.cudnn, collected.driver) == (None, None, None)


def fake_git(monkeypatch: pytest.MonkeyPatch, answers: dict[str, str | None]) -> None:
    monkeypatch.setattr(provenance, "_git", lambda *arguments: answers[arguments[0]])


@pytest.mark.parametrize(
    ("changes", "dirty", "digest"),
    [
        ("", False, None),
        ("abc", True, "ba7816bf8f01"),  # the first digits of the sha256 of "abc" in FIPS 180-2, appendix B.1
        (None, None, None),
    ],
)
def test_a_checkout_is_dirty_where_git_says_so_and_unknown_where_git_fails(
    monkeypatch: pytest.MonkeyPatch, changes: str | None, dirty: bool | None, digest: str | None
) -> None:
    fake_git(monkeypatch, {"rev-parse": "ab" * 20, "diff": changes})
    collected = provenance.collect()
    assert (collected.git_sha, collected.git_dirty, collected.git_diff_hash) == ("ab" * 20, dirty, digest)


def test_a_copy_without_its_repository_is_of_the_commit_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_git(monkeypatch, {"rev-parse": None})
    monkeypatch.setenv("RESBENCH_GIT_SHA", "cd" * 20)
    collected = provenance.collect()
    assert (collected.git_sha, collected.git_dirty, collected.git_diff_hash) == ("cd" * 20, None, None)
    assert provenance.software()["commit"] == "cd" * 20


@pytest.mark.parametrize(("git", "named"), [("ab" * 20, "cd" * 20), (None, "main"), (None, "")])
def test_the_environment_names_no_other_commit_than_gits_and_nothing_that_is_none(
    monkeypatch: pytest.MonkeyPatch, git: str | None, named: str
) -> None:
    fake_git(monkeypatch, {"rev-parse": git, "diff": ""})
    monkeypatch.setenv("RESBENCH_GIT_SHA", named)
    assert provenance.collect().git_sha == git


def test_the_version_is_that_of_the_project_file() -> None:
    project = tomllib.loads((Path(resbench.__file__).parents[1] / "pyproject.toml").read_text())
    assert resbench.__version__ == project["project"]["version"]


def test_an_installed_package_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_git(monkeypatch, {"rev-parse": None})
    collected = provenance.collect()
    assert (collected.git_sha, collected.git_dirty, collected.git_diff_hash) == (None, None, None)


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 20)])
def test_a_git_that_is_missing_or_hangs_is_no_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(*arguments: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert provenance._git("rev-parse", "HEAD") is None


def test_the_processor_is_named_with_its_threads() -> None:
    name, _, threads = provenance.host_cpu().rpartition(" x")
    assert name.strip()
    assert int(threads) == psutil.cpu_count()

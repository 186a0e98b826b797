"""What a notebook or a script uses: public names, ``run_suite``, results."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from records import make_record
from tiny_folder import make_tiny_folder
from user_code import forgetting

import resbench
from resbench.errors import InputError
from resbench.planning.plan import plan_suite
from resbench.store import Results, Store
from resbench.suite import Suite, load_suite


def test_run_suite_is_refused_in_the_process_of_a_trial(monkeypatch, tmp_path: Path) -> None:
    # As multiprocessing marks a process that reads the script of the one that started it.
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(InputError, match="below `if __name__ == '__main__':`"):
        resbench.run_suite("smoke", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite's file."""
    path = tmp_path / "mine.toml"
    path.write_text(
        f'models = ["cnn", "d2l_resnet18"]\ndataset = "folder:{make_tiny_folder(tmp_path / "tiny")}"\n'
        'budget = "1ep"\nbatch_size = 8\n[engine]\ndevice = "cpu"\n'
    )
    return path


@pytest.fixture
def ended(suite: Path, tmp_path: Path) -> Path:
    """A results folder where all of that has ended, so that nothing is left to run."""
    store = Store(tmp_path / "out", create=True)
    for trial in plan_suite(load_suite(str(suite))).trials:
        store.append("trial", make_record(trial))
    return store.folder


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forgets what a test imports."""
    with forgetting():
        yield


def test_every_public_name_is_there_and_has_a_docstring():
    for name in resbench.__all__:
        assert (getattr(resbench, name).__doc__ or "").strip(), name
    assert set(resbench.__all__) <= set(dir(resbench))
    assert resbench.__version__ == importlib.metadata.version("resbench")
    assert (Path(resbench.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("form", ["path", "text", "suite"])
def test_a_suite_is_a_path_a_text_or_a_suite_and_gives_frames(form: str, suite: Path, ended: Path):
    given: dict[str, str | Path | Suite] = {"path": suite, "text": str(suite), "suite": load_suite(str(suite))}
    results = resbench.run_suite(given[form], out=ended)
    assert isinstance(results, Results)
    for frame in (results.trials, results.epochs, results.summary, results.profile, results.pairwise):
        assert isinstance(frame, pd.DataFrame)
    assert results.trials["model"].tolist() == ["cnn", "d2l_resnet18"]
    assert (ended / "trials.csv").is_file()
    assert repr(results) == f"Results({str(ended)!r}: 2 trials of cnn, d2l_resnet18; 2 ok)"


def test_what_the_command_line_would_warn_of_is_a_warning(suite: Path, ended: Path, tmp_path: Path):
    (tmp_path / "broken_nets.py").write_text("1 / 0\n")
    with pytest.warns(UserWarning, match=r"broken_nets\.py:1: cannot be imported: ZeroDivisionError"):
        resbench.run_suite(suite, out=ended, imports=[str(tmp_path / "broken_nets.py")], progress=False)


def test_a_change_that_is_none_is_refused(suite: Path, ended: Path):
    with pytest.raises(InputError, match="unknown key 'budgett', did you mean 'budget'"):
        resbench.run_suite(suite, out=ended, budgett="2ep")


def test_a_network_of_the_session_itself_is_refused_before_anything_runs(suite: Path, tmp_path: Path):
    source = "@resbench.register_model('typed', source='x')\ndef f(*, num_classes, in_channels, stem):\n    pass\n"
    exec(compile(source, "<ipython-input-1>", "exec"), {"__name__": "__main__", "resbench": resbench})
    with pytest.raises(InputError, match=r"notebook or an interactive session.*imports=\['my_nets\.py'\]"):
        resbench.run_suite(suite, out=tmp_path / "new", models=["typed"])
    assert not (tmp_path / "new").exists()


def test_a_report_is_written_from_python(ended: Path):
    written = resbench.write_report(str(ended), most_plotted=0)
    assert {path.name for path in written} >= {"README.md", "report.html"}

"""No file that resbench reads can run code: no reader in the source that would, and a weights file that tries it."""

from __future__ import annotations

import ast
import contextlib
import pickle
from pathlib import Path

import pytest
import torch
from hostile import assert_one_message, invoke
from tiny_folder import make_tiny_folder
from world import Trap

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("resbench", "benchmarks") for path in (ROOT / room).rglob("*.py"))

FORBIDDEN = {
    *(
        f"{module}.{name}"
        for module in ("pickle", "_pickle", "cPickle", "dill", "cloudpickle")
        for name in ("load", "loads")
    ),
    *("pickle.Unpickler", "_pickle.Unpickler", "shelve.open", "marshal.load", "marshal.loads", "joblib.load"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "jsonpickle.decode"),
    *("pandas.read_pickle", "pandas.read_hdf", "torch.hub.load", "torch.jit.load", "torch.package.PackageImporter"),
    *("torch.serialization.add_safe_globals", "torch.serialization.safe_globals", "torch.ops.load_library"),
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path", "imp.load_source"),
    *("tarfile.open", "zipfile.ZipFile", "shutil.unpack_archive"),
}
"""What runs code of a file or of a text, or unpacks an archive: torchvision does, where its checksums allow it."""

LOADS_TENSORS = {"torch.load", "torch.hub.load_state_dict_from_url", "torch.utils.model_zoo.load_url"}
LOADS_TENSORS_AS = {"get_state_dict"}
"""Methods that load them, whatever they are called on."""


def faults(source: str) -> list[str]:
    """Says which calls in a source could run code of a file, each with its line."""
    parsed = ast.parse(source)
    names = _imported(parsed)
    found = []
    for call in (node for node in ast.walk(parsed) if isinstance(node, ast.Call)):
        name, options = _name(call.func, names), {word.arg: word.value for word in call.keywords}
        short = name.rpartition(".")[2]
        if name in FORBIDDEN:
            found.append(f"{call.lineno}: {name}")
        if (name in LOADS_TENSORS or short in LOADS_TENSORS_AS) and not _is(options.get("weights_only"), True):
            found.append(f"{call.lineno}: {name} without weights_only=True")
        if "allow_pickle" in options and not _is(options["allow_pickle"], False):
            found.append(f"{call.lineno}: {name} allows pickles")
        if name == "numpy.load" and len(call.args) > 1:
            found.append(f"{call.lineno}: {name} with arguments that have no name")
        if "shell" in options and not _is(options["shell"], False):
            found.append(f"{call.lineno}: {name} through a shell")
    return found


def _imported(parsed: ast.Module) -> dict[str, str]:
    """What each imported name stands for, wherever in the file it is imported."""
    names = {}
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def _name(node: ast.expr, names: dict[str, str]) -> str:
    """The dotted name of what is called, with its imports resolved."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_has_a_reader_that_runs_code(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


def test_every_source_was_looked_at() -> None:
    assert len(SOURCES) > 100
    assert any("torch.load(" in path.read_text(encoding="utf-8") for path in SOURCES)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path)",
        "import torch as t\nt.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=trusted)",
        "from torch import load\nload(path)",
        "from torch.hub import load_state_dict_from_url as fetch\nfetch(url)",
        "weights.get_state_dict(progress=False)",
        "import pickle\npickle.load(file)",
        "def read():\n    from pickle import loads as decode\n    return decode(data)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, None, True)",
        "import pandas as pd\npd.read_pickle(path)",
        "eval(text)",
        "import os\nos.system(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "import tarfile\ntarfile.open(path).extractall()",
        "import torch\ntorch.hub.load('owner/name', 'model')",
    ],
)
def test_a_reader_that_runs_code_would_be_noticed(source: str) -> None:
    assert len(faults(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path, map_location='cpu', weights_only=True)",
        "import numpy as np\nnp.load(path)\nnp.load(path, allow_pickle=False)",
        "model.eval()\nre.compile(pattern)\njson.load(file)",
    ],
)
def test_a_reader_of_plain_data_is_none_of_those(source: str) -> None:
    assert faults(source) == []


@pytest.mark.parametrize("protocol", ["zip archive", "bare pickle"])
def test_a_weights_file_that_runs_code_is_refused_by_bench_before_anything_is_measured(
    protocol: str, tmp_path: Path
) -> None:
    trap, weights = Trap(tmp_path / "sprung"), tmp_path / "weights.pt"
    if protocol == "zip archive":
        torch.save({"conv1.weight": trap}, weights)
    else:
        weights.write_bytes(pickle.dumps({"conv1.weight": trap}, protocol=2))
    data, out = make_tiny_folder(tmp_path / "tiny"), tmp_path / "out"
    suite = tmp_path / "suite.toml"
    suite.write_text(
        f"models = ['resnet152', 'cnn']\ndataset = 'folder:{data}'\nbatch_size = 8\nbudget = '1steps'\n"
        "[engine]\ndevice = 'cpu'"
    )
    result = invoke("bench", suite, "--weights", weights, "--out", out)
    assert_one_message(result, str(weights), "was refused", "Save a plain state dict")
    assert not (tmp_path / "sprung").exists()
    assert not out.exists()
    with contextlib.suppress(RuntimeError):  # it springs before anything is found to be missing
        torch.load(weights, weights_only=False)
    assert (tmp_path / "sprung").is_dir()

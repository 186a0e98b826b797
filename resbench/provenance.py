"""Where a number comes from: the code, the packages and the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import resbench


@dataclass(frozen=True)
class Provenance:
    """The provenance columns of ``trials.csv``."""

    git_sha: str | None
    git_dirty: bool | None
    git_diff_hash: str | None
    """The first 12 hexadecimal digits of the sha256 of what is not committed; ``None`` where all of it is."""
    resbench: str
    torch: str
    torchvision: str
    cuda: str | None
    cudnn: str | None
    driver: str | None
    python: str
    host_cpu: str

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return asdict(self)


def collect() -> Provenance:
    """Reads the versions of everything that could change a result.

    ``git_sha`` and ``git_dirty`` are those of the checkout that resbench runs from; ``None`` where it is
    installed from a package. A copy of a checkout without its ``.git`` (an image, a job's folder) is of the commit that
    ``RESBENCH_GIT_SHA`` names, and whether it was changed is not known.
    ``driver`` is the NVIDIA driver's version, ``None`` without CUDA.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    cudnn = torch.backends.cudnn.version() if has_cuda else None
    sha, changes = _commit()
    return Provenance(
        git_sha=sha,
        git_dirty=None if changes is None else bool(changes),
        git_diff_hash=_diff_hash(changes),
        resbench=resbench.__version__,
        torch=torch.__version__,
        torchvision=_version("torchvision"),
        cuda=torch.version.cuda if has_cuda else None,
        cudnn=str(cudnn) if cudnn else None,
        driver=_nvidia_driver() if has_cuda else None,
        python=platform.python_version(),
        host_cpu=host_cpu(),
    )


@cache
def package_digest() -> str:
    """Returns the sha256 of resbench's own source files: what a training is made with, whatever else changes."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def software(packages: Iterable[str] = ()) -> dict[str, str | None]:
    """Returns what decides a figure besides the machine: versions and the code's commit; torch is not imported.

    Args:
        packages: Others whose versions count too.
    """
    sha, changes = _commit()
    return {
        "resbench": resbench.__version__,
        "commit": sha,
        "uncommitted changes": _diff_hash(changes),
        "torch": _version("torch"),
        "torchvision": _version("torchvision"),
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
    }


def _commit() -> tuple[str | None, str | None]:
    """Returns the commit that resbench runs from, and the changes to it; ``None`` for what is not known."""
    sha = _git("rev-parse", "HEAD")
    if sha is not None:
        return sha, _git("diff", "HEAD", "--binary", "--no-ext-diff")
    named = os.environ.get("RESBENCH_GIT_SHA", "")
    return (named if re.fullmatch(r"[0-9a-f]{40}", named) and _pyproject().is_file() else None), None


def _pyproject() -> Path:
    """Returns where a checkout's pyproject.toml is, or would be."""
    return Path(__file__).resolve().parent.parent / "pyproject.toml"


def _diff_hash(changes: str | None) -> str | None:
    """Returns the first digits of the sha256 of what is not committed."""
    return hashlib.sha256(changes.encode()).hexdigest()[:12] if changes else None


def _version(package: str) -> str:
    """Returns an installed package's version."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str | None:
    """Runs git in the checkout that holds this file; ``None`` where that is not one of resbench's own."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _nvidia_driver() -> str | None:
    """Returns the NVIDIA driver's version."""
    import pynvml

    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
    except pynvml.NVMLError:
        return None
    return version.decode() if isinstance(version, bytes) else str(version)


def host_cpu() -> str:
    """Returns the processor's model name and how many of its threads this machine has."""
    import psutil

    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        name = found[1].strip() if found else name
    elif sys.platform == "darwin":
        done = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        name = done.stdout.strip() or name
    return f"{name} x{psutil.cpu_count(logical=True)}"

"""resbench: which residual network gives the most accuracy for what you can spend, on your machine."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resbench.registry import create_model, list_models, register_model
    from resbench.report import write_report
    from resbench.run import run_suite
    from resbench.store import Results, load_results

__all__ = ["Results", "create_model", "list_models", "load_results", "register_model", "run_suite", "write_report"]
__version__ = "0.1.0"

_HOMES = {
    "create_model": "resbench.registry",
    "list_models": "resbench.registry",
    "register_model": "resbench.registry",
    "run_suite": "resbench.run",
    "load_results": "resbench.store",
    "Results": "resbench.store",
    "write_report": "resbench.report",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that ``import resbench`` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'resbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Lists the public names."""
    return sorted(__all__)

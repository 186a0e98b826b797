from __future__ import annotations

import sys
import urllib.error
from pathlib import Path

import pytest

# ``records`` and ``tiny_folder`` lie one folder up, which pytest puts on the path only when it collects from there.
sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)

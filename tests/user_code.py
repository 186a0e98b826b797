"""A user's code on disk, and a registry that forgets it when a test is over."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from resbench import libraries, origins, plugins, registry

ROOT = Path(__file__).resolve().parent.parent
HEADER = "import resbench\nfrom torch import nn\n"


def builder(name: str, body: str = "nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))") -> str:
    """Returns the source of a registered builder, five lines of it, that returns what the body says."""
    return (
        f"\n@resbench.register_model({name!r}, source='mine')\n"
        f"def {name.replace('-', '_')}(*, num_classes=10, in_channels=3, stem='source'):\n"
        f"    '''A network of mine.'''\n"
        f"    return {body}\n"
    )


LINEAR = "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, num_classes))"
"""The body of a network that works on any image."""


def write(path: Path, *parts: str) -> Path:
    """Writes a Python file that begins with the imports it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(parts))
    return path


@contextlib.contextmanager
def forgetting() -> Iterator[None]:
    """Puts the registry, the modules and the places to look for them back as they were."""
    registry.list_models()
    kept = dict(registry._ENTRIES), dict(libraries._LIBRARIES), [*origins._FAULTS], [*plugins._ASKED]
    modules, places = set(sys.modules), [*sys.path]
    try:
        yield
    finally:
        for there, before in zip((registry._ENTRIES, libraries._LIBRARIES), kept, strict=False):
            there.clear()
            there.update(before)
        origins._FAULTS[:], plugins._ASKED[:], sys.path[:] = kept[2], kept[3], places
        for name in set(sys.modules) - modules:
            file = Path(getattr(sys.modules[name], "__file__", None) or "/").resolve()
            temporary = file.is_relative_to(Path(tempfile.gettempdir()).resolve())
            if temporary and not file.is_relative_to(ROOT):  # a checkout may be in a temporary folder
                del sys.modules[name]

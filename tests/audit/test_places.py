"""A finding names the network's own line and layer, and nothing of torch or of this project."""

from __future__ import annotations

import copy
from pathlib import Path

import broken_networks as tiny
import pytest
import torch
import torchvision

import resbench
from resbench.audit.places import describe, is_own, own_line


@pytest.mark.parametrize(
    ("file", "own"),
    [
        (__file__, True),
        ("/home/someone/my_nets.py", True),
        ("my_nets.py", True),
        (torchvision.models.resnet.__file__, True),
        (str(Path(resbench.__file__).parent / "models" / "parts" / "blocks.py"), True),
        (str(Path(resbench.__file__).parent / "audit" / "case.py"), False),
        (torch.nn.modules.conv.__file__, False),
        (copy.__file__, False),
        ("<frozen importlib._bootstrap>", False),
    ],
)
def test_whose_a_file_is(file: str, own: bool) -> None:
    assert is_own(file) is own


def test_the_innermost_line_of_the_network_counts() -> None:
    frames = [("/a/nets/mine.py", 3), ("/a/nets/parts.py", 7), (torch.nn.modules.conv.__file__, 500)]
    assert own_line(frames) == "nets/parts.py:7"
    assert own_line(frames[2:]) == ""
    assert own_line([("/x/lib/python3.11/site-packages/timm/layers/drop.py", 9)]) == "timm/layers/drop.py:9"


def test_an_error_inside_a_layer_names_the_layer() -> None:
    with pytest.raises(RuntimeError) as raised:
        tiny.Tiny().branch[0](torch.zeros(2, 3, 8, 8))
    assert "layer" not in describe(raised.value)  # it is the outermost module itself
    with pytest.raises(RuntimeError) as raised:
        tiny.WrongWidth(5)(torch.zeros(2, 3, 8, 8))
    said = describe(raised.value)
    assert said.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    line = (Path(tiny.__file__).read_text().splitlines()).index("        return self.head(self.features(images))") + 1
    assert said.endswith(f"(layer head (Linear), at audit/broken_networks.py:{line})")

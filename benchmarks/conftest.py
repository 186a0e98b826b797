"""Options of the latency benchmarks: ``pytest benchmarks/test_latency.py --device cuda --batch-size 128``."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("resbench")
    group.addoption("--device", default="auto", help="auto, cpu, mps, cuda or cuda:N")
    group.addoption("--precision", default="auto", help="auto, fp32, tf32 or bf16")
    group.addoption("--stem", default="source", help="source or cifar")
    group.addoption("--input", default="3x32x32", help="channels x height x width")
    group.addoption("--batch-size", type=int, default=32, help="images a training batch")
    group.addoption("--models", default="*", help="comma-separated names and wildcards")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "model" in metafunc.fixturenames:
        from resbench.planning.arms import expand_models

        names = metafunc.config.getoption("--models").split(",")
        metafunc.parametrize("model", expand_models(names), scope="module")

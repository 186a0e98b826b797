"""The pieces of the headline results: each is one or more command lines, in the order in which they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.headline.place import Command, Place
from resbench.data.specs import dataset_name

MODELS = ("d2l_resnet18", "resnet34", "resnet50", "se_resnet50", "resnet152")
BATCH_SIZES = {"cuda": (1, 2, 8, 32, 128, 512, 1024, 2048), "cpu": (1, 8, 64)}
"""Of the sweep; a processor needs minutes for more than 64 images."""
HARNESS = ("limits", "step", "source", "pipeline", "timm", "startup", "compile", "modes")
"""The harness benchmarks whose figures depend on the GPU, the most wanted first."""
NETWORK_BY_NETWORK = ("step", "modes")
QUALITIES = (50, 25)
"""JPEG qualities that the images are written at again; what comes of them says what the encoding costs."""
MODEL_OF_QUALITIES = "d2l_resnet18"
PYTEST = ("pytest", "-q", "-p", "no:cacheprovider", "--color=no")


@dataclass(frozen=True)
class Piece:
    """One piece: what it answers, and its command lines for a place."""

    says: str
    commands: Callable[[Place], Iterator[Command]]
    only_cuda: bool = False


def _tests(place: Place) -> Iterator[Command]:
    yield Command("tests", (*PYTEST, "-m", "gpu", "-rs"), needs_s=120, output=place.out / "gpu-tests.txt")


def _suites(place: Place) -> Iterator[Command]:
    yield _bench("suites", place, "headline", str(place.out), place.dataset)


def _harness(place: Place) -> Iterator[Command]:
    flags = ["--device", place.device, "--out", str(place.out / "harness")]
    if place.tiny:
        flags += ["--batch-size", "8", "--repeats", "1", "--seconds", "0.05"]
    for name in HARNESS[:2] if place.tiny else HARNESS:
        for model in _models(place) if name in NETWORK_BY_NETWORK else (None,):
            only = ("--models", model) if model else ()
            title = f"harness {name} {model}" if model else f"harness {name}"
            yield Command(title, ("benchmarks.harness", name, *flags, *only))


def _sweep(place: Place) -> Iterator[Command]:
    sizes = (1, 2) if place.tiny else BATCH_SIZES["cuda" if place.on_cuda else "cpu"]
    flags = ("--stem", "cifar", "--device", place.device, "--batch-size", ",".join(map(str, sizes)))
    for model in _models(place):
        arguments = ("resbench", "profile", model, *flags, "--out", str(place.out / "sweep"))
        yield Command(f"sweep {model}", arguments, needs_s=120)


def _latency(place: Place) -> Iterator[Command]:
    flags = ["--benchmark-only", "--benchmark-time-unit=ms", "--benchmark-columns=min,median,stddev,rounds"]
    flags += [f"--device={place.device}", f"--benchmark-json={place.out / 'latency.json'}"]
    if place.tiny:
        flags += ["--models=cnn", "--batch-size=2"]
    yield Command("latency", (*PYTEST, "benchmarks/test_latency.py", *flags), needs_s=90)


def _kernels(place: Place) -> Iterator[Command]:
    flags = ["--device", place.device, "--out", str(place.out / "kernels")]
    if place.tiny:
        flags += ["--batch-size", "8"]
    for model in _models(place):
        yield Command(f"kernels {model}", ("benchmarks.harness.kernels", model, *flags))


def _jpeg(place: Place) -> Iterator[Command]:
    limits = ("--train-images", "64", "--test-images", "64") if place.tiny else ()
    suite, stem = ("cifar10", "cifar") if place.on_cuda else ("cifar10-cpu", "source")
    for quality in QUALITIES:
        images = place.scratch / f"{dataset_name(place.dataset)}-q{quality}"
        arguments = (place.dataset, "--quality", str(quality), "--out", str(images), *limits)
        yield Command(f"jpeg images q{quality}", ("benchmarks.headline.reencode", *arguments), makes=images)
        flags = ("--models", MODEL_OF_QUALITIES, "--stem", stem)
        yield _bench(f"jpeg q{quality}", place, suite, str(place.out / f"jpeg-q{quality}"), f"folder:{images}", *flags)


def _bench(name: str, place: Place, suite: str, out: str, dataset: str, *flags: str) -> Command:
    arguments = ["resbench", "bench", suite, "--dataset", dataset, "--out", out, "--device", place.device]
    arguments += ["--no-estimate", *flags]
    if place.tiny:
        arguments += ["--budget", "1steps", "--batch-size", "8", "--seeds", "1", "--input", "3x8x8", "--no-calibrate"]
        arguments += ["--train-images", "64", "--test-images", "64"]
        arguments += [] if "--models" in flags else ["--models", ",".join(_models(place))]
    return Command(name, tuple(arguments), ends_itself=True)


def _models(place: Place) -> tuple[str, ...]:
    return ("cnn",) if place.tiny else MODELS


PIECES = {
    "tests": Piece("the tests that need a GPU", _tests, only_cuda=True),
    "suites": Piece("the collection headline: equal images with both stems, equal time, equal FLOPs", _suites),
    "harness": Piece("what the harness costs, and how far each network is from the floor", _harness),
    "sweep": Piece("latency, throughput and memory at every batch size", _sweep),
    "latency": Piece("forward and backward latency, as make latency measures it", _latency),
    "kernels": Piece("where the time of a step goes, kernel by kernel", _kernels),
    "jpeg": Piece("what JPEG costs: the same images, encoded worse, and worse again", _jpeg),
}
"""By name, in the order in which they are run."""

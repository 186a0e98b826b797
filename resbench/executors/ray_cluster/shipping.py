"""What a node must hold before trials run there, sent once a node: decoded images, weights, a user's code.

A trial on a node reads nothing by the driver's paths, which need not exist there. Images go by their fingerprint into
the node's cache of decoded images, files by the sha256 of what they hold; both are checked where they arrive.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resbench.data import cache
from resbench.data.cache import Decoded
from resbench.errors import InputError
from resbench.inputs import NAMED_WEIGHTS, Inputs
from resbench.plugins import Bundle, bundle_of, installed_code
from resbench.provenance import software
from resbench.schema import Trial
from resbench.source_files import DIGITS
from resbench.untrusted import user_path

WEIGHTS, DEFAULT_WEIGHTS, CODE = "weights", "default weights", "code"
"""What a file is for."""


@dataclass(frozen=True)
class ShippedFile:
    """A file that trials read."""

    role: str
    name: str
    """Of code, with the digest of what it is part of before it, and its folders."""
    sha256: str
    size: int

    @property
    def place(self) -> Path:
        """Where it stands on this machine, once it was sent."""
        if self.role == DEFAULT_WEIGHTS:  # where torchvision looks for it
            return torch_hub_checkpoints() / self.name
        if self.role == CODE:  # files that import each other lie as they did
            return _code() / self.name
        return cache.cache_root() / "shipped" / self.sha256[:16] / self.name


@dataclass(frozen=True)
class Manifest:
    """What a node must hold."""

    dataset: str
    """Its name."""
    fingerprint: str
    """Of its images and labels."""
    files: tuple[ShippedFile, ...]
    imports: tuple[str, ...] = ()
    """What trials import: code that is sent, relative to where that goes; or modules that are installed."""
    packages: tuple[str, ...] = ()
    """Packages whose networks they train, besides torchvision."""

    def software(self) -> dict[str, str | None]:
        """Returns what of this machine's software decides the trials' figures: versions, and installed code."""
        installed = installed_code(spec for spec in self.imports if "/" not in spec)
        return {**software(self.packages), **{f"the module {name}": digest for name, digest in installed.items()}}


def imports_there(inputs: Inputs) -> tuple[str, ...]:
    """Returns what a node imports for a user's networks, as :attr:`Manifest.imports` has it."""
    bundles = [(spec, bundle_of(spec)) for spec in inputs.imports]
    return tuple(f"{_bundled(bundle)}/{bundle.spec}" if bundle else spec for spec, bundle in bundles)


def _bundled(bundle: Bundle) -> str:
    """Names the folder of a bundle."""
    return bundle.digest[:DIGITS]


def _code() -> Path:
    """Returns where code goes on this machine."""
    return cache.cache_root() / "shipped" / "code"


def files_to_ship(inputs: Inputs, trials: Sequence[Trial]) -> dict[ShippedFile, Path]:
    """Lists the files that trials read besides the images, with where they are on this machine.

    Raises:
        InputError: One cannot be read.
    """
    paths: list[tuple[str, Path]] = []
    if inputs.weights not in (None, *NAMED_WEIGHTS):
        paths.append((WEIGHTS, user_path(str(inputs.weights))))
    if any(trial.weights == "default" for trial in trials):
        paths.append((DEFAULT_WEIGHTS, _default_weights()))
    files = {_describe(role, path): path for role, path in paths if role == WEIGHTS or path.is_file()}
    for bundle in filter(None, map(bundle_of, inputs.imports)):
        for path in bundle.files:
            name = f"{_bundled(bundle)}/{path.relative_to(bundle.root).as_posix()}"
            files[replace(_describe(CODE, path), name=name)] = path
    return files


def _describe(role: str, path: Path) -> ShippedFile:
    """Names a file by what it holds."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ShippedFile(role, path.name, digest, path.stat().st_size)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}.") from error


def _default_weights() -> Path:
    """Returns where torchvision's default weights are, which planning has fetched."""
    from torchvision.models import ResNet152_Weights

    return torch_hub_checkpoints() / Path(ResNet152_Weights.DEFAULT.url).name


def torch_hub_checkpoints() -> Path:
    """Returns where torch keeps what it downloads, without importing it."""
    cached = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or str(Path(cached) / "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def missing(manifest: Manifest) -> tuple[bool, tuple[ShippedFile, ...]]:
    """Returns whether this machine lacks the images, and which files it lacks."""
    return (
        cache.load_by_fingerprint(manifest.fingerprint, lambda text: None) is None,
        tuple(file for file in manifest.files if not _is_here(file)),
    )


def _is_here(file: ShippedFile) -> bool:
    """Returns whether a file is here, whole."""
    try:
        if file.place.stat().st_size != file.size:
            return False
        with file.place.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
    except OSError:
        return False


def take_images(manifest: Manifest, decoded: Decoded) -> None:
    """Puts images into this machine's cache.

    Raises:
        InputError: They are not those that were sent, or cannot be written.
    """
    if decoded.fingerprint != manifest.fingerprint:
        raise InputError(f"the images of {manifest.dataset} arrived damaged: their fingerprint is another")
    wrong: list[str] = []
    cache.save_shipped(decoded, name=manifest.dataset, report=wrong.append)
    if wrong:
        raise InputError(f"the images of {manifest.dataset} cannot be kept: {'; '.join(wrong)}")


def take_file(file: ShippedFile, contents: bytes) -> None:
    """Puts a file where it belongs on this machine; it appears whole or not at all.

    Raises:
        InputError: It is not what was sent, or cannot be written.
    """
    if hashlib.sha256(contents).hexdigest() != file.sha256:
        raise InputError(f"the {file.role} {file.name} arrived damaged: its sha256 is another")
    place = file.place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".new-", delete=False) as draft:
            draft.write(contents)
        Path(draft.name).replace(place)
    except OSError as error:
        raise InputError(f"the {file.role} cannot be written to {place}: {error.strerror or error}") from error


def inputs_here(inputs: Inputs, manifest: Manifest) -> Inputs:
    """Returns where a trial's data are on this machine: in its cache, not where the driver has them."""
    placed: Mapping[str, str] = {file.role: str(file.place) for file in manifest.files}
    imports = tuple(str(_code() / spec) if "/" in spec else spec for spec in manifest.imports)
    return replace(
        inputs,
        shipped=manifest.fingerprint,
        data_dir=None,
        weights=placed.get(WEIGHTS, inputs.weights),
        imports=imports,
    )

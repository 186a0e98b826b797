"""Networks from code that is not resbench's: a user's file, a module, an installed package.

A file or a module is named by ``--import``; a package that is installed names a module of its own in the entry-point
group ``resbench.models``. Either registers its networks with :func:`~resbench.registry.register_model` as it is
imported. Every process that builds a network imports the same code: a trial's, too.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from resbench import registry
from resbench.errors import InputError, in_one_line
from resbench.libraries import split_name
from resbench.origins import Fault, Origin, importing, note_fault
from resbench.registry import ModelEntry
from resbench.source_files import DIGITS, is_installed, root_of, source_digest, source_files, source_modules
from resbench.untrusted import printable, user_path

ENTRY_POINTS = "resbench.models"
"""The group in which an installed package names its module."""

NOTHING_REGISTERED = (
    "registers no network: decorate a builder with @resbench.register_model(name, source=...), at the module's level"
)
"""What is said of such code."""

_CALLS_LAYERS = os.path.join("torch", "nn", "modules", "module.py")  # noqa: PTH118 (the end of a path)
"""Every call of a layer goes through it."""
_PACKAGE = Path(__file__).resolve().parent

_ASKED: list[str] = []
"""Entry-point groups that were loaded in this process."""


def import_code(specs: Iterable[str]) -> list[Fault]:
    """Imports files and modules that register networks; what was imported before stays as it is.

    A file's folder, and for a module the current one, joins the end of the places where Python looks for imports.

    Args:
        specs: Each the path of a ``.py`` file or of a package's folder, or a dotted name such as ``package.module``,
            with the folder that the package lies in before it or without: ``src/package.module``.

    Returns:
        What went wrong in them. What else they register is there.

    Raises:
        InputError: There is no such file or module.
    """
    before = len(registry.faults())
    for spec in specs:
        load, folder = _located(spec)
        if folder not in sys.path:
            sys.path.append(folder)
        known = registry.registrations(), len(registry.faults())
        with _noting_faults(spec):
            if load() and (registry.registrations(), len(registry.faults())) == known:
                note_fault(Fault(printable(spec), NOTHING_REGISTERED))
    return registry.faults()[before:]


def load_installed() -> None:
    """Imports what installed packages name in the entry-point group, once a process."""
    if ENTRY_POINTS in _ASKED:
        return
    _ASKED.append(ENTRY_POINTS)  # first: what is loaded registers its networks, which asks again
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
        with _noting_faults(f"entry point {point.name} = {point.value}"):
            point.load()


def run_with_code(
    specs: Sequence[str],
    job: Callable[..., None],
    arguments: tuple[Any, ...],
    emit: Callable[[str, dict[str, Any]], None],
) -> None:
    """Imports a user's code in this process and runs a job there: for processes that build networks.

    Args:
        specs: As for :func:`import_code`; its faults were told where they were first imported.
        job: Called with the arguments and ``emit``.
        arguments: Of the job.
        emit: Takes what the job has to say.

    Raises:
        InputError: There is no such file or module any more.
    """
    for fault in import_code(specs):
        print(fault)
    job(*arguments, emit)


def with_code(
    models: Iterable[str], job: Callable[..., None], arguments: tuple[Any, ...]
) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """Returns a job and its arguments for another process, which imports what these networks need before.

    Args:
        models: Names of networks that are registered here.
        job: As :func:`run_with_code` takes it.
        arguments: Of the job.
    """
    specs = specs_of(registry.model_entry(name) for name in models)
    return (run_with_code, (specs, job, arguments)) if specs else (job, arguments)


def code_of(entry: ModelEntry) -> str | None:
    """Returns what a trial's ``code`` says of a network: the file that registered it, and the digest of its source.

    Args:
        entry: Of the registry.

    Returns:
        Such as ``my_nets.py 0123456789ab``, or ``timm 1.0.31`` for what timm builds; None for a network of resbench or
        of torchvision, whose version every row has.

    Raises:
        InputError: The network was typed into a session: no other process could build it.
    """
    origin = entry.origin
    if origin is None:
        return entry.source if split_name(entry.name)[0] == "timm" else None
    if not origin.file.is_file():
        raise InputError(
            f"the model {entry.name!r} was registered in a notebook or an interactive session, and each trial runs in "
            "a process of its own, which cannot see it. Write it to a file and give that: --import my_nets.py, or "
            "imports=['my_nets.py'] in Python."
        )
    name = origin.file.name if "." not in origin.module else origin.module
    return f"{printable(name)} {source_digest(origin.file, origin.module)[:DIGITS]}"


def specs_of(entries: Iterable[ModelEntry]) -> tuple[str, ...]:
    """Returns what another process imports to have these networks, as :func:`import_code` takes it, each once."""
    return tuple(dict.fromkeys(_spec_of(entry.origin) for entry in entries if entry.origin is not None))


def _spec_of(origin: Origin) -> str:
    """Returns what imports the code that registered something, wherever a process runs."""
    file = origin.file.resolve()
    if is_installed(file):
        return origin.module
    if "." not in origin.module and file.name != "__init__.py":
        return str(file)
    return str(root_of(file, origin.module).folder / origin.module)


def installed_code(specs: Iterable[str]) -> dict[str, str | None]:
    """Returns the digest of the source of each installed module that trials import; None for one that is not here.

    Args:
        specs: As of :func:`specs_of`; those of files are left out.
    """
    found: dict[str, str | None] = {}
    for name in specs:
        if os.sep in name:
            continue
        spec = importlib.util.find_spec(name) if _is_there(name, str(Path.cwd())) else None
        file = Path(spec.origin) if spec is not None and spec.origin else None
        found[name] = source_digest(file, name)[:DIGITS] if file is not None and file.is_file() else None
    return found


@dataclass(frozen=True)
class Bundle:
    """The source files that a spec means, to be sent elsewhere."""

    root: Path
    """Their names count from here."""
    files: tuple[Path, ...]
    digest: str
    """sha256, hexadecimal; alike wherever they lie."""
    spec: str
    """What imports them, from where ``root`` will be there."""


def bundle_of(spec: str) -> Bundle | None:
    """Returns the files of one of :func:`specs_of`; None for a module that is installed, which is not sent."""
    folder, _, name = spec.rpartition(os.sep)
    if not folder:
        return None
    module = name.removesuffix(".py") if name.endswith(".py") else name
    inside = Path(folder, *module.split("."))
    places = (Path(spec), inside.with_name(f"{inside.name}.py"), inside / "__init__.py")
    file = next(place for place in places if place.is_file())
    return Bundle(Path(folder), tuple(source_files(file, module)), source_digest(file, module), name)


def place_in(entry: ModelEntry, error: BaseException) -> str | None:
    """Returns where in a user's code an error came from, such as ``my_nets.py:31``; None if not from there.

    An error in the layers of a library that a network is made of came from where the network was registered.
    """
    if entry.origin is None:
        return None
    in_a_layer = any(file.endswith(_CALLS_LAYERS) for file, _ in _frames(error))
    return _place(error) or (str(entry.origin) if in_a_layer else None)


def _located(spec: str) -> tuple[Callable[[], bool], str]:
    """Returns what imports a spec and says whether that was news, and the folder that its own imports are looked up in.

    Raises:
        InputError: There is no such file or module.
    """
    path = user_path(spec)
    if path.is_dir() and (path / "__init__.py").is_file():
        path = path.resolve()
        return partial(_import_module, path.name, path.parent), str(path.parent)
    above, _, module = spec.rpartition(os.sep)
    if above and not path.is_file() and user_path(above).is_dir():
        folder = str(user_path(above).resolve())
        if not module.endswith(".py") and _is_there(module, folder):
            return partial(_import_module, module, Path(folder)), folder
    if spec.endswith(".py") or os.sep in spec:
        if not path.is_file():
            raise InputError(
                f"there is no file {printable(str(path))!r} to import. Give --import a Python file or a dotted module."
            )
        return partial(_import_file, path.resolve()), str(path.resolve().parent)
    here = str(Path.cwd())
    if not _is_there(spec, here):
        raise InputError(
            f"there is no module {printable(spec)!r} to import. Give --import a Python file, or a dotted module that "
            "is installed or lies in the current folder."
        )
    return partial(_import_module, spec), here


def _is_there(module: str, folder: str) -> bool:
    """Says whether Python can find a module, in a folder too."""
    if not all(map(str.isidentifier, module.split("."))):
        return False
    sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:  # of a package above it; what such a package misses itself is a fault of it
        return not f"{module}.".startswith(f"{error.name}.")
    except Exception:  # a package above it fails as it is imported: that will be told with its place
        return True
    finally:
        sys.path.remove(folder)


def _import_module(name: str, folder: Path | None = None) -> bool:
    """Imports a module, from a folder where one is given; returns whether it was not there yet."""
    is_news = name not in sys.modules
    if folder is not None:
        top = name.partition(".")[0]
        beside = (folder / f"{top}.py", folder / top / "__init__.py")
        _check_found({next((file for file in beside if file.is_file()), beside[1]): top})
    importlib.import_module(name)
    return is_news


def _check_found(modules: dict[Path, str]) -> None:
    """Checks that Python finds modules in the files that they are meant to be.

    Args:
        modules: The dotted name of each file; those inside a package are found where the package is.

    Raises:
        ImportError: One of them would be another file: an installed module, or one that was imported before.
    """
    for file, name in modules.items():
        if "." in name or not file.is_file():
            continue
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin and Path(spec.origin).resolve() != file.resolve():
            found = spec.origin if spec.has_location else f"Python's own {name}"
            raise ImportError(f"{name} is {found} in this process, and not {file}. Rename the latter.")


def _import_file(path: Path) -> bool:
    """Imports a file under its own name, or under another one where that is taken; returns whether it was not there."""
    files = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    if any(isinstance(file, str) and Path(file).resolve() == path for file in files):
        return False
    name = path.stem
    if name in sys.modules or not name.isidentifier():
        name = f"imported_{hashlib.sha256(bytes(path)).hexdigest()[:DIGITS]}"
    beside = {file: dotted for file, dotted in source_modules(path, name).items() if file != path}
    _check_found(beside)
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ImportError(f"Python cannot import {path.name}")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return True


@contextmanager
def _noting_faults(what: str) -> Iterator[None]:
    """Turns what goes wrong while a user's code is imported into a fault with its file and line."""
    with importing(what):
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: of a script that was not meant to be imported
            place = _place(error) or printable(what)
            note_fault(Fault(place, f"cannot be imported: {printable(in_one_line(error))}"))


def _place(error: BaseException) -> str | None:
    """Returns the innermost file and line of an error that is neither a library's nor resbench's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    own = (
        f"{Path(file).name}:{line}"
        for file, line in reversed([*_frames(error)])
        if not file.startswith("<") and not Path(file).is_relative_to(_PACKAGE) and not is_installed(file)
    )
    return next(own, None)


def _frames(error: BaseException) -> Iterator[tuple[str, int]]:
    """Yields file and line of every frame that an error went through, the innermost last."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        yield frame.f_code.co_filename, line

"""A Ray cluster, found or started for one run on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from resbench.conduct import Conduct
from resbench.errors import InputError, in_one_line

if TYPE_CHECKING:
    from resbench.executors.ray_cluster.cluster import RayCluster
    from resbench.executors.ray_cluster.joining import Needs

ADDRESS = "RAY_ADDRESS"
"""The environment variable that Ray's own tools take an address from."""
REACH_S = 10.0
"""How long a cluster may take to answer at all."""
AUTH_MODE, AUTH_TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
"""The environment variables that say who is let into a cluster."""
LEAST_STORE = 96 * 2**20
"""Bytes of the object store of a cluster that is started here: what Ray takes, and some room."""


def require_ray() -> None:
    """Imports Ray.

    Raises:
        InputError: It cannot be imported; the message says what to do.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # of a cluster that is started here
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray is going to do anyway, less a warning
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            f"--executor ray: it needs the package {error.name or 'ray'}, which is not installed. Install it: "
            "pip install 'resbench[ray]'. Or run the trials here, one after another, with --executor local."
        ) from error
    except Exception as error:  # packages that do not fit together raise all sorts
        raise InputError(
            f"--executor ray: the package ray cannot be imported ({in_one_line(error)}). Install it again: "
            "pip install 'resbench[ray]'."
        ) from error


@contextlib.contextmanager
def open_cluster(conduct: Conduct, needs: Needs) -> Iterator[RayCluster]:
    """Connects to a running cluster, or starts one on this machine and stops it again.

    Args:
        conduct: Which cluster, and how many processors a trial gets.
        needs: What nodes must hold.

    Raises:
        InputError: Ray is not installed, or there is no such cluster; the message says what to do.
    """
    require_ray()
    import ray

    from resbench.executors.ray_cluster.cluster import RayCluster

    address = conduct.ray_address or os.environ.get(ADDRESS) or None
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    _silence_ray()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": None}
    if address is None:
        quiet |= {"include_dashboard": False, "object_store_memory": LEAST_STORE + 2 * needs.size}
    else:
        _check_reachable(address)
    with _own_token() if address is None else contextlib.nullcontext():
        try:
            try:
                ray.init(address=address or "local", **quiet)
            except Exception as error:  # every layer of Ray has its own
                raise InputError(_unreachable(address, in_one_line(error))) from error
            with contextlib.suppress(ValueError):  # handlers belong to the main thread; Ray has put its own there
                for number, handler in handlers.items():
                    signal.signal(number, handler)
            yield RayCluster(conduct, needs)
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _own_token() -> Iterator[None]:
    """Lets nobody else into a cluster that lives inside the block, unless the environment says who is.

    Ray would keep a token of its own making in the user's home folder, and from then on take it for every cluster that
    is started there.
    """
    before = {name: os.environ.get(name) for name in (AUTH_MODE, AUTH_TOKEN)}
    if not any(before.values()):
        os.environ[AUTH_TOKEN] = _token()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@cache
def _token() -> str:
    """Returns this process's token: Ray reads one once."""
    return secrets.token_hex(32)


def _check_reachable(address: str) -> None:
    """Asks whether anyone listens, since Ray itself asks for minutes.

    Raises:
        InputError: Nobody does, or the address is none.
    """
    if address == "auto":
        return
    if address.startswith("ray://"):
        raise InputError(
            f"--ray-address {address}: a run cannot go through Ray Client. Start it on a node of the cluster, with "
            "--ray-address auto."
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"--ray-address {address!r} is no address. Give auto, or HOST:PORT such as 10.0.0.1:6379.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S):
            pass
    except OSError as error:
        raise InputError(_unreachable(address, error.strerror or str(error))) from error


def _unreachable(address: str | None, why: str) -> str:
    """Says that there is no cluster."""
    if address is None:
        return f"no Ray cluster could be started on this machine ({why})."
    return (
        f"no Ray cluster can be reached at {address} ({why}). Start one with `ray start --head` on its first node and "
        "`ray start --address=HOST:PORT` on the others, and run resbench on one of them; where they were given a "
        "token, with RAY_AUTH_MODE=token and that token too. Or leave --ray-address and "
        f"{ADDRESS} out: one is started on this machine."
    )


def _silence_ray() -> None:
    """Keeps Ray from printing that a worker died into what a person watches: a notice tells it, with the trial's name.

    Ray has no setting for it.
    """
    import ray._private.worker as worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *arguments, **keywords: None

"""Asking whether a server is there, before a download that would wait for a silent one without end."""

from __future__ import annotations

import threading
import urllib.request
from http.client import HTTPException

SOCKET_TIMEOUT_S = 10.0  # silence after which a download is given up
PROBE_TIMEOUT_S = 15.0  # bound on asking the server whether it is there, name resolution included


def probe(url: str) -> None:
    """Asks for the head of ``url``, in a thread because name resolution knows no timeout.

    Raises:
        TimeoutError: There is no answer in ``PROBE_TIMEOUT_S``.
        OSError, HTTPException, ValueError: urllib's own, for an answer that is none or a proxy that is not set right.
    """
    outcome: list[Exception | None] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "resbench"})
        try:
            with urllib.request.urlopen(request, timeout=SOCKET_TIMEOUT_S):
                outcome.append(None)
        except (OSError, HTTPException, ValueError) as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_S)
    if not outcome:
        raise TimeoutError(f"no answer from {url} in {PROBE_TIMEOUT_S:.0f} s")
    if outcome[0] is not None:
        raise outcome[0]

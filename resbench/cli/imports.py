"""``--import``: a user's code, imported in front of a person."""

from __future__ import annotations

from collections.abc import Sequence

from resbench.console import complain


def import_told(specs: Sequence[str] | None) -> None:
    """Imports what ``--import`` names and warns of what is wrong in it, and in what installed packages register.

    Raises:
        InputError: There is no such file or module.
    """
    from resbench.plugins import import_code
    from resbench.registry import faults

    import_code(specs or ())
    for fault in faults():
        complain(str(fault), label="warning")

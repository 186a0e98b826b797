"""The checks by their names."""

from __future__ import annotations

from resbench.audit.catalogue import CHECKS

BY_NAME = {check.name: check for check in CHECKS}

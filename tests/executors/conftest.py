"""Which test files can be imported here."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("ray") else ["test_cluster_nodes.py", "test_cluster_ray.py"]
"""What Ray itself is needed for, an extra; the cluster in memory needs none of it."""

"""Benchmarks of the harness itself: what it costs on top of the work that it measures.

    python -m benchmarks.harness                 # every row, or `make bench-harness`
    python -m benchmarks.harness step pipeline   # some of them

Every row compares two things measured side by side in one run: A B A B, the first pair dropped.
"""

"""Executors run planned trials, watch them, and hand their records to the store."""

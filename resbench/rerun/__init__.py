"""A stored trial found again in its records, its circumstances held to today's, and run once more."""

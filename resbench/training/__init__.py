"""The training step, the loop that spends the budget, and the time ledger."""

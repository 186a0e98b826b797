"""What a suite is going to cost, before it starts: a short measurement of each network, and arithmetic.

Nothing of it is a measurement of record: nothing is stored, and no table shows it.
"""

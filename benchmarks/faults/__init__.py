"""Runs that are killed, starved and broken, and what is left of their records once they have gone on.

``make faults`` does it all: a small suite is run once undisturbed; then again and again with one fault each, after
which the same command goes on until it is done. What it leaves must equal what the undisturbed run left, in all but
times.
"""

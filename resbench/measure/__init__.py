"""The instruments: arithmetic, memory and latency of a network, each measured in a pass of its own."""

"""Benchmarks: each prints what it measured on this machine. `python -m benchmarks` lists and runs them."""

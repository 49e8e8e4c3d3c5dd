"""Benchmarks of the packet codec beside those of other MQTT packages for Python.

One question per ``test_*.py``; ``python -m benchmarks`` asks them all, interleaved in one process,
prints the ratios and writes README.md and ratios.svg beside this file.
"""

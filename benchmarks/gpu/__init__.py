"""One GPU in a few minutes: ``python -m benchmarks --gpu``."""

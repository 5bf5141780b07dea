"""Every SR network of spandrel, tried once: ``python -m benchmarks --networks``."""

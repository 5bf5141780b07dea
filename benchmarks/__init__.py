"""Each row ours against the alternative; run: uv run --group bench python -m benchmarks."""

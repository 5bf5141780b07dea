"""Threads that read and write beside the work, and the workers of a dask cluster."""

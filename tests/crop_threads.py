"""The threads that read and cut crops, for tests that they end."""

import threading


def crop_threads() -> set[threading.Thread]:
    """Those that run now, of all streams; Zarr, dask and torch keep threads of their own."""
    return {t for t in threading.enumerate() if t.name.startswith(("reader", "cutter"))}

"""USR-DU: unsupervised real-world super-resolution with learned degradation uncertainty.

The library behind the ``usrdu`` commands.  It reads no command line, no environment variable and no
``params.yaml``: settings and paths are arguments.

The names below serve programs that reuse the maps; docs/library.md shows examples.  Each is
imported when it is first used, so ``import pipeline`` alone loads neither torch nor Zarr.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.base.errors import UserError
    from pipeline.crops.batches import Demand
    from pipeline.export.degrader import Degrader
    from pipeline.library.audit import audit_maps
    from pipeline.library.dataset import SampleDataset
    from pipeline.library.degrade import degrade
    from pipeline.library.maps import open_maps
    from pipeline.library.store import open_store
    from pipeline.library.stream import sample_stream
    from pipeline.sampling.calibration import load_calibration
    from pipeline.sampling.sampler import Draw, make_sampler
    from pipeline.stores.reader import Store

__all__ = [
    "Degrader",
    "Demand",
    "Draw",
    "SampleDataset",
    "Store",
    "UserError",
    "audit_maps",
    "degrade",
    "load_calibration",
    "make_sampler",
    "open_maps",
    "open_store",
    "sample_stream",
]

_MODULES = {
    "Degrader": "pipeline.export.degrader",
    "Demand": "pipeline.crops.batches",
    "Draw": "pipeline.sampling.sampler",
    "SampleDataset": "pipeline.library.dataset",
    "Store": "pipeline.stores.reader",
    "UserError": "pipeline.base.errors",
    "audit_maps": "pipeline.library.audit",
    "degrade": "pipeline.library.degrade",
    "load_calibration": "pipeline.sampling.calibration",
    "make_sampler": "pipeline.sampling.sampler",
    "open_maps": "pipeline.library.maps",
    "open_store": "pipeline.library.store",
    "sample_stream": "pipeline.library.stream",
}
"""Where each name is defined."""


def __getattr__(name: str) -> object:
    """Import a name on its first use (PEP 562).

    Raises:
        AttributeError: There is no such name.

    """
    if name not in _MODULES:
        raise AttributeError(f"module 'pipeline' has no attribute '{name}'")
    globals()[name] = value = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """All names, including those that were not imported yet."""
    return sorted({*globals(), *__all__})

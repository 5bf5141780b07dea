"""Parts for ``test_gpu``, in a module that imports little: their processes load it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.results import Law, Machine, Peak, Result
from benchmarks.gpu.run import Setting


def does(setting: Setting, scratch: Path, what: str) -> Iterator[Result]:
    """A part."""
    yield Law(f"{setting.size} in {scratch.name}", 1.0, 1.0, 0.0)
    match what:
        case "raises":
            raise MemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        case "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hangs":
            child = subprocess.Popen(["sleep", "600"])
            yield Machine(str(child.pid))
            time.sleep(600)
        case "exits":
            os._exit(7)
    yield Peak("float32", 3.0)


def fails_once(setting: Setting, scratch: Path) -> Iterator[Result]:
    """Fail, as forked processes do if the GPU was touched before."""
    del scratch
    before = setting.folder / "tried"
    if not before.exists():
        before.touch()
        raise RuntimeError("forked")
    yield Peak("float32", 1.0)


def takes(setting: Setting, scratch: Path, size: int) -> Iterator[Result]:
    """Hold some bytes."""
    del setting, scratch
    held = bytearray(size)
    yield Peak("float32", float(len(held)))

"""Results of finished work, kept so that the same command need not compute them again.

``dvc repro`` deletes the outputs of a stage before it runs the stage, and records new outputs only
once it has hashed and cached them.  If it is killed in between, it deletes them and runs the stage
again.  So a copy of the results is kept in the work folder, which DVC does not know.  The copy of a
store consists of hard links and takes no disk space.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.files import whole_folder, write_whole
from pipeline.base.hashes import code_hash, file_hash, fingerprint
from pipeline.stores.verify import verify

log = logging.getLogger(__name__)

NOTE = "finished.json"
"""Name of the file that describes the kept results; it is written last."""


class KeptResults:
    """The results of one computation, known by its settings, inputs and code.

    Args:
        work: Folder of all computations of this kind.
        key: Hash of the settings and inputs; see ``fingerprint``.
        results: Files and stores that the computation writes.
        module: Name of the module that computes them.  A change of its code, or of the code that it
            imports, makes the kept results invalid.

    """

    def __init__(self, work: Path, key: str, results: Sequence[Path], module: str) -> None:
        self.work, self.results = work, results
        self.code = code_hash(module)
        self.folder = work / f"{key}.finished"

    def restore(self, name: str) -> None:
        """Write the kept results, which ``metrics`` has checked, to their places again.

        Args:
            name: Name of the stage, for a message.

        Raises:
            UserError: A result cannot be written.

        """
        for path in self.results:
            source = self.folder / path.name
            if source.is_dir():
                with whole_folder(path) as partial:
                    _link(source, partial)
            else:
                write_whole(path, source.read_bytes())
        log.info(
            "%s: was finished before with these settings, inputs and code, so its results are "
            "taken from %s; delete that folder to compute them again",
            name,
            self.folder,
        )

    def metrics(self) -> dict[str, Any] | None:
        """The metrics that were kept with the results.

        None if nothing was kept, or it was computed by other code, or it is damaged.
        """
        kept = [self.folder / path.name for path in self.results]
        try:
            note = json.loads((self.folder / NOTE).read_bytes())
            known = note["seal"] == _seal(note) and note["code"] == self.code
            if not known or note["marks"] != [_mark(path) for path in kept]:
                return None
            metrics: dict[str, Any] = note["metrics"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None if any(path.is_dir() and verify(path).faults for path in kept) else metrics

    def keep(self, metrics: Mapping[str, object]) -> None:
        """Keep a copy of the results; older kept results of the same places are deleted.

        Nothing is kept if that is impossible: the disk is full, or has no hard links.
        """
        places = [str(path.resolve()) for path in self.results]
        try:
            with whole_folder(self.folder) as partial:
                for path in self.results:
                    _copy(path, partial / path.name)
                note = {
                    "places": places,
                    "marks": [_mark(partial / path.name) for path in self.results],
                    "code": self.code,
                    "metrics": dict(metrics),
                }
                (partial / NOTE).write_text(json.dumps({**note, "seal": _seal(note)}))
        except UserError:
            return
        for other in self.work.glob(f"*.finished/{NOTE}"):
            if other.parent != self.folder and _places(other) == places:
                shutil.rmtree(other.parent, ignore_errors=True)


def _seal(note: Mapping[str, Any]) -> str:
    return fingerprint({key: value for key, value in note.items() if key != "seal"})


def _mark(path: Path) -> str:
    """Hash of a file, or of the root of a store, which holds the checksums of the rest."""
    return file_hash(path / "zarr.json" if path.is_dir() else path)


def _places(note: Path) -> object:
    try:
        return json.loads(note.read_bytes())["places"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        _link(source, target)
    else:
        target.write_bytes(source.read_bytes())


def _link(source: Path, target: Path) -> None:
    """Fill a folder with hard links to the files of another one.

    Unlike the errors of shutil, those raised here have the name of a file.
    """
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.is_dir():
            _link(path, target / path.name)
        else:
            (target / path.name).hardlink_to(path)

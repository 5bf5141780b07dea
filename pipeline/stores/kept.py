"""Results of long work that is done, kept so that the same command need not do it again.

``dvc repro`` deletes what a stage wrote before it runs the stage, and takes note of new results
only once it has hashed and cached them: if it is killed in between, it deletes them and asks for
them again.  So a copy stays in the folder of work, which DVC does not know; that of a store is made
of hard links and takes no room.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.files import replace_folder, whole
from pipeline.base.hashes import code_hash, file_hash, fingerprint
from pipeline.stores.verify import verify

log = logging.getLogger(__name__)

NOTE = "finished.json"
"""Name of the file that says what was finished; it comes last."""


class KeptResults:
    """The results of one work with certain settings and inputs.

    Args:
        work: Folder of all works of this kind.
        key: Of the settings and inputs; see ``fingerprint``.
        results: Where the results go: files, and folders that are stores.
        module: Name of the module that computes them; other code of it, or of what it imports,
            might give other results.

    """

    def __init__(self, work: Path, key: str, results: Sequence[Path], module: str) -> None:
        self.work, self.results = work, results
        self.code = code_hash(module)
        self.folder = work / f"{key}.finished"

    def restore(self, name: str) -> None:
        """Give the results, which ``metrics`` found whole, their places again.

        Args:
            name: Of the stage, for a message.

        """
        for path in self.results:
            source = self.folder / path.name
            path.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                partial = path.with_name(f"{path.name}.again")
                shutil.rmtree(partial, ignore_errors=True)
                _copy(source, partial)
                replace_folder(partial, path)
            else:
                with whole(path) as partial:
                    _copy(source, partial)
        log.info(
            "%s: was finished before with these settings, inputs and code, so its results are "
            "taken from %s; delete that folder to compute them again",
            name,
            self.folder,
        )

    def metrics(self) -> dict[str, Any] | None:
        """The metrics that were kept with the results.

        None if the work was not finished before, or by other code, or what was kept is damaged.
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
        """Keep the results, which are in their places, instead of older ones of the same places.

        Where that is impossible (no room, a file system without hard links) nothing is kept.
        """
        partial = self.folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        places = [str(path.resolve()) for path in self.results]
        try:
            partial.mkdir(parents=True)
            for path in self.results:
                _copy(path, partial / path.name)
            note = {
                "places": places,
                "marks": [_mark(partial / path.name) for path in self.results],
                "code": self.code,
                "metrics": dict(metrics),
            }
            (partial / NOTE).write_text(json.dumps({**note, "seal": _seal(note)}))
            replace_folder(partial, self.folder)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            return
        for other in self.work.glob(f"*.finished/{NOTE}"):
            if other.parent != self.folder and _places(other) == places:
                shutil.rmtree(other.parent, ignore_errors=True)


def _seal(note: Mapping[str, Any]) -> str:
    return fingerprint({key: value for key, value in note.items() if key != "seal"})


def _mark(path: Path) -> str:
    """Tells a file, or a store by its root, which tells the rest."""
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
    """Make a folder of the same files; the errors name one of them, as those of shutil do not."""
    if source.is_dir():
        target.mkdir()
        for path in source.iterdir():
            _link(path, target / path.name)
    else:
        target.hardlink_to(source)

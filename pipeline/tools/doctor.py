"""Examination of the machine and the environment, for bug reports."""

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from pipeline.base.errors import UserError
from pipeline.base.params import Params, load_yaml, weights_files
from pipeline.crops.memory import GIB

PACKAGE = "usrdu"
LITTLE_DISK = 5 * GIB
"""Bytes of free disk space below which a remark is made.  The demo needs less, a training on a
published data set more."""


class Report(NamedTuple):
    """The findings of an examination."""

    facts: dict[str, str]
    """By name: versions, devices, memory, disk, the state of git and DVC."""
    remarks: list[str]
    """Optional things that are missing."""
    missing: list[str]
    """Required things that are missing."""


def examine(params: Path, data: Path) -> Report:
    """Examine the machine, the environment and the folder of the project.

    Args:
        params: The params file, in the folder of the project.
        data: Where the stages write.

    """
    facts = {
        "system": f"{platform.system()} {platform.machine()}, {psutil.cpu_count()} CPUs",
        "memory": _gib(psutil.virtual_memory().total, psutil.virtual_memory().available),
        "python": platform.python_version(),
    }
    missing = [] if sys.version_info >= (3, 11) else ["Python 3.11 or newer"]
    found, wrong = _packages()
    facts |= {**found, "torch": torch.__version__}
    missing += wrong
    remarks = []
    facts["devices"] = ", ".join(_devices()) or "CPU alone"
    if not torch.cuda.is_available():
        remarks.append("no CUDA device: trainings run on the CPU, so take the demo's sizes")
    disk = shutil.disk_usage(next(p for p in (data, *data.absolute().parents) if p.is_dir()))
    facts["disk"] = _gib(disk.total, disk.free)
    if disk.free < LITTLE_DISK:
        remarks.append(f"less than {LITTLE_DISK // GIB} GiB of free disk space")
    facts |= {
        "git": git_state(params.absolute().parent),
        "dvc state": _dvc(params.absolute().parent),
    }
    if facts["git"] == NO_GIT:
        missing.append("git, or a clone made with it: DVC needs both")
    missing += _named_files(params)
    return Report(facts, remarks, missing)


def _gib(total: int, free: int) -> str:
    return f"{total / GIB:.1f} GiB, {free / GIB:.1f} free"


def _packages() -> tuple[dict[str, str], list[str]]:
    """Versions of all dependencies, and messages on missing packages and wrong versions."""
    try:
        named = [re.split(r"[\[=;<>! ]", text)[0] for text in requires(PACKAGE) or ()]
        pinned = [re.search(r"==([^,; ]+)", text) for text in requires(PACKAGE) or ()]
    except PackageNotFoundError:
        return {}, [f"the package {PACKAGE} is not installed: run make setup"]
    found, wrong = {PACKAGE: version(PACKAGE)}, []
    for name, pin in zip(named, pinned, strict=True):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            wrong.append(f"the package {name} is not installed: run make setup")
            continue
        if pin and found[name].split("+")[0] != pin[1]:
            wrong.append(f"{name} is {found[name]}, not {pin[1]}: run make setup")
    return found, wrong


def _devices() -> Iterator[str]:
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        yield f"{torch.cuda.get_device_name(index)} ({_gib(total, free)})"
    if torch.backends.mps.is_available():
        yield "Apple GPU (MPS)"


NO_GIT = "none"


def git_state(folder: Path) -> str:
    """The commit, and the number of files that differ from it."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", *words], cwd=folder, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return NO_GIT
    return f"{commit}, {len(changes.splitlines())} files changed"


def _dvc(folder: Path) -> str:
    """The number of stages that are recorded in ``dvc.lock``."""
    if not (folder / ".dvc").is_dir():
        return "not initialised: run dvc init"
    if not (folder / "dvc.lock").is_file():
        return "no stage has run"
    try:
        stages = load_yaml(folder / "dvc.lock").get("stages")
    except UserError as error:
        return str(error)
    return f"{len(stages) if isinstance(stages, dict) else 0} stages in dvc.lock"


def _named_files(params: Path) -> list[str]:
    """Files of weights in the params file that do not exist, or the fault of the params file."""
    try:
        named = weights_files(Params(params))
    except UserError as error:
        return [str(error)]
    return [
        f"{key}: there is no file {path}"
        for key, path in named.items()
        if not (params.absolute().parent / path).is_file()
    ]

"""A clone of the working tree with tiny settings, in which commands run as a user runs them."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
AWKWARD = "it's mine & $(touch pwned) [1] 写真"
"""A name that a shell would take apart."""
TINY: dict[str, dict[str, object]] = {
    "machine": {"checkpoint_every": 2},
    "camera": {"rounds": 1},
    "train_dsn": {
        "features": 4,
        "blocks": 1,
        "discriminator_features": 2,
        "hr_patch": 64,
        "batch_size": 2,
        "crops_per_image": 1,
        "epochs": 2,
        "compile": False,
        "log_every": 2,
    },
    "train_srn": {
        "discriminator_features": 2,
        "lr_patch": 12,
        "batch_size": 2,
        "crops_per_image": 1,
        "epochs": 2,
        "compile": False,
        "log_every": 2,
    },
    "calibrate": {"blocks": 1000, "rounds": 0},
    "audit": {"worst_images": 1},
    "architectures": {
        "esrgan": {"options": {"num_filters": 4, "num_blocks": 1}},
        "compact": {"options": {"num_feat": 4, "num_conv": 1}},
    },
}


def environment() -> dict[str, str]:
    """That of this process, with this project's commands first and a name for git."""
    place = Path(sys.executable).parent
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
        "PATH": f"{place}{os.pathsep}{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }


def run(repo: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=repo, env=environment(), capture_output=True, text=True, check=False
    )


def ok(repo: Path, *words: str) -> str:
    done = run(repo, *words)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def ran(output: str) -> set[str]:
    """Stages that a (dry) ``dvc repro`` runs."""
    return set(re.findall(r"Running stage '([^']+)'", output))


def wait_for_the_queue(repo: Path) -> None:
    """Wait until every queued experiment ran, and all of them well."""
    for _ in range(300):
        shown = ok(repo, "dvc", "queue", "status")
        if not re.search(r"Queued|Running", shown.split("Worker")[0]):
            break
        time.sleep(1)
    if "Success" not in shown or "Failed" in shown:
        names = re.findall(r"^\w{7}\s+(\S+) .*Failed", shown, re.M)
        raise AssertionError(
            shown + "".join(run(repo, "dvc", "queue", "logs", n).stdout for n in names)
        )


def edit_params(
    repo: Path, changes: dict[str, dict[str, object]], file: str = "params.yaml"
) -> None:
    yaml = YAML()
    params = yaml.load((repo / file).read_text())
    for section, values in changes.items():
        for key, value in values.items():
            if isinstance(value, dict) and key in params[section]:
                params[section][key].update(value)
            else:
                params[section][key] = value
    with (repo / file).open("w") as target:
        yaml.dump(params, target)


def load_script(name: str) -> Any:
    """A script of docs/scripts as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/scripts/{name}.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def copy_repository(target: Path) -> None:
    """The working tree with tiny settings, committed; nothing has run in it."""
    listed = ok(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard")
    for name in listed.splitlines():
        if (ROOT / name).is_file() and not name.endswith(("metrics.json", "dvc.lock")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    edit_params(target, TINY)
    ok(target, "git", "init", "--quiet", "--initial-branch=main")
    ok(target, "git", "add", "--all")
    ok(target, "git", "commit", "--quiet", "--message=clone")


def clone(target: Path) -> set[str]:
    """Make the clone, run ``dvc repro`` once and commit the result; returns the stages that ran."""
    copy_repository(target)
    done = ran(ok(target, "dvc", "repro"))
    ok(target, "git", "add", "--all")
    ok(target, "git", "commit", "--quiet", "--message=first run")
    return done


def copy_first_run(target: Path, factory: pytest.TempPathFactory) -> set[str]:
    """Copy a ``clone``, which the first of all test processes to ask makes; returns its stages."""
    base = factory.getbasetemp()  # of this process; under xdist that of the run is its parent
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made, stages = shared / AWKWARD, shared / "first_run.json"
    with FileLock(shared / "first_run.lock"):
        if not stages.exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            stages.write_text(json.dumps(sorted(clone(made))))
    shutil.copytree(made, target, symlinks=True, dirs_exist_ok=True)
    return set(json.loads(stages.read_text()))

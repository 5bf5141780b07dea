"""Jobs of Slurm: workers of an export and an audit, and a training that reaches its time limit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import slurm
from conftest import World, compact, srn_settings
from doubles import write_dsn

from pipeline.base.errors import UserError
from pipeline.parallel import dask_workers
from pipeline.parallel.dask_workers import slurm_jobs

ROOT = Path(__file__).parents[2]
JOB = {
    "DASK_JOBQUEUE__SLURM__CORES": "1",
    "DASK_JOBQUEUE__SLURM__MEMORY": "2GiB",
    "DASK_JOBQUEUE__SLURM__WALLTIME": "00:10:00",
    "DASK_JOBQUEUE__SLURM__QUEUE": "short",
    "DASK_JOBQUEUE__SLURM__INTERFACE": "lo",
}
"""What a job of a dask worker is, as the environment says it."""


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="this machine has none"), slurm_jobs(2):
        pass
    monkeypatch.setattr(dask_workers, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"pip install 'usrdu\[slurm\]'"), slurm_jobs(2):
        pass


def test_a_job_that_is_not_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.install(tmp_path).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="needs cores and memory in dask"), slurm_jobs(1):
        pass


def usrdu(words: list[object], environment: dict[str, str]) -> str:
    """Run a command in a process of its own, whose configuration of dask is read at its start."""
    places = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "stages", *(str(word) for word in words)],
        env={**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_an_export_on_jobs_of_slurm_is_that_of_one_process(tiny: World, tmp_path: Path) -> None:
    """Real workers, which dask-jobqueue submits; only Slurm itself is a double."""
    dsn = write_dsn(tmp_path / "dsn.safetensors")
    export = {"tile": 64, "batch": 1, "mean_keep_bits": 10, "theta_keep_bits": 7}
    (tmp_path / "params.yaml").write_text(json.dumps({"export": export}))
    programs = slurm.install(tmp_path)
    made = {}
    for name, more in {"here": [], "jobs": ["--scheduler", "slurm:2"]}.items():
        out = tmp_path / name
        words: list[object] = ["export", "--hr", tiny.hr.path, "--dsn", dsn, *more]
        words += ["--maps", out / "maps.zarr", "--metrics", out / "m.json"]
        words += ["--params", tmp_path / "params.yaml", "--work", out / "work"]
        said = usrdu(words, {**programs, **JOB})
        made[name] = contents(out / "maps.zarr")
    assert "#SBATCH -p short" in said and "#SBATCH -t 00:10:00" in said
    assert made["here"] == made["jobs"]
    assert len(list(tmp_path.glob("*.sh"))) == 2
    for job in (1, 2):
        assert "Start worker at" in (tmp_path / f"{job}.out").read_text()


@pytest.mark.slow
def test_a_training_goes_on_after_its_time_limit(tiny: World, tmp_path: Path) -> None:
    """The script of the documentation: the job is put back, and ends like one without a limit."""
    programs = slurm.install(tmp_path)
    settings = srn_settings(epochs=600, log_every=100, adversarial_weight=0.0)
    content = {
        "train_srn": settings.model_dump(mode="json"),
        "machine": {"memory": "auto", "checkpoint_every": 600},
        "architectures": {"mine": compact().model_dump()},
    }
    (tmp_path / "params.yaml").write_text(json.dumps(content))
    for job, name in enumerate(("straight", "limited"), 1):
        words: list[object] = ["--arch", "mine", "--hr", tiny.hr.path, "--maps", tiny.maps.path]
        words += ["--out", tmp_path / name, "--work", tmp_path / f"work-{name}"]
        words += ["--params", tmp_path / "params.yaml"]
        environment = {**os.environ, **programs, "PYTHON": sys.executable}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        if name == "limited":
            environment["SLURM_LIMIT_AT"] = f"{tmp_path}/work-limited/**/checkpoint.pt"
        script = str(ROOT / "docs/scripts/train_srn.sbatch")
        submitted = subprocess.run(
            ["sbatch", script, *(str(word) for word in words)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert submitted.stdout == f"Submitted batch job {job}\n"
        assert slurm.wait(tmp_path, job) == 0, (tmp_path / f"{job}.out").read_text()
    said = (tmp_path / "2.out").read_text()
    assert said.count("goes on at step") == 1 and said.count("starts") == 1
    for file in ("srn.safetensors", "curves.csv"):
        assert (tmp_path / "limited" / file).read_bytes() == (
            tmp_path / "straight" / file
        ).read_bytes()

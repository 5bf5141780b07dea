"""Copies of stores: through a bucket and back, killed at every file, and into what is there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import fsspec
import pytest
from conftest import MACHINE, World, compact, srn_settings
from doubles import write_dsn
from moto.server import ThreadedMotoServer

from pipeline.base.errors import UserError
from pipeline.library import copying
from pipeline.library.copying import copy_store
from pipeline.stores.format import ARRAYS
from pipeline.stores.reader import Store

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
CALLS = """
import json, sys
from click.testing import CliRunner
from stages.cli import main
done = [CliRunner().invoke(main, words) for words in json.loads(sys.argv[1])]
print(json.dumps([(one.exit_code, one.output) for one in done]))
"""
"""A process calls commands: clients of S3 stay open to the end of theirs."""


class Bucket:
    """A bucket that commands find by the variables of their environment."""

    url = "s3://photographs"

    def __init__(self, endpoint: str) -> None:
        self.environment = {**KEYS, "AWS_ENDPOINT_URL": endpoint}
        request = Request(f"{endpoint}/photographs", method="PUT")
        urlopen(request).close()

    def usrdu(self, *calls: Sequence[object], **changes: str) -> list[tuple[int, str]]:
        """Call commands; returns the exit status and the output of each."""
        words = json.dumps([[str(word) for word in call] for call in calls])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            [sys.executable, "-c", CALLS, words],
            env={**kept, "PYTHONPATH": str(ROOT), **self.environment, **changes},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return [(code, said) for code, said in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """One of a server of the S3 protocol in this process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Bucket(f"http://{host}:{port}")
    server.stop()


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_through_a_bucket_and_back(tiny: World, bucket: Bucket, tmp_path: Path) -> None:
    """The digest is the same there, and the bytes are the same that come back."""
    there, back = f"{bucket.url}/maps.zarr", tmp_path / "maps.zarr"
    store = tiny.maps
    up, down = bucket.usrdu(["copy", store.path, there], ["copy", there, back])
    whole = f"whole (maps, 3 images, 6 chunks, digest {store.digest[:12]})"
    for (code, said), place in zip((up, down), (there, back), strict=True):
        assert code == 0 and f"{place}: {whole}" in said
    assert contents(back) == contents(Path(store.path))


@pytest.mark.parametrize("to", ["memory", "folder"])
def test_killed_at_every_file_nothing_opens_and_it_goes_on(
    to: str, tiny: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Path | str = tmp_path / "lr.zarr" if to == "folder" else "memory://killed/lr.zarr"
    monkeypatch.setattr(copying, "THREADS", 1)
    written: list[str] = []
    original = copying._Place.write

    def killed(self: Any, name: str, content: bytes) -> None:
        with pytest.raises(UserError):
            Store(place, *ARRAYS)
        original(self, name, content)
        written.append(name)
        if len(written) % 4 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(copying._Place, "write", killed)
    for _ in range(99):
        try:
            found = copy_store(tiny.lr.path, place)
            break
        except KeyboardInterrupt:
            continue
    files = contents(Path(tiny.lr.path))
    assert sorted(written) == sorted(files) and written[-1] == "zarr.json"
    assert found.files + found.there == len(files)
    assert Store(place, "lr").digest == tiny.lr.digest


def test_what_is_there_and_no_part_of_the_store_is_left(tiny: World, tmp_path: Path) -> None:
    copy_store(tiny.lr.path, tmp_path / "a.zarr")
    assert copy_store(tiny.lr.path, tmp_path / "a.zarr").files == 0
    with pytest.raises(UserError, match="holds another store; delete it first"):
        copy_store(tiny.hr.path, tmp_path / "a.zarr")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match=r"something else, such as \['letter.txt'\]"):
        copy_store(tiny.lr.path, tmp_path / "b.zarr")
    assert contents(tmp_path / "b.zarr") == {"letter.txt": b"mine"}


def test_a_damaged_chunk_is_not_passed_on(tiny: World, tmp_path: Path) -> None:
    """Nothing opens at the target."""
    shutil.copytree(tiny.lr.path, tmp_path / "a.zarr")
    chunk = next(path for path in (tmp_path / "a.zarr/images").rglob("*/c/0/0/0"))
    content = bytearray(chunk.read_bytes())
    content[40] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        copy_store(tmp_path / "a.zarr", "memory://damaged.zarr")
    with pytest.raises(UserError, match="it has no zarr.json"):
        Store("memory://damaged.zarr", "lr")
    with pytest.raises(UserError, match="is damaged"):
        copy_store(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists()


def sentence(outcome: tuple[int, str]) -> str:
    code, said = outcome
    assert code == 1 and "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
    return line


@pytest.mark.slow
def test_no_bucket_no_keys_no_server(tiny: World, bucket: Bucket, tmp_path: Path) -> None:
    nowhere, there = "s3://nowhere/lr.zarr", f"{bucket.url}/lr.zarr"
    calls: list[Sequence[object]] = [
        ["copy", tiny.lr.path, nowhere],
        ["copy", nowhere, tmp_path / "a.zarr"],
    ]
    up, down, *copies = bucket.usrdu(*calls, *2 * [["copy", tiny.lr.path, there]])
    assert "wrote 0 files, 10 were there" in copies[1][1]
    assert f"cannot be copied to {nowhere}" in sentence(up)
    assert "bucket does not exist" in sentence(up)
    assert sentence(down).endswith("it has no zarr.json, or there is no such bucket")
    none = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    none |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    (outcome,) = bucket.usrdu(["copy", tiny.lr.path, there], **none)
    assert "credentials" in sentence(outcome)
    dead = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    (outcome,) = bucket.usrdu(["verify", there], **dead)
    assert outcome[0] == 1 and "Could not connect to the endpoint" in outcome[1]


def test_no_package(tiny: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_arguments: object, **_options: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(UserError, match=r"Install s3fs .*pip install 'usrdu\[s3\]'"):
        copy_store(tiny.lr.path, "s3://photographs/lr.zarr")


@pytest.mark.slow
def test_export_and_training_from_a_bucket(tiny: World, bucket: Bucket, tmp_path: Path) -> None:
    """What is made of stores in the bucket are the files made of the same stores on disk."""
    export = {"tile": 64, "batch": 1, "mean_keep_bits": 10, "theta_keep_bits": 7}
    content = {
        "export": export,
        "train_srn": srn_settings().model_dump(mode="json"),
        "machine": MACHINE.model_dump(),
        "architectures": {"mine": compact().model_dump()},
    }
    (tmp_path / "params.yaml").write_text(json.dumps(content))
    dsn = write_dsn(tmp_path / "dsn.safetensors")
    places = {"disk": str(Path(tiny.hr.path).parent), "bucket": f"{bucket.url}/world"}
    calls: list[Sequence[object]] = [
        ["copy", store.path, f"{places['bucket']}/{store.kind}.zarr"]
        for store in (tiny.hr, tiny.maps)
    ]
    for name, place in places.items():
        out, hr = tmp_path / name, f"{place}/hr.zarr"
        more: list[object] = ["--params", tmp_path / "params.yaml", "--work", out / "work"]
        maps = ["--maps", out / "maps.zarr", "--metrics", out / "m.json"]
        calls.append(["export", "--hr", hr, "--dsn", dsn, *maps, *more])
        read = ["--hr", hr, "--maps", f"{place}/maps.zarr", "--out", out / "srn"]
        calls.append(["train-srn", "--arch", "mine", *read, *more])
    for code, said in bucket.usrdu(*calls):
        assert code == 0, said
    assert contents(tmp_path / "disk/maps.zarr") == contents(tmp_path / "bucket/maps.zarr")
    for file in ("srn.safetensors", "curves.csv"):
        made = [(tmp_path / name / "srn" / file).read_bytes() for name in places]
        assert made[0] == made[1], file


@pytest.mark.slow
def test_dvc_keeps_a_store_in_a_bucket(tiny: World, bucket: Bucket, tmp_path: Path) -> None:
    """Pushed here, pulled in a fresh clone."""
    project, clone = tmp_path / "project", tmp_path / "clone"
    shutil.copytree(tiny.lr.path, project / "lr.zarr")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

    def call(folder: Path, *words: object) -> None:
        known = [sys.executable, "-m", *words] if words[0] == "dvc" else list(words)
        done = subprocess.run(
            [str(word) for word in known],
            cwd=folder,
            env={**kept, **bucket.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout

    person = ["-c", "user.name=reader", "-c", "user.email=reader@example.org"]
    call(project, "git", "init", "--quiet")
    call(project, "dvc", "init", "--quiet")
    call(project, "dvc", "remote", "add", "-d", "bucket", f"{bucket.url}/dvc")
    call(project, "dvc", "add", "--quiet", "lr.zarr")
    call(project, "git", "add", "--all")
    call(project, "git", *person, "commit", "--quiet", "--message", "a store")
    call(project, "dvc", "push")
    call(tmp_path, "git", "clone", "--quiet", project, clone)
    call(clone, "dvc", "pull")
    assert contents(clone / "lr.zarr") == contents(Path(tiny.lr.path))

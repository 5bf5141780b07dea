"""The commands of the README and of docs/, run in order in a clone, as a reader would copy them."""

import re
import shutil
from pathlib import Path

import pytest
from repository import ROOT, TINY, copy_first_run, edit_params, ok, wait_for_the_queue
from ruamel.yaml import YAML

from pipeline.images.io import write_png
from pipeline.reading.files import read_image

SHRUNK = ["camera", "official", "paper"]
NOT_RUN = {
    "make demo": "its stages ran, with tiny settings, when the clone was made",
    "make test": "this is it",
    "make setup": "it was done before the tests",
    "dvc repro recovery/dvc.yaml": "tests/recovery runs it, with tiny settings",
    "dvc repro recovery/table1/dvc.yaml": "likewise",
}
"""Commands whose targets are only looked up."""
EXPERIMENTS = ("dvc exp run", "make table1", "dvc queue start")
"""How commands begin that run the pipeline again, with other settings."""


def documents() -> list[Path]:
    """The README, then the pages of docs/ in the order of the site, those it includes left out."""
    nav = YAML(typ="safe", pure=True).load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = [page for entry in nav for page in entry.values() if isinstance(page, str)]
    return [ROOT / "README.md", *(ROOT / "docs" / page for page in pages)]


def commands() -> list[str]:
    """Every command of every ``bash`` block in order; lines joined, without comments and uv run."""
    texts = [path.read_text(encoding="utf-8") for path in documents()]
    blocks = [block for text in texts for block in re.findall(r"(?ms)^```bash\n(.*?)^```$", text)]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    plain = (re.sub(r"\s+#.*$", "", line).strip() for line in lines)
    return [" ".join(line.removeprefix("uv run ").split()) for line in plain if line]


@pytest.fixture
def reader(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone after the demo, with images of the reader's own, and profiles of small sizes."""
    target = tmp_path / "usrdu"
    copy_first_run(target, tmp_path_factory)
    for name in SHRUNK:
        yaml, path = YAML(), target / "profiles" / f"{name}.yaml"
        profile = yaml.load(path.read_text())
        for section in ("train_dsn", "train_srn"):
            profile[section].update(TINY[section] | {"perceptual_weights": "random"})
        if "architectures" in profile:  # camera goes on from paper
            profile["architectures"]["esrgan"]["options"] = {"num_filters": 4, "num_blocks": 1}
            profile["architectures"]["esrgan"]["warm_start"] = None
        profile.setdefault("evaluate", {})["lpips_weights"] = "none"
        with path.open("w") as file:
            yaml.dump(profile, file)
    for name, kind, side in (("photographs", "hr", 224), ("camera", "lr", 96)):
        (target / f"data/raw/my-{name}").mkdir()
        for path in sorted((target / "data/raw/demo" / kind).iterdir())[:3]:
            part = read_image(path)[:, :side, :side]
            write_png(target / f"data/raw/my-{name}" / f"{path.stem}.png", part)
    photographs = sorted((target / "data/raw/my-photographs").iterdir())
    for name, path in zip(("hr", "scenes", "val"), photographs, strict=True):
        (target / f"data/raw/mine/{name}").mkdir(parents=True)
        shutil.copy(path, target / f"data/raw/mine/{name}")
    shutil.copy(target / "data/raw/my-camera/coins.png", target / "photo.jpg")
    shutil.copy(target / "data/train_srn/compact/srn.safetensors", target / "model.safetensors")
    (target / ".venv").mkdir()
    (target / ".venv/ready").touch()
    ok(target, "git", "add", "--all")
    ok(target, "git", "commit", "--quiet", "--message=small profiles")
    return target


def follow(repo: Path, command: str) -> None:
    """Run one command of the documents."""
    words = command.split()
    if words[0] == "make":
        words += [f"UV={shutil.which('true')}", "RUN="]  # the environment of the tests
    if command.startswith("usrdu init"):
        words += ["--minutes", "0.01"]
    if command in NOT_RUN:
        words = ["dvc", "stage", "list", words[-1]] if words[0] == "dvc" else [*words, "--dry-run"]
    ok(repo, *words)
    if command == "make table1":
        rows = re.findall(r"table1-(\S+)", ok(repo, "dvc", "queue", "status"))
        assert sorted(rows) == ["bicubic", "mean-only", "row1", "row2", "row3", "row4", "row5"]
        for row in set(rows) - {"bicubic"}:  # one of them shows that they run
            ok(repo, "dvc", "queue", "remove", f"table1-{row}")
    if command == "dvc queue start":
        wait_for_the_queue(repo)
    if command == "usrdu params use paper":
        assert "discriminator: vgg" in (repo / "params.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("experiments", [False, True])
def test_every_command_of_the_documents_runs(reader: Path, experiments: bool) -> None:
    """In order, as a reader would; own folders are named where the README says so."""
    found = commands()
    assert len(found) > 25 and set(NOT_RUN) <= set(found)
    assert all(any(command.startswith(start) for command in found) for start in EXPERIMENTS)
    if not experiments:
        found = [command for command in found if not command.startswith(EXPERIMENTS)]
    own = {"hr": "data/raw/my-photographs", "lr": "data/raw/my-camera"}
    for command in found:
        if command == "usrdu params use paper":  # after an experiment, which changed a value
            ok(reader, "usrdu", "params", "use", "camera", "--force")
        if command == "make table1":  # in the queue, as the page says
            edit_params(reader, {"folders": {k: str(reader / v) for k, v in own.items()}})
        if "--theta camera" in command:  # after the demo, as the page says, and not the paper's DSN
            ok(reader, "usrdu", "params", "use", "demo", "--force")
            ok(reader, "dvc", "repro", "export")
        if command.startswith("python docs/scripts/figures.py"):  # its camera is known
            demo = {name: f"data/raw/demo/{name}" for name in ("hr", "lr", "val")}
            edit_params(reader, {"folders": dict(demo)})
            ok(reader, "dvc", "repro", "export")
        if command.startswith("usrdu niqe-fit"):  # it wants more blocks than small crops have
            shutil.copytree(reader / "data/raw/demo/hr", reader / own["hr"], dirs_exist_ok=True)
        follow(reader, command)
    shown = ok(reader, "dvc", "exp", "show", "--csv")
    assert ("table1-bicubic" in shown) == experiments
    for name in ("photo_x4.png", "data/esrgan.onnx"):
        assert (reader / name).stat().st_size > 0, name

"""Scales other than 4 through the whole pipeline, and two scales that meet are told apart."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import (
    World,
    calibration,
    compact,
    dsn_settings,
    picture,
    prepare_settings,
    srn_settings,
)
from doubles import described

from pipeline.base.params import load_yaml
from pipeline.dsn.file import save_dsn
from pipeline.dsn.network import DSN
from pipeline.images.io import write_png
from pipeline.reading.files import read_image
from pipeline.srn.file import open_model
from pipeline.srn.network import build
from pipeline.stores.reader import Store
from pipeline.stores.weights import save_weights
from pipeline.writing.writer import StoreWriter
from stages.cli import main

ROOT = Path(__file__).parents[2]


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def params(path: Path, scale: int, theta: str = "raw", warm_start: Path | None = None) -> Path:
    """The project's own settings, made small."""
    architecture = compact(warm_start=warm_start and str(warm_start)).model_dump()
    content = load_yaml(ROOT / "params.yaml") | {
        "prepare": prepare_settings(scale=scale).model_dump(),
        "train_dsn": dsn_settings(hr_patch=16 * scale).model_dump(),
        "export": {"tile": 16, "batch": 1, "mean_keep_bits": 10, "theta_keep_bits": 7},
        "calibrate": {"blocks": 1000, "rounds": 1, "least_correlation": 0.1},
        "train_srn": srn_settings(theta=theta).model_dump(),
        "architectures": {"compact": architecture},
    }
    content["evaluate"] |= {"tile": 16, "halo": 8, "picture_crop": 64}  # type: ignore[operator]
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def write_images(folder: Path, scale: int) -> None:
    """HR, real LR and a pair; the LR sizes are odd."""
    rng = np.random.default_rng(scale)
    sizes = {"hr/a": (60, 64), "hr/b": (50, 70), "val/hr/p": (35, 33)}
    for name, (height, width) in sizes.items():
        image = picture(rng, height * scale + 1, width * scale)  # a row too many
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(folder / f"{name}.png", image)
        if name == "val/hr/p":
            (folder / "val/lr").mkdir()
            write_png(folder / "val/lr/p.png", image[:, : height * scale : scale, ::scale])
    for name in ("lr", "pairs"):
        (folder / name).mkdir()
    for name in ("c", "d"):
        write_png(folder / "lr" / f"{name}.png", picture(rng, 71, 65))


@pytest.mark.parametrize("scale", [2, 3])
def test_the_whole_pipeline(scale: int, tmp_path: Path) -> None:
    write_images(tmp_path / "raw", scale)
    raw, out = tmp_path / "raw", tmp_path / "out"
    plain = ["--params", params(tmp_path / "params.yaml", scale)]
    work, metrics = ["--work", tmp_path / "work"], ["--metrics", tmp_path / "metrics.json"]
    hr, lr, val, maps = (out / f"{kind}.zarr" for kind in ("hr", "lr", "val", "maps"))
    dsn, model = out / "dsn.safetensors", out / "srn.safetensors"
    noise = out / "calibration.json"
    for words in (
        [
            "prepare",
            "--hr",
            raw / "hr",
            "--lr",
            raw / "lr",
            "--val",
            raw / "val",
            "--pairs",
            raw / "pairs",
            "--out",
            out,
            *work,
        ],
        ["train-dsn", "--hr", hr, "--lr", lr, "--out", out, *work],
        ["export", "--hr", hr, "--dsn", dsn, "--maps", maps, *work],
        ["calibrate", "--maps", maps, "--lr", lr, "--out", noise],
        ["train-srn", "--arch", "compact", "--hr", hr, "--maps", maps, "--out", out, *work],
        ["evaluate", "--val", val, "--model", model, "--out", out / "scored"],
    ):
        result = call(*words, *metrics, *plain)
        assert result.exit_code == 0, f"{words[0]}: {result.output}"
    upscaled = call("upscale", raw / "lr" / "c.png", tmp_path / "c.png", "--model", model)
    assert upscaled.exit_code == 0, upscaled.output
    for store, kind in ((hr, "hr"), (lr, "lr"), (val, "val"), (maps, "maps")):
        assert Store(store, kind).scale == scale  # type: ignore[arg-type]
    assert Store(maps, "maps").size("a") == (60, 64)
    assert json.loads(noise.read_text())["scale"] == scale
    assert open_model(model).scale == scale
    assert read_image(out / "scored" / "sr" / "p.png").shape == (3, 35 * scale, 33 * scale)
    assert read_image(tmp_path / "c.png").shape == (3, 71 * scale, 65 * scale)


# ---------------------------------------------------------------- two scales meet


@pytest.fixture(scope="module")
def mixed(tiny: World, tiny2: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of scale 4, but for those with a 2 in their name."""
    folder = tmp_path_factory.mktemp("mixed")
    params(folder / "params.yaml", 4)
    for world in (tiny, tiny2):
        mark = "" if world is tiny else "2"
        for store in (world.hr, world.lr, world.val):
            (folder / f"{store.kind}{mark}.zarr").symlink_to(store.path)
        attributes = {
            "hr_digest": world.hr.digest,
            "dsn": described(dsn_settings(), world.hr.scale).model_dump(),
        }
        path = folder / f"maps{mark}.zarr"
        with StoreWriter(path, "maps", world.hr.scale, world.maps.ids, attributes) as writer:
            for image_id in world.maps.ids:
                names = ("mean", "theta")
                writer.add(image_id, {name: world.maps.read(image_id, name) for name in names})
        measured = calibration(Store(path, "maps"))
        (folder / f"calibration{mark}.json").write_text(measured.model_dump_json())
        scale = world.hr.scale
        save_dsn(
            folder / f"dsn{mark}.safetensors", DSN(scale, 4, 1), described(dsn_settings(), scale)
        )
        network = build("Compact", scale, {"num_feat": 4, "num_conv": 1})
        save_weights(folder / f"srn{mark}.safetensors", network.state_dict(), {})
    params(folder / "warm.yaml", 4, warm_start=folder / "srn2.safetensors")
    params(folder / "calibrated.yaml", 4, theta="calibrated")
    write_images(folder / "raw2", 2)
    return folder


AUDIT = ["audit", "--maps", "maps.zarr", "--hr", "hr.zarr", "--lr", "lr.zarr"]
SRN = ["train-srn", "--arch", "compact", "--hr", "hr.zarr"]
MEETINGS: dict[str, tuple[list[str], str]] = {
    "prepare: pairs": (
        [
            "prepare",
            *(part for n in ("hr", "lr", "val", "pairs") for part in (f"--{n}", f"raw2/{n}")),
        ],
        "hr/p.png is 68x64 and {}raw2/val/lr/p.png is 35x33: HR must be 4 times LR",
    ),
    "train-dsn: lr": (
        ["train-dsn", "--hr", "hr.zarr", "--lr", "lr2.zarr"],
        "hr.zarr has the scale 4, but {}lr2.zarr has 2",
    ),
    "export: dsn": (
        ["export", "--hr", "hr.zarr", "--dsn", "dsn2.safetensors"],
        "dsn2.safetensors has the scale 2, but {}hr.zarr has 4",
    ),
    "calibrate: lr": (
        ["calibrate", "--maps", "maps.zarr", "--lr", "lr2.zarr"],
        "maps.zarr has the scale 4, but {}lr2.zarr has 2",
    ),
    "audit: hr": ([*AUDIT, "--hr", "hr2.zarr"], "maps.zarr has the scale 4, but {}hr2.zarr has 2"),
    "audit: lr": ([*AUDIT, "--lr", "lr2.zarr"], "maps.zarr has the scale 4, but {}lr2.zarr has 2"),
    "audit: val": (
        [*AUDIT, "--val", "val2.zarr"],
        "maps.zarr has the scale 4, but {}val2.zarr has 2",
    ),
    "audit: against": (
        [*AUDIT, "--against", "maps2.zarr"],
        "maps.zarr has the scale 4, but {}maps2.zarr has 2",
    ),
    "audit: calibration": (
        [*AUDIT, "--calibration", "calibration2.json"],
        "calibration2.json has the scale 2, but {}maps.zarr has 4",
    ),
    "train-srn: maps": (
        [*SRN, "--maps", "maps2.zarr"],
        "hr.zarr has the scale 4, but {}maps2.zarr has 2",
    ),
    "train-srn: calibration": (
        [
            *SRN,
            "--maps",
            "maps.zarr",
            "--calibration",
            "calibration2.json",
            "--params",
            "calibrated.yaml",
        ],
        "the calibration has the scale 2, but {}maps.zarr has 4",
    ),
    "train-srn: warm start": (
        [*SRN, "--maps", "maps.zarr", "--params", "warm.yaml"],
        "srn2.safetensors has the scale 2, but the training has 4",
    ),
    "evaluate: model": (
        ["evaluate", "--val", "val.zarr", "--model", "srn2.safetensors"],
        "srn2.safetensors has the scale 2, but {}val.zarr has 4",
    ),
}


@pytest.mark.parametrize("meeting", MEETINGS)
def test_two_scales_are_told_apart(meeting: str, mixed: Path, tmp_path: Path) -> None:
    """One sentence with both values and exit status 1, before anything is written."""
    words, message = MEETINGS[meeting]
    placed = [mixed / word if (mixed / word).exists() else word for word in words]
    target = {"export": "--maps"}.get(words[0], "--out")
    placed += [target, tmp_path / "out"]
    if words[0] not in ("train-dsn", "train-srn"):
        placed += ["--metrics", tmp_path / "metrics.json"]
    if words[0] in ("prepare", "train-dsn", "export", "train-srn"):
        placed += ["--work", tmp_path / "work"]
    if "--params" not in words:
        placed += ["--params", mixed / "params.yaml"]
    result = call(*placed)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert result.output.endswith(f"{line}\n") and "Traceback" not in result.output
    assert message.format(f"{mixed}/") in line
    if words[0] != "prepare":  # which has written stores of its own by then
        assert not list(tmp_path.iterdir())

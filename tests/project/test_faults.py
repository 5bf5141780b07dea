"""Every fault of a params file, with its place."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import save_file

from pipeline.project.faults import faults_of_cameras, faults_of_params
from pipeline.srn.network import build
from stages.tools.params import command

ROOT = Path(__file__).parents[2]
SMALL = """architectures:
  compact:
    network: Compact
    options: {num_feat: 4, num_conv: 1}
"""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A params file without a fault, with the files that it names, and a small network."""
    for name in ("cameras.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("no-pairs", "no-kernels", "weights"):
        (tmp_path / "data/raw" / name).mkdir(parents=True)
    text = (ROOT / "params.yaml").read_text()
    before, _, after = text.partition("architectures:")
    path = tmp_path / "params.yaml"
    path.write_text(f"{before}{SMALL}\nevaluate:{after.partition('evaluate:')[2]}")
    return path


def change(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)


def place(path: Path, text: str) -> str:
    """Line and column of the first occurrence of a text, which is on a line of its own kind."""
    before = path.read_text().partition(text)[0]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def said(path: Path) -> list[str]:
    return [fault.at(path).removeprefix(f"{path}:") for fault in faults_of_params(path)]


def test_the_file_of_the_project_has_no_fault(params: Path) -> None:
    assert said(params) == []
    assert faults_of_cameras(ROOT / "cameras.yaml") == []


def test_all_faults_are_said_at_once_with_their_places(params: Path) -> None:
    change(
        params,
        ("  features: 16 ", "  featuers: 16 "),
        ("  blocks: 4 ", "  blocks: four "),
        ("memory: auto", "memory: -1"),
        ("calibrate:", "calibrat:"),
        ("network: Compact", "network: Compcat"),
        ("camera: phone ", "camera: fone "),
        ("hr: data/raw/demo/hr", "hr: data/raw/mine"),
        ("lr_from: maps ", "lr_from: no "),
    )
    assert said(params) == [
        "1:1: the section calibrate is missing",
        f"{place(params, 'data/raw/mine')}: folders.hr: there is no folder data/raw/mine",
        f"{place(params, '-1')}: machine.memory: input should be greater than 0, or input should "
        "be 'auto', found -1",
        f"{place(params, 'fone ')}: demo.camera: cameras.yaml has no fone; it has phone, laplace, "
        "poisson, jpeg, mosaic, old-phone, compact, denoising-phone",
        f"{place(params, 'featuers')}: train_dsn.featuers is not a known setting; the nearest is "
        "features",
        f"{place(params, 'four')}: train_dsn.blocks: input should be a valid integer, found 'four'",
        f"{place(params, 'calibrat:')}: the section calibrat is not known; the nearest is "
        "calibrate",
        f"{place(params, 'no     ')}: train_srn.lr_from: input should be 'maps', 'bicubic', "
        "'generic' or 'pairs', found 'no'",
        said(params)[-1],
    ]
    assert said(params)[-1].startswith(
        f"{place(params, 'Compcat')}: architectures.compact: architecture 'Compcat' is unknown"
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('precision: "no"', "precision: @@false", 'a text such as "no" needs its quotes'),
        ("fused: true", "fused: @@on", "YAML has the truth values true and false"),
        ("  blocks: 4", "  @@features: 3", "train_dsn.features stands on line"),
        ("lpips_weights: none", "lpips_weights: @@a.pth", "there is no file a.pth"),
        ("    network: Comp", "    warm_start: @@none\n    network: Comp", "is a file, or null"),
        ("    network: Comp", "    warm_start: @@data/x\n    network: Comp", "no file data/x"),
        ("options: {num_feat", "options: {num_feet", "has no option 'num_feet'"),
        ("lr: data/raw/demo/lr", "lr: @@''", "folders.lr: string should have at least 1 character"),
    ],
)
def test_faults_one_by_one(params: Path, old: str, new: str, words: str) -> None:
    change(params, (old, new))
    where = place(params, "@@")
    text = params.read_text()
    params.write_text(text.replace("@@", ""))
    (found,) = said(params)
    if "@@" in text:
        assert found.startswith(f"{where}: ")
    assert words in found


@pytest.mark.parametrize(
    ("old", "new"),
    [("hr_patch: 128", "hr_patch: 100"), ("lr_patch: 16", "lr_patch: 8"), ("scale: 4", "scale: 3")],
)
def test_what_no_stage_refuses_is_no_fault(params: Path, old: str, new: str) -> None:
    """Without a DSN training its crops need not fit, nor those of the spectrum term without it."""
    change(params, (old, new))
    assert said(params) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("lr_from: maps", "lr_from: pairs")], "holds no pairs"),
        (
            [("keep: last                   # step", "keep: best #"), ("by: psnr", "by: niqe")],
            "train_srn.best_by is niqe, but evaluate.niqe_model is none",
        ),
        ([("  epochs: 0 ", "  epochs: 5 "), ("hr_patch: 128", "hr_patch: 100")], "64 (16 times"),
        (
            [("spectrum_weight: 0.0", "spectrum_weight: 0.5"), ("lr_patch: 16", "lr_patch: 8"),
             ("scale: 4", "scale: 2")],
            "needs crops of",
        ),
        (
            [
                ("  epochs: 0 ", "  epochs: 5 "),
                ("reference: camera", "reference: bicubic"),
                ("prior_scale_gray: camera", "prior_scale_gray: 1.0"),
            ],
            "the maps carry no passport",
        ),
        (
            [
                ("  epochs: 0 ", "  epochs: 5 "),
                ("reference: camera", "reference: kernels"),
            ],
            "holds no kernel",
        ),
        ([("lpips_weights: none", "lpips_weights: cameras.yaml")], "is not in data/raw/weights"),
        (
            [("dists_weight: 0.0", "dists_weight: 1.0"), ("lr_patch: 16", "lr_patch: 64"),
             ("dists_vgg16: null", "dists_vgg16: vgg.pth")],
            "train_srn.dists_vgg16: there is no file vgg.pth",
        ),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other(
    params: Path, changes: list[tuple[str, str]], words: str
) -> None:
    change(params, *changes)
    (found,) = said(params)
    assert words in found


def test_a_warm_start_of_another_network(params: Path) -> None:
    start = params.parent / "data/raw/weights/srn.safetensors"
    save_file(build("Compact", 4, {"num_feat": 8, "num_conv": 1}).state_dict(), start)
    change(
        params, ("  compact:", f"  compact:\n    warm_start: {start.relative_to(params.parent)}")
    )
    (found,) = said(params)
    assert found.startswith(place(params, "data/raw/weights/srn"))
    assert "does not fit the architecture" in found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: [1\nb: 2\n", "2:2: is not valid YAML: while parsing a flow sequence"),
        ("a: &b 1\nc: *b\n", "2:1: aliases, such as *b, are not taken"),
        ("- 1\n", "1:1: must be a mapping of sections, found list"),
    ],
)
def test_what_is_no_params_file(text: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    (only,) = said(path)
    assert only.startswith(found)


def test_faults_of_cameras(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text((ROOT / "cameras.yaml").read_text())
    change(path, ("blur_along: 1.0", "blur_allong: 1.0"), ("jpeg_quality: 75", "jpeg_quality: 0"))
    assert [fault.at(path).removeprefix(f"{path}:") for fault in faults_of_cameras(path)] == [
        f"{place(path, 'phone:')}: phone.blur_along is missing",
        f"{place(path, 'blur_allong')}: phone.blur_allong is not a known setting; the nearest is "
        "blur_along",
        f"{place(path, '0' + chr(10) + '  jpeg_subsampling: ' + chr(34) + '4:2:0')}: "
        "jpeg.jpeg_quality: input should be greater than or equal to 1, found 0",
    ]


def test_the_command_prints_faults_and_exits_with_1(params: Path) -> None:
    good = CliRunner().invoke(command, ["check", str(params)])
    assert (good.exit_code, good.output) == (0, f"{params}: no fault was found\n")
    change(params, ("scale: 4", "scale: 5"))
    bad = CliRunner().invoke(command, ["check", str(params)])
    assert bad.exit_code == 1
    assert bad.output == (
        f"{params}:{place(params, '5  ')}: prepare.scale: input should be less than or equal to 4, "
        "found 5\n"
    )

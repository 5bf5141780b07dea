"""What the commands share: files of metrics, and what is printed of them."""

import json
import math
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pipeline.base.errors import UserError
from pipeline.base.params import Params
from stages.options import (
    IMAGENET,
    STORE,
    folder_of,
    params_option,
    plain_errors,
    report,
    weights_of,
    write_json,
)


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def test_metrics_files_are_strict_json(tmp_path: Path) -> None:
    """Python would write Infinity and NaN, which are no JSON."""
    content = {"a": math.inf, "b": {"c": [math.nan, -math.inf, 1.5], "d": (2, "NaN")}, "e": None}
    path = tmp_path / "new" / "metrics.json"
    write_json(path, content)
    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read == {"a": None, "b": {"c": [None, None, 1.5], "d": [2, "NaN"]}, "e": None}


def test_a_failed_writing_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_report_names_nested_metrics_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report({"n": 2, "a": {"b": {"c": 1 / 3}, "d": "x"}, "e": {}, "f": None}, tmp_path / "out")
    lines = ["  n: 2", "  a.b.c: 0.3333", "  a.d: x", "  f: None", f"wrote {tmp_path / 'out'}"]
    assert capsys.readouterr().out.splitlines() == lines


def test_stores_are_folders_or_urls() -> None:
    assert STORE.convert("data/x.zarr", None, None) == Path("data/x.zarr")
    assert STORE.convert("s3://bucket/x.zarr", None, None) == "s3://bucket/x.zarr"


@click.command()
@params_option("export", "machine")
@plain_errors
def shown(params: Params) -> None:
    """Say what was read."""
    content = params.content
    click.echo(json.dumps([content["export"], content["machine"]]))


def test_a_command_reads_its_params_with_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("export: {tile: 1}\nmachine: {memory: auto}\nother: {x: 1}\n")
    Path("more.yaml").write_text("fast: {export: {tile: 2, batch: 3}}\n")

    def call(*words: str) -> Result:
        return CliRunner().invoke(shown, words)

    assert json.loads(call().output) == [{"tile": 1}, {"memory": "auto"}]
    words = ["--params", "params.yaml", "--params", "more.yaml:fast"]
    words += ["--set", "export.batch=4", "--set", "machine.memory=2"]
    assert json.loads(call(*words).output) == [{"tile": 2, "batch": 4}, {"memory": 2}]
    failed = call("--set", "other.x=2")
    assert failed.exit_code == 1
    assert failed.output == (
        "Error: --set other.x=2: the sections that this command reads are: export, machine\n"
    )
    help_text = " ".join(call("--help").output.split())
    assert "--set KEY=VALUE" in help_text and "KEY is export.NAME" in help_text
    assert "export and machine of it are read" in help_text


def test_a_folder_is_that_of_the_option_or_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("folders: {hr: my $(x) photos, lr: 3, val: ''}\n")
    params = Params(path)
    assert folder_of(params, "hr", Path("given")) == Path("given")
    assert folder_of(params, "hr", None) == Path("my $(x) photos")
    for name in ("lr", "val", "pairs"):
        said = f"{path}: folders.{name} names no folder; name it there, or by --{name}"
        with pytest.raises(UserError, match=re.escape(said)):
            folder_of(params, name, None)
    path.write_text("folders: x\n")
    with pytest.raises(UserError, match="folders.hr names no folder"):
        folder_of(Params(path), "hr", None)


def test_imagenet_has_the_digits_that_torchvision_checks() -> None:
    from torchvision.models import AlexNet_Weights, VGG19_Weights

    kinds = {"perceptual_weights": VGG19_Weights, "lpips_weights": AlexNet_Weights}
    assert IMAGENET.keys() == kinds.keys()
    for name, kind in kinds.items():
        assert kind.IMAGENET1K_V1.url.endswith(f"-{IMAGENET[name]}.pth")


def test_hashes_of_the_files_that_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w").mkdir()
    Path("w/vgg.pth").write_bytes(b"abc")
    Path("params.yaml").write_text(
        "folders: {weights: w/}\ntrain_dsn: {perceptual_weights: w/vgg.pth}\n"
        "evaluate: {lpips_weights: imagenet, niqe_model: w/missing.mat}\n"
        "architectures: {x: {warm_start: w/../w/vgg.pth}, x2: {warm_start: null}}\n"
    )
    params = Params(Path("params.yaml"))
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
    monkeypatch.setenv("DVC_STAGE", "x")
    assert weights_of(params, "train_dsn") == {"perceptual_weights": abc}
    assert weights_of(params, "evaluate") == {"lpips_weights": "7be5be79"}
    assert weights_of(params, "architectures.x") == {"warm_start": abc}
    assert weights_of(params, "architectures.x2") == {}
    Path("params.yaml").write_text(
        "folders: {weights: w}\ntrain_dsn: {perceptual_weights: w/../vgg.pth}\n"
    )
    Path("vgg.pth").write_bytes(b"abc")
    with pytest.raises(UserError, match="names w/../vgg.pth, which is not in w"):
        weights_of(Params(Path("params.yaml")), "train_dsn")
    monkeypatch.delenv("DVC_STAGE")
    assert weights_of(Params(Path("params.yaml")), "train_dsn") == {"perceptual_weights": abc}

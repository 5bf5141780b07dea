"""The command convert: files of other programs in, files for other programs out."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import HR_SIZES, World, names
from released_dsn import authors_dsn, hr_image, prefixed
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from spandrel import ImageModelDescriptor, ModelLoader
from torch import Tensor, nn

from pipeline.base.hashes import file_hash
from pipeline.evaluate.card import new_card
from pipeline.evaluate.card_files import write_card
from pipeline.export.degrader import Degrader
from pipeline.export.export import ExportSettings, export
from pipeline.srn.network import build
from pipeline.stores.reader import Store
from pipeline.stores.weights import CHECKSUM, save_weights
from pipeline.tools import convert as module
from stages.tools.convert import command

State = Mapping[str, Tensor]


def run(source: Path, target: Path, *options: str) -> Result:
    return CliRunner().invoke(command, [str(source), str(target), *options])


def done(source: Path, target: Path, *options: str) -> list[str]:
    """The lines of a run that succeeds, without the warning about a DSN of few blocks."""
    result = run(source, target, *options)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if "the authors' files have 8" not in line]
    cards = [f"wrote {target}.card.{ending}" for ending in ("md", "json")]
    shown = [line for line in lines if line in cards]
    assert shown == ([] if "is the authors' DSN" in lines[0] else cards)  # a DSN has none
    return [line for line in lines if line not in cards]


def without_cards(folder: Path) -> list[str]:
    return [name for name in names(folder) if ".card." not in name]


def refused(result: Result) -> str:
    """The sentence of a run that fails."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return line.removeprefix("Error: ")


def network(name: str = "ESRGAN", scale: int = 4) -> nn.Module:
    """An SR network with weights that matter."""
    options = {
        "ESRGAN": {"num_filters": 8, "num_blocks": 2},
        "Compact": {"num_feat": 4, "num_conv": 1},
    }
    with torch.random.fork_rng():
        torch.manual_seed(scale)
        made = build(name, scale, options[name])
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
    return made.eval()


def old_names(state: State, scale: int) -> dict[str, Tensor]:
    """ESRGAN's parameters under the names of its authors, of 2018."""
    last = 3 * (scale // 2)  # one or two convolutions after enlarging
    rules = {
        r"model\.0\.": "conv_first.",
        r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.": r"RRDB_trunk.\1.RDB\2.conv\3.",
        r"model\.1\.sub\.\d+\.": "trunk_conv.",
        rf"model\.{last + 2}\.": "HRconv.",
        rf"model\.{last + 4}\.": "conv_last.",
        r"model\.3\.": "upconv1.",
        r"model\.6\.": "upconv2.",
    }
    renamed = {}
    for name, value in state.items():
        rule = next(rule for rule in rules if re.match(rule, name))
        renamed[re.sub(rule, rules[rule], name)] = value
    return renamed


def lr_image(height: int = 11, width: int = 14) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(7))


def enlarged(model: nn.Module, lr: Tensor) -> Tensor:
    with torch.no_grad():
        sr: Tensor = model(lr)
    return sr


def opened(path: Path) -> ImageModelDescriptor[nn.Module]:
    model = ModelLoader(device="cpu").load_from_file(path)
    assert isinstance(model, ImageModelDescriptor)
    return model.eval()


def save_dsn(path: Path, features: int = 6, blocks: int = 2, scale: int = 4) -> Path:
    state = authors_dsn(features, blocks, scale).state_dict()
    torch.save({"gen": state, "dis": {"x": torch.zeros(1)}}, path)
    return path


def save_srn(path: Path, scale: int = 4, dsn: bool = True) -> Path:
    """As the authors' training saves it."""
    state = prefixed("RRDBNet_U.", old_names(network("ESRGAN", scale).state_dict(), scale))
    if dsn:
        state |= prefixed("RRDBNet_var.", authors_dsn(scale=scale).state_dict())
    torch.save({"params": state}, path)
    return path


# --- the authors' DSN


@pytest.mark.parametrize(("features", "blocks", "scale"), [(6, 2, 4), (4, 1, 2)])
def test_the_authors_dsn(features: int, blocks: int, scale: int, tmp_path: Path) -> None:
    source = save_dsn(tmp_path / "DSN.pth", features, blocks, scale)
    target = tmp_path / "new" / "dsn.safetensors"
    assert done(source, target) == [
        f"{source} is the authors' DSN ({features} features, {blocks} blocks, x{scale})",
        f"wrote {target}",
    ]
    degrader = Degrader.load(target)
    hr = hr_image(64)
    with torch.no_grad():
        mean, log_theta_gray, _ = authors_dsn(features, blocks, scale)(hr)
    found = degrader.whole(hr[0])
    torch.testing.assert_close(found["mean"], mean[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(found["theta"], log_theta_gray[0].exp() / 255, rtol=0, atol=1e-6)
    with safe_open(target, framework="pt") as file:
        described = {key: json.loads(text) for key, text in file.metadata().items()}
    assert len(described.pop(CHECKSUM)) == 64
    assert described == {
        "format": "usrdu-dsn-2",
        "scale": scale,
        "features": features,
        "blocks": blocks,
        "learned_theta": True,
        "prior_scale_gray": 1.0,
        "reference": "unknown",
        "hr_digest": None,
        "lr_digest": None,
        "training": {},
        "imported_from": {"file": "DSN.pth", "sha256": file_hash(source)},
    }


def test_an_imported_dsn_is_exported(tiny: World, tmp_path: Path) -> None:
    done(save_dsn(tmp_path / "a.pth"), tmp_path / "dsn.safetensors")
    settings = ExportSettings(tile=16, batch=1, mean_keep_bits=10, theta_keep_bits=7)
    metrics = export(tiny.hr, tmp_path / "dsn.safetensors", settings, tmp_path / "maps.zarr")
    maps = Store(tmp_path / "maps.zarr", "maps")
    assert metrics["images"] == len(HR_SIZES) and maps.ids == list(HR_SIZES)
    hr = torch.from_numpy(tiny.hr.read("ships", "image")).float()[None] / 255
    with torch.no_grad():
        mean, log_theta_gray = authors_dsn().maps(hr)
    for name, expected in (("mean", mean), ("theta", log_theta_gray.exp() / 255)):
        stored = maps.read("ships", name).astype(np.float64)
        np.testing.assert_allclose(stored, expected[0].numpy(), rtol=2**-8 * 1.01, atol=1e-6)


# --- the authors' SRN


@pytest.mark.parametrize("scale", [2, 4])
def test_the_authors_srn(scale: int, tmp_path: Path) -> None:
    source, target = save_srn(tmp_path / "SRN.pth", scale), tmp_path / "srn.safetensors"
    recognised, wrote = done(source, target)
    assert recognised == (
        f"{source} is the authors' SRN (ESRGAN, 8nf, 2nb, x{scale}) "
        f"with a copy of the authors' DSN (6 features, 2 blocks, x{scale})"
    )
    assert wrote == f"wrote {target}"
    model = opened(target)
    assert (model.architecture.id, model.scale) == ("ESRGAN", scale)
    reference = network("ESRGAN", scale)
    assert load_file(target).keys() == reference.state_dict().keys()  # plain names, the SRN alone
    expected = enlarged(reference, lr_image())
    assert expected.std() > 1e-3
    torch.testing.assert_close(enlarged(model.model, lr_image()), expected, rtol=0, atol=1e-6)
    assert without_cards(tmp_path) == ["SRN.pth", "srn.safetensors"]


def test_the_dsn_in_the_authors_srn(tmp_path: Path) -> None:
    source = save_srn(tmp_path / "SRN.pth")
    lines = done(source, tmp_path / "s.safetensors", "--dsn", str(tmp_path / "d.safetensors"))
    assert lines[1:] == [f"wrote {tmp_path / f'{name}.safetensors'}" for name in "sd"]
    with torch.no_grad():
        mean, _, _ = authors_dsn()(hr_image(64))
    found = Degrader.load(tmp_path / "d.safetensors").whole(hr_image(64)[0])
    torch.testing.assert_close(found["mean"], mean[0], rtol=0, atol=1e-6)


# --- cards


def test_the_card_goes_along(tmp_path: Path) -> None:
    """What evaluate wrote of a model is kept, with the new file's facts, in all formats."""
    folder = tmp_path / "train_srn" / "compact"
    folder.mkdir(parents=True)
    source = save_ours(folder / "srn.safetensors")
    scores = {"images": 3, "val": "1" * 64}
    write_card(tmp_path / "evaluate" / "compact" / "card.md", new_card(source, scores))
    targets = {ending: tmp_path / f"new.{ending}" for ending in ("pth", "safetensors", "onnx")}
    for target in targets.values():
        done(source, target)
    done(source, tmp_path / "half.onnx", "--half")
    for ending, target in (targets | {"half": tmp_path / "half.onnx"}).items():
        card = json.loads(target.with_name(f"{target.name}.card.json").read_text())
        (resource,) = card["resources"]
        assert resource["sha256"] == file_hash(target)
        assert resource["size"] == target.stat().st_size
        assert resource["type"] == target.suffix[1:]
        assert card["name"] == "4x-compact" and card["usrdu"]["scores"]["images"] == 3
        file = card["usrdu"]["file"]
        assert file["precision"] == ("float16" if ending == "half" else "float32")
        assert ("difference_gray" in file) == (target.suffix == ".onnx")
        assert (
            "measured on srn.safetensors" in target.with_name(f"{target.name}.card.md").read_text()
        )
    larger, smaller = (tmp_path / name for name in ("new.onnx", "half.onnx"))
    assert smaller.stat().st_size < larger.stat().st_size


def test_the_card_of_a_foreign_model(tmp_path: Path) -> None:
    source = save_srn(tmp_path / "SRN.pth", dsn=False)
    done(source, tmp_path / "srn.safetensors")
    card = json.loads((tmp_path / "srn.safetensors.card.json").read_text())
    assert card["name"] == "4x-SRN" and card["architecture"] == "esrgan"
    assert "Converted from SRN.pth. How it was trained is not known." in card["description"]


# --- SR models of any kind


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("wrapper", [None, "params", "params_ema", "state_dict"])
@pytest.mark.parametrize("name", ["ESRGAN", "Compact"])
def test_sr_models(name: str, wrapper: str | None, ending: str, tmp_path: Path) -> None:
    reference = network(name)
    state = reference.state_dict()
    source, target = tmp_path / "downloaded.bin", tmp_path / f"out{ending}"
    torch.save({wrapper: state} if wrapper else state, source)
    assert f"{source} is an SR model (" in done(source, target)[0]
    model = opened(target)
    assert (model.architecture.id, model.scale) == (name, 4)
    found = enlarged(model.model, lr_image())
    torch.testing.assert_close(found, enlarged(reference, lr_image()), rtol=0, atol=0)
    if ending == ".pth":
        content = torch.load(target, weights_only=True)
        assert list(content) == ["params_ema"]
        assert content["params_ema"].keys() == state.keys()


def save_ours(path: Path, name: str = "Compact") -> Path:
    described = {"format": "usrdu-srn", "scale": 4, "settings": {"seed": 5}}
    save_weights(path, network(name).state_dict(), described)
    return path


def test_what_our_file_says_is_kept(tmp_path: Path) -> None:
    source, target = save_ours(tmp_path / "srn.safetensors"), tmp_path / "copy.safetensors"
    done(source, target)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(("name", "scale"), [("Compact", 4), ("ESRGAN", 2)])
def test_onnx(name: str, scale: int, tmp_path: Path) -> None:
    reference = network(name, scale)
    source, target = tmp_path / "srn.safetensors", tmp_path / "srn.onnx"
    save_file(reference.state_dict(), source)
    lines = done(source, target)
    assert lines[-1] == f"wrote {target}"
    checked = re.search(r"differs from torch by at most (\S+) on images of (.*) \(batch", lines[2])
    assert checked is not None and 0 < float(checked[1]) <= 1e-4
    sizes = checked[2].split(", ")
    assert len(set(sizes)) >= 3 and {size.split("x")[0] for size in sizes} == {"1", "2"}
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    for shape in [(1, 3, 5, 60), (3, 3, 31, 8)]:
        lr = torch.rand(shape, generator=torch.Generator().manual_seed(1))
        (found,) = session.run(None, {"lr": lr.numpy()})
        np.testing.assert_allclose(found, enlarged(reference, lr).numpy(), rtol=0, atol=1e-5)
    said = session.get_modelmeta().custom_metadata_map
    assert (said["architecture"], said["scale"], said["size_multiple"]) == (name, str(scale), "1")
    smallest = int(said["smallest_size"])
    assert smallest == (2 if name == "ESRGAN" else 1)
    assert sizes[0] == f"1x{smallest}x{smallest}"  # it was checked there
    if name == "ESRGAN":  # of one pixel, upscale makes two first; the file cannot
        model = opened(source)
        for width, same in ((2, True), (1, False)):
            lr = torch.rand(1, 3, 16, width, generator=torch.Generator().manual_seed(1))
            (found,) = session.run(None, {"lr": lr.numpy()})
            difference = np.abs(found.clip(0, 1) - model(lr).numpy()).max()
            assert difference < 1e-5 if same else difference > 1e-2


def test_an_onnx_file_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = save_ours(tmp_path / "srn.safetensors"), tmp_path / "srn.onnx"
    target.write_text("older")
    monkeypatch.setattr(module, "to_onnx", lambda *_: b"")
    monkeypatch.setattr(module, "largest_difference", lambda *_: 2e-4)
    message = refused(run(source, target))
    assert message.startswith(f"{target}: was not written: ONNX Runtime differs from torch")
    assert (
        "by at most 2.0e-04 on images of 1x1x1, 1x1x17, " in message
        and "the limit is 0.0001" in message
    )
    assert target.read_text() == "older"
    monkeypatch.setattr(module, "largest_difference", lambda *_: float("nan"))
    refused(run(source, target))
    assert target.read_text() == "older"


def save_swinir(path: Path) -> nn.Module:
    options = {
        "embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8,
        "upsampler": "pixelshuffledirect",
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = build("SwinIR", 2, options, 16).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    save_file(made.state_dict(), path)
    return made


def check_fixed(source: Path, target: Path, reference: nn.Module) -> None:
    lines = done(source, target, "--size", "20x33")
    assert "on images of 1x20x33 (batch" in lines[2]
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 3, 20, 33]
    assert session.get_modelmeta().custom_metadata_map["fixed_size"] == "20x33"
    lr = torch.rand((1, 3, 20, 33), generator=torch.Generator().manual_seed(1))
    (found,) = session.run(None, {"lr": lr.numpy()})
    np.testing.assert_allclose(found, enlarged(reference, lr).numpy(), rtol=0, atol=1e-5)


def test_onnx_of_a_fixed_size(tmp_path: Path) -> None:
    source = save_ours(tmp_path / "srn.safetensors")
    check_fixed(source, tmp_path / "srn.onnx", network("Compact"))


@pytest.mark.slow
def test_onnx_of_a_network_that_is_exact_at_one_size(tmp_path: Path) -> None:
    """The windows of SwinIR are cut for the traced size: at any other the file would be wrong."""
    source, target = tmp_path / "srn.safetensors", tmp_path / "srn.onnx"
    reference = save_swinir(source)
    message = refused(run(source, target))
    assert message.endswith("; a file of one fixed size (--size) may be exact")
    assert not target.exists()
    check_fixed(source, target, reference)


def test_onnx_in_half_precision(tmp_path: Path) -> None:
    reference = network("Compact")
    source, plain, half = (tmp_path / name for name in ("a.safetensors", "a.onnx", "b.onnx"))
    save_file(reference.state_dict(), source)
    done(source, plain)
    lines = done(source, half, "--half")
    checked = re.search(r"differs from torch by at most (\S+) on images", lines[2])
    assert checked is not None and 1e-5 < float(checked[1]) <= 2 / 255
    weights = [onnx.load(path).graph.initializer for path in (plain, half)]
    kinds = [{w.data_type for w in of_file if len(w.dims) == 4} for of_file in weights]
    assert kinds == [{onnx.TensorProto.FLOAT}, {onnx.TensorProto.FLOAT16}]
    session = onnxruntime.InferenceSession(half, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["precision"] == "float16"
    lr = lr_image(5, 30)
    (found,) = session.run(None, {"lr": lr.numpy()})
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, enlarged(reference, lr).numpy(), rtol=0, atol=2 / 255)


@pytest.mark.slow
def test_half_precision_that_overflows_is_not_written(tmp_path: Path) -> None:
    """Its last layer takes back a factor of 1e6, which float16 cannot hold in between."""
    large = network("Compact")
    first, *_, last = [layer for layer in large.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.mul_(1e6)
        last.weight.div_(1e6)
    source, target = tmp_path / "a.safetensors", tmp_path / "a.onnx"
    save_file(large.state_dict(), source)
    message = refused(run(source, target, "--half"))
    assert "was not written: ONNX Runtime differs from torch" in message
    assert message.endswith("; a layer needs more than float16, so convert it without --half")
    assert not target.exists()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.pth", ["--half"], "a fixed size and half precision are for files in .onnx"),
        ("a.safetensors", ["--size", "8x8"], "are for files in .onnx"),
        ("a.onnx", ["--size", "1x8"], "the sides of an image must be at least 2"),
    ],
)
def test_forms_that_cannot_be(name: str, options: list[str], words: str, tmp_path: Path) -> None:
    source = save_ours(tmp_path / "srn.safetensors", "ESRGAN")
    assert words in refused(run(source, tmp_path / name, *options))
    assert names(tmp_path) == ["srn.safetensors"]


@pytest.mark.parametrize("size", ["8", "8x", "0x8", "8X8", "-8x8", "8x8x8", "8.5x8"])
def test_sizes_that_are_none(size: str, tmp_path: Path) -> None:
    result = run(save_ours(tmp_path / "a.safetensors"), tmp_path / "a.onnx", "--size", size)
    assert result.exit_code == 2 and f"'{size}' is not like 128x128" in result.output


@pytest.mark.slow
def test_onnx_of_a_network_that_changes_its_input(tmp_path: Path) -> None:
    """RCAN multiplies its input in place by 255."""
    options = {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        rcan = build("RCAN", 2, options, 16).eval()
    source, target = tmp_path / "srn.safetensors", tmp_path / "srn.onnx"
    save_file(rcan.state_dict(), source)
    assert "differs from torch by at most" in done(source, target)[2]


# --- what is not finite, and what is no weight


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".onnx"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value: float, ending: str, tmp_path: Path) -> None:
    state = network("Compact").state_dict()
    state["body.0.weight"][1, 0, 2, 2] = value
    save_file(state, tmp_path / "a.safetensors")
    message = refused(run(tmp_path / "a.safetensors", tmp_path / f"b{ending}"))
    assert message.endswith("its tensor 'body.0.weight' holds values that are not finite")
    assert names(tmp_path) == ["a.safetensors"]


def test_images_that_are_not_finite(tmp_path: Path) -> None:
    state = {name: value * 1e30 for name, value in network("Compact").state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    message = refused(run(tmp_path / "a.safetensors", tmp_path / "b.pth"))
    assert message.endswith("a.safetensors: its network gives values that are not finite")


def test_weights_of_8_bits(tmp_path: Path) -> None:
    state = {name: (v * 100).to(torch.int8) for name, v in network().state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    dsn = {name: (v * 100).to(torch.int8) for name, v in authors_dsn().state_dict().items()}
    torch.save({"gen": dsn}, tmp_path / "c.pth")
    for source in (tmp_path / "a.safetensors", tmp_path / "c.pth"):
        message = refused(run(source, tmp_path / "d.safetensors"))
        assert message.endswith("is of type int8, expected float32")


# --- what is refused


class Order:
    """Pickled, this is an order to make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_code_is_refused_and_not_run(tmp_path: Path) -> None:
    source = tmp_path / "a.pth"
    torch.save({"gen": {}, "args": Order(tmp_path / "ran")}, source)
    message = refused(run(source, tmp_path / "a.safetensors"))
    assert f"{source}: holds more than tensors (posix.mkdir)" in message
    assert names(tmp_path) == ["a.pth"]


def test_unknown_contents_are_named(tmp_path: Path) -> None:
    source = tmp_path / "a.pth"
    torch.save({f"layer{i}.weight": torch.zeros(1) for i in range(9)}, source)
    assert refused(run(source, tmp_path / "a.onnx")) == (
        f"{source}: holds layer0.weight, layer1.weight, layer2.weight, layer3.weight, ...; "
        "accepted are the authors' DSN or SRN file, or an SR model for RGB images that spandrel "
        "opens"
    )


def test_an_srn_that_spandrel_cannot_open(tmp_path: Path) -> None:
    torch.save({"params": {"RRDBNet_U.a": torch.zeros(1)}}, tmp_path / "a.pth")
    message = refused(run(tmp_path / "a.pth", tmp_path / "a.safetensors"))
    assert f"{tmp_path / 'a.pth'}: is not a model that spandrel can open" in message


@pytest.mark.parametrize(
    ("make", "target", "options", "words"),
    [
        (save_dsn, "a.onnx", [], "is a DSN alone; name one OUT that ends in .safetensors"),
        (save_dsn, "a.pth", [], "is a DSN alone; name one OUT that ends in .safetensors"),
        (save_dsn, "a.safetensors", ["--dsn", "d.safetensors"], "is a DSN alone"),
        (save_ours, "a.pth", ["--dsn", "d.safetensors"], "holds no DSN that could be written to"),
        (save_srn, "a.bin", [], "a.bin: must end in .safetensors, .pth, .onnx"),
        (save_srn, "a.pth", ["--dsn", "d.pth"], "d.pth: must end in .safetensors"),
        (save_srn, "source.pth", [], "source.pth would overwrite"),
        (save_srn, "a.safetensors", ["--dsn", "a.safetensors"], "a.safetensors would overwrite"),
    ],
)
def test_refused(
    make: object, target: str, options: list[str], words: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    source = Path("source.pth")
    assert callable(make)
    make(source)
    before = source.read_bytes()
    assert words in refused(run(source, Path(target), *options))
    assert names(tmp_path) == ["source.pth"] and source.read_bytes() == before


def test_our_dsn_needs_no_conversion(tmp_path: Path) -> None:
    done(save_dsn(tmp_path / "a.pth"), tmp_path / "dsn.safetensors")
    message = refused(run(tmp_path / "dsn.safetensors", tmp_path / "b.safetensors"))
    assert "is a DSN of this project already; usrdu export and usrdu degrade read it" in message


def test_a_bad_copy_of_the_dsn_stops_before_anything_is_written(tmp_path: Path) -> None:
    source = save_srn(tmp_path / "a.pth", dsn=False)
    content = torch.load(source, weights_only=True)
    content["params"]["RRDBNet_var.block_input.0.weight"] = torch.zeros(4, 3, 3, 3)
    torch.save(content, source)
    result = run(source, tmp_path / "a.safetensors", "--dsn", str(tmp_path / "d.safetensors"))
    assert "the DSN in it has 0 residual blocks" in refused(result)
    assert names(tmp_path) == ["a.pth"]


@pytest.mark.parametrize(
    "strange", ["RRDBNet_U.conv_last2.bias", "RRDBNet_U.extra", "RRDBNet_X.conv.weight", "extra"]
)
def test_an_srn_with_other_parameters(strange: str, tmp_path: Path) -> None:
    source = save_srn(tmp_path / "a.pth")
    content = torch.load(source, weights_only=True)
    content["params"][strange] = torch.full((3,), 0.25)
    torch.save(content, source)
    name = strange.removeprefix("RRDBNet_U.")
    message = refused(run(source, tmp_path / "a.safetensors"))
    assert message.endswith(f"has other parameters than the authors': {name}")
    assert names(tmp_path) == ["a.pth"]


def test_an_srn_without_a_dsn(tmp_path: Path) -> None:
    source = save_srn(tmp_path / "a.pth", dsn=False)
    assert "with a copy" not in done(source, tmp_path / "a.safetensors")[0]
    result = run(source, tmp_path / "b.safetensors", "--dsn", str(tmp_path / "d.safetensors"))
    assert "holds no DSN that could be written" in refused(result)
    assert without_cards(tmp_path) == ["a.pth", "a.safetensors"]

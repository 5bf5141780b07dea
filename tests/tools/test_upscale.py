"""The command upscale: a tiny network of known output, files in, files out."""

import logging
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from pipeline.base.errors import UserError
from pipeline.evaluate import tiled
from pipeline.images.io import to_uint8
from pipeline.srn.network import build
from pipeline.tools import strip_writer
from pipeline.tools.upscale import plan
from stages.tools.upscale import command

Array = NDArray[Any]
SCALE = 2


def picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3), as Pillow has it."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def pixels(path: Path, mode: str = "RGB") -> NDArray[np.uint8]:
    with Image.open(path) as file:
        assert (file.format, file.mode) == ("PNG", mode)
        return np.asarray(file)


def nearest(image: Array) -> Array:
    return image.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def run(source: Path, target: Path, model: Path, *options: str) -> Result:
    arguments = [str(source), str(target), "--model", str(model), *options]
    return CliRunner().invoke(command, arguments)


def compact() -> nn.Module:
    return build("Compact", SCALE, {"num_feat": 4, "num_conv": 2}).eval()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compact adds its output to the nearest neighbours; with zeros it is those alone."""
    path = tmp_path_factory.mktemp("model") / "plain.safetensors"
    save_file({name: torch.zeros_like(v) for name, v in compact().state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """Compact with random weights, large enough to be seen, and the network itself."""
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = compact()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    save_file(network.state_dict(), path)
    return path, network


# Files that are written


@pytest.mark.parametrize(("height", "width"), [(8, 8), (13, 7), (1, 1), (1, 30), (31, 2)])
def test_file_to_file(tmp_path: Path, plain: Path, height: int, width: int) -> None:
    source = save(tmp_path / "a.png", picture(1, height, width))
    result = run(source, tmp_path / "out" / "b.png", plain)
    assert result.exit_code == 0, result.output
    expected = nearest(picture(1, height, width))
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "b.png"), expected)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]
    written = f"wrote {tmp_path / 'out' / 'b.png'} ({height * SCALE}x{width * SCALE})"
    assert written in result.output


def test_file_to_folder(tmp_path: Path, plain: Path) -> None:
    source = save(tmp_path / "my photo.bmp", picture(1, 9, 12))
    assert run(source, tmp_path / "out", plain).exit_code == 0
    found = pixels(tmp_path / "out" / "my photo.png")
    np.testing.assert_array_equal(found, nearest(picture(1, 9, 12)))


def test_folder_to_folder(tmp_path: Path, plain: Path) -> None:
    save(tmp_path / "in" / "a.png", picture(1, 9, 12))
    save(tmp_path / "in" / "b.TIF", picture(2, 5, 3))
    save(tmp_path / "in" / "c.bmp", picture(3, 17, 17)[..., 0])
    (tmp_path / "in" / "notes.txt").touch()
    save(tmp_path / "in" / "folder" / "d.png", picture(4, 4, 4))
    result = run(tmp_path / "in", tmp_path / "out", plain)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]
    for name, image in (("a", picture(1, 9, 12)), ("b", picture(2, 5, 3))):
        np.testing.assert_array_equal(pixels(tmp_path / "out" / f"{name}.png"), nearest(image))
    grey = pixels(tmp_path / "out" / "c.png", "L")
    np.testing.assert_array_equal(grey, nearest(picture(3, 17, 17)[..., 0]))


def test_an_older_result_is_replaced(tmp_path: Path, plain: Path) -> None:
    source = save(tmp_path / "a.png", picture(1, 4, 4))
    target = save(tmp_path / "b.png", picture(2, 3, 3))
    assert run(source, target, plain).exit_code == 0
    np.testing.assert_array_equal(pixels(target), nearest(picture(1, 4, 4)))


@pytest.mark.parametrize(("height", "width"), [(40, 57), (16, 16), (17, 90)])
def test_larger_than_a_tile(
    tmp_path: Path, random: tuple[Path, nn.Module], height: int, width: int
) -> None:
    model, network = random
    source = save(tmp_path / "a.png", picture(1, height, width))
    result = run(source, tmp_path / "b.png", model, "--tile", "16", "--halo", "8")
    assert result.exit_code == 0, result.output
    lr = torch.from_numpy(picture(1, height, width)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        whole = network(lr)[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert np.abs(whole - nearest(picture(1, height, width))).mean() > 5  # the weights matter
    assert np.abs(pixels(tmp_path / "b.png") - whole).max() <= 0.51


def test_without_halo_there_are_seams(tmp_path: Path, random: tuple[Path, nn.Module]) -> None:
    """The option reaches the network: what the test above asserts can fail."""
    source = save(tmp_path / "a.png", picture(1, 40, 40))
    for halo in ("0", "8"):
        run(source, tmp_path / f"{halo}.png", random[0], "--tile", "16", "--halo", halo)
    difference = np.abs(pixels(tmp_path / "0.png").astype(int) - pixels(tmp_path / "8.png"))
    assert difference.max() > 1
    rows, columns, _ = np.nonzero(difference)
    edge = {y for y in range(80) if min(abs(y - 31.5), abs(y - 63.5)) < 2 * 4}
    assert all(y in edge or x in edge for y, x in zip(rows.tolist(), columns.tolist(), strict=True))


@pytest.mark.parametrize("name", ["b.tif", "b.TIFF"])
def test_to_a_tiff(tmp_path: Path, plain: Path, name: str) -> None:
    source = save(tmp_path / "a.png", picture(1, 40, 57))
    result = run(source, tmp_path / name, plain, "--tile", "16")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / name) as file:
        assert (file.format, file.mode) == ("TIFF", "RGB")
        np.testing.assert_array_equal(np.asarray(file), nearest(picture(1, 40, 57)))


def test_batches_write_the_same_pixels(tmp_path: Path, random: tuple[Path, nn.Module]) -> None:
    source = save(tmp_path / "a.png", picture(1, 70, 90))
    for batch in ("1", "4"):
        target, options = tmp_path / f"{batch}.png", ("--tile", "16", "--batch", batch)
        assert run(source, target, random[0], *options).exit_code == 0
    one, four = (pixels(tmp_path / f"{batch}.png").astype(int) for batch in (1, 4))
    assert np.abs(one - four).max() <= 1  # where float32 rounds to the other side


def test_no_sr_image_is_in_memory(tmp_path: Path, plain: Path) -> None:
    """Twelve times the rows: the peak grows by the input and what decodes it, not by the result."""
    peaks = []
    for height in (100, 1200):
        source = save(tmp_path / f"{height}.png", picture(1, height, 200))
        tracemalloc.start()
        assert run(source, tmp_path / "b.png", plain, "--tile", "16").exit_code == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    inputs = 3 * 1100 * 200  # more of them
    assert peaks[1] - peaks[0] < 3.5 * inputs  # SCALE**2 = 4 of them are the result


# bf16


def bf16_difference(network: nn.Module, image: Array) -> float:
    """Between both precisions, gray levels, clamped: on the first tile of 16 pixels."""
    first = torch.from_numpy(image[:24, :24]).permute(2, 0, 1)[None] / 255
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        fast = network(first).double().clamp(0, 1)
    with torch.inference_mode():
        return float((network(first).double().clamp(0, 1) - fast).abs().max()) * 255


@pytest.mark.parametrize("side", ["within", "beyond"])
def test_bf16_is_used_within_its_bound(
    side: str,
    tmp_path: Path,
    random: tuple[Path, nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, network = random
    image = picture(1, 40, 57)
    difference = bf16_difference(network, image)
    assert difference > 0.5
    bound = difference * (1.01 if side == "within" else 0.99)
    monkeypatch.setattr("pipeline.tools.upscale.BF16_BOUND_GRAY", bound)
    source = save(tmp_path / "a.png", image)
    options = ("--tile", "16", "--halo", "8")
    assert run(source, tmp_path / "float32.png", model, *options).exit_code == 0
    assert run(source, tmp_path / "b.png", model, *options, "--precision", "bf16").exit_code == 0
    apart = np.abs(pixels(tmp_path / "b.png").astype(int) - pixels(tmp_path / "float32.png"))
    if side == "within":
        assert 1 <= apart.max() <= difference + 2
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    else:
        assert apart.max() == 0
        assert f"up to {difference:.1f} gray levels from float32" in caplog.text
        assert "going on in float32" in caplog.text


# Runs that fail


def fails(
    result: Result, folder: Path, *words: str, leaves: dict[str, bytes] | None = None
) -> None:
    """One sentence on stderr, status 1, and no half-written file."""
    assert result.exit_code == 1, result.output
    sentences = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(sentences) == 1
    assert result.stderr.splitlines()[-1] == sentences[0]
    assert "Traceback" not in result.output
    for word in words:
        assert word in sentences[0], sentences[0]
    assert not [path for path in folder.rglob("*") if ".partial" in path.name]
    if leaves is not None:
        assert contents(folder) == leaves


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def harmed(path: Path, harm: str) -> Path:
    content = path.read_bytes()
    path.write_bytes({"half": content[: len(content) // 2], "text": b"hello", "empty": b""}[harm])
    return path


@pytest.mark.parametrize("harm", ["half", "text", "empty"])
@pytest.mark.parametrize("name", ["model.safetensors", "model.pth", "model.bin"])
def test_bad_model(tmp_path: Path, plain: Path, harm: str, name: str) -> None:
    source = save(tmp_path / "a.png", picture(1, 4, 4))
    model = tmp_path / name
    model.write_bytes(plain.read_bytes())
    before = contents(tmp_path)
    before[name] = harmed(model, harm).read_bytes()
    result = run(source, tmp_path / "b.png", model)
    fails(result, tmp_path, f"Error: {model}: is not a model that spandrel can open", leaves=before)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (float("nan"), "holds values that are not finite"),
        (1e30, "its network gives values that are not finite"),
    ],
)
def test_values_that_are_not_finite(
    factor: float, words: str, precision: str, tmp_path: Path, random: tuple[Path, nn.Module]
) -> None:
    """They would have become black and white pixels."""
    model = tmp_path / "model.safetensors"
    save_file({name: value * factor for name, value in random[1].state_dict().items()}, model)
    source = save(tmp_path / "a.png", picture(1, 9, 12))
    result = run(source, tmp_path / "out.png", model, "--precision", precision)
    assert result.exit_code == 1 and f"{model}: its " in result.output and words in result.output
    assert not (tmp_path / "out.png").exists()


def test_a_network_that_changes_its_input(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """RCAN multiplies it in place by 255; bf16 then saw another image, and was refused."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        rcan = build("RCAN", 2, {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}, 16)
    save_file(rcan.state_dict(), tmp_path / "model.safetensors")
    source = save(tmp_path / "a.png", picture(1, 9, 12))
    model, plain, fast = (tmp_path / n for n in ("model.safetensors", "a2.png", "b2.png"))
    assert run(source, plain, model).exit_code == 0
    assert run(source, fast, model, "--precision", "bf16").exit_code == 0
    assert "going on in float32" not in caplog.text
    apart = np.abs(pixels(plain).astype(int) - pixels(fast))
    assert 0 < apart.max() <= 3


def test_missing_model(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", picture(1, 4, 4))
    model = tmp_path / "none.safetensors"
    result = run(source, tmp_path / "b.png", model)
    fails(result, tmp_path, f"Error: {model}: there is no such model file")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_model_of_something_else(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", picture(1, 4, 4))
    model = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3, 3)}, model)
    fails(run(source, tmp_path / "b.png", model), tmp_path, f"Error: {model}: is not a model")


def test_missing_input(tmp_path: Path, plain: Path) -> None:
    source = tmp_path / "none.png"
    result = run(source, tmp_path / "out", plain)
    fails(result, tmp_path, f"Error: {source}: there is no such file or folder", leaves={})
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / "empty", tmp_path / "out", plain)
    fails(result, tmp_path, f"Error: {tmp_path / 'empty'}: holds no image", leaves={})


def test_two_inputs_of_one_name(tmp_path: Path, plain: Path) -> None:
    first = save(tmp_path / "in" / "a.bmp", picture(1, 4, 4))
    second = save(tmp_path / "in" / "a.png", picture(2, 4, 4))
    before = contents(tmp_path)
    result = run(tmp_path / "in", tmp_path / "out", plain)
    both = f"{first} and {second} would both become {tmp_path / 'out' / 'a.png'}"
    fails(result, tmp_path, both, leaves=before)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("in", "in"),
        ("in", "out/../in"),
        ("in/a.png", "in/a.png"),
        ("in/a.png", "in"),
        ("in", "link"),
    ],
)
def test_the_input_is_not_overwritten(
    tmp_path: Path, plain: Path, source: str, target: str
) -> None:
    save(tmp_path / "in" / "a.png", picture(1, 4, 4))
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    before = contents(tmp_path)
    result = run(tmp_path / source, tmp_path / target, plain)
    fails(result, tmp_path, "a.png would overwrite its input", leaves=before)


@pytest.mark.parametrize("harm", ["half", "text", "empty"])
def test_corrupt_image(tmp_path: Path, plain: Path, harm: str) -> None:
    """The other images of the folder are written, and an older result of its own stays."""
    save(tmp_path / "in" / "a.png", picture(1, 4, 4))
    bad = harmed(save(tmp_path / "in" / "b.png", picture(2, 40, 40)), harm)
    save(tmp_path / "in" / "c.png", picture(3, 4, 4))
    older = save(tmp_path / "out" / "b.png", picture(4, 4, 4))
    before = older.read_bytes()
    result = run(tmp_path / "in", tmp_path / "out", plain)
    fails(result, tmp_path, "Error: 1 of 3 images could not be read: b.png")
    assert f"WARNING: {bad}: " in result.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a.png", "b.png", "c.png"]
    for name, seed in (("a", 1), ("c", 3)):
        found = pixels(tmp_path / "out" / f"{name}.png")
        np.testing.assert_array_equal(found, nearest(picture(seed, 4, 4)))
    assert older.read_bytes() == before


def test_all_bad_files_are_listed(tmp_path: Path, plain: Path) -> None:
    for name, harm in (("a", "half"), ("c", "text"), ("d", "empty")):
        harmed(save(tmp_path / "in" / f"{name}.png", picture(2, 40, 40)), harm)
    save(tmp_path / "in" / "b.png", picture(3, 4, 4))
    result = run(tmp_path / "in", tmp_path / "out", plain)
    fails(result, tmp_path, "Error: 3 of 4 images could not be read: a.png, c.png, d.png")
    assert result.stderr.count("WARNING: ") == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]


@pytest.mark.parametrize("harm", ["half", "text", "empty"])
def test_a_single_corrupt_image(tmp_path: Path, plain: Path, harm: str) -> None:
    bad = harmed(save(tmp_path / "b.png", picture(2, 40, 40)), harm)
    fails(run(bad, tmp_path / "out", plain), tmp_path, f"Error: {bad}: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["b.jpg", "b.JPEG", "b.webp", "b.heic", "b.gif", "b.bmp"])
def test_a_kind_of_file_that_is_not_written(tmp_path: Path, plain: Path, name: str) -> None:
    source = save(tmp_path / "a.png", picture(1, 4, 4))
    result = run(source, tmp_path / name, plain)
    ending = Path(name).suffix.lower()
    said = f"{tmp_path / name}: {ending} is not written; name a folder, or .png, .tif or .tiff"
    fails(result, tmp_path, said)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["b.png", "b.tif"])
def test_a_folder_into_one_file(tmp_path: Path, plain: Path, name: str) -> None:
    save(tmp_path / "in" / "a.png", picture(1, 4, 4))
    result = run(tmp_path / "in", tmp_path / name, plain)
    said = f"{tmp_path / 'in'}: is a folder, so the output must be one, not {tmp_path / name}"
    fails(result, tmp_path, said)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("target", ["file/b.png", "file", "taken.png"])
def test_a_place_that_cannot_be_written(tmp_path: Path, plain: Path, target: str) -> None:
    source = save(tmp_path / "a.png", picture(1, 4, 4))
    (tmp_path / "file").write_text("precious")
    (tmp_path / "taken.png").mkdir()
    before = contents(tmp_path)
    result = run(source, tmp_path / target, plain)
    fails(result, tmp_path, "cannot be written: ", str(tmp_path / target), leaves=before)


@pytest.mark.parametrize("options", [("--tile", "15"), ("--halo", "-1"), ("--tile", "x")])
def test_options_out_of_range(tmp_path: Path, plain: Path, options: tuple[str, str]) -> None:
    source = save(tmp_path / "a.png", picture(1, 4, 4))
    result = run(source, tmp_path / "b.png", plain, *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_full_disk(tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the third strip of the second image: the first stays, and an older result too."""
    save(tmp_path / "in" / "a.png", picture(1, 40, 20))
    save(tmp_path / "in" / "b.png", picture(2, 90, 20))
    older = save(tmp_path / "out" / "b.png", picture(4, 4, 4)).read_bytes()
    original, left = strip_writer.paeth, [2 + 2]

    def full(rows: Array, above: Array) -> Array:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return original(rows, above)

    monkeypatch.setattr(strip_writer, "paeth", full)
    result = run(tmp_path / "in", tmp_path / "out", plain, "--tile", "16")
    target = tmp_path / "out" / "b.png"
    fails(result, tmp_path, f"Error: {target}: cannot be written: No space left on device")
    assert target.read_bytes() == older
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "a.png"), nearest(picture(1, 40, 20)))


def test_ctrl_c(tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "in" / "a.png", picture(1, 40, 20))
    original, left = to_uint8, [4]

    def interrupted(image: torch.Tensor) -> Array:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return original(image)

    monkeypatch.setattr(tiled, "to_uint8", interrupted)
    result = run(tmp_path / "in", tmp_path / "out", plain, "--tile", "16")
    assert result.exit_code == 130
    assert not list((tmp_path / "out").iterdir())


# The plan


def touched(tmp_path: Path) -> Callable[[str], Path]:
    def touch(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    return touch


def test_plan(tmp_path: Path) -> None:
    touch = touched(tmp_path)
    file = touch("in/a.b.jpg")
    other = touch("in/B.png")
    out = tmp_path / "out"
    assert plan(file, out) == [(file, out / "a.b.png")]
    assert plan(file, tmp_path / "x.PNG") == [(file, tmp_path / "x.PNG")]
    assert plan(file, tmp_path / "x.tif") == [(file, tmp_path / "x.tif")]
    (tmp_path / "x.jpg").mkdir()  # who has such a folder may use it
    assert plan(file, tmp_path / "x.jpg") == [(file, tmp_path / "x.jpg" / "a.b.png")]
    assert plan(file, tmp_path / "v1.5") == [(file, tmp_path / "v1.5" / "a.b.png")]
    assert plan(file.parent, out) == [(other, out / "B.png"), (file, out / "a.b.png")]
    assert plan(file, file.parent) == [(file, file.parent / "a.b.png")]
    with pytest.raises(UserError, match="would overwrite its input"):
        plan(file.parent, file.parent)


def test_what_is_passed_over_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    (folder / "b.psd").write_bytes(b"8BPS\x00\x01")
    with caplog.at_level("WARNING"):
        assert len(plan(folder, tmp_path / "out")) == 1
    assert caplog.messages == [f"{folder}: one file passed over (.psd)"]

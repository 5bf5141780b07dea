"""What upscale keeps of a photograph: alpha, depth, grey, EXIF data, resolution."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tifffile
import torch
from click.testing import CliRunner
from imagecodecs import brotli_encode, jpeg2k_encode, jpegxl_encode, png_decode, png_encode
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from safetensors.torch import save_file
from skimage.data import astronaut
from torch import nn

from pipeline.srn.network import build
from stages.tools.upscale import command

Array = NDArray[Any]
SCALE = 2


def random_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = build("Compact", SCALE, {"num_feat": 4, "num_conv": 2}).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    return network


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A network that colours, and its file."""
    path, network = tmp_path_factory.mktemp("model") / "random.safetensors", random_network()
    save_file(network.state_dict(), path)
    return path, network


@pytest.fixture(scope="module")
def nearest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of zeros, which repeats every pixel."""
    path = tmp_path_factory.mktemp("model") / "nearest.safetensors"
    weights = random_network().state_dict()
    save_file({name: torch.zeros_like(values) for name, values in weights.items()}, path)
    return path


def upscaled(source: Path, target: Path, model: Path) -> Path:
    options = ["--model", str(model), "--tile", "16", "--halo", "8"]
    result = CliRunner().invoke(command, [str(source), str(target), *options])
    assert result.exit_code == 0, result.output
    return target


def repeated(image: Array) -> Array:
    return image.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def read(path: Path) -> Array:
    """By libpng or by tifffile."""
    is_png = path.suffix == ".png"
    return np.asarray(png_decode(path.read_bytes()) if is_png else tifffile.imread(path))


def values(channels: int, dtype: type[np.unsignedinteger[Any]], seed: int = 1) -> Array:
    """(40, 21, C), or (40, 21) if C is one."""
    high = np.iinfo(dtype).max
    made = np.random.default_rng(seed).integers(0, high, (40, 21, channels), dtype, endpoint=True)
    return made[..., 0] if channels == 1 else made


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_and_depth_are_those_of_the_input(
    tmp_path: Path, nearest: Path, channels: int, dtype: Any, ending: str
) -> None:
    image = values(channels, dtype)
    source = tmp_path / "a.png"
    source.write_bytes(png_encode(image))
    found = read(upscaled(source, tmp_path / f"b{ending}", nearest))
    assert found.dtype == dtype and found.shape == repeated(image).shape
    colours = slice(channels) if channels % 2 else slice(channels - 1)
    at = (..., colours) if channels > 1 else ...
    np.testing.assert_array_equal(found[at], repeated(image)[at])


def test_a_ramp_of_16_bit_keeps_its_levels(tmp_path: Path, nearest: Path) -> None:
    """64 levels, which are 10 levels of 8 bit."""
    ramp = np.tile(np.arange(64, dtype=np.uint16) * 40 + 20000, (8, 1))
    tifffile.imwrite(tmp_path / "a.tif", ramp)
    found = read(upscaled(tmp_path / "a.tif", tmp_path / "b.png", nearest))
    assert found.dtype == np.uint16 and len(np.unique(found)) == 64
    np.testing.assert_array_equal(found, repeated(ramp))


@pytest.mark.parametrize("kind", ["file of grey", "file of RGB"])
def test_grey_stays_grey(tmp_path: Path, random: tuple[Path, nn.Module], kind: str) -> None:
    """The luma (BT.601) of what the network makes of it, which is coloured."""
    model, network = random
    grey = values(1, np.uint8)
    image = grey if kind == "file of grey" else np.dstack([grey] * 3)
    Image.fromarray(image).save(tmp_path / "a.png")
    lr = torch.from_numpy(grey)[None, None].expand(-1, 3, -1, -1) / 255
    with torch.inference_mode():
        coloured = network(lr)[0].clamp(0, 1).permute(1, 2, 0).double().numpy() * 255
    assert np.ptp(coloured, axis=-1).max() > 7
    expected = coloured @ np.array([0.299, 0.587, 0.114])
    found = read(upscaled(tmp_path / "a.png", tmp_path / "b.png", model))
    assert found.ndim == image.ndim
    if found.ndim == 3:
        assert not np.ptp(found, axis=-1).any()
        found = found[..., 0]
    assert np.abs(found - expected).max() <= 0.51


def test_colours_do_not_depend_on_alpha(tmp_path: Path, random: tuple[Path, nn.Module]) -> None:
    image = values(4, np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(image[..., :3]).save(tmp_path / "rgb.png")
    found = read(upscaled(tmp_path / "a.png", tmp_path / "b.png", random[0]))
    plain = read(upscaled(tmp_path / "rgb.png", tmp_path / "c.png", random[0]))
    np.testing.assert_array_equal(found[..., :3], plain)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_enlarged(tmp_path: Path, nearest: Path, mode: str) -> None:
    """Bicubically, as Pillow does it except for the two pixels at the border."""
    rows, columns = np.mgrid[:40, :30]
    alpha = np.where((rows - 20) ** 2 + (columns - 15) ** 2 < 120, 255, 4 * columns).astype("u1")
    picture = Image.fromarray(values(3, np.uint8)[:, :1].repeat(30, 1)).convert(mode)
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "a.png")
    found = read(upscaled(tmp_path / "a.png", tmp_path / "b.png", nearest))[..., -1]
    floats = Image.fromarray(alpha.astype(np.float32))
    expected = np.asarray(floats.resize((60, 80), Image.Resampling.BICUBIC)).clip(0, 255)
    apart = np.abs(found - expected)
    assert apart[4:-4, 4:-4].max() <= 1


def portrait(path: Path) -> Path:
    """A photograph as a phone writes it, turned by its orientation."""
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model] = "Maker", "Model 7"
    exif[Base.Software], exif[Base.Artist] = "Camera 1.0", "Ångström".encode()
    exif[Base.DateTime] = "2024:05:06 07:08:09"
    exif[Base.Orientation] = 6
    exif[Base.XResolution], exif[Base.YResolution], exif[Base.ResolutionUnit] = 300.0, 150.0, 2
    exif[IFD.Exif] = {
        Base.DateTimeOriginal: "2024:05:06 07:08:09",
        Base.ExposureTime: 0.01,
        Base.LensModel: "a lens",
        Base.ExifImageWidth: 48,
        Base.ExifImageHeight: 32,
        Base.ColorSpace: 65535,
    }
    exif[IFD.GPSInfo] = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (48.0, 30.0, 1.5)}
    Image.fromarray(astronaut()[:32, 200:248]).save(path, exif=exif.tobytes(), dpi=(300, 150))
    return path


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_exif_data_are_copied(tmp_path: Path, nearest: Path, name: str, ending: str) -> None:
    target = upscaled(portrait(tmp_path / name), tmp_path / f"b{ending}", nearest)
    with Image.open(target) as file:
        assert file.size == (64, 96)  # upright
        found = file.getexif()
        inner, gps = found.get_ifd(IFD.Exif), found.get_ifd(IFD.GPSInfo)
        dpi = file.info["dpi"]
    assert (found[Base.Make], found[Base.Model]) == ("Maker", "Model 7")
    assert found[Base.Software] == "Camera 1.0"
    if name != "a.tif":  # Pillow writes question marks there
        assert found[Base.Artist].encode("latin-1").decode() == "Ångström"
    assert found[Base.DateTime] == inner[Base.DateTimeOriginal] == "2024:05:06 07:08:09"
    assert found.get(Base.Orientation, 1) == 1
    assert inner[Base.ExposureTime] == pytest.approx(0.01)
    assert inner[Base.LensModel] == "a lens"
    assert (inner[Base.ExifImageWidth], inner[Base.ExifImageHeight]) == (64, 96)
    assert inner[Base.ColorSpace] == 1
    assert gps[GPS.GPSLatitudeRef] == "N"
    assert [float(part) for part in gps[GPS.GPSLatitude]] == [48.0, 30.0, 1.5]
    assert dpi == pytest.approx((150, 300), rel=1e-4)  # turned with the rows
    assert (found[Base.XResolution], found[Base.YResolution]) == pytest.approx((150, 300), rel=1e-4)


@pytest.mark.parametrize("kind", ["classic", "big"])
def test_tifffile_reads_the_directories(
    tmp_path: Path, nearest: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "big":
        monkeypatch.setattr("pipeline.tools.strip_writer.CLASSIC_BYTES", 0)
    target = upscaled(portrait(tmp_path / "a.jpg"), tmp_path / "b.tif", nearest)
    with tifffile.TiffFile(target) as file:
        assert file.is_bigtiff == (kind == "big")
        assert file.pages.first.asarray().shape == (96, 64, 3)
        tags = file.pages.first.tags
        assert tags["ExifTag"].value["DateTimeOriginal"] == "2024:05:06 07:08:09"
        assert tags["GPSTag"].value["GPSLatitude"] == (48, 1, 30, 1, 3, 2)
        assert tags["Model"].value == "Model 7"


def test_no_exif_data_no_resolution(tmp_path: Path, nearest: Path) -> None:
    Image.fromarray(values(3, np.uint8)).save(tmp_path / "a.png")
    with Image.open(upscaled(tmp_path / "a.png", tmp_path / "b.png", nearest)) as file:
        assert not file.getexif() and "dpi" not in file.info


def test_damaged_exif_data_are_left_out(tmp_path: Path, nearest: Path) -> None:
    source = tmp_path / "a.jpg"
    image = Image.fromarray(values(3, np.uint8))
    image.save(source, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    with Image.open(upscaled(source, tmp_path / "b.png", nearest)) as file:
        assert file.size == (42, 80) and not file.getexif()


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def boxed(kind: str, exif: bytes) -> bytes:
    """A file of boxes with EXIF data, a TIFF."""
    if kind == "heic":
        file, target = pillow_heif.from_bytes("RGB", (64, 64), bytes(3 * 64 * 64)), BytesIO()
        file.save(target, exif=b"Exif\0\0" + exif)
        return target.getvalue()
    pixels = np.zeros((64, 64, 3), np.uint8)
    if kind == "jp2":
        return bytes(jpeg2k_encode(pixels)) + box(b"uuid", b"JpgTiffExif->JP2" + exif)
    content = b"\0\0\0\2ab" + exif  # it begins after two bytes
    signature = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    packed = b"Exif" + bytes(brotli_encode(content))
    said = box(b"brob", packed) if kind == "packed jxl" else box(b"Exif", content)
    return signature + box(b"jxlc", bytes(jpegxl_encode(pixels, usecontainer=False))) + said


@pytest.mark.parametrize("kind", ["heic", "jp2", "jxl", "packed jxl"])
def test_what_a_file_of_boxes_says_is_kept(tmp_path: Path, nearest: Path, kind: str) -> None:
    """What phones write by default; the orientation in its EXIF data counts for nothing."""
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Orientation] = "Maker", 6
    exif[Base.XResolution] = exif[Base.YResolution] = 300.0
    exif[Base.ResolutionUnit] = 2
    exif.get_ifd(IFD.Exif)[Base.ISOSpeedRatings] = 400
    source = tmp_path / f"a.{kind.split()[-1]}"
    source.write_bytes(boxed(kind, exif.tobytes().removeprefix(b"Exif\0\0")))
    with Image.open(upscaled(source, tmp_path / "b.png", nearest)) as made:
        assert made.size == (64 * SCALE, 64 * SCALE)
        found = made.getexif()
        assert found[Base.Make] == "Maker" and Base.Orientation not in found
        assert found.get_ifd(IFD.Exif)[Base.ISOSpeedRatings] == 400
        assert made.info["dpi"] == pytest.approx((300, 300), abs=0.1)

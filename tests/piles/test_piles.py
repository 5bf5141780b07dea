"""Piles with known faults: each is found by its name, and what has none is left alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from discs import Image, blurred, jpeg, noisy, pillow, resized, scene
from PIL.ExifTags import Base
from PIL.Image import Exif

from pipeline.piles.headers import Header, Tables, camera_of
from pipeline.piles.look import Picture, look_at
from pipeline.piles.piles import Finding, findings_of
from stages.cli import main

LOSSLESS = Header(None, "lossless")
SMALL = (100, 120)


def pictures(images: dict[str, Image], header: Header = LOSSLESS) -> list[Picture]:
    return [Picture(Path(f"{name}.png"), look_at(each), header) for name, each in images.items()]


def names(findings: list[Finding]) -> dict[str, list[str]]:
    return {f"{f.pile} {f.kind}": [file.stem for file, _ in f.files] for f in findings}


def sharp(seed: int) -> Image:
    """A scene with grain, as flat colours show no enlargement."""
    return noisy(scene(seed), 2, seed)


CLEAN = {f"clean{seed}": sharp(seed) for seed in range(4)}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert findings_of({"HR": pictures(CLEAN), "LR": pictures({"other": sharp(7)})}) == []


FAULTS = {
    "blurred": blurred(sharp(10), 1),
    "noisy": noisy(scene(11), 10),
    "jpeg": jpeg(sharp(12), 80),
    "enlarged": resized(sharp(13), 1.5),
    "overexposed": np.minimum(sharp(14).astype(int) * 4, 255).astype(np.uint8),
    "underexposed": (sharp(15) // 5).astype(np.uint8),
    "flat": noisy(np.full((3, 300, 300), 100, np.uint8), 2),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_found_and_no_other(kind: str) -> None:
    of_hr = names(findings_of({"HR": pictures(CLEAN | {"bad": FAULTS[kind]})}))
    assert of_hr[f"HR {kind}"] == ["bad"]
    assert of_hr.keys() - {f"HR {kind}", "HR blurred"} == set()
    of_lr = names(findings_of({"LR": pictures({**CLEAN, "bad": FAULTS[kind]})}))
    cameras_own = kind in ("blurred", "noisy", "jpeg")
    assert ("LR sizes" in of_lr or f"LR {kind}" in of_lr) == (not cameras_own)


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_a_jpeg_that_was_saved_as_png(quality: int) -> None:
    """The strongest compression has also taken the finest detail."""
    found = findings_of({"HR": pictures({"bad": jpeg(sharp(12), quality)})})
    assert [each.kind for each in found] == ["blurred", "jpeg"][quality > 30 :]
    assert found[-1].files[0][1].startswith("no JPEG file, but the ")
    kept = pictures({"bad": jpeg(sharp(12), quality)}, Header(None, "other"))
    assert "HR jpeg" not in names(findings_of({"HR": kept}))


def test_an_enlarged_image_has_its_factor() -> None:
    (found,) = findings_of({"HR": pictures({"bad": FAULTS["enlarged"]})})
    assert (found.kind, found.files) == ("enlarged", ((Path("bad.png"), "1.5 or 3 times"),))
    (doubled,) = findings_of({"LR": pictures({"bad": resized(sharp(13), 2)})})
    assert (doubled.kind, doubled.files[0][1]) == ("enlarged", "2 times")


def test_copies_inside_and_across() -> None:
    hr = {"a": sharp(0), "b": sharp(1), "again": sharp(0), "poor": jpeg(sharp(1), 95)}
    lr = {"small": resized(sharp(1), 0.25), "own": sharp(3)}
    found = findings_of({"HR": pictures(hr), "LR": pictures(lr)})
    notes = {f.kind: [(file.stem, note) for file, note in f.files] for f in found}
    assert notes["copies"] == [("again", "equals a.png"), ("poor", "is like b.png")]
    assert notes["paired"] == [("small", "shows b.png")]


def of_camera(count: int, header: Header, start: int) -> list[Picture]:
    images = {f"{start + n}": scene(start + n, *SMALL) for n in range(count)}
    return pictures(images, header)


def test_cameras_by_exif() -> None:
    pile = [*of_camera(5, Header("Canon A", "lossless"), 0), *of_camera(1, LOSSLESS, 5)]
    assert findings_of({"LR": pile}) == []
    pile += of_camera(1, Header("Nikon B", "lossless"), 6)
    (found,) = findings_of({"LR": pile})
    assert (found.kind, found.files) == ("cameras", ((Path("6.png"), "Nikon B"),))


def test_cameras_by_tables_and_sizes() -> None:
    one, other = (Tables((step,) * 64, (step,) * 64, "4:2:0") for step in (5, 9))
    pile = [*of_camera(5, Header(None, one), 0), *of_camera(3, Header(None, other), 5)]
    assert names(findings_of({"LR": pile})) == {"LR tables": ["5", "6", "7"]}
    larger = pictures({f"l{n}": scene(n, 120, 140) for n in range(20, 22)}, Header(None, one))
    turned = pictures({"t": scene(30, *SMALL[::-1])}, Header(None, one))
    pile = [*of_camera(5, Header(None, one), 0), *larger, *turned]
    assert names(findings_of({"LR": pile})) == {"LR sizes": ["l20", "l21"]}


def test_cameras_by_noise() -> None:
    sizes = (128, 192)

    def pile(levels: list[float]) -> list[Picture]:
        images = {f"{n}": noisy(scene(n, *sizes), level, n) for n, level in enumerate(levels)}
        return pictures(images)

    assert names(findings_of({"LR": pile([2.0] * 8 + [6.0] * 4)})) == {
        "LR noise": ["8", "9", "10", "11"]
    }
    assert findings_of({"LR": pile([2 * 1.15**n for n in range(12)])}) == []
    assert findings_of({"LR": pile([2.0] * 5 + [6.0] * 4)}) == []


def test_make_and_model(tmp_path: Path) -> None:
    exif = Exif()
    exif[Base.Make], exif[Base.Model] = "NIKON CORPORATION", "NIKON D610 "
    path = tmp_path / "a.jpg"
    pillow(scene(0, *SMALL)).save(path, exif=exif)
    assert camera_of(path) == "NIKON D610"
    exif[Base.Make] = "Leica"
    exif[Base.Model] = "M\n9"
    pillow(scene(0, *SMALL)).save(path, exif=exif)
    assert camera_of(path) == "Leica M\\n9"
    pillow(scene(0, *SMALL)).save(path)
    assert camera_of(path) is None
    path.write_bytes(b"no image")
    assert camera_of(path) is None


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    hr, lr = tmp_path / "hr", tmp_path / "lr"
    piles = {
        hr: CLEAN | {"bad one": FAULTS["blurred"], "[x]": FAULTS["noisy"]},
        lr: {"small": resized(CLEAN["clean0"], 0.25), "own": scene(20, 80, 100)},
    }
    for folder, images in piles.items():
        folder.mkdir()
        for name, image in images.items():
            pillow(image).save(folder / f"{name}.png")
    pillow(sharp(12)).save(hr / "poor.jpg", quality=60)
    (hr / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return hr, lr


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["piles", *map(str, words)])


def test_the_command(folders: tuple[Path, Path], tmp_path: Path) -> None:
    hr, lr = folders
    out = tmp_path / "out"
    result = run(hr, lr, "--out", out)
    assert result.exit_code == 0, result.output
    assert (
        "1 of 7 HR images is nowhere sharp at the pixel: bad one.png (sharpness 0." in result.stdout
    )
    assert "1 of 7 HR images was compressed as JPEG: poor.jpg (JPEG of quality 60)" in result.stdout
    assert "1 of 2 LR images shows the scene of an HR image: small.png" in result.stdout
    assert "broken.png" in result.stderr
    lists = {path.name: path.read_text().splitlines() for path in out.glob("*.txt")}
    assert lists == {
        "hr_blurred.txt": [f"{hr / 'bad one.png'}"],
        "hr_noisy.txt": [f"{hr / '[x].png'}"],
        "hr_jpeg.txt": [f"{hr / 'poor.jpg'}"],
        "lr_paired.txt": [f"{lr / 'small.png'}"],
    }
    page = (out / "piles.md").read_text()
    assert "## 1 of 7 HR images is noisy" in page and "* \\[x\\].png (" in page
    content = json.loads((out / "piles.json").read_text())
    assert [each["kind"] for each in content["findings"]] == ["blurred", "noisy", "jpeg", "paired"]
    measured = {Path(each["file"]).name: each for each in content["images"]["HR"]}
    assert measured["bad one.png"]["sharpness"] < 0.48 < measured["clean0.png"]["sharpness"]
    assert measured["poor.jpg"]["size"] == [320, 400]


def test_the_command_without_findings(tmp_path: Path) -> None:
    for name, seed in (("hr", 0), ("lr", 1)):
        (tmp_path / name).mkdir()
        pillow(sharp(seed)).save(tmp_path / name / "a.png")
    result = run(tmp_path / "hr", tmp_path / "lr")
    assert (result.exit_code, result.stdout) == (0, "nothing was found\n")
    missing = run(tmp_path / "hr", tmp_path / "none")
    assert missing.exit_code == 1 and "there is no such folder" in missing.stderr

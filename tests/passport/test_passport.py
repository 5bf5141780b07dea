"""The passport's file."""

import json
from pathlib import Path

import numpy as np
import pytest
from doubles import gaussian_kernel, plain_passport

from pipeline.base.errors import UserError
from pipeline.passport.passport import LARGEST_FILE, read_passport, write_passport
from pipeline.sampling.compression import MOST_TABLES, JpegMixture
from pipeline.sampling.jpeg import tables_of_quality


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    passport = plain_passport(unknown=["The blur is narrower than bicubic."])
    write_passport(tmp_path / "camera.json", passport)
    assert read_passport(tmp_path / "camera.json") == passport


def test_a_stranger_can_read_it(tmp_path: Path) -> None:
    write_passport(tmp_path / "camera.json", plain_passport())
    lines = (tmp_path / "camera.json").read_text().splitlines()
    assert len(lines) < 120, "a row of numbers stands on one line"
    content = json.loads("\n".join(lines))
    assert np.sum(content["luma_kernel"]) == pytest.approx(1, abs=1e-4)


def test_the_largest_kernels_fit(tmp_path: Path) -> None:
    wide = gaussian_kernel(64, 12.0).tolist()
    path = tmp_path / "camera.json"
    kinds = [tables_of_quality(quality, "4:2:0") for quality in range(1, MOST_TABLES + 1)]
    mixture = JpegMixture(tables=kinds, shares=[1 / MOST_TABLES] * MOST_TABLES)
    jpeg = json.loads(mixture.model_dump_json())
    write_passport(path, plain_passport(chroma_kernel=wide, luma_kernel=wide, jpeg=jpeg))
    assert path.stat().st_size <= LARGEST_FILE
    with pytest.raises(UserError, match=r"camera\.json: would have \d+ bytes"):
        write_passport(path, plain_passport(unknown=["x" * LARGEST_FILE]))
    assert len(read_passport(path).luma_kernel) == 64
    assert read_passport(path).jpeg == mixture


def broken(**changes: object) -> str:
    return json.dumps(plain_passport().model_dump() | changes)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is not a camera's passport: Invalid JSON"),
        ("{}", "scale: Field required"),
        (broken(format="usrdu-camera-0"), "format: Input should be 'usrdu-camera-1'"),
        (broken(scale=5), "scale: Input should be less than or equal to 4"),
        (broken(scale=3), "sides of luma_kernel must be odd at the scale 3, found"),
        (broken(colour=1), "colour: Extra inputs"),
        (broken(luma_kernel=[[0.5, 0.5]] * 2), "luma_kernel: .* must add up to 1, found 2"),
        (broken(luma_kernel=[[1.0], [0.0, 0.0]]), "luma_kernel: "),
        (broken(luma_kernel=[[1 / 66] * 66]), "sides up to 64"),
        (broken(luma_kernel=[]), "luma_kernel: "),
        (broken(sharpening={"amount": -1.0, "radius": 1.0}), "sharpening.amount: "),
        (broken(sharpening={"amount": 1.0, "radius": 0.0}), "sharpening.radius: "),
        (broken(denoising={"threshold_gray": 1.0, "kept": 1.5}), "denoising.kept: "),
        (broken(noise={"variance_gray": [[1.0] * 3] * 2, "noise_filter": None,
                       "laplace_share": 1.0}), "noise.variance_gray: .*3 by at least 2"),
        (broken(noise={"variance_gray": [[1.0] * 3] * 3, "noise_filter": [[[[1.0]]]],
                       "laplace_share": 1.0}), "noise.noise_filter: .*odd squares"),
        (broken(luma_kernel=[[float("nan")] * 4] * 4), "luma_kernel"),
        ("\x00" * 9, "is not a camera's passport"),
        (" " * (LARGEST_FILE + 1), "a passport has at most"),
    ],
)  # fmt: skip
def test_other_and_damaged_files_are_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "camera.json"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"camera\.json: .*{fault}") as refused:
        read_passport(path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: cannot be read: No such file"):
        read_passport(tmp_path / "none.json")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "camera.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not a camera's passport"):
        read_passport(tmp_path / "camera.json")


def test_the_lists_of_the_transfer_function_are_of_one_length() -> None:
    transfer = plain_passport().transfer.model_dump() | {"luma": [1.0, 0.5]}
    with pytest.raises(ValueError, match="lists of transfer differ in length"):
        plain_passport(transfer=transfer)

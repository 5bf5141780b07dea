"""The picture of a passport."""

import json
from pathlib import Path

import numpy as np
import pytest
from doubles import plain_passport
from PIL import Image

from pipeline.camera.estimate import unknown
from pipeline.camera.fit import Camera
from pipeline.camera.optics import Optics
from pipeline.camera.picture import draw_passport
from pipeline.camera.spectra import rings
from pipeline.passport.passport import ImageCounts, Passport, Transfer
from pipeline.sampling.jpeg import tables_of_quality

WIDE = Transfer(
    frequencies=[0.0, 0.25, 0.5],
    luma=[1.0, 0.8, 0.4],
    luma_low=[0.9, 0.5, 0.2],
    luma_high=[1.0, 1.2, 0.6],
    chroma=[1.0, 0.7, 0.3],
    chroma_low=[0.9, 0.6, 0.2],
    chroma_high=[1.0, 0.8, 0.4],
)


def everything_unknown() -> list[str]:
    zeros = np.zeros(len(rings()))
    camera = Camera(Optics(0.0, 0.0, 0.0, 0.0, 0.0, 0.6), zeros, zeros, 1.0)
    return unknown(camera, -0.5, WIDE, "noise could not be measured", ImageCounts(hr=1, lr=5))


def drawn(path: Path, passport: Passport) -> np.ndarray:
    draw_passport(path, passport)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_shows_something_everywhere(tmp_path: Path, scale: int) -> None:
    pixels = drawn(tmp_path / "camera.png", plain_passport(scale, transfer=WIDE.model_dump()))
    assert pixels.shape[1] > 2 * pixels.shape[0] > 500
    for third in np.array_split(pixels, 3, axis=1):
        assert len(np.unique(third.reshape(-1, 3), axis=0)) > 20


def test_what_is_unknown_stands_below(tmp_path: Path) -> None:
    known = drawn(tmp_path / "a.png", plain_passport())
    asked = drawn(tmp_path / "b.png", plain_passport(unknown=everything_unknown()))
    assert known.shape == asked.shape
    framed = [np.flatnonzero((one.max(axis=2) < 128).mean(axis=1) > 0.5) for one in (known, asked)]
    assert framed[1][-1] < framed[0][-1] - 20, "the frames make room for the sentences"
    edges = np.concatenate([asked[:, :3], asked[:, -3:]], axis=1)
    assert edges.min() > 250, "no sentence is cut off at a side"


def test_no_noise_and_a_compression_are_drawn(tmp_path: Path) -> None:
    none = {"variance_gray": [[0.0, 0.0]] * 3, "noise_filter": None, "laplace_share": 1.0}
    jpeg = json.loads(tables_of_quality(80, "4:2:0").model_dump_json())
    assert drawn(tmp_path / "a.png", plain_passport(noise=none, jpeg=jpeg)).std() > 0


def test_the_same_passport_gives_the_same_file(tmp_path: Path) -> None:
    draw_passport(tmp_path / "a.png", plain_passport())
    draw_passport(tmp_path / "b.png", plain_passport())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_every_sentence_of_the_unknown_is_said() -> None:
    told = everything_unknown()
    assert len(told) == 6
    for words in ("only one HR image", "only 5 real LR images", "narrower", "less fine detail",
                  "only roughly", "noise could not be measured"):  # fmt: skip
        assert sum(words in sentence for sentence in told) == 1


def test_nothing_is_unknown_of_a_clear_case() -> None:
    zeros = np.zeros(len(rings()))
    camera = Camera(Optics(0.5, 0.0, 0.0, 0.0, 0.0, 0.6), zeros, zeros, 1.0)
    narrow = WIDE.model_copy(update={"luma_low": WIDE.luma, "luma_high": WIDE.luma})
    assert unknown(camera, 0.1, narrow, None, ImageCounts(hr=8, lr=8)) == []
    more = unknown(camera, 0.4, narrow, None, ImageCounts(hr=8, lr=8))
    assert len(more) == 1
    assert "more fine detail" in more[0]

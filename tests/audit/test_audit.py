"""The audit: every number again with NumPy on whole images, the page as a browser reads it."""

import csv
import json
import pickle
import re
import tracemalloc
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import fields, replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from doubles import local_cluster, plain_passport
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.optimize import brentq
from scipy.stats import median_abs_deviation, wasserstein_distance

from pipeline.audit import graph, tables, tasks
from pipeline.audit.audit import AGAINST_FILE, FILES, audit
from pipeline.audit.graph import AuditInputs
from pipeline.audit.histograms import (
    GRADIENTS,
    THETA_VALUES,
    AuditSettings,
    ClosedForm,
    bin_index,
    theta_by_gradient,
)
from pipeline.audit.noise_laws import DifferenceHistogram, fit_laws
from pipeline.audit.page import THUMBNAILS, Against, Pictures, Summary, render
from pipeline.audit.tables import ImageRow
from pipeline.audit.tasks import HELD_OUT, TRAINING, count_real
from pipeline.audit.verdicts import Verdict, Verdicts
from pipeline.base.boxes import Box
from pipeline.base.errors import UserError
from pipeline.base.settings import load_section
from pipeline.images.filters import bicubic_downsample
from pipeline.noise import statistics
from pipeline.noise.classifier import Accuracy, classifier_accuracy
from pipeline.noise.signature import signature
from pipeline.noise.statistics import Allowance, LrScores
from pipeline.report import page as frame
from pipeline.report.maps import PANEL, Panels, Thumbnail
from pipeline.report.tables import PAGE_ROWS, Table
from pipeline.sampling.calibration import CALIBRATION_FORMAT
from pipeline.stores import format
from pipeline.stores.reader import Store
from pipeline.stores.split import held_out_box
from pipeline.writing.writer import StoreWriter
from stages.audit import command

CHUNK = 40
SIZES = {"one": (48, 56), "two": (30, 20), "big": (97, 211)}
"""(H, W) of the maps in LR pixels: ``big`` has many chunks, and tiles within them."""
LR_SIZES = {"a": (96, 128), "b": (80, 144)}
SETTINGS = AuditSettings(
    worst_images=2, bins=25, theta_limit_gray=6.0, distance_limit_gray=30.0, outlier_score=3.5
)
HOSTILE = '"><script>alert(1)</script>'
PARAMS = """audit:
  worst_images: 1
  bins: 10
  theta_limit_gray: 6.0
  distance_limit_gray: 30.0
  outlier_score: 3.5
"""


@pytest.fixture(autouse=True)
def quick_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier takes seconds and has tests of its own; here most audits go without."""
    quick = Accuracy(0.75, 0.6, 0.9, 10)
    monkeypatch.setattr(statistics, "classifier_accuracy", lambda *_: quick)


DSN: dict[str, object] = {
    "format": "usrdu-dsn-2",
    "scale": 4,
    "features": 4,
    "blocks": 1,
    "learned_theta": True,
    "prior_scale_gray": 1.0,
    "reference": "bicubic",
    "passport": None,
}
"""What the maps say of the DSN, though none made them."""


def description(hr: Store, **changes: object) -> dict[str, Any]:
    return {
        "dsn": {**DSN, **{key: changes.pop(key) for key in list(changes) if key in DSN}},
        "dsn_hash": HOSTILE,
        "hr_digest": hr.digest,
        "export_settings": {"tile": 64, "mean_keep_bits": 10, "theta_keep_bits": 10},
        "relative_error": {"mean": 2.0**-11, "theta": 2.0**-11},
        "error_floor": {"mean": 3 * 2.0**-26, "theta": 3 * 2.0**-26},
        **changes,
    }


def write_hr(path: Path, sizes: Mapping[str, tuple[int, int]] = SIZES, scale: int = 4) -> Store:
    rng = np.random.default_rng(1)
    with StoreWriter(path, "hr", scale, list(sizes)) as writer:
        for image_id, (height, width) in sizes.items():
            shape = (3, height * scale, width * scale)
            image = rng.integers(0, 256, shape, dtype=np.uint8)
            image[:, : height // 2] = 0
            writer.add(image_id, {"image": image})
    return Store(path, "hr")


def write_maps(path: Path, hr: Store, constant: float | None = None, **changes: object) -> Store:
    """Maps near the bicubic reference, with means outside [0, 1] and theta beyond the limit."""
    rng = np.random.default_rng(2)
    with StoreWriter(path, "maps", hr.scale, hr.ids, description(hr, **changes)) as writer:
        for number, image_id in enumerate(hr.ids):
            reference = bicubic(hr, image_id)
            mean = (reference + rng.laplace(0.5, 6, reference.shape)) / 255
            theta = (0.4 + rng.gamma(1.5 + number, 0.8, reference.shape)) / 255
            theta = theta if constant is None else np.full_like(theta, constant / 255)
            maps = {"mean": mean.astype(np.float16), "theta": theta.astype(np.float16)}
            writer.add(image_id, maps)
    return Store(path, "maps")


def bicubic(hr: Store, image_id: str) -> NDArray[np.float64]:
    """The reference of a whole image at once, gray levels."""
    whole = torch.from_numpy(hr.read(image_id, "image")).double()
    return np.asarray(bicubic_downsample(whole, hr.scale).numpy())


def write_lr(
    path: Path, scale: int = 4, sizes: Mapping[str, tuple[int, int]] = LR_SIZES, area: int = 16
) -> Store:
    """Flat areas of some pixels a side, with noise of the deviation 5."""
    rng = np.random.default_rng(3)
    with StoreWriter(path, "lr", scale, list(sizes)) as writer:
        for image_id, (height, width) in sizes.items():
            areas = rng.uniform(40, 215, (3, height // area, width // area))
            image = areas.repeat(area, axis=1).repeat(area, axis=2)
            image = image + rng.normal(0, 5, image.shape)
            writer.add(image_id, {"image": image.round().clip(0, 255).astype(np.uint8)})
    return Store(path, "lr")


def write_val(path: Path, hr: Store) -> Store:
    """Pairs of the HR images and their bicubic reference with Laplace noise."""
    rng = np.random.default_rng(4)
    with StoreWriter(path, "val", hr.scale, hr.ids) as writer:
        for image_id in hr.ids:
            small = bicubic(hr, image_id)
            small = np.round(small + rng.laplace(1, 4, small.shape)).clip(0, 255)
            pair = {"hr": hr.read(image_id, "image"), "lr": small.astype(np.uint8)}
            writer.add(image_id, pair)
    return Store(path, "val")


def write_calibration(path: Path, maps: Store, **changes: object) -> Path:
    """Noise of the deviation 5 at every intensity."""
    content: dict[str, object] = {
        "format": CALIBRATION_FORMAT,
        "scale": maps.scale,
        "maps_digest": maps.digest,
        "lr_digest": "",
        "fault": None,
        "variance_gray": [[25.0] * 9] * 3,
        "noise_filter": None,
        "laplace_share": 0.0,
        "jpeg": None,
        "constant_theta_gray": 3.5,
    }
    path.write_text(json.dumps(content | changes))
    return path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditInputs:
    monkeypatch.setitem(format.CHUNK, "maps", CHUNK)
    hr = write_hr(tmp_path / "hr.zarr")
    lr = write_lr(tmp_path / "lr.zarr")
    return AuditInputs(write_maps(tmp_path / "maps.zarr", hr), hr, lr)


@pytest.fixture
def full(world: AuditInputs, tmp_path: Path) -> AuditInputs:
    """All that can be given."""
    return replace(
        world,
        calibration=write_calibration(tmp_path / "calibration.json", world.maps),
        val=write_val(tmp_path / "val.zarr", world.hr),
        against=write_maps(tmp_path / "b.zarr", world.hr, constant=2.0),
    )


def inputs(maps: Store, hr: Store) -> AuditInputs:
    """Two stores, and real LR images beside them."""
    return AuditInputs(maps, hr, write_lr(Path(maps.path).with_name("lr.zarr"), hr.scale))


def levels(maps: Store, hr: Store, image_id: str) -> tuple[NDArray[np.float64], ...]:
    """Mean, theta and reference of a whole image in gray levels, float64."""
    mean = maps.read(image_id, "mean").astype(np.float64) * 255
    return mean, maps.read(image_id, "theta").astype(np.float64) * 255, bicubic(hr, image_id)


def root(distance: float, prior: float = 1.0) -> float:
    """The closed form another way: the root of exp(-d/t)(t + d) = b by Brent's method."""

    def excess(theta: float) -> float:
        return float(np.exp(-distance / theta) * (theta + distance) - prior)

    return float(brentq(excess, 1e-3 * prior, prior + distance + 1e-9, xtol=1e-13))


def oracle(
    mean: NDArray[np.float64], theta: NDArray[np.float64], reference: NDArray[np.float64]
) -> dict[str, float]:
    """The statistics of values in gray levels, from their definitions."""
    distance = np.abs(mean - reference)
    optimum = np.array([root(d) for d in distance.ravel()]).reshape(distance.shape)
    low, middle, high = np.percentile(theta, [5, 50, 95], method="inverted_cdf")
    return {
        "theta_mean": theta.mean(),
        "theta_std": theta.std(),
        "theta_p05": low,
        "theta_p50": middle,
        "theta_p95": high,
        "theta_max": theta.max(),
        "theta_high_share": np.mean(theta >= SETTINGS.theta_limit_gray),
        "distance_mean": distance.mean(),
        "mean_shift": np.mean(mean - reference),
        "mean_outside_share": np.mean((mean < 0) | (mean > 255)),
        "closed_form_gap": np.abs(theta - optimum).mean(),
    }


def joined(maps: Store, hr: Store) -> list[NDArray[np.float64]]:
    """Mean, theta and reference of all images, (3, all pixels) each."""
    each = [levels(maps, hr, image_id) for image_id in maps.ids]
    return [np.concatenate([a.reshape(3, -1) for a in part], 1) for part in zip(*each, strict=True)]


def drop_verdicts(metrics: dict[str, Any]) -> None:
    """Leave the words of the verdicts out of metrics, so that numbers are left."""
    for name in ("verdict", "verdict_theta", "verdicts"):
        del metrics[name]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


# --- numbers


def test_global_statistics_are_those_of_whole_arrays(world: AuditInputs, tmp_path: Path) -> None:
    maps, hr = world.maps, world.hr
    metrics = audit(world, SETTINGS, tmp_path / "page")
    expected = oracle(*joined(maps, hr))
    assert set(metrics.pop("scores")) == {"mean", "raw"}
    drop_verdicts(metrics)
    assert metrics.pop("images") == 3
    assert metrics.pop("lr_pixels") == sum(height * width for height, width in SIZES.values())
    assert metrics == pytest.approx(expected, rel=1e-9, abs=2e-6)
    assert 0 < expected["theta_high_share"] < 1 and 0 < expected["mean_outside_share"] < 1
    for name in ("theta_p05", "theta_p50", "theta_p95", "theta_max", "theta_high_share"):
        assert metrics[name] == expected[name], name


def test_statistics_per_channel(world: AuditInputs, tmp_path: Path) -> None:
    maps, hr = world.maps, world.hr
    audit(world, SETTINGS, tmp_path / "page")
    found = read_json(tmp_path / "page" / "summary.json")["channels"]
    whole = joined(maps, hr)
    for index, name in enumerate(("red", "green", "blue")):
        expected = oracle(*(part[index] for part in whole))
        assert found[name] == pytest.approx(expected, rel=1e-9, abs=2e-6)


def test_a_row_per_image_in_the_order_of_the_store(world: AuditInputs, tmp_path: Path) -> None:
    maps, hr = world.maps, world.hr
    audit(world, SETTINGS, tmp_path / "page")
    with (tmp_path / "page" / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == list(SIZES)
    for row in rows:
        image_id = row.pop("image")
        assert (int(row.pop("height")), int(row.pop("width"))) == SIZES[image_id]
        expected = oracle(*levels(maps, hr, image_id))
        found = {name: float(value) for name, value in row.items()}
        assert found == pytest.approx(expected, rel=1e-9, abs=2e-6)


def test_histograms(world: AuditInputs, tmp_path: Path) -> None:
    maps, hr = world.maps, world.hr
    audit(world, SETTINGS, tmp_path / "page")
    found = read_json(tmp_path / "page" / "summary.json")
    mean, theta, reference = joined(maps, hr)
    distance = np.abs(mean - reference)
    edges = [np.array(found[name]) for name in ("distance_edges", "theta_edges")]
    assert [(len(e) - 1, e[0], e[-1]) for e in edges] == [(25, 0, 30.0), (25, 0, 6.0)]
    assert distance.max() > 30 and theta.max() > 6
    inside = [np.minimum(x, e[-1]) for x, e in zip((distance, theta), edges, strict=True)]
    joint = np.histogram2d(inside[0].ravel(), inside[1].ravel(), bins=edges)[0]
    assert np.array_equal(joint, found["joint_counts"])
    for channel, counts in zip(inside[1], found["theta_counts"].values(), strict=True):
        assert np.array_equal(np.histogram(channel, edges[1])[0], counts)
    sums = np.histogram(inside[0], edges[0], weights=theta)[0]
    assert found["mean_theta"] == pytest.approx(sums / joint.sum(axis=1))


@pytest.mark.arithmetic
def test_any_number_of_threads_writes_the_same_bytes(full: AuditInputs, tmp_path: Path) -> None:
    for workers in (1, 2, 8):
        with dask.config.set(num_workers=workers):
            audit(full, SETTINGS, tmp_path / f"page{workers}")
    with dask.config.set(scheduler="synchronous"):
        audit(full, SETTINGS, tmp_path / "pagealone")
    for name in (*FILES, AGAINST_FILE):
        first, *others = (tmp_path / f"page{workers}" / name for workers in (1, 2, 8, "alone"))
        for other in others:
            assert first.read_bytes() == other.read_bytes(), name


def test_chunks_do_not_change_the_result(
    world: AuditInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = audit(world, SETTINGS, tmp_path / "a")
    monkeypatch.setitem(format.CHUNK, "maps", 1024)
    whole = write_maps(tmp_path / "whole.zarr", world.hr)
    second = audit(replace(world, maps=whole), SETTINGS, tmp_path / "b")
    assert first.pop("scores") != second.pop("scores")  # samples are drawn chunk by chunk
    drop_verdicts(first)
    drop_verdicts(second)
    assert first == pytest.approx(second, rel=1e-12)
    found = [read_json(tmp_path / name / "summary.json") for name in "ab"]
    assert found[0]["joint_counts"] == found[1]["joint_counts"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an image a row of figures and a node of the graph are kept, not its counts of 0.8 MB."""
    monkeypatch.setattr(statistics, "PIECES", 40)
    monkeypatch.setattr(statistics, "BLOCKS", 2000)
    monkeypatch.setattr(statistics, "WINDOWS", 80)
    monkeypatch.setattr(graph, "AREA", 16 * 16 * 4)
    peaks = []
    for number in (60, 300):
        folder = tmp_path / str(number)
        hr = write_hr(folder / "hr.zarr", {f"{i:05}": (16, 16) for i in range(number)})
        given = inputs(write_maps(folder / "maps.zarr", hr), hr)
        tracemalloc.start()
        with dask.config.set(num_workers=2):
            audit(given, SETTINGS, folder / "page")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 240 * 60e3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_reference_of_any_box_is_that_of_the_whole_image(tmp_path: Path, scale: int) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (70, 61)}, scale)
    whole = bicubic(hr, "one")
    boxes = [Box(0, 70, 0, 61), Box(1, 50, 0, 1), Box(24, 48, 30, 61), Box(69, 70, 59, 61)]
    for box in boxes:
        found = tasks.bicubic_reference(hr, "image", "one", box)
        np.testing.assert_allclose(found, whole[box.slices], rtol=0, atol=1e-11)


def test_small_images_share_a_task_and_large_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "AREA", 100)
    areas = [1, 30, 1, 1, 2, 1, 1]  # chunks of an image of 10x30 pixels, if there are several
    parts = []
    for number, count in enumerate(areas):
        size = (10, 5) if count == 1 else (10, 30)
        parts.append(graph.Part(str(number), size, [Box(0, 1, 0, 1)] * count, 0))
    found = [[part.image_id for part in group] for group in graph._groups(parts)]
    assert found == [["0"], ["1"], ["2", "3"], ["4"], ["5", "6"]]


@pytest.mark.parametrize("scale", [2, 3])
def test_other_scales(tmp_path: Path, scale: int) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (40, 30)}, scale)
    maps = write_maps(tmp_path / "maps.zarr", hr)
    metrics = audit(inputs(maps, hr), SETTINGS, tmp_path / "page")
    expected = oracle(*joined(maps, hr))
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=2e-6)


def test_theta_values_are_the_positive_half_floats() -> None:
    assert len(THETA_VALUES) == 31744 and np.all(np.diff(THETA_VALUES) > 0)
    some = np.array([1 / 255, 0.25, 65504, 6e-8], np.float16)
    assert np.array_equal(THETA_VALUES[some.view(np.uint16)], some.astype(np.float64) * 255)


def test_bin_index_at_the_edges() -> None:
    values = np.array([0, 0.999, 1, 9.999, 10, 1e9])
    assert bin_index(values, 10, 10.0).tolist() == [0, 0, 1, 9, 9, 9]


# --- closed form


@pytest.mark.parametrize("prior", [0.5, 1.0, 4.0])
def test_closed_form_is_the_root(prior: float) -> None:
    distance = np.concatenate([[0.0], np.geomspace(1e-4, 255, 200)])
    expected = [root(d, prior) for d in distance]
    assert ClosedForm(prior)(distance) == pytest.approx(np.array(expected), abs=2e-5)


def test_curve_in_the_summary_is_the_root(tmp_path: Path) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 16)})
    maps = write_maps(tmp_path / "m.zarr", hr, prior_scale_gray=2.5)
    audit(inputs(maps, hr), SETTINGS, tmp_path / "page")
    found = read_json(tmp_path / "page" / "summary.json")
    assert found["prior_scale_gray"] == 2.5
    expected = [root(d, 2.5) for d in found["distance_edges"]]
    assert found["closed_form"] == pytest.approx(expected, rel=1e-9)


def test_theta_on_the_curve_has_no_gap(tmp_path: Path) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 16)})
    with StoreWriter(tmp_path / "m.zarr", "maps", 4, ["one"], description(hr)) as writer:
        reference = bicubic(hr, "one")
        mean = (reference / 255 + 0.02).astype(np.float16)
        distance = np.abs(mean.astype(np.float64) * 255 - reference)
        theta = np.vectorize(root)(distance) / 255
        writer.add("one", {"mean": mean, "theta": theta.astype(np.float16)})
    metrics = audit(inputs(Store(tmp_path / "m.zarr", "maps"), hr), SETTINGS, tmp_path / "page")
    assert metrics["closed_form_gap"] < 2.0**-11 * metrics["theta_max"]
    assert metrics["mean_shift"] == pytest.approx(5.1, abs=0.05)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"kernels": ["a.mat", "b.mat"], "sha256": HOSTILE}, f"2 blur kernels, SHA-256 {HOSTILE};"),
        ("unknown", "unknown; distances here are from bicubic"),
    ],
)
def test_another_reference_has_no_curve(reference: object, words: str, tmp_path: Path) -> None:
    """All distances are from bicubic; only Eq. 2 does not hold for them."""
    hr = write_hr(tmp_path / "hr.zarr", {"one": (20, 24)})
    plain = audit(inputs(write_maps(tmp_path / "a.zarr", hr), hr), SETTINGS, tmp_path / "bicubic")
    maps = write_maps(tmp_path / "m.zarr", hr, reference=reference)
    metrics = audit(inputs(maps, hr), SETTINGS, tmp_path / "page")
    assert metrics == {key: plain[key] for key in plain if key != "closed_form_gap"}
    summary = read_json(tmp_path / "page" / "summary.json")
    assert summary["source"]["dsn"]["reference"] == reference
    assert summary["closed_form"] is None and summary["prior_scale_gray"] == 1
    page = " ".join(parsed(tmp_path / "page").words.split())
    assert words in page and "learned theta around another reference than bicubic" in page
    assert "constant, not learned" not in page
    assert "closed_form_gap" not in (tmp_path / "page" / "images.csv").read_text()


def test_constant_theta_has_no_curve(tmp_path: Path) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 24)})
    changes = {"prior_scale_gray": 1.5, "learned_theta": False}
    maps = write_maps(tmp_path / "m.zarr", hr, constant=1.5, **changes)
    metrics = audit(inputs(maps, hr), SETTINGS, tmp_path / "page")
    assert "closed_form_gap" not in metrics
    assert metrics["theta_mean"] == metrics["theta_max"] == pytest.approx(1.5, rel=2**-11)
    assert metrics["theta_std"] == pytest.approx(0, abs=1e-9)
    summary = read_json(tmp_path / "page" / "summary.json")
    assert summary["closed_form"] is None and summary["prior_scale_gray"] is None
    page = (tmp_path / "page" / "index.html").read_text()
    assert "constant, not learned" in page and "closed form" not in page


@pytest.mark.parametrize("reference", ["camera", "bicubic"])
@pytest.mark.parametrize("learned", [True, False])
def test_a_prior_per_pixel_has_no_curve(reference: str, learned: bool, tmp_path: Path) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 24)})
    changes: dict[str, Any] = {"reference": reference, "learned_theta": learned}
    changes |= {"prior_scale_gray": "camera", "passport": plain_passport().model_dump()}
    maps = write_maps(tmp_path / "m.zarr", hr, **changes)
    audit(inputs(maps, hr), SETTINGS, tmp_path / "page")
    summary = read_json(tmp_path / "page" / "summary.json")
    assert summary["closed_form"] is None and summary["prior_scale_gray"] == "camera"
    page = " ".join(parsed(tmp_path / "page").words.split())
    assert "scale of the camera’s noise at every pixel" in page
    assert "constant, not learned" not in page and "another one at every pixel" in page
    assert ("what the camera’s passport makes" in page) == (reference == "camera")


# --- scores without pairs


def flat_world(folder: Path, theta: float = 2.0) -> AuditInputs:
    """Flat areas in HR and in real LR, whose noise has the deviation 5; maps without noise."""
    rng = np.random.default_rng(5)
    with StoreWriter(folder / "hr.zarr", "hr", 4, ["x", "y", "z"]) as writer:
        for image_id in "xyz":
            areas = rng.integers(40, 216, (3, 2, 3)).astype(np.uint8)
            writer.add(image_id, {"image": areas.repeat(256, axis=1).repeat(256, axis=2)})
    hr = Store(folder / "hr.zarr", "hr")
    with StoreWriter(folder / "maps.zarr", "maps", 4, hr.ids, description(hr)) as writer:
        for image_id in hr.ids:
            mean = (bicubic(hr, image_id) / 255).astype(np.float16)
            writer.add(image_id, {"mean": mean, "theta": np.full_like(mean, theta / 255)})
    lr = write_lr(folder / "lr.zarr", sizes={"a": (192, 768), "b": (192, 512)}, area=64)
    return AuditInputs(Store(folder / "maps.zarr", "maps"), hr, lr)


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.arithmetic
def test_scores_find_the_noise_that_was_put_in(tmp_path: Path) -> None:
    world = flat_world(tmp_path)
    world = replace(world, calibration=write_calibration(tmp_path / "c.json", world.maps))
    scores = audit(world, SETTINGS, tmp_path / "page")["scores"]
    assert list(scores) == ["mean", "raw", "calibrated"]
    for name, expected in (("raw", 2 * np.sqrt(2)), ("calibrated", 5)):
        assert scores[name]["noise_level"] == pytest.approx(expected, rel=0.1), name
        assert scores[name]["noise_level_real"] == pytest.approx(5, rel=0.1)
    assert scores["mean"]["noise_level"] < 0.5
    wasserstein, spectra = (
        [scores[name][key] for name in scores] for key in ("wasserstein", "spectral_distance")
    )
    assert wasserstein[0] > wasserstein[1] > 2 * wasserstein[2]
    assert spectra[0] > spectra[1] > 2 * spectra[2]
    found = read_json(tmp_path / "page" / "summary.json")["findings"]
    assert any("less noise than the real images: 2." in sentence for sentence in found["raw"])
    assert not any("They carry" in sentence for sentence in found["calibrated"])
    rows = table_of(tmp_path / "page" / "scores.csv")
    assert [row["images"] for row in rows] == [TRAINING, "bicubic", *scores]
    for row in rows[2:]:
        for name, value in scores[row["images"]].items():
            assert row[name] == ("" if value is None else str(value))


def test_samples_of_the_camera_are_scored_and_pictured(tmp_path: Path) -> None:
    """Theta of the maps, with the passport's JPEG, where the maps carry a passport."""
    world = flat_world(tmp_path)
    passport = plain_passport(
        noise={"variance_gray": [[8.0, 8.0]] * 3, "noise_filter": None, "laplace_share": 0.0}
    )
    folder = tmp_path / "with"
    described = description(world.hr, passport=passport.model_dump())
    with StoreWriter(folder / "maps.zarr", "maps", 4, world.hr.ids, described) as writer:
        for name in world.hr.ids:
            stored = {key: world.maps.read(name, key) for key in ("mean", "theta")}
            writer.add(name, stored)
    world = replace(world, maps=Store(folder / "maps.zarr", "maps"))
    scores = audit(world, SETTINGS, tmp_path / "page")["scores"]
    assert list(scores) == ["mean", "raw", "camera"]
    for name in ("raw", "camera"):  # Laplace noise and Gaussian noise of the same theta
        assert scores[name]["noise_level"] == pytest.approx(2 * np.sqrt(2), rel=0.1), name
    assert scores["camera"]["wasserstein"] != scores["raw"]["wasserstein"]
    page = parsed(tmp_path / "page").words
    assert "camera sample" in page and "calibrated sample" not in page


def test_wasserstein_is_that_of_the_rounded_images(tmp_path: Path) -> None:
    world = flat_world(tmp_path)
    found = audit(world, SETTINGS, tmp_path / "page")["scores"]["mean"]["wasserstein_green"]
    values = []
    for store, name in ((world.lr, "image"), (world.maps, "mean")):
        pieces = []
        for image_id in store.ids:
            image = store.read(image_id, name).astype(np.float64)
            if name == "mean":
                image = np.round(image * 255)
            else:
                image = image[:, :, image.shape[2] * 3 // 4 :]
            blurred = gaussian_filter(image[1], 5 / 6, truncate=2.4)  # a radius of 2 pixels
            pieces.append((image[1] - blurred)[2:-2, 2:-2].ravel())
        values.append(np.concatenate(pieces))
    assert found == pytest.approx(wasserstein_distance(*values), abs=0.05)


def test_the_held_out_part_starts_on_a_jpeg_block(tmp_path: Path) -> None:
    lr = write_lr(tmp_path / "lr.zarr")
    assert held_out_box(lr, "b").left == 108
    found = count_real(lr, "b", Allowance.of(1), 0)
    aligned, rest = (lr.read("b", "image")[:, :, part] for part in (slice(112, None), slice(108)))
    for name, part in ((HELD_OUT, aligned), (TRAINING, rest)):
        expected = signature(part)
        assert np.array_equal(found[name].signature.high_pass, expected.high_pass)
        assert found[name].signature.windows == expected.windows
        assert len(found[name].windows) == 1


def test_a_large_real_image_is_counted_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lr = write_lr(tmp_path / "lr.zarr")
    monkeypatch.setattr(tasks, "SIDE", 48)
    found = count_real(lr, "a", Allowance(1, 40, 12), 0)[TRAINING]
    image = lr.read("a", "image")
    parts = [image[:, y : y + 48, x : x + 48] for y in (0, 48) for x in (0, 48)]
    expected = sum(signature(part).high_pass for part in parts)
    assert np.array_equal(found.signature.high_pass, expected)
    assert len(found.blocks) <= 40 and [len(w) for w in found.windows] == [12]


@pytest.mark.arithmetic
def test_the_classifier_tells_the_mean_from_real_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "classifier_accuracy", classifier_accuracy)
    scores = audit(flat_world(tmp_path), SETTINGS, tmp_path / "page")["scores"]
    assert scores["mean"]["accuracy"] > 0.9 and scores["mean"]["accuracy_low"] > 0.5
    found = read_json(tmp_path / "page" / "summary.json")["findings"]["mean"]
    assert any(sentence.startswith("A classifier tells them") for sentence in found)


def test_too_few_blocks_are_said_on_the_page(tmp_path: Path) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 24)})
    maps = write_maps(tmp_path / "maps.zarr", hr)
    scores = audit(inputs(maps, hr), SETTINGS, tmp_path / "page")["scores"]["mean"]
    assert scores["noise_level"] is None
    words = " ".join(parsed(tmp_path / "page").words.split())
    assert "Not scored: noise of these images: only 0 blocks of 8x8 pixels" in words
    noise = table_of(tmp_path / "page" / "noise.csv")
    assert {row["mean"] for row in noise} == {""} and len(noise) == 9


def test_real_images_that_hold_nothing_out_are_refused(world: AuditInputs, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "thin.zarr", "lr", 4, ["thin"]) as writer:
        writer.add("thin", {"image": np.zeros((3, 9, 3), np.uint8)})
    thin = Store(tmp_path / "thin.zarr", "lr")
    with pytest.raises(UserError, match=r"thin\.zarr: no image has a part of 4 columns"):
        audit(replace(world, lr=thin), SETTINGS, tmp_path / "page")


def score_of(**changes: float | None) -> LrScores:
    values = dict.fromkeys((f.name for f in fields(LrScores)), None) | {"remarks": ()}
    return LrScores(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"noise_level": 8.9}, "less noise than the real images: 8.9 against 10.0"),
        ({"noise_level": 11.1}, "more noise than the real images: 11.1 against 10.0"),
        ({"noise_level_difference": 2.1}, "at the wrong intensities: off by 2.1 of 10.0"),
        (
            {"neighbour_correlation_difference": 0.11},
            "between neighbouring pixels differs: by 0.11",
        ),
        ({"channel_correlation_difference": 0.11}, "between the channels differs: by 0.11"),
        (
            {"spectral_distance": 1.1},
            "spectra differ: by 1.10 dB, two parts of the real images by 0.40",
        ),
        ({"wasserstein": 0.61}, "high-pass values differ: by 0.61 gray levels"),
        ({"accuracy_low": 0.51}, "classifier tells them apart from real images: accuracy 0.60"),
    ],
)
def test_every_fault_has_a_sentence(changes: dict[str, float], words: str) -> None:
    good: dict[str, float | None] = {
        "noise_level": 9.1,
        "noise_level_real": 10.0,
        "noise_level_difference": 1.9,
        "neighbour_correlation_difference": 0.09,
        "channel_correlation_difference": 0.09,
        "spectral_distance": 0.9,
        "wasserstein": 0.59,
        "accuracy": 0.6,
        "accuracy_low": 0.5,
        "accuracy_high": 0.7,
    }
    floor = score_of(spectral_distance=0.4, wasserstein=0.3)
    (fine,) = tables.findings(score_of(**good), floor)
    assert fine == "The classifier finds no difference: accuracy 0.60 (0.50 to 0.70)."
    said = tables.findings(score_of(**(good | changes)), floor)
    assert any(words in sentence for sentence in said)
    assert len(said) == (1 if "accuracy_low" in changes else 2)


# --- calibration


def test_without_a_calibration_there_is_no_such_column(world: AuditInputs, tmp_path: Path) -> None:
    audit(world, SETTINGS, tmp_path / "page")
    for name in ("spectra.csv", "noise.csv", "edges.csv"):
        assert "calibrated" not in table_of(tmp_path / "page" / name)[0], name
    assert "calibrated sample" not in parsed(tmp_path / "page").words


def test_calibrated_columns_and_pictures(full: AuditInputs, tmp_path: Path) -> None:
    audit(full, SETTINGS, tmp_path / "page")
    for name in ("spectra.csv", "noise.csv", "edges.csv"):
        assert "calibrated" in table_of(tmp_path / "page" / name)[0], name
    page = parsed(tmp_path / "page")
    pictured = panels_of(page)
    assert len(pictured) == 9 * (SETTINGS.worst_images + SETTINGS.worst_images // 2)
    assert page.words.count("another raw sample") == 3
    for row in table_of(tmp_path / "page" / "edges.csv"):
        if row["calibrated"]:  # everywhere the same: 5 gray levels of deviation
            assert float(row["calibrated"]) == pytest.approx(5 / np.sqrt(2), rel=1e-5)


def test_a_calibration_of_other_maps_is_refused(world: AuditInputs, tmp_path: Path) -> None:
    file = write_calibration(tmp_path / "c.json", world.maps, maps_digest="0")
    with pytest.raises(UserError, match=r"c\.json was made for .* digest 0, .*maps\.zarr"):
        audit(replace(world, calibration=file), SETTINGS, tmp_path / "page")


def test_a_calibration_with_a_fault_is_left_out_and_named(
    world: AuditInputs, tmp_path: Path
) -> None:
    file = write_calibration(
        tmp_path / "c.json", world.maps, fault="all <b>grass</b>", variance_gray=[]
    )
    scores = audit(replace(world, calibration=file), SETTINGS, tmp_path / "page")["scores"]
    assert list(scores) == ["mean", "raw"]
    assert "could not be measured (all <b>grass</b>)" in " ".join(
        parsed(tmp_path / "page").words.split()
    )


# --- Figure 2, edges, outliers, other maps


def test_differences_of_the_pairs(full: AuditInputs, tmp_path: Path) -> None:
    assert full.val is not None
    audit(full, SETTINGS, tmp_path / "page")
    each = []
    for image_id in full.val.ids:
        real = full.val.read(image_id, "lr").astype(np.float64)
        each.append((real - bicubic(full.hr, image_id)).ravel())
    values = np.concatenate(each)
    summary = read_json(tmp_path / "page" / "summary.json")
    (found,) = summary["fits"].values()
    assert found["values"] == len(values)
    assert found["laplace_scale"] == pytest.approx(np.abs(values - np.median(values)).mean(), 0.02)
    assert found["deviation"] == pytest.approx(values.std(), rel=0.01)
    assert "Laplace fits real LR − bicubic LR better" in " ".join(
        parsed(tmp_path / "page").words.split()
    )
    rows = table_of(tmp_path / "page" / "difference.csv")
    share = {float(row["gray levels"]): float(row["share"]) for row in rows}
    assert sum(share.values()) == pytest.approx(1)
    for level in (-3.0, 0.0, 1.0, 8.0):
        expected = np.mean(np.abs(values - level) < 0.5)
        assert share[level] == pytest.approx(expected, abs=0.006), level


def test_without_pairs_the_high_pass_is_shown(world: AuditInputs, tmp_path: Path) -> None:
    audit(world, SETTINGS, tmp_path / "page")
    rows = table_of(tmp_path / "page" / "difference.csv")
    assert {row["of"] for row in rows} == {"high-pass of real LR", "high-pass of bicubic LR"}
    assert "Without pairs" in parsed(tmp_path / "page").words


@pytest.mark.parametrize("level", [0.5, 3.0, 12.0])
def test_a_histogram_of_a_law_is_that_law(level: float) -> None:
    values = np.random.default_rng(1).laplace(0, level, 400_000)
    counted = DifferenceHistogram.of(values)
    fitted = fit_laws(counted)
    assert fitted is not None
    table = tables.difference(counted, fitted)
    share, laplace = (np.array(table.column(name)) for name in ("share", "Laplace"))
    middle = np.abs(np.array(table.column("gray levels"), float)) < 2 * level + 1
    assert share[middle] == pytest.approx(laplace[middle], rel=0.08)


def test_theta_by_gradient_at_edges_and_in_textures() -> None:
    rng = np.random.default_rng(7)
    y, x = np.indices((60, 80))
    ramps = np.stack([9 * np.abs(x % 20 - 10), 7 * np.abs(y % 16 - 8), 0 * x]).astype(np.float64)
    reference = ramps + rng.normal(0, 1, ramps.shape)
    reference[:, 30:] = rng.normal(100, 20, (3, 30, 80))
    theta = rng.uniform(1, 9, reference.shape) / 255
    calibrated = rng.uniform(1, 9, reference.shape) / 255
    found = theta_by_gradient(reference, theta, calibrated)
    right, down = (np.gradient(reference, axis=axis)[:, 1:-1, 1:-1] for axis in (2, 1))
    tensors = np.empty((58, 78, 2, 2))
    for i, a in enumerate((right, down)):
        for j, b in enumerate((right, down)):
            tensors[..., i, j] = uniform_filter((a * b).mean(axis=0), 5)
    small, large = np.moveaxis(np.linalg.eigvalsh(tensors[2:-2, 2:-2]), -1, 0)
    gradient, coherent = np.sqrt(small + large), (large - small) / (large + small) >= 0.5
    bins = np.digitize(gradient, GRADIENTS) - 1
    inner = [255 * part[:, 3:-3, 3:-3].mean(axis=0) for part in (theta, calibrated)]
    for kind, chosen in enumerate((coherent, ~coherent)):
        for place in range(len(GRADIENTS)):
            here = chosen & (bins == place)
            expected = [here.sum(), *(part[here].sum() for part in inner)]
            assert found[kind, place] == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert found[0, :, 0].sum() > 300 and found[1, :, 0].sum() > 300
    assert found[..., 0].sum() == 54 * 74


def test_stripes_are_edges_and_dots_are_textures() -> None:
    y, x = np.indices((40, 40))
    stripes, dots = 100 + 30 * np.sin(x + 2 * y), 100 + 30 * np.sin(x) * np.sin(y)
    for image, kind in ((stripes, 0), (dots, 1)):
        counts = theta_by_gradient(np.stack([image] * 3), np.ones((3, 40, 40)), None)[..., 0]
        assert counts[kind].sum() > 0.9 * counts.sum()


def test_small_images_have_no_edges() -> None:
    assert not theta_by_gradient(np.ones((3, 6, 40)), np.ones((3, 6, 40)), None).any()


def test_outliers_are_those_of_the_robust_score() -> None:
    rng = np.random.default_rng(8)
    rows = rows_of(40, "image")
    values = rng.normal(5, 0.3, 40)
    values[[7, 21]] = 9, 2
    for row, value in zip(rows, values, strict=True):
        row.figures["theta_mean"] = float(value)
    found = tables.outliers(rows, 3.5)
    spread = median_abs_deviation(values, scale="normal")
    scores = (values - np.median(values)) / spread
    order = sorted(np.flatnonzero(np.abs(scores) > 3.5), key=lambda i: -abs(scores[i]))
    assert [outlier.id for outlier in found] == [f"image{i}" for i in order]
    assert {7, 21} <= set(order)
    assert found[0].reason.startswith("mean theta is 9.00 gray levels, the median")
    assert f"z = {scores[7]:.1f}" in found[0].reason


def test_outliers_are_on_the_page(world: AuditInputs, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"outlier_score": 0.6})
    audit(world, settings, tmp_path / "page")
    found = read_json(tmp_path / "page" / "summary.json")["outliers"]
    assert found
    words = " ".join(parsed(tmp_path / "page").words.split())
    for image_id in {image_id for image_id, _ in found}:
        assert " ".join([image_id, *(f"{r}." for name, r in found if name == image_id)]) in words


def test_two_stores_side_by_side(full: AuditInputs, tmp_path: Path) -> None:
    assert full.against is not None
    scores = audit(full, SETTINGS, tmp_path / "page")["scores"]
    assert "mean (B)" not in scores
    rows = table_of(tmp_path / "page" / AGAINST_FILE)
    assert {row["image"] for row in rows} == set(SIZES)
    differences = [float(row["means, |B − A|"]) for row in rows]
    assert differences == sorted(differences, reverse=True)
    for row in rows:
        a, b = (levels(maps, full.hr, row["image"]) for maps in (full.maps, full.against))
        expected = {
            "means, |B − A|": np.abs(b[0] - a[0]).mean(),
            "means, B − A": (b[0] - a[0]).mean(),
            "theta, |B − A|": np.abs(b[1] - a[1]).mean(),
            "theta, B − A": (b[1] - a[1]).mean(),
            "theta A": a[1].mean(),
            "theta B": b[1].mean(),
            "distance A": np.abs(a[0] - a[2]).mean(),
            "distance B": np.abs(b[0] - b[2]).mean(),
        }
        found = {name: float(row[name]) for name in expected}
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    summary = read_json(tmp_path / "page" / "summary.json")
    assert summary["against"]["metrics"]["theta_max"] == pytest.approx(2, rel=2**-11)
    assert {"mean (B)", "raw (B)"} <= set(summary["scores"])
    for name in ("spectra.csv", "noise.csv"):
        assert {"mean (B)", "raw (B)"} <= set(table_of(tmp_path / "page" / name)[0])
    page = parsed(tmp_path / "page")
    assert "all, B" in page.words and "A against B" in page.words


def test_other_maps_must_be_of_the_same_hr_images(world: AuditInputs, tmp_path: Path) -> None:
    hr = write_hr(tmp_path / "other.zarr", {"one": (16, 16)})
    other = write_maps(tmp_path / "b.zarr", hr)
    with pytest.raises(UserError, match=r"b\.zarr was exported from HR images with"):
        audit(replace(world, against=other), SETTINGS, tmp_path / "page")


# --- a cluster


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cluster_writes_the_same_bytes(workers: int, full: AuditInputs, tmp_path: Path) -> None:
    audit(full, SETTINGS, tmp_path / "threads")
    with local_cluster(workers) as cluster:
        audit(full, SETTINGS, tmp_path / "cluster", cluster.scheduler_address)
    for name in (*FILES, AGAINST_FILE):
        first, second = (tmp_path / where / name for where in ("threads", "cluster"))
        assert first.read_bytes() == second.read_bytes(), name


def small_inputs(tmp_path: Path) -> AuditInputs:
    """In chunks that are known to other processes."""
    hr = write_hr(tmp_path / "hr.zarr", {"one": (24, 32), "two": (16, 20)})
    return inputs(write_maps(tmp_path / "maps.zarr", hr), hr)


@pytest.mark.slow
def test_workers_in_processes_of_their_own_write_the_same_bytes(tmp_path: Path) -> None:
    small = small_inputs(tmp_path)
    audit(small, SETTINGS, tmp_path / "threads")
    with local_cluster(2, processes=True) as cluster:
        audit(small, SETTINGS, tmp_path / "cluster", cluster.scheduler_address)
    for name in FILES:
        first, second = (tmp_path / where / name for where in ("threads", "cluster"))
        assert first.read_bytes() == second.read_bytes(), name


def test_a_report_changes_no_byte(tmp_path: Path) -> None:
    small = small_inputs(tmp_path)
    audit(small, SETTINGS, tmp_path / "plain")
    audit(small, SETTINGS, tmp_path / "page", report=tmp_path / "report.html")
    for name in FILES:
        first, second = (tmp_path / where / name for where in ("plain", "page"))
        assert first.read_bytes() == second.read_bytes(), name
    assert "count_real" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_the_tasks_share_can_be_sent(full: AuditInputs) -> None:
    sent = pickle.loads(pickle.dumps(full.maps))
    assert np.array_equal(sent.read("one", "mean"), full.maps.read("one", "mean"))


def test_no_scheduler_is_one_sentence(
    world: AuditInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(address: str, timeout: str, set_as_default: bool) -> None:
        assert not set_as_default  # a failed client would stay the default of the process
        raise OSError(f"Timed out trying to connect to {address} after {timeout}")

    monkeypatch.setattr("pipeline.parallel.dask_workers.Client", refuse)
    with pytest.raises(UserError, match="no dask scheduler answers at tcp://x:1: Timed out"):
        audit(world, SETTINGS, tmp_path / "page", "tcp://x:1")


# --- the page


class Page(HTMLParser):
    """What a browser would make of the page: start tags with attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def parsed(folder: Path) -> Page:
    return Page((folder / "index.html").read_text())


def policy_of(page: Page) -> dict[str, str]:
    """What the page lets a browser do, by kind of thing."""
    (text,) = (m["content"] for m in page.named("meta") if "http-equiv" in m)
    return dict(part.strip().split(" ", 1) for part in str(text).split(";"))


def require_own_scripts(text: str) -> None:
    """The page's script, which its policy names, and data; neither handlers nor anything else."""
    page = Page(text)
    kinds = [attributes.get("type") for attributes in page.named("script")]
    assert kinds.pop() is None and set(kinds) == {"application/json"}
    assert not any("src" in attributes for attributes in page.named("script"))
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    assert script == (Path(frame.__file__).with_name("script.js")).read_text(encoding="utf-8")
    found = b64encode(sha256(script.encode()).digest()).decode()
    assert policy_of(page)["script-src"] == f"'sha256-{found}'"


def test_page_refers_to_nothing_outside(full: AuditInputs, tmp_path: Path) -> None:
    audit(full, SETTINGS, tmp_path / "page")
    page = parsed(tmp_path / "page")
    links = [
        str(value)
        for _, attributes in page.tags
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    ]
    own = ("data:image/png;base64,", "data:image/webp;base64,", "#")
    assert links and all(link.startswith(own) for link in links)
    text = (tmp_path / "page" / "index.html").read_text()
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttp|import\(|WebSocket", text)
    assert not page.named("link") and not page.named("iframe") and not page.named("base")
    policy = policy_of(page)
    assert policy.pop("script-src").startswith("'sha256-")
    assert policy == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    require_own_scripts(text)


def test_page_targets_and_ids(world: AuditInputs, tmp_path: Path) -> None:
    audit(world, SETTINGS, tmp_path / "page")
    text = (tmp_path / "page" / "index.html").read_text()
    ids = [str(attributes["id"]) for _, attributes in Page(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text):
        assert "".join(pair) in ids


def panels_of(page: Page) -> list[dict[str, str | None]]:
    """The pictures that can be enlarged: no thumbnails, and not the place where they are shown."""
    shown = [image for image in page.named("img") if image["alt"]]
    return [image for image in shown if "class" in image or str(image["alt"]).startswith("HR of")]


def test_page_says_what_is_pictured(world: AuditInputs, tmp_path: Path) -> None:
    audit(world, SETTINGS, tmp_path / "page")
    page = parsed(tmp_path / "page")
    images = panels_of(page)
    assert len(images) == 5 * SETTINGS.worst_images
    assert all(image["alt"] for image in images)
    assert all(svg["aria-label"] and svg["role"] == "img" for svg in page.named("svg"))
    assert [heading for heading, _ in page.tags if re.fullmatch("h[1-6]", heading)][:2] == [
        "h1",
        "h2",
    ]
    assert page.words.index("1. big") < page.words.index("2. two")
    assert "1. one" not in page.words and "3. one" not in page.words
    assert "shown whole" in page.words and "columns" in page.words
    assert world.maps.digest in page.words and "closed form" in page.words


def test_hostile_attributes_stay_text(world: AuditInputs, tmp_path: Path) -> None:
    audit(world, SETTINGS, tmp_path / "page")
    page = parsed(tmp_path / "page")
    assert HOSTILE in page.words
    require_own_scripts((tmp_path / "page" / "index.html").read_text())


def test_names_beyond_ascii_are_shown(full: AuditInputs, tmp_path: Path) -> None:
    """Page and tables have the names of the files, not ids that end in a hash."""
    own = {image_id: f"京都 {number}.jpg" for number, image_id in enumerate(full.hr.ids)}
    full.hr.attributes["file_names"] = own
    audit(full, SETTINGS, tmp_path / "page")
    for table in ("images.csv", "against.csv"):
        assert {row["image"] for row in table_of(tmp_path / "page" / table)} == set(own.values())
    page = parsed(tmp_path / "page")
    assert all(name in page.words for name in own.values())
    pictured = [str(image["alt"]) for image in page.named("img")]
    assert any("京都" in text for text in pictured)


def rows_of(number: int, name: str) -> list[ImageRow]:
    names = ("mean", "std", "p05", "p50", "p95", "max", "high_share")
    statistics = {f"theta_{key}": 1.0 for key in names}
    statistics |= {"distance_mean": 1.0, "mean_shift": -1.0, "mean_outside_share": 0.0}
    return [
        ImageRow(f"{name}{index}", 8, 8, {**statistics, "closed_form_gap": 0.1}, Box(0, 8, 0, 8))
        for index in range(number)
    ]


def verdict_of(text: str) -> Verdict:
    return Verdict("blur", text, "fail", -0.7, None, 0.3, "LR pixels", text, text)


def summary_of(text: str) -> Summary:
    metrics = {"images": 1, "lr_pixels": 64, **rows_of(1, "")[0].figures}
    keys = ("maps", "digest", "hr", "lr", "hr_digest", "dsn_hash", "scale")
    table = Table(["x", text], [[1.0, 2.0], [2.0, None]])
    counted = DifferenceHistogram.of(np.array([1.0, 2.0, 4.0]))
    fitted = fit_laws(counted)
    assert fitted is not None
    scores = LrScores(
        1.0, 1.0, 1.0, 1.0, None, 2.0, None, None, 1.0, None, None, None, None, None, (text,)
    )
    return Summary(
        source={**dict.fromkeys(keys, text), "dsn": {"reference": text}},
        settings=SETTINGS.model_dump(),
        prior_scale_gray=1.0,
        verdicts=Verdicts("raw", "fail", {"raw": [verdict_of(text)], "camera": [verdict_of(text)]}),
        metrics=metrics,
        channels=dict.fromkeys(("red", "green", text), metrics),
        theta_edges=[0.0, 1.0, 2.0],
        theta_counts={"red": [0, 64], "green": [64, 0], "blue": [32, 32]},
        distance_edges=[0.0, 1.0, 2.0],
        joint_counts=[[1, 0], [0, 191]],
        mean_theta=[None, 1.0],
        closed_form=[1.0, 1.2, 1.6],
        calibration_fault=text,
        scores={text: scores},
        findings={text: [text]},
        spectra=table,
        noise=Table([*table.head, "share"], [[*row, 0.5] for row in table.rows]),
        correlations=Table(["images", "right"], [[text, None]]),
        edges=Table(
            ["at", "gradient", "pixels", text], [["edges", 0, 9, 1.0], ["textures", 0, 9, None]]
        ),
        pairs=False,
        differences={text: tables.difference(counted, fitted)},
        fits={text: fitted},
        outliers=[tables.Outlier(text, text)],
        against=None,
    )


def test_hostile_names_stay_text() -> None:
    row = rows_of(1, HOSTILE)[0]
    gray = torch.full((3, 8, 8), 0.5)
    panels = Panels(row.id, row.hottest, gray, gray, gray, gray, gray, gray, gray, gray)
    pictures = Pictures([panels], {HOSTILE: Thumbnail(gray, gray)})
    text = render(summary_of(HOSTILE), [row], pictures)
    page = Page(text)
    require_own_scripts(text)
    assert page.words.count(HOSTILE) >= 9
    shown = [image for image in page.named("img") if image["alt"]]
    assert len(shown) == 12 and all(HOSTILE in str(image["alt"]) for image in shown)


def every_image(text: str) -> dict[str, Any]:
    """The data of the table of every image, which the script reads."""
    start = text.index('<script type="application/json">', text.index('id="every"'))
    found: dict[str, Any] = json.loads(text[text.index(">", start) + 1 : text.index("</", start)])
    return found


def test_all_rows_are_in_the_page_and_some_are_seen_without_its_script() -> None:
    rng = np.random.default_rng(4)
    rows = rows_of(PAGE_ROWS + 5, "image")
    for row in rows:
        row.figures.update(theta_mean=rng.uniform(1, 9), mean_shift=rng.normal())
    summary = replace(summary_of("x"), outliers=[tables.Outlier("image3", "odd")])
    text = render(summary, rows, Pictures())
    found = every_image(text)
    order = sorted(rows, key=lambda row: -row.figures["theta_mean"])
    assert found["names"] == [row.id for row in order]
    assert found["marked"] == [found["names"].index("image3")]
    columns = {column["name"]: column for column in found["columns"]}
    theta = [round(row.figures["theta_mean"] * 100) for row in order]
    assert columns["mean"]["units"] == theta and columns["mean"]["digits"] == 2
    body = text[text.index("<tbody>", text.index('id="every"')) :]
    body = body[: body.index("</tbody>")]
    assert body.count("<tr") == PAGE_ROWS
    assert f"{order[PAGE_ROWS - 1].id}<" in body and f"{order[PAGE_ROWS].id}<" not in body
    sign = [f"<td>{row.figures['mean_shift']:+.2f}</td>".replace("-", "−") for row in order]
    assert all(cell in body for cell in sign[:PAGE_ROWS])
    words = " ".join(Page(text).words.split())
    assert f"{PAGE_ROWS} of {PAGE_ROWS + 5} images" in words


def test_a_page_of_ten_thousand_images_is_small() -> None:
    """All that it may hold, two stores compared, with more noise than photographs have."""
    random = torch.Generator().manual_seed(0)

    def noisy(side: int) -> torch.Tensor:
        return 0.5 + 0.03 * torch.randn(3, side, side, generator=random)

    rng = np.random.default_rng(5)
    rows = rows_of(10_000, "photograph_of_a_camera_")
    for row in rows:
        row.figures.update({key: float(rng.uniform(0, 20)) for key in row.figures})
    count, area = AuditSettings().worst_images, Box(0, PANEL, 0, PANEL)
    panels = [
        Panels(row.id, area, noisy(2 * PANEL), *(noisy(PANEL) for _ in range(7)))
        for row in rows[: count + count // 2]
    ]
    small = Thumbnail(noisy(96), noisy(96))
    pictures = Pictures(panels, {row.id: small for row in rows[:THUMBNAILS]})
    unlike = [tables.Outlier(row.id, "x") for row in rows[:500]]
    against = Against(
        {"maps": "b", "digest": "b", "dsn_hash": "b", "dsn": {"reference": "bicubic"}},
        rows[0].figures,
        {},
        [1, 2],
        Table(
            ["image", "means, |B − A|", "means, B − A", "theta A"],
            [[row.id, *rng.uniform(0, 9, 3).tolist()] for row in rows],
        ),
    )
    text = render(replace(summary_of("x"), outliers=unlike, against=against), rows, pictures)
    assert len(every_image(text)["names"]) == 10_000
    assert text.count("data:image/webp") == 10 * len(panels) + 2 * THUMBNAILS
    assert len(text.encode()) < 5_000_000


def test_crop_of_a_large_image_is_where_theta_is_high(tmp_path: Path) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"wide": (40, 500)})
    with StoreWriter(tmp_path / "m.zarr", "maps", 4, ["wide"], description(hr)) as writer:
        theta = np.full((3, 40, 500), 1 / 255, np.float16)
        theta[:, :, 300:310] = 5 / 255
        writer.add("wide", {"mean": np.full_like(theta, 0.5), "theta": theta})
    audit(inputs(Store(tmp_path / "m.zarr", "maps"), hr), SETTINGS, tmp_path / "page")
    found = re.search(r"rows 0–39, columns (\d+)–(\d+)", parsed(tmp_path / "page").words)
    assert found
    left, right = (int(edge) for edge in found.groups())
    assert left <= 300 and right >= 309 and right - left + 1 == PANEL


# --- errors


def test_maps_of_other_hr_images_are_refused(world: AuditInputs, tmp_path: Path) -> None:
    other = write_hr(tmp_path / "other.zarr", {**SIZES, "one": (48, 60)})
    with pytest.raises(UserError, match=r"maps\.zarr was exported from HR .*other\.zarr has"):
        audit(replace(world, hr=other), SETTINGS, tmp_path / "page")


def test_maps_of_another_scale_are_refused(world: AuditInputs, tmp_path: Path) -> None:
    other = write_hr(tmp_path / "other.zarr", scale=2)
    with pytest.raises(UserError, match="has the scale 4, but .* has 2"):
        audit(replace(world, hr=other), SETTINGS, tmp_path / "page")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dsn": {}}, "does not say how it was made"),
        ({"dsn": None}, "does not say how it was made"),
    ],
)
def test_unknown_descriptions_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 16)})
    maps = write_maps(tmp_path / "m.zarr", hr, **changes)
    with pytest.raises(UserError, match=message):
        audit(inputs(maps, hr), SETTINGS, tmp_path / "page")


@pytest.mark.parametrize("size", [(3, 15, 16), (3, 16, 17)])
def test_maps_of_another_size_are_refused(tmp_path: Path, size: tuple[int, int, int]) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 16)})
    with StoreWriter(tmp_path / "m.zarr", "maps", 4, ["one"], description(hr)) as writer:
        writer.add("one", dict.fromkeys(("mean", "theta"), np.ones(size, np.float16)))
    with pytest.raises(UserError, match="no image 'one' of"):
        audit(inputs(Store(tmp_path / "m.zarr", "maps"), hr), SETTINGS, tmp_path / "page")


def test_a_damaged_chunk_is_named(world: AuditInputs, tmp_path: Path) -> None:
    chunk = Path(world.maps.path) / "images" / "big" / "theta" / "c" / "0" / "1" / "2"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(UserError, match="image 'big', array 'theta', chunk 0/1/2 is damaged"):
        audit(world, SETTINGS, tmp_path / "page")
    assert not list(tmp_path.glob("page*"))


@pytest.mark.parametrize(("name", "value"), [("theta", 0), ("theta", -1), ("mean", np.nan)])
def test_values_that_are_no_maps_are_refused(tmp_path: Path, name: str, value: float) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 16)})
    arrays = {key: np.full((3, 16, 16), 0.1, np.float16) for key in ("mean", "theta")}
    arrays[name][1, 2, 3:5] = value
    with StoreWriter(tmp_path / "m.zarr", "maps", 4, ["one"], description(hr)) as writer:
        writer.add("one", arrays)
    with pytest.raises(UserError, match="image 'one' holds 2 values that are no maps"):
        audit(inputs(Store(tmp_path / "m.zarr", "maps"), hr), SETTINGS, tmp_path / "page")


def test_only_an_earlier_audit_is_replaced(world: AuditInputs, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    audit(world, SETTINGS, folder)
    (folder / "index.html").write_text("old")
    audit(world, SETTINGS, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert (folder / "index.html").read_text() != "old"
    (folder / "thesis.tex").write_text("dear")
    with pytest.raises(UserError, match=r"holds other files \(thesis\.tex\)"):
        audit(world, SETTINGS, folder)
    assert (folder / "thesis.tex").read_text() == "dear"
    assert not list(tmp_path.glob("page.*"))


@pytest.mark.parametrize("key", ["worst_images", "bins", "theta_limit_gray", "distance_limit_gray"])
def test_settings_name_the_bad_key(tmp_path: Path, key: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(re.sub(rf"{key}: .*", f"{key}: -1", PARAMS))
    with pytest.raises(UserError, match=rf"audit\.{key}:"):
        load_section(params, "audit", AuditSettings)


# --- the command


def arguments(world: AuditInputs, tmp_path: Path) -> list[str]:
    maps, hr = world.maps, world.hr
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS)
    named = {"maps": maps.path, "hr": hr.path, "lr": world.lr.path, "params": params}
    named["out"] = tmp_path / "page"
    named["metrics"] = tmp_path / "metrics" / "audit.json"
    return [part for name, path in named.items() for part in (f"--{name}", str(path))]


def test_command_writes_page_and_metrics(world: AuditInputs, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, arguments(world, tmp_path))
    assert result.exit_code == 0, result.output
    assert "AuditSettings(worst_images=1, bins=10" in result.output
    settings = load_section(tmp_path / "params.yaml", "audit", AuditSettings)
    expected = audit(world, settings, tmp_path / "again")
    assert read_json(tmp_path / "metrics" / "audit.json") == expected
    for name in FILES:
        assert f"wrote {tmp_path / 'page' / name}" in result.output
        assert (tmp_path / "page" / name).is_file()


@pytest.mark.parametrize("references", [True, False])
def test_command_with_validation_images(
    full: AuditInputs, tmp_path: Path, references: bool
) -> None:
    """Pairs give the difference of real and bicubic; without references it is left out."""
    named = arguments(full, tmp_path)
    val = full.val if references else write_lr(tmp_path / "inputs.zarr")
    assert val is not None
    result = CliRunner().invoke(command, [*named, "--val", str(val.path)])
    assert result.exit_code == 0, result.output
    shown = {row["of"] for row in table_of(tmp_path / "page" / "difference.csv")}
    without = {"high-pass of real LR", "high-pass of bicubic LR"}
    assert shown == ({"real LR − bicubic LR"} if references else without)


def test_command_with_another_store_for_validation(world: AuditInputs, tmp_path: Path) -> None:
    named = [*arguments(world, tmp_path), "--val", str(world.hr.path)]
    result = CliRunner().invoke(command, named)
    assert result.exit_code == 1
    assert f"{world.hr.path}: has the kind hr, expected val or lr" in result.output


def test_command_says_what_is_wrong(world: AuditInputs, tmp_path: Path) -> None:
    changed = arguments(world, tmp_path)
    changed[changed.index("--maps") + 1] = str(tmp_path / "missing.zarr")
    result = CliRunner().invoke(command, changed)
    assert result.exit_code == 1
    assert re.search(r"Error: .*missing\.zarr: there is no such store", result.output)

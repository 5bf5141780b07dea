"""The audit: every number again with NumPy on whole images, the page as a browser reads it."""

import csv
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy.optimize import brentq

from pipeline import stores
from pipeline.audit import FILES, audit
from pipeline.audit_page import TABLE_ROWS, ImageRow, Panels, Summary, render
from pipeline.errors import UserError
from pipeline.filters import bicubic_downsample
from pipeline.settings import load_section
from pipeline.stores import Store, StoreWriter
from pipeline.tally import THETA_VALUES, AuditSettings, ClosedForm, bin_index
from pipeline.tiling import Box
from stages.audit import command

CHUNK = 40
SIZES = {"one": (48, 56), "two": (30, 20), "big": (97, 211)}
"""(H, W) of the maps in LR pixels: ``big`` has many chunks, and tiles within them."""
SETTINGS = AuditSettings(worst_images=2, bins=25, theta_limit=6.0, distance_limit=30.0)
HOSTILE = '"><script>alert(1)</script>'
PARAMS = "audit:\n  worst_images: 1\n  bins: 10\n  theta_limit: 6.0\n  distance_limit: 30.0\n"

World = tuple[Store, Store]


def description(hr: Store, **changes: object) -> dict[str, Any]:
    return {
        "reference": "bicubic",
        "dsn_hash": HOSTILE,
        "dsn_settings": {"prior_scale": 1.0, "learn_theta": True},
        "hr_digest": hr.digest,
        "export_settings": {"tile": 64, "mean_keep_bits": 10, "theta_keep_bits": 10},
        "relative_error": {"mean": 2.0**-11, "theta": 2.0**-11},
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


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setitem(stores.CHUNK, "maps", CHUNK)
    hr = write_hr(tmp_path / "hr.zarr")
    return write_maps(tmp_path / "maps.zarr", hr), hr


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
        "theta_high_share": np.mean(theta >= SETTINGS.theta_limit),
        "distance_mean": distance.mean(),
        "mean_shift": np.mean(mean - reference),
        "mean_outside_share": np.mean((mean < 0) | (mean > 255)),
        "closed_form_gap": np.abs(theta - optimum).mean(),
    }


def joined(maps: Store, hr: Store) -> list[NDArray[np.float64]]:
    """Mean, theta and reference of all images, (3, all pixels) each."""
    each = [levels(maps, hr, image_id) for image_id in maps.ids]
    return [np.concatenate([a.reshape(3, -1) for a in part], 1) for part in zip(*each, strict=True)]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


# --- numbers


def test_global_statistics_are_those_of_whole_arrays(world: World, tmp_path: Path) -> None:
    maps, hr = world
    metrics = audit(maps, hr, SETTINGS, tmp_path / "page")
    expected = oracle(*joined(maps, hr))
    assert metrics.pop("images") == 3
    assert metrics.pop("lr_pixels") == sum(height * width for height, width in SIZES.values())
    assert metrics == pytest.approx(expected, rel=1e-9, abs=2e-6)
    assert 0 < expected["theta_high_share"] < 1 and 0 < expected["mean_outside_share"] < 1
    for name in ("theta_p05", "theta_p50", "theta_p95", "theta_max", "theta_high_share"):
        assert metrics[name] == expected[name], name


def test_statistics_per_channel(world: World, tmp_path: Path) -> None:
    maps, hr = world
    audit(maps, hr, SETTINGS, tmp_path / "page")
    found = read_json(tmp_path / "page" / "summary.json")["channels"]
    whole = joined(maps, hr)
    for index, name in enumerate(("red", "green", "blue")):
        expected = oracle(*(part[index] for part in whole))
        assert found[name] == pytest.approx(expected, rel=1e-9, abs=2e-6)


def test_a_row_per_image_in_the_order_of_the_store(world: World, tmp_path: Path) -> None:
    maps, hr = world
    audit(maps, hr, SETTINGS, tmp_path / "page")
    with (tmp_path / "page" / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == list(SIZES)
    for row in rows:
        image_id = row.pop("image")
        assert (int(row.pop("height")), int(row.pop("width"))) == SIZES[image_id]
        expected = oracle(*levels(maps, hr, image_id))
        found = {name: float(value) for name, value in row.items()}
        assert found == pytest.approx(expected, rel=1e-9, abs=2e-6)


def test_histograms(world: World, tmp_path: Path) -> None:
    maps, hr = world
    audit(maps, hr, SETTINGS, tmp_path / "page")
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


def test_one_and_four_threads_write_the_same_bytes(world: World, tmp_path: Path) -> None:
    for workers in (1, 4):
        with dask.config.set(num_workers=workers):
            audit(*world, SETTINGS, tmp_path / f"page{workers}")
    for name in FILES:
        first, second = (tmp_path / f"page{workers}" / name for workers in (1, 4))
        assert first.read_bytes() == second.read_bytes(), name


def test_chunks_do_not_change_the_result(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, hr = world
    monkeypatch.setitem(stores.CHUNK, "maps", 1024)
    whole = write_maps(tmp_path / "whole.zarr", hr)
    assert audit(maps, hr, SETTINGS, tmp_path / "a") == pytest.approx(
        audit(whole, hr, SETTINGS, tmp_path / "b"), rel=1e-12
    )
    found = [read_json(tmp_path / name / "summary.json") for name in "ab"]
    assert found[0]["joint_counts"] == found[1]["joint_counts"]


@pytest.mark.parametrize("scale", [2, 3])
def test_other_scales(tmp_path: Path, scale: int) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (40, 30)}, scale)
    maps = write_maps(tmp_path / "maps.zarr", hr)
    metrics = audit(maps, hr, SETTINGS, tmp_path / "page")
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
    dsn = {"prior_scale": 2.5, "learn_theta": True}
    audit(write_maps(tmp_path / "m.zarr", hr, dsn_settings=dsn), hr, SETTINGS, tmp_path / "page")
    found = read_json(tmp_path / "page" / "summary.json")
    assert found["prior_scale"] == 2.5
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
    metrics = audit(Store(tmp_path / "m.zarr", "maps"), hr, SETTINGS, tmp_path / "page")
    assert metrics["closed_form_gap"] < 2.0**-11 * metrics["theta_max"]
    assert metrics["mean_shift"] == pytest.approx(5.1, abs=0.05)


def test_constant_theta_has_no_curve(tmp_path: Path) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 24)})
    dsn = {"prior_scale": 1.5, "learn_theta": False}
    maps = write_maps(tmp_path / "m.zarr", hr, constant=1.5, dsn_settings=dsn)
    metrics = audit(maps, hr, SETTINGS, tmp_path / "page")
    assert "closed_form_gap" not in metrics
    assert metrics["theta_mean"] == metrics["theta_max"] == pytest.approx(1.5, rel=2**-11)
    assert metrics["theta_std"] == pytest.approx(0, abs=1e-9)
    summary = read_json(tmp_path / "page" / "summary.json")
    assert summary["closed_form"] is None and summary["prior_scale"] is None
    page = (tmp_path / "page" / "index.html").read_text()
    assert "constant, not learned" in page and "closed form" not in page


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


def test_page_refers_to_nothing_outside(world: World, tmp_path: Path) -> None:
    audit(*world, SETTINGS, tmp_path / "page")
    page = parsed(tmp_path / "page")
    links = [
        str(value)
        for _, attributes in page.tags
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    ]
    assert links and all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    text = (tmp_path / "page" / "index.html").read_text()
    assert not re.search(r"url\((?!#)|@import", text)
    assert not page.named("script") and not page.named("link") and not page.named("iframe")


def test_page_targets_and_ids(world: World, tmp_path: Path) -> None:
    audit(*world, SETTINGS, tmp_path / "page")
    text = (tmp_path / "page" / "index.html").read_text()
    ids = [str(attributes["id"]) for _, attributes in Page(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text):
        assert "".join(pair) in ids


def test_page_says_what_is_pictured(world: World, tmp_path: Path) -> None:
    audit(*world, SETTINGS, tmp_path / "page")
    page = parsed(tmp_path / "page")
    images = page.named("img")
    assert len(images) == 4 * SETTINGS.worst_images
    assert all(image["alt"] for image in images)
    assert all(svg["aria-label"] and svg["role"] == "img" for svg in page.named("svg"))
    assert [heading for heading, _ in page.tags if re.fullmatch("h[1-6]", heading)][:2] == [
        "h1",
        "h2",
    ]
    assert page.words.index("1. big") < page.words.index("2. two")
    assert "1. one" not in page.words and "3. one" not in page.words
    assert "shown whole" in page.words and "columns" in page.words
    assert world[0].digest in page.words and "closed form" in page.words


def test_hostile_attributes_stay_text(world: World, tmp_path: Path) -> None:
    audit(*world, SETTINGS, tmp_path / "page")
    page = parsed(tmp_path / "page")
    assert HOSTILE in page.words
    assert "<script" not in (tmp_path / "page" / "index.html").read_text().lower()


def rows_of(number: int, name: str) -> list[ImageRow]:
    names = ("mean", "std", "p05", "p50", "p95", "max", "high_share")
    statistics = {f"theta_{key}": 1.0 for key in names}
    statistics |= {"distance_mean": 1.0, "mean_shift": -1.0, "mean_outside_share": 0.0}
    return [
        ImageRow(f"{name}{index}", 8, 8, {**statistics, "closed_form_gap": 0.1}, Box(0, 8, 0, 8))
        for index in range(number)
    ]


def summary_of(text: str) -> Summary:
    metrics = {"images": 1, "lr_pixels": 64, **rows_of(1, "")[0].statistics}
    keys = ("maps", "digest", "hr", "hr_digest", "dsn_hash", "reference", "scale")
    return Summary(
        source=dict.fromkeys(keys, text),
        settings=SETTINGS.model_dump(),
        prior_scale=1.0,
        metrics=metrics,
        channels=dict.fromkeys(("red", "green", text), metrics),
        theta_edges=[0.0, 1.0, 2.0],
        theta_counts={"red": [0, 64], "green": [64, 0], "blue": [32, 32]},
        distance_edges=[0.0, 1.0, 2.0],
        joint_counts=[[1, 0], [0, 191]],
        mean_theta=[None, 1.0],
        closed_form=[1.0, 1.2, 1.6],
    )


def test_hostile_names_stay_text() -> None:
    row = rows_of(1, HOSTILE)[0]
    panels = Panels(row, row.hottest, *torch.full((3, 3, 8, 8), 0.5))
    page = Page(render(summary_of(HOSTILE), [row], [panels]))
    assert not page.named("script")
    assert page.words.count(HOSTILE) >= 9
    assert all(HOSTILE in str(image["alt"]) for image in page.named("img"))


def test_long_tables_are_cut() -> None:
    text = render(summary_of("x"), rows_of(TABLE_ROWS + 5, "image"), [])
    page = Page(text)
    assert f"image{TABLE_ROWS - 1}" in page.words and f"image{TABLE_ROWS}" not in page.words
    assert "images.csv" in page.words and f"out of {TABLE_ROWS + 5}" in " ".join(page.words.split())
    assert not page.named("img")


def test_crop_of_a_large_image_is_where_theta_is_high(tmp_path: Path) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"wide": (40, 500)})
    with StoreWriter(tmp_path / "m.zarr", "maps", 4, ["wide"], description(hr)) as writer:
        theta = np.full((3, 40, 500), 1 / 255, np.float16)
        theta[:, :, 300:310] = 5 / 255
        writer.add("wide", {"mean": np.full_like(theta, 0.5), "theta": theta})
    audit(Store(tmp_path / "m.zarr", "maps"), hr, SETTINGS, tmp_path / "page")
    found = re.search(r"rows 0–39, columns (\d+)–(\d+)", parsed(tmp_path / "page").words)
    assert found
    left, right = (int(edge) for edge in found.groups())
    assert left <= 300 and right >= 309 and right - left + 1 == 160


# --- errors


def test_maps_of_other_hr_images_are_refused(world: World, tmp_path: Path) -> None:
    maps, _ = world
    other = write_hr(tmp_path / "other.zarr", {**SIZES, "one": (48, 60)})
    with pytest.raises(UserError, match=r"maps\.zarr was not exported from .*other\.zarr"):
        audit(maps, other, SETTINGS, tmp_path / "page")


def test_maps_of_another_scale_are_refused(world: World, tmp_path: Path) -> None:
    other = write_hr(tmp_path / "other.zarr", scale=2)
    with pytest.raises(UserError, match="has the scale 4, but .* has 2"):
        audit(world[0], other, SETTINGS, tmp_path / "page")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "kernel"}, "the reference 'kernel'"),
        ({"dsn_settings": {}}, "does not say how it was made"),
        ({"dsn_settings": None}, "does not say how it was made"),
    ],
)
def test_unknown_descriptions_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 16)})
    maps = write_maps(tmp_path / "m.zarr", hr, **changes)
    with pytest.raises(UserError, match=message):
        audit(maps, hr, SETTINGS, tmp_path / "page")


@pytest.mark.parametrize("size", [(3, 15, 16), (3, 16, 17)])
def test_maps_of_another_size_are_refused(tmp_path: Path, size: tuple[int, int, int]) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 16)})
    with StoreWriter(tmp_path / "m.zarr", "maps", 4, ["one"], description(hr)) as writer:
        writer.add("one", dict.fromkeys(("mean", "theta"), np.ones(size, np.float16)))
    with pytest.raises(UserError, match="no image 'one' of"):
        audit(Store(tmp_path / "m.zarr", "maps"), hr, SETTINGS, tmp_path / "page")


def test_a_damaged_chunk_is_named(world: World, tmp_path: Path) -> None:
    chunk = world[0].path / "images" / "big" / "theta" / "c" / "0" / "1" / "2"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(UserError, match="image 'big', array 'theta', chunk 0/1/2 is damaged"):
        audit(*world, SETTINGS, tmp_path / "page")
    assert not list(tmp_path.glob("page*"))


@pytest.mark.parametrize(("name", "value"), [("theta", 0), ("theta", -1), ("mean", np.nan)])
def test_values_that_are_no_maps_are_refused(tmp_path: Path, name: str, value: float) -> None:
    hr = write_hr(tmp_path / "hr.zarr", {"one": (16, 16)})
    arrays = {key: np.full((3, 16, 16), 0.1, np.float16) for key in ("mean", "theta")}
    arrays[name][1, 2, 3:5] = value
    with StoreWriter(tmp_path / "m.zarr", "maps", 4, ["one"], description(hr)) as writer:
        writer.add("one", arrays)
    with pytest.raises(UserError, match="image 'one' holds 2 values that are no maps"):
        audit(Store(tmp_path / "m.zarr", "maps"), hr, SETTINGS, tmp_path / "page")


def test_only_an_earlier_audit_is_replaced(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    audit(*world, SETTINGS, folder)
    (folder / "index.html").write_text("old")
    audit(*world, SETTINGS, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert (folder / "index.html").read_text() != "old"
    (folder / "thesis.tex").write_text("dear")
    with pytest.raises(UserError, match=r"holds other files \(thesis\.tex\)"):
        audit(*world, SETTINGS, folder)
    assert (folder / "thesis.tex").read_text() == "dear"
    assert not list(tmp_path.glob("page.*"))


@pytest.mark.parametrize("key", ["worst_images", "bins", "theta_limit", "distance_limit"])
def test_settings_name_the_bad_key(tmp_path: Path, key: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(re.sub(rf"{key}: .*", f"{key}: -1", PARAMS))
    with pytest.raises(UserError, match=rf"audit\.{key}:"):
        load_section(params, "audit", AuditSettings)


# --- the command


def arguments(world: World, tmp_path: Path) -> list[str]:
    maps, hr = world
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS)
    named = {"maps": maps.path, "hr": hr.path, "out": tmp_path / "page", "params": params}
    named["metrics"] = tmp_path / "metrics" / "audit.json"
    return [part for name, path in named.items() for part in (f"--{name}", str(path))]


def test_command_writes_page_and_metrics(world: World, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, arguments(world, tmp_path))
    assert result.exit_code == 0, result.output
    assert "AuditSettings(worst_images=1, bins=10" in result.output
    settings = load_section(tmp_path / "params.yaml", "audit", AuditSettings)
    expected = audit(*world, settings, tmp_path / "again")
    assert read_json(tmp_path / "metrics" / "audit.json") == expected
    for name in FILES:
        assert f"wrote {tmp_path / 'page' / name}" in result.output
        assert (tmp_path / "page" / name).is_file()


def test_command_says_what_is_wrong(world: World, tmp_path: Path) -> None:
    changed = arguments(world, tmp_path)
    changed[changed.index("--maps") + 1] = str(tmp_path / "missing.zarr")
    result = CliRunner().invoke(command, changed)
    assert result.exit_code == 1
    assert re.search(r"Error: .*missing\.zarr: there is no such store", result.output)

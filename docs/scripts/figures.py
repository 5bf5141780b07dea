"""Figures 2 and 6 of the paper for your camera: two pictures, and tables with what they mean.

Figure 2 needs pairs (val.zarr), Figure 6 maps; where pairs.zarr holds LR images of the HR images of
the maps, the tables say how well theta fits them.  docs/figures.md explains every column.
"""

import argparse
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.audit.edges import EdgeContrast, edge_contrast
from pipeline.audit.noise_laws import DifferenceHistogram, fit_laws
from pipeline.audit.rounded_laws import Cells, Comparison, compare
from pipeline.audit.tables import difference
from pipeline.audit.tasks import bicubic_reference, count_pair
from pipeline.audit.theta_scores import ThetaScores, theta_scores
from pipeline.base.boxes import Box
from pipeline.base.errors import UserError
from pipeline.base.files import write_whole
from pipeline.base.seeding import generator
from pipeline.base.settings import load_section
from pipeline.demo.camera import Camera
from pipeline.images.drawing import save, sheet, show, show_theta
from pipeline.stores.format import Kind
from pipeline.stores.reader import Store

Floats = NDArray[np.float64]

EXAMPLE = """Example, after make demo:

  uv run python docs/scripts/figures.py --stores phone data/prepare --simulated phone
      --maps phone passport data/export/maps.zarr --image astronaut,0,30 --out data/work/figures

The demo writes pairs of the HR images with demo.captures: 16 in params.yaml, and
folders.pairs: data/raw/demo/pairs.
"""
VALUES = 2000
"""Values of an image that laws of many scales are fitted to."""
SHOTS = 4
"""Captures of a simulated camera that are scored; the others tell their mean and deviation."""
FEWEST = 8
"""Captures that a deviation per pixel is taken from, at least."""
CLEAR = 4.0
"""Standard deviations from black and from white, so that clipping cuts no noise."""
INSIDE = (25, 230)
"""Gray levels of the bicubic LR between which samples of maps are scored, for the same reason."""
SIDE = 64
"""LR pixels of a crop of Figure 6."""


@dataclass(frozen=True)
class Camera2:
    """Figure 2 of a camera."""

    differences: DifferenceHistogram
    """Real LR - bicubic LR of all photographs."""
    rows: dict[str, Comparison]
    """By what was compared."""


@dataclass(frozen=True)
class MapFigures:
    """Figure 6 of a map: means over its images."""

    theta: EdgeContrast
    """In gray levels, medians."""
    theta_mean: EdgeContrast
    """In gray levels, means."""
    error: EdgeContrast | None
    """|real LR - mean| in gray levels, means; without pairs None."""
    scores: ThetaScores | None
    """Likewise."""


@dataclass
class Figures:
    """Everything that was measured."""

    figure_2: dict[str, Camera2] = field(default_factory=dict)
    noise: dict[str, EdgeContrast] = field(default_factory=dict)
    """Deviation of captures over root 2, in gray levels, medians, by camera."""
    figure_6: dict[str, dict[str, list[MapFigures]]] = field(default_factory=dict)
    """By camera and label; several maps of one label are repetitions."""


def whole(store: Store, name: str, image_id: str) -> Floats:
    """The bicubic LR image (3, H, W) of the HR array of an image, in gray levels."""
    height, width = (side // store.scale for side in store.size(image_id))
    return bicubic_reference(store, name, image_id, Box(0, height, 0, width))


def some(random: np.random.Generator, *arrays: NDArray[Any]) -> list[Floats]:
    """The same VALUES places of arrays (n,), drawn without replacement."""
    places = random.permutation(len(arrays[0]))[:VALUES]
    return [np.asarray(each[places], dtype=np.float64) for each in arrays]


def compare_noise(
    val: Store, camera: Camera, captures: int, random: np.random.Generator
) -> Iterator[tuple[str, Cells]]:
    """Cells of every photograph of what a simulated camera does, each with its name."""
    for image_id in val.ids:
        clean = camera.clean(val.read(image_id, "hr"), val.scale)
        shots = np.stack(
            [
                camera.expose(clean, generator(0, f"figures/{image_id}", k))
                for k in range(captures + SHOTS)
            ]
        ).astype(np.float64)
        mean, deviation = shots[SHOTS:].mean(axis=0), shots[SHOTS:].std(axis=0, ddof=1)
        content = DifferenceHistogram.of(np.rint(mean) - whole(val, "hr", image_id))
        yield "content alone: mean capture - bicubic", Cells.of_differences(content)
        clear = (np.abs(mean - 127.5) + CLEAR * deviation < 127.5) & (deviation > 0)
        noise = (shots[:SHOTS] - mean)[:, clear]
        scales = np.broadcast_to(deviation[clear], noise.shape)
        counted = Cells.of_differences(DifferenceHistogram.of(noise))
        yield "noise alone: capture - mean capture", counted
        yield (
            "noise over its deviation at the pixel",
            Cells.relative(*some(random, noise.ravel(), scales.ravel())),
        )


def figure_2(val: Store, camera: Camera | None, captures: int) -> Camera2:
    """Compare the laws on every photograph of a camera."""
    random = np.random.default_rng(0)
    counted = [count_pair(val, image_id) for image_id in val.ids]
    parts = {"real LR - bicubic": [Cells.of_differences(each) for each in counted]}
    if camera is not None:
        for name, cells in compare_noise(val, camera, captures, random):
            parts.setdefault(name, []).append(cells)
    rows = {name: compare(each, random) for name, each in parts.items()}
    return Camera2(sum(counted[1:], counted[0]), rows)


def captures_of(pairs: Store | None, hr: Store, image_id: str) -> Floats:
    """Real LR images (n, 3, H, W) of an HR image: pairs of its id, or with _ and a number behind.

    An id of another HR image is none of them.
    """
    if pairs is None:
        return np.empty(0)
    found = [
        pair_id
        for pair_id in pairs.ids
        if pair_id == image_id
        or (re.fullmatch(rf"{re.escape(image_id)}_\d+", pair_id) and pair_id not in hr.ids)
    ]
    return np.array([pairs.read(pair_id, "lr") for pair_id in found], dtype=np.float64)


def mean_contrast(parts: Sequence[EdgeContrast]) -> EdgeContrast:
    """Means over images."""
    ranks = [x.correlation for x in parts if np.isfinite(x.correlation)]
    return EdgeContrast(
        float(np.mean([x.flat for x in parts])),
        float(np.mean([x.edges for x in parts])),
        float(np.mean(ranks)) if ranks else float("nan"),
    )


def measure_noise(hr: Store, pairs: Store) -> EdgeContrast | None:
    """The noise of several captures of an HR image at edges and in flat areas, if there are any."""
    found = []
    for image_id in hr.ids:
        shots = captures_of(pairs, hr, image_id)
        if len(shots) >= FEWEST:
            deviation = shots.std(axis=0, ddof=1) / np.sqrt(2)
            found.append(edge_contrast(whole(hr, "image", image_id), deviation))
    return mean_contrast(found) if found else None


def figure_6(hr: Store, maps: Store, pairs: Store | None) -> MapFigures:
    """Theta at edges and in flat areas, and how it fits the real LR images."""
    random = np.random.default_rng(0)
    medians, means, errors = [], [], []
    differences, thetas = [], []
    for image_id in maps.ids:
        bicubic = whole(hr, "image", image_id)
        mean, theta = (
            maps.read(image_id, name).astype(np.float64) * 255 for name in ("mean", "theta")
        )
        medians.append(edge_contrast(bicubic, theta))
        means.append(edge_contrast(bicubic, theta, "mean"))
        shots = captures_of(pairs, hr, image_id)
        if len(shots):
            errors.append(edge_contrast(bicubic, np.abs(shots - mean).mean(axis=0), "mean"))
            inside = (bicubic > INSIDE[0]) & (bicubic < INSIDE[1])
            distance, scale = some(random, (shots[0] - mean)[inside], theta[inside])
            differences.append(distance)
            thetas.append(scale)
    return MapFigures(
        mean_contrast(medians),
        mean_contrast(means),
        mean_contrast(errors) if errors else None,
        theta_scores(differences, thetas, random) if len(thetas) > 1 else None,
    )


def draw_figure_2(cameras: Mapping[str, Camera2], out: Path) -> None:
    """A histogram per camera, with the Laplace and the Gaussian law of the same values."""
    columns = min(4, len(cameras))
    rows = -(-len(cameras) // columns)
    figure, axes = sheet(rows, columns, 2.3)
    for axis, (name, one) in zip(axes.ravel(), cameras.items(), strict=False):
        fitted = fit_laws(one.differences)
        assert fitted is not None
        shares = np.array(difference(one.differences, fitted).rows, dtype=np.float64).T
        axis.stairs(shares[1], np.append(shares[0], shares[0, -1] + 1) - 0.5, color="black")
        axis.plot(shares[0], shares[2], color="#ff7a1a", lw=1.3, label="Laplace")
        axis.plot(shares[0], shares[3], "--", color="#4c84e0", label="Gaussian")
        axis.set(yscale="log", xlim=(-100, 100), ylim=(1e-6, 0.3))
        axis.set_title(f"{name}: {one.rows['real LR - bicubic'].better}", fontsize=8)
        axis.tick_params(labelsize=6)
    for axis in axes.ravel()[len(cameras) :]:
        axis.set_axis_off()
    axes[0, 0].legend(fontsize=6)
    figure.supxlabel("real LR - bicubic LR (gray levels)", fontsize=8)
    save(figure, out)


@dataclass(frozen=True)
class Crop:
    """A square of an image."""

    image_id: str
    top: int
    left: int

    def of(self, image: NDArray[Any], scale: int = 1) -> NDArray[Any]:
        """Cut it from an image (3, H, W) that is ``scale`` times as large as LR."""
        top, left, side = self.top * scale, self.left * scale, SIDE * scale
        return image[:, top : top + side, left : left + side]


def draw_figure_6(
    stores: Mapping[str, Store], maps: Mapping[str, Store], crops: Sequence[Crop], out: Path
) -> None:
    """A row per crop: HR, real LR, and mean and theta of every label."""
    figure, axes = sheet(len(crops), 2 + 2 * len(maps), 1.7)
    hr = stores["hr"]
    for row, crop in zip(axes, crops, strict=True):
        show(row[0], crop.of(hr.read(crop.image_id, "image"), hr.scale), "HR")
        shots = captures_of(stores.get("pairs"), hr, crop.image_id)
        row[1].set_axis_off()
        if len(shots):
            show(row[1], crop.of(shots[0]).astype(np.uint8), "real LR")
        for place, (label, one) in enumerate(maps.items()):
            mean, theta = (one.read(crop.image_id, name) for name in ("mean", "theta"))
            levels = np.clip(np.rint(mean.astype(np.float64) * 255), 0, 255).astype(np.uint8)
            show(row[2 + 2 * place], crop.of(levels), f"mean, {label}")
            show_theta(row[3 + 2 * place], crop.of(theta), f"theta, {label} (gray levels)")
    save(figure, out)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(str(x) for x in line)} |" for line in lines) + "\n"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean, and the standard deviation over repetitions where there are several."""
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.{digits}f}"


def law_table(found: Figures) -> str:
    """The table of Figure 2."""
    rows = []
    for camera, one in found.figure_2.items():
        for name, x in one.rows.items():
            gain = f"{x.advantage.mean:+.3f} ({x.advantage.low:+.3f} to {x.advantage.high:+.3f})"
            scores = [f"{score:.3f}" for score in (x.laplace, x.gaussian, x.general)]
            shapes = [f"{x.shape:.2f}", f"{x.own_shape:.2f}"]
            rows.append([f"`{camera}`", name, *shapes, *scores, gain, x.better])
    head = ["camera", "values", "shape", "of one photograph", "Laplace", "Gaussian", "shape fitted"]
    return table([*head, "Laplace - Gaussian", "better"], rows)


def edge_table(found: Figures) -> str:
    """The table of Figure 6."""
    rows: list[list[str]] = []
    for camera, maps in found.figure_6.items():
        if camera in found.noise:
            rows.append([f"`{camera}`", "noise of captures", *contrast([found.noise[camera]])])
        for label, each in maps.items():
            rows.append([f"`{camera}`", f"theta, {label}", *contrast([x.theta for x in each])])
            means = contrast([x.theta_mean for x in each])
            rows.append([f"`{camera}`", f"theta, {label}, means", *means])
            errors = [x.error for x in each if x.error is not None]
            if errors:
                name = f"distance of real LR and mean, {label}, means"
                rows.append([f"`{camera}`", name, *contrast(errors)])
    return table(["camera", "map", "flat", "edges", "edges / flat", "rank correlation"], rows)


def contrast(parts: Sequence[EdgeContrast]) -> list[str]:
    """Four cells of ``edge_table``."""
    names: list[Callable[[EdgeContrast], float]] = [
        lambda x: x.flat, lambda x: x.edges, lambda x: x.ratio, lambda x: x.correlation,
    ]  # fmt: skip
    return [spread([name(x) for x in parts]) for name in names]


def theta_table(found: Figures) -> str:
    """The table of what theta is worth."""
    rows = []
    for camera, maps in found.figure_6.items():
        for label, each in maps.items():
            parts = [x.scores for x in each if x.scores is not None]
            if parts:
                cells = [
                    [x.laplace for x in parts], [x.gaussian for x in parts],
                    [x.factor for x in parts], [x.scaled.laplace for x in parts],
                    [x.scaled.gaussian for x in parts], [x.scaled.general for x in parts],
                    [x.scaled.shape for x in parts], [x.constant.laplace for x in parts],
                    [x.constant.gaussian for x in parts],
                ]  # fmt: skip
                rows.append([f"`{camera}`", label, *(spread(x, 3) for x in cells)])
    head = ["camera", "map", "Laplace, theta", "Gaussian, theta", "factor", "Laplace, scaled"]
    head += ["Gaussian, scaled", "shape fitted", "shape", "Laplace, constant", "Gaussian, constant"]
    return table(head, rows)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    folder = "folder of hr.zarr and val.zarr, and pairs.zarr if there is one; may be repeated"
    stores = "maps of the HR images; several of one label are repetitions; may be repeated"
    entries = "these cameras are entries of the file of cameras, and show their noise alone"
    crop = f"an HR image for Figure 6, of which {SIDE}x{SIDE} LR pixels are shown; may be repeated"
    several: dict[str, Any] = {"action": "append", "default": []}
    add("--stores", nargs=2, metavar=("CAMERA", "FOLDER"), required=True, help=folder, **several)
    add("--maps", nargs=3, metavar=("CAMERA", "LABEL", "STORE"), help=stores, **several)
    add("--simulated", nargs="+", default=[], metavar="CAMERA", help=entries)
    add("--cameras", type=Path, default=Path("cameras.yaml"), help="file of simulated cameras")
    add("--captures", type=int, default=64, help="of a photograph, by a simulated camera")
    add("--image", metavar="ID[,TOP,LEFT]", help=crop, **several)
    add("--out", type=Path, required=True, help="folder for figure_2.png, figure_6.png, tables.md")
    return parser.parse_args(words)


def opened(folder: Path) -> dict[str, Store]:
    """The stores of a camera: hr, and val and pairs where they are."""
    kinds: dict[str, Kind] = {"val": "val", "pairs": "val"}
    found = {name: folder / f"{name}.zarr" for name in kinds}
    stores = {name: Store(path, kinds[name]) for name, path in found.items() if path.is_dir()}
    return {"hr": Store(folder / "hr.zarr", "hr"), **stores}


def require_cameras(given: argparse.Namespace, names: Collection[str]) -> None:
    """Check that every camera that is named has stores.

    Raises:
        UserError: One has none, or a picture is asked for without maps.

    """
    for name in [*given.simulated, *(name for name, _, _ in given.maps)]:
        if name not in names:
            raise UserError(f"{name}: no --stores name this camera, they name {', '.join(names)}")
    if given.image and not given.maps:
        raise UserError("--image shows mean and theta of --maps; give some")


def crop_of(text: str) -> Crop:
    """ID, or ID,TOP,LEFT."""
    image_id, *corner = text.split(",")
    top, left = (int(x) for x in corner) if corner else (0, 0)
    return Crop(image_id, top, left)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, draw and write."""
    given = arguments(words)
    torch.set_grad_enabled(False)
    stores = {name: opened(Path(folder)) for name, folder in given.stores}
    require_cameras(given, stores)
    found = Figures()
    for name, one in stores.items():
        simulated = name in given.simulated
        camera = load_section(given.cameras, name, Camera) if simulated else None
        if "val" in one:
            found.figure_2[name] = figure_2(one["val"], camera, given.captures)
        if "pairs" in one and (noise := measure_noise(one["hr"], one["pairs"])) is not None:
            found.noise[name] = noise
    drawn: dict[str, Store] = {}
    for name, label, path in given.maps:
        maps, one = Store(Path(path), "maps"), stores[name]
        each = found.figure_6.setdefault(name, {}).setdefault(label, [])
        each.append(figure_6(one["hr"], maps, one.get("pairs")))
        if name == given.maps[0][0]:
            drawn.setdefault(label, maps)
    given.out.mkdir(parents=True, exist_ok=True)
    if found.figure_2:
        draw_figure_2(found.figure_2, given.out / "figure_2.png")
    if given.image:
        crops = [crop_of(text) for text in given.image]
        draw_figure_6(stores[given.maps[0][0]], drawn, crops, given.out / "figure_6.png")
    text = "\n".join([law_table(found), edge_table(found), theta_table(found)])
    print(text)
    write_whole(given.out / "tables.md", text.encode())


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"Error: {error}") from error

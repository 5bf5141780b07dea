"""Figures 2 and 6 of the paper for your camera: two pictures, and tables with what they mean.

Figure 2 needs pairs (val.zarr), Figure 6 maps; where pairs.zarr holds LR images of the HR images of
the maps, the tables say how well theta fits them.  docs/figures.md explains every column.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.audit.noise_laws import fit_laws
from pipeline.audit.tables import difference
from pipeline.base.errors import UserError
from pipeline.base.files import write_whole
from pipeline.base.settings import load_section
from pipeline.demo.camera import Camera
from pipeline.figures.cameras import DIFFERENCE, CameraLaws, camera_laws
from pipeline.figures.edges import EdgeContrast
from pipeline.figures.maps import MapFigures, captures_of, map_figures, noise_at_edges
from pipeline.images.drawing import save, sheet, show, show_theta
from pipeline.stores.format import Kind
from pipeline.stores.reader import Store

EXAMPLE = """Example, after make demo:

  uv run python docs/scripts/figures.py --stores phone data/prepare --simulated phone \\
      --maps phone passport data/export/maps.zarr --image astronaut,0,30 --out data/work/figures

The demo writes pairs of the HR images with demo.captures: 16 in params.yaml, and
folders.pairs: data/raw/demo/pairs.
"""
SIDE = 64
"""LR pixels of a crop of Figure 6."""


@dataclass
class Figures:
    """Everything that was measured."""

    figure_2: dict[str, CameraLaws] = field(default_factory=dict)
    noise: dict[str, EdgeContrast] = field(default_factory=dict)
    """Deviation of captures over root 2, in gray levels, medians, by camera."""
    figure_6: dict[str, dict[str, list[MapFigures]]] = field(default_factory=dict)
    """By camera and label; several maps of one label are repetitions."""


def draw_figure_2(cameras: Mapping[str, CameraLaws], out: Path) -> None:
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
        axis.set_title(f"{name}: {one.rows[DIFFERENCE].better}", fontsize=8)
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


def require_known(given: argparse.Namespace, stores: Mapping[str, Mapping[str, Store]]) -> None:
    """Check what is asked for before anything is measured.

    Raises:
        UserError: A camera has no stores or too few pairs, a picture no maps, or noise no captures.

    """
    names = list(stores)
    for name in [*given.simulated, *(name for name, _, _ in given.maps)]:
        if name not in names:
            raise UserError(f"{name}: no --stores name this camera, they name {', '.join(names)}")
    if given.image and not given.maps:
        raise UserError("--image shows mean and theta of --maps; give some")
    if given.captures < 2:
        raise UserError(f"--captures {given.captures}: a deviation needs at least 2")
    for one in stores.values():
        if "val" in one and len(one["val"].ids) < 2:
            raise UserError(f"{one['val'].path}: laws are compared on at least two pairs")


def crop_of(text: str, hr: Store) -> Crop:
    """ID, or ID,TOP,LEFT.

    Raises:
        UserError: It is neither, or begins outside the image.

    """
    image_id, *corner = text.split(",")
    if len(corner) not in (0, 2) or not all(x.isdecimal() for x in corner):
        raise UserError(f"--image {text}: expected ID or ID,TOP,LEFT in LR pixels")
    if image_id not in hr.ids:
        raise UserError(f"--image {text}: {hr.path} has no image {image_id}")
    top, left = (int(x) for x in corner) if corner else (0, 0)
    height, width = (side // hr.scale for side in hr.size(image_id))
    if top >= height or left >= width:
        raise UserError(f"--image {text}: the image has {height}x{width} LR pixels")
    return Crop(image_id, top, left)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, draw and write."""
    given = arguments(words)
    stores = {name: opened(Path(folder)) for name, folder in given.stores}
    require_known(given, stores)
    first = stores[given.maps[0][0] if given.maps else given.stores[0][0]]
    crops = [crop_of(text, first["hr"]) for text in given.image]
    found = Figures()
    for name, one in stores.items():
        simulated = name in given.simulated
        camera = load_section(given.cameras, name, Camera) if simulated else None
        if "val" in one:
            found.figure_2[name] = camera_laws(one["val"], camera, given.captures)
        if "pairs" in one and (noise := noise_at_edges(one["hr"], one["pairs"])) is not None:
            found.noise[name] = noise
    drawn: dict[str, Store] = {}
    for name, label, path in given.maps:
        maps, one = Store(Path(path), "maps"), stores[name]
        each = found.figure_6.setdefault(name, {}).setdefault(label, [])
        each.append(map_figures(one["hr"], maps, one.get("pairs")))
        if name == given.maps[0][0]:
            drawn.setdefault(label, maps)
    given.out.mkdir(parents=True, exist_ok=True)
    if found.figure_2:
        draw_figure_2(found.figure_2, given.out / "figure_2.png")
    if crops:
        draw_figure_6(first, drawn, crops, given.out / "figure_6.png")
    text = "\n".join([law_table(found), edge_table(found), theta_table(found)])
    print(text)
    write_whole(given.out / "tables.md", text.encode())


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"Error: {error}") from error

"""Contact sheets and heat maps, drawn with matplotlib."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.files import whole
from pipeline.images.io import Image, to_uint8

THETA_COLOURS = "magma"
SHEET_ROWS = 4
"""Crops that a contact sheet shows, at most."""


def theta_palette() -> NDArray[np.uint8]:
    """The (256, 3) colours of theta maps, from the lowest value to the highest."""
    return np.asarray(colormaps[THETA_COLOURS](np.arange(256), bytes=True)[:, :3])


def show(axes: Axes, image: Image | Tensor, title: str = "") -> None:
    """Put an RGB image (3, H, W), uint8 or in [0, 1], into axes."""
    pixels = to_uint8(image) if isinstance(image, Tensor) else image
    axes.imshow(np.moveaxis(pixels, 0, -1), interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def show_theta(
    axes: Axes, theta: NDArray[np.floating], title: str = "", highest_gray: float | None = None
) -> None:
    """Put a theta map (3, H, W) into axes: the mean of the channels in gray levels."""
    levels = theta.mean(axis=0, dtype=np.float64) * 255
    drawn = axes.imshow(
        levels, cmap=THETA_COLOURS, vmin=0, vmax=highest_gray, interpolation="nearest"
    )
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=6)


def sheet(rows: int, columns: int, side: float = 1.6) -> tuple[Figure, NDArray[np.object_]]:
    """A figure of ``rows`` by ``columns`` axes and the (rows, columns) array of them."""
    figure = Figure(figsize=(columns * side, rows * side), layout="constrained")
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False))


def strip(columns: Mapping[str, Image], gap: int = 6) -> Figure:
    """A figure of uint8 images (3, H, W) of one height side by side, each with its title above it.

    Pixels are shown as they are, in one piece, which is drawn in a tenth of a second.

    Args:
        columns: The images, by title.
        gap: White pixels between two of them.

    """
    framed = [np.pad(image, ((0, 0), (0, 0), (0, gap))) for image in columns.values()]
    widths = [image.shape[2] for image in framed]
    pixels = np.concatenate(framed, axis=2)[..., :-gap]
    (_, height, width), head, inch = pixels.shape, 16, 100
    for end in np.cumsum(widths)[:-1]:
        pixels[..., end - gap : end] = 255
    figure = Figure(figsize=(width / inch, (height + head) / inch), dpi=inch)
    show(figure.add_axes((0, 0, 1, height / (height + head))), pixels)
    for number, title in enumerate(columns):
        middle = (sum(widths[:number]) + (widths[number] - gap) / 2) / width
        top = 1 - head / 2 / (height + head)
        figure.text(middle, top, title, ha="center", va="center", fontsize=8)
    return figure


def save(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a figure as PNG; the file appears only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": None})


def as_svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element for a page."""
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]


def as_png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def label_columns(axes: NDArray[np.object_], titles: Sequence[str]) -> None:
    """Write a title over every column of a sheet."""
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)

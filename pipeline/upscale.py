"""Super-resolution of image files with a trained model."""

from collections.abc import Iterator
from pathlib import Path

import torch

from pipeline.errors import UserError
from pipeline.images import find_images, read_image, write_png
from pipeline.inference import enlarge
from pipeline.networks.srn import open_model


def plan(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Pair every input file with its output file, always a PNG.

    Args:
        source: An image, or a folder of images.
        target: A file ending in ``.png``, or a folder; a folder for a folder.

    Raises:
        UserError: The source is missing or empty, or two outputs would have the same name, or the
            output would overwrite its input.

    """
    if source.is_dir():
        pairs = [(path, target / f"{path.stem}.png") for path in find_images(source)]
    elif source.is_file():
        file = target if target.suffix.lower() == ".png" else target / f"{source.stem}.png"
        pairs = [(source, file)]
    else:
        raise UserError(f"{source}: there is no such file or folder")
    taken: dict[Path, Path] = {}
    for path, result in pairs:
        if taken.setdefault(result, path) != path:
            raise UserError(f"{taken[result]} and {path} would both become {result}")
        if result.resolve() == path.resolve():
            raise UserError(f"{result} would overwrite its input; name another output")
    return pairs


def upscale(
    pairs: list[tuple[Path, Path]], model: Path, tile: int, halo: int
) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Super-resolve files one after the other.

    Args:
        pairs: Inputs and outputs, see ``plan``.
        model: Any SR model file that spandrel opens.
        tile: Side of a tile in LR pixels; memory grows with its square.
        halo: LR pixels around a tile that the network also sees.

    Yields:
        Each written file and its (H, W).

    Raises:
        UserError: The model or an image cannot be read, or a file cannot be written.

    """
    network = open_model(model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    for source, target in pairs:
        sr = enlarge(network, read_image(source), network.scale, tile, halo, device)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_png(target, sr)
        except OSError as error:
            raise UserError(f"{target}: cannot be written: {error.strerror}") from error
        yield target, (sr.shape[1], sr.shape[2])

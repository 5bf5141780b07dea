"""A trained DSN applied to whole HR images, tile by tile."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.boxes import Box, Tile, batches, tiles
from pipeline.base.errors import UserError
from pipeline.dsn.file import DsnFile, load_dsn
from pipeline.dsn.network import DSN
from pipeline.images.io import Image, to_float

LARGEST = 2.0**15
"""Largest value of maps; it stays finite in the float16 of a store, however it is rounded."""


class Degrader:
    """Computes the maps, mean and theta, of HR images of any size.

    Args:
        dsn: The network.
        device: Device of the network.
        constant_theta: Theta in the unit of the image that replaces the learned one; None: learned.

    """

    def __init__(self, dsn: DSN, device: torch.device, constant_theta: float | None = None) -> None:
        self.dsn, self.device, self.constant_theta = dsn.eval().to(device), device, constant_theta
        if device.type == "cpu":  # there it is 1.4 times as fast
            self.dsn.to(memory_format=torch.channels_last)
        self.scale = dsn.scale

    @classmethod
    def load(cls, path: Path) -> "Degrader":
        """Open a DSN written by the train_dsn stage, on the best device there is.

        Raises:
            UserError: The file is missing, damaged or not a DSN.

        """
        return cls.of(load_dsn(path))

    @classmethod
    def of(cls, file: DsnFile) -> "Degrader":
        """The DSN of a file that was read, on the best device there is."""
        return cls(file.network, Accelerator().device, file.description.constant_theta)

    def whole(self, hr: Tensor) -> dict[str, Tensor]:
        """Degrade an HR image (3, H, W) in [0, 1] in one piece.

        Returns:
            Maps by name, (3, H/s, W/s) each, in the unit of the image, on the CPU.

        Raises:
            UserError: See ``batch``.

        """
        return {name: values[0] for name, values in self.batch(hr[None]).items()}

    @torch.no_grad()
    def batch(self, hr: Tensor) -> dict[str, Tensor]:
        """Degrade HR images (N, 3, H, W) in [0, 1], each in one piece; see ``whole``.

        Raises:
            UserError: The maps are not finite, or too large for the float16 of a store.

        """
        maps = self.dsn.maps(hr.to(self.device))
        if self.constant_theta is not None:
            maps["theta"] = torch.full_like(maps["theta"], self.constant_theta)
        for name, values in maps.items():
            if not bool((values.abs() <= LARGEST).all()):  # nor is NaN
                raise UserError(f"the DSN gives a {name} that is not finite, or beyond float16")
        return {name: values.cpu() for name, values in maps.items()}

    def tiled(
        self, hr: Image, tile: int, halo: int | None = None, batch: int = 1
    ) -> dict[str, NDArray[np.float32]]:
        """Degrade an HR image (3, H, W), 0..255, in tiles; equal to ``whole``.

        Args:
            hr: The image; H and W multiples of the scale.
            tile: Side of a tile in LR pixels; memory grows with its square.
            halo: HR pixels seen around a tile, a multiple of the scale; the DSN's if None.
            batch: Tiles of one shape that go through the network together; memory grows with it.

        Returns:
            Maps by name, (3, H/s, W/s) each, in the unit of the image.

        Raises:
            UserError: See ``batch``.

        """
        halo = self.dsn.halo if halo is None else halo
        height, width = hr.shape[1:]
        height_lr, width_lr = height // self.scale, width // self.scale
        planned = (
            Tile(area, area.times(self.scale).grown(halo, height, width))
            for area in tiles(height_lr, width_lr, tile)
        )
        whole: dict[str, NDArray[np.float32]] = {}
        for together in batches(planned, batch):
            seen = torch.stack([to_float(hr[outer.slices]) for _, outer in together])
            for name, values in self.batch(seen).items():
                if name not in whole:
                    whole[name] = np.empty((3, height_lr, width_lr), np.float32)
                for (area, outer), of_tile in zip(together, values, strict=True):
                    inner = area.within(outer.over(self.scale)).slices
                    whole[name][area.slices] = of_tile[inner].numpy()
        return whole

    def part(self, shape: tuple[int, int], area: Box) -> tuple[Box, Box]:
        """The part of an HR image that one area of its LR grid depends on.

        Args:
            shape: (H, W) of the HR image.
            area: The area on the LR grid.

        Returns:
            The HR box to read, and the area within the result for that box.

        """
        outer = area.times(self.scale).grown(self.dsn.halo, *shape)
        return outer, area.within(outer.over(self.scale))

"""A trained DSN applied to whole HR images, tile by tile."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.boxes import Box, Tile, batches, tiles
from pipeline.base.errors import UserError
from pipeline.base.units import GRAY_LEVEL
from pipeline.dsn.network import DSN, FORMAT, theta_from_log
from pipeline.images.io import Image, to_float
from pipeline.stores.weights import load_weights


class Degrader:
    """Maps HR images of any size to mean and theta.

    Args:
        dsn: The network.
        device: Where it runs.
        constant_theta: Scale in the unit of the image that replaces the learned one, if any.

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
        state, metadata = load_weights(path, FORMAT)
        try:
            settings = metadata["settings"]
            dsn = DSN(metadata["scale"], settings["features"], settings["blocks"])
            dsn.load_state_dict(state)
            constant = (
                None if settings["learn_theta"] else settings["prior_scale_gray"] * GRAY_LEVEL
            )
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"{path}: its tensors do not fit its description: {reason}") from error
        return cls(dsn, Accelerator().device, constant)

    def whole(self, hr: Tensor) -> tuple[Tensor, Tensor]:
        """Degrade an HR image (3, H, W) in [0, 1] in one piece.

        Returns:
            Mean and theta, (3, H/s, W/s) each, in the unit of the image, on the CPU.

        """
        mean, theta = self.batch(hr[None])
        return mean[0], theta[0]

    @torch.no_grad()
    def batch(self, hr: Tensor) -> tuple[Tensor, Tensor]:
        """Degrade HR images (N, 3, H, W) as ``whole`` does, all at once."""
        mean, log_theta_gray, _ = self.dsn(hr.to(self.device))
        theta = theta_from_log(log_theta_gray)
        if self.constant_theta is not None:
            theta = torch.full_like(theta, self.constant_theta)
        return mean.cpu(), theta.cpu()

    def tiled(
        self, hr: Image, tile: int, halo: int | None = None, batch: int = 1
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Degrade an HR image (3, H, W), 0..255, in tiles; equal to ``whole``.

        Args:
            hr: The image; H and W multiples of the scale.
            tile: Side of a tile in LR pixels; memory grows with its square.
            halo: HR pixels seen around a tile, a multiple of the scale; the DSN's if None.
            batch: Tiles of one shape that go through the network together; memory grows with it.

        Returns:
            Mean and theta, (3, H/s, W/s) each, in the unit of the image.

        """
        halo = self.dsn.halo if halo is None else halo
        height, width = hr.shape[1:]
        mean = np.empty((3, height // self.scale, width // self.scale), np.float32)
        theta = np.empty_like(mean)
        planned = (
            Tile(area, area.times(self.scale).grown(halo, height, width))
            for area in tiles(mean.shape[1], mean.shape[2], tile)
        )
        for together in batches(planned, batch):
            seen = torch.stack([to_float(hr[outer.slices]) for _, outer in together])
            for (area, outer), *maps in zip(together, *self.batch(seen), strict=True):
                inner = area.within(outer.over(self.scale)).slices
                mean[area.slices], theta[area.slices] = (values[inner] for values in maps)
        return mean, theta

    def part(self, shape: tuple[int, int], area: Box) -> tuple[Box, Box]:
        """What must be read of an HR image to degrade one area of its LR grid.

        Args:
            shape: (H, W) of the HR image.
            area: The area on the LR grid.

        Returns:
            The HR box to read, and the area within the result for that box.

        """
        outer = area.times(self.scale).grown(self.dsn.halo, *shape)
        return outer, area.within(outer.over(self.scale))

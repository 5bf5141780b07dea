"""What a camera would make of windows of the HR images: the other half of analysis by synthesis."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pipeline.camera.optics import Array, Optics, as_tensor, gaussian, on_grid
from pipeline.camera.spectra import Measure, Spectra, joined
from pipeline.camera.windows import Windows
from pipeline.images.light import to_encoded, to_linear
from pipeline.sampling.jpeg import TO_YCBCR

MARGIN = 8
"""LR pixels around a window that only its border needs."""
FINENESS = 2
"""Frequencies are kept up to this many times the LR grid's sampling rate: a pixel of full size lets
through next to nothing beyond."""

Light = Literal["linear", "gamma"]


class Synthesis:
    """Windows of HR images, ready to be seen by any camera.

    Args:
        images: Windows of every HR image, of (side + 2 MARGIN) LR pixels.
        ids: The names of these images.
        scale: HR pixels per LR pixel.
        light: What the camera averages.

    """

    def __init__(
        self, images: Iterable[Windows], ids: Sequence[str], scale: int, light: Light
    ) -> None:
        self.ids, self.scale, self.light = ids, scale, light
        self.planes = torch.tensor(TO_YCBCR)
        self.back = torch.linalg.inv(self.planes.double()).float()
        spectra, numbers = [], []
        for one in images:
            spectra.append(self._spectrum(one.pixels))
            numbers += [one.number] * len(one.pixels)
        self.spectrum = torch.cat(spectra)
        """(N, 3, kept, kept): of luma and the colour differences of the light."""
        self.numbers = torch.tensor(numbers)

    def _spectrum(self, pixels: Tensor) -> Tensor:
        self.full = pixels.shape[-1]
        self.side = self.full // self.scale
        self.fineness = min(FINENESS, self.scale)
        light = to_linear(pixels) if self.light == "linear" else pixels
        planes = torch.einsum("cd,ndhw->nchw", self.planes, light)
        found = torch.fft.fft2(planes)[..., self._kept(), :][..., :, self._kept()]
        kept: Tensor = found.to(torch.complex64)
        return kept

    def _kept(self) -> Tensor:
        """Indices of the frequencies that are kept along an axis."""
        half = self.side * self.fineness // 2
        return torch.cat([torch.arange(half), torch.arange(self.full - half, self.full)])

    def mean(self, optics: Optics, shaping: tuple[Array, Array] | None = None) -> Tensor:
        """The LR windows without noise, (N, 3, side, side); their margin is not to be used.

        Args:
            optics: The camera.
            shaping: Further transfer of luma and chroma at the frequencies of ``grid``; see
                ``fit.Fit``.

        """
        through = torch.stack(
            [self._through(optics, chroma, shaping) for chroma in (False, True, True)]
        )
        seen = self.spectrum * through
        n, factor = len(seen), self.fineness
        seen = seen.reshape(n, 3, factor, self.side, factor, self.side).sum(dim=(2, 4))
        image = torch.fft.ifft2(seen / self.scale**2).real
        image = torch.einsum("cd,ndhw->nchw", self.back, image)
        if self.light == "linear":
            image = to_encoded(image.clamp(min=0))
        luma = torch.einsum("d,ndhw->nhw", self.planes[0], image)
        mask = optics.amount * (1 - gaussian(self._radius(self.side, 1), optics.radius**2))
        sharper = torch.fft.ifft2(torch.fft.fft2(luma) * as_tensor(mask)).real
        sharpened: Tensor = image + sharper[:, None]
        return sharpened

    def _through(self, optics: Optics, chroma: bool, shaping: tuple[Array, Array] | None) -> Tensor:
        """Transfer of the light, with the move to the centre of the LR pixels."""
        through = on_grid(optics, self.full, self.scale, chroma)
        if shaping is not None:
            through = through * shaping[chroma]
        f = np.fft.fftfreq(self.full) * (self.scale - 1) / 2
        move = np.exp(2j * np.pi * f)
        moved = torch.from_numpy(through * move[:, None] * move[None, :])
        return moved[self._kept()][:, self._kept()].to(torch.complex64)

    def grid(self) -> Array:
        """Radial frequencies of the HR grid in cycles per LR pixel, (full, full)."""
        return self._radius(self.full, self.scale)

    @staticmethod
    def _radius(size: int, scale: int) -> Array:
        f = np.fft.fftfreq(size) * scale
        return np.asarray(np.hypot(f[:, None], f[None, :]))

    def spectra(self, images: Tensor, measure: Measure) -> Spectra:
        """The spectra of generated LR windows, by HR image."""
        inner = cropped(images)
        return joined(
            measure.image(inner[self.numbers == number])
            for number in torch.unique(self.numbers).tolist()
        )


def cropped(windows: Tensor) -> Tensor:
    """Windows without their margin."""
    return windows[..., MARGIN:-MARGIN, MARGIN:-MARGIN]

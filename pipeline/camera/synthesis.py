"""What a camera would make of windows of the HR images: the other half of analysis by synthesis."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pipeline.camera.optics import Array, Optics, as_tensor, on_grid
from pipeline.camera.spectra import Measure, Spectra, joined
from pipeline.camera.windows import Windows
from pipeline.images.light import to_encoded, to_linear
from pipeline.sampling.jpeg import TO_YCBCR

MARGIN = 8
"""LR pixels around a window that only its border needs."""
FINENESS = 2
"""Frequencies are kept up to this many times the LR grid's sampling rate: a pixel of full size lets
through next to nothing beyond."""

AT_ONCE = 16
"""Windows that are computed at a time: they stay in the cache."""

Light = Literal["linear", "gamma"]
Shaping = Callable[[Array], tuple[Array, Array]]


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
        self.flat = self.gray = True
        for one in images:
            self.flat, self.gray = self.flat and one.flat, self.gray and one.gray
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

    def mean(self, optics: Optics, shaping: Shaping | None = None) -> Tensor:
        """The LR windows without noise.

        Args:
            optics: The camera.
            shaping: Further transfer of luma and of the colour differences at radial frequencies in
                cycles per LR pixel; see ``fit.Camera.shaping``.

        Returns:
            (N, 3, side, side) in the unit of the image, not clamped; the margin is not to be used.

        """
        luma, chroma = (self._through(optics, chroma, shaping) for chroma in (False, True))
        through = torch.stack([luma, chroma, chroma])
        f = np.fft.fftfreq(self.side)
        mask = as_tensor(optics.mask(np.hypot(f[:, None], f[None, :])) - 1)
        return torch.cat(
            [self._seen(part, through, mask) for part in torch.split(self.spectrum, AT_ONCE)]
        )

    def _seen(self, spectrum: Tensor, through: Tensor, mask: Tensor) -> Tensor:
        """Some LR windows, of their spectra, the transfer, and that of the sharpening less one."""
        image = torch.fft.ifft2(self._folded(spectrum * through) / self.scale**2).real
        image = torch.einsum("cd,ndhw->nchw", self.back, image)
        if self.light == "linear":
            image = to_encoded(image.clamp(min=0))  # there is no negative light
        luma = torch.einsum("d,ndhw->nhw", self.planes[0], image)
        sharper = torch.fft.ifft2(torch.fft.fft2(luma) * mask).real
        sharpened: Tensor = image + sharper[:, None]
        return sharpened

    def _folded(self, spectrum: Tensor) -> Tensor:
        """Aliasing: the sum of all frequencies that an LR pixel cannot tell apart."""
        n, planes, kept, _ = spectrum.shape
        parts = spectrum.reshape(n, planes, kept // self.side, self.side, kept)
        rows = sum(parts.unbind(2)[1:], parts[:, :, 0])
        parts = rows.reshape(n, planes, self.side, kept // self.side, self.side)
        return sum(parts.unbind(3)[1:], parts[..., 0, :])

    def _through(self, optics: Optics, chroma: bool, shaping: Shaping | None) -> Tensor:
        """Transfer of the light, with the move to the centre of the LR pixels."""
        f = np.fft.fftfreq(self.full)[self._kept().numpy()]
        through = on_grid(optics, f, self.scale, chroma)
        if shaping is not None:
            radius = np.hypot(f[:, None], f[None, :]) * self.scale
            through = through * shaping(radius)[chroma]
        move = np.exp(1j * np.pi * f * (self.scale - 1))
        return torch.from_numpy(through * move[:, None] * move[None, :]).to(torch.complex64)

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

"""A picture of a passport that one can read without the file."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.images.drawing import save, sheet
from pipeline.passport.passport import Passport

LUMA, CHROMA = "black", "tab:red"
SEEN = 4
"""LR pixels that are shown of a kernel to every side of its centre, at most."""
CHANNELS = ("tab:red", "tab:green", "tab:blue")


def draw_passport(path: Path, passport: Passport) -> None:
    """Draw the kernel, the transfer function with its interval, and the noise by intensity.

    Args:
        path: PNG file to write.
        passport: The passport.

    """
    figure, ((kernel, transfer, noise),) = sheet(1, 3, side=3.6)
    _kernel(kernel, passport)
    _transfer(transfer, passport)
    _noise(noise, passport)
    if passport.unknown:
        figure.supxlabel("Not known: " + "; ".join(passport.unknown), fontsize=7, wrap=True)
    save(figure, path)


def _kernel(axes: Any, passport: Passport) -> None:
    values = np.array(passport.luma_kernel)
    most, half = float(np.abs(values).max()), len(values) / 2 / passport.scale
    axes.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most, extent=(-half, half, half, -half))
    seen = min(half, SEEN)
    axes.set(title="blur of one point", xlabel="LR pixels", ylabel="LR pixels")
    axes.set(xlim=(-seen, seen), ylim=(seen, -seen))
    axes.title.set_fontsize(9)
    axes.axhline(-0.5, lw=0.4, c="gray"), axes.axhline(0.5, lw=0.4, c="gray")
    axes.axvline(-0.5, lw=0.4, c="gray"), axes.axvline(0.5, lw=0.4, c="gray")


def _transfer(axes: Any, passport: Passport) -> None:
    found = passport.transfer
    for name, colour in (("luma", LUMA), ("chroma", CHROMA)):
        axes.plot(found.frequencies, getattr(found, name), c=colour, label=name)
        low, high = getattr(found, f"{name}_low"), getattr(found, f"{name}_high")
        axes.fill_between(found.frequencies, low, high, color=colour, alpha=0.2, lw=0)
    axes.axhline(1, lw=0.4, c="gray")
    axes.set(xlabel="cycles per LR pixel", ylabel="contrast that is left", ylim=(0, None))
    axes.set_title("transfer function, 5 to 95 %", fontsize=9)
    axes.legend(fontsize=8)


def _noise(axes: Any, passport: Passport) -> None:
    deviation = np.sqrt(np.array(passport.noise.variance_gray))
    levels = np.linspace(0, 255, deviation.shape[1])
    for values, colour in zip(deviation, CHANNELS, strict=True):
        axes.plot(levels, values, c=colour)
    axes.set(xlabel="intensity, gray levels", ylabel="standard deviation, gray levels")
    axes.set(ylim=(0, max(1.0, 1.1 * float(deviation.max()))))
    compressed = ", before JPEG" if passport.jpeg else ""
    axes.set_title(f"noise of red, green and blue{compressed}", fontsize=9)

"""The audit of maps by the paths of their stores."""

from pathlib import Path
from typing import Any

from pipeline.audit.audit import audit
from pipeline.audit.graph import AuditInputs
from pipeline.audit.histograms import AuditSettings
from pipeline.library.store import open_store

DEFAULTS = AuditSettings()


def audit_maps(
    maps: Path | str,
    hr: Path | str,
    lr: Path | str,
    folder: Path | str,
    calibration: Path | str | None = None,
    settings: AuditSettings = DEFAULTS,
) -> dict[str, Any]:
    """Compare LR images that are drawn from maps with real ones; writes tables and a page.

    Args:
        maps: Store of kind maps.
        hr: Store of kind hr that it was exported from.
        lr: Store of kind lr: the real LR images.
        folder: Where ``index.html``, ``summary.json`` and CSV tables go; an earlier audit there is
            replaced.
        calibration: File of the calibrate stage, for the scores of calibrated samples.
        settings: Bins, limits and how many images are pictured.

    Returns:
        Numbers of images and of LR pixels, statistics of theta in gray levels, and ``scores`` of
        mean, raw and calibrated samples against held-out real LR images, and of samples with the
        noise of a passport where the maps carry one; ``verdict``, and the word of each question in
        ``verdicts``.

    Raises:
        UserError: A store is missing or damaged, they do not belong together, or the folder holds
            something else.

    """
    inputs = AuditInputs(
        open_store(maps, "maps"),
        open_store(hr, "hr"),
        open_store(lr, "lr"),
        None if calibration is None else Path(calibration),
    )
    return audit(inputs, settings, Path(folder))

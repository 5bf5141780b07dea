"""Training of an SR network on sampled degradations (Sec. 3.2)."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline import pictures
from pipeline.calibration import Calibration, require_calibration
from pipeline.checkpoints import file_hash, fingerprint, make_folder, save_weights
from pipeline.crops import Schedule
from pipeline.errors import UserError
from pipeline.filters import bicubic_upsample, gradient_map
from pipeline.laplace import GRAY_LEVEL
from pipeline.losses import discriminator_loss, generator_loss
from pipeline.networks import srn
from pipeline.networks.discriminator import UNetDiscriminator
from pipeline.perceptual import VGG19Features
from pipeline.settings import Settings
from pipeline.stores import Store
from pipeline.stream import Pair, PairStream, Stream, Theta
from pipeline.training import TrainingRun, set_learning_rate

SHEET_ROWS = 4


class Architecture(Settings):
    """One entry of the section ``architectures``."""

    network: str
    """Name of the architecture in spandrel."""
    options: dict[str, object]
    """Keyword arguments of its constructor; the scale is added."""
    warm_start: str | None
    """File of an SR model of this architecture to start from, or null."""


class TrainSrnSettings(Settings):
    """The section ``train_srn``."""

    seed: int = Field(ge=0)
    """Seed of weights, crops and samples."""
    theta: Theta
    """What the samples are drawn with (Eq. 8): ``calibrated``, ``raw`` (the stored theta),
    ``constant`` (Table 1, row 2), or ``none``, the mean alone."""
    constant_theta: float | None = Field(gt=0)
    """Laplace scale in gray levels for ``theta: constant``, or null for the calibration's."""
    lr_patch: int = Field(ge=8)
    """Side of an LR crop in pixels."""
    batch_size: int = Field(gt=0)
    """Crops in a batch."""
    crops_per_image: int = Field(gt=0)
    """Crops of every image in one epoch."""
    epochs: int = Field(gt=0)
    """Length of the training."""
    learning_rate: float = Field(gt=0)
    """Adam's rate at the start."""
    discriminator_learning_rate: float = Field(gt=0)
    """Adam's rate at the start, for the discriminator."""
    halve_every: int = Field(gt=0)
    """Epochs after which the rate is halved, again and again."""
    ema_decay: float = Field(ge=0, lt=1)
    """Weight of the past in the moving average of the weights, per step."""
    discriminator_features: int = Field(gt=0)
    """Width of the U-Net discriminator at full size."""
    content_weight: float = Field(ge=0)
    """beta_1 of Eq. 12, on the L1 distance."""
    perceptual_weight: float = Field(ge=0)
    """beta_2 of Eq. 12; zero switches the term and VGG19 off."""
    adversarial_weight: float = Field(ge=0)
    """beta_3 of Eq. 12; zero switches the term and the discriminator off."""
    adversarial_on: Literal["gradient", "pixels"]
    """What the discriminator sees: the gradient map (Eq. 9 to 11) or the image (Table 1, row 4)."""
    perceptual_weights: str
    """VGG19: ``imagenet``, ``random``, or a file."""
    precision: Literal["no", "bf16"]
    """Mixed precision of the training device."""
    log_every: int = Field(gt=0)
    """Steps per row of the curves."""
    checkpoint_every: int = Field(gt=0)
    """Steps between checkpoints and contact sheets."""

    @model_validator(mode="after")
    def _some_loss(self) -> "TrainSrnSettings":
        if self.content_weight == 0 and self.perceptual_weight == 0:
            raise ValueError("content_weight and perceptual_weight are both zero")
        return self


class SrnTrainer:
    """Networks, optimisers and one step of the SRN training.

    Args:
        stream: What it is trained on.
        architecture: The network to train.
        settings: The section ``train_srn``.
        accelerator: Made with the precision of the settings.

    Raises:
        UserError: The network cannot be built, or the warm start does not fit it.

    """

    def __init__(
        self,
        stream: Stream,
        architecture: Architecture,
        settings: TrainSrnSettings,
        accelerator: Accelerator,
    ) -> None:
        self.settings = settings
        self.accelerator = accelerator
        self.device = self.accelerator.device
        self.stream = stream
        self.schedule = Schedule(
            stream.images,
            settings.crops_per_image,
            settings.batch_size,
            settings.seed,
            "train_srn/images",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = srn.build(architecture.network, stream.scale, architecture.options)
            discriminator = UNetDiscriminator(settings.discriminator_features)
        if architecture.warm_start:
            _warm_start(network, Path(architecture.warm_start))
        self.network, self.discriminator, self.optimiser, self.discriminator_optimiser = (
            self.accelerator.prepare(
                network,
                discriminator,
                Adam(network.parameters(), settings.learning_rate),
                Adam(discriminator.parameters(), settings.discriminator_learning_rate),
            )
        )
        self.ema = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
        self.vgg = (
            VGG19Features(settings.perceptual_weights).to(self.device)
            if settings.perceptual_weight
            else None
        )
        self.judged: Callable[[Tensor], Tensor] = (
            gradient_map if settings.adversarial_on == "gradient" else nn.Identity()
        )

    def run(self, name: str, folder: Path) -> TrainingRun:
        """The whole training, or what is left of it; see ``TrainingRun``."""
        parts = {
            "network": self.network,
            "ema": self.ema,
            "discriminator": self.discriminator,
            "optimiser": self.optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
        }
        return TrainingRun(
            name,
            folder,
            parts,
            self.schedule.steps(self.settings.epochs),
            self.settings.log_every,
            self.settings.checkpoint_every,
        )

    def step(self, step: int) -> dict[str, Tensor]:
        """Train both networks on one batch; returns the unweighted terms of Eq. 12."""
        settings = self.settings
        decay = 0.5 ** (self.schedule.epoch(step) // settings.halve_every)
        set_learning_rate(self.optimiser, settings.learning_rate * decay)
        set_learning_rate(
            self.discriminator_optimiser, settings.discriminator_learning_rate * decay
        )
        pair = self.stream.batch(step, self.schedule.batch(step))
        terms, sr = self._step_network(pair)
        if settings.adversarial_weight:
            terms["discriminator"] = self._step_discriminator(sr, pair.hr)
        self.ema.update_parameters(self.accelerator.unwrap_model(self.network))
        return terms

    def _step_network(self, pair: Pair) -> tuple[dict[str, Tensor], Tensor]:
        settings = self.settings
        with self.accelerator.autocast():
            sr = self.network(pair.lr)
            terms = {"content": F.l1_loss(sr, pair.hr)}
            if self.vgg is not None:
                terms["perceptual"] = F.l1_loss(self.vgg(sr), self.vgg(pair.hr))
            if settings.adversarial_weight:
                self.discriminator.requires_grad_(False)
                terms["adversarial"] = generator_loss(self.discriminator(self.judged(sr)))
                self.discriminator.requires_grad_(True)
        total = settings.content_weight * terms["content"]
        total = total + settings.perceptual_weight * terms.get("perceptual", 0)
        total = total + settings.adversarial_weight * terms.get("adversarial", 0)
        self.optimiser.zero_grad()
        self.accelerator.backward(total)
        self.optimiser.step()
        terms["total"] = total
        return terms, sr.detach().float()

    def _step_discriminator(self, sr: Tensor, hr: Tensor) -> Tensor:
        with self.accelerator.autocast():
            loss = discriminator_loss(
                self.discriminator(self.judged(hr)), self.discriminator(self.judged(sr))
            )
        self.discriminator_optimiser.zero_grad()
        self.accelerator.backward(loss)
        self.discriminator_optimiser.step()
        return loss

    @torch.no_grad()
    def contact_sheet(self, path: Path) -> None:
        """Draw the sampled LR enlarged by bicubic, the SR of the averaged weights, and the HR."""
        count = min(SHEET_ROWS, self.settings.batch_size)
        pair = self.stream.batch(0, self.schedule.batch(0)[:count])
        columns = (bicubic_upsample(pair.lr, self.stream.scale), self.ema(pair.lr), pair.hr)
        figure, axes = pictures.sheet(count, len(columns), side=2.2)
        for row, drawn in enumerate(axes):
            for axis, images in zip(drawn, columns, strict=True):
                pictures.show(axis, images[row])
        pictures.label_columns(axes, ("sampled LR, bicubic", "SR", "HR"))
        pictures.save(figure, path)


def train_srn(
    hr: Store,
    maps: Store,
    name: str,
    architecture: Architecture,
    settings: TrainSrnSettings,
    calibration: Calibration | None,
    work: Path,
    folder: Path,
) -> dict[str, float]:
    """Train an SR network, or go on with an interrupted training of the same settings and stores.

    Writes ``srn.safetensors`` (the averaged weights, in the keys of the architecture),
    ``contact_sheet.png`` and ``curves.csv``.

    Args:
        hr: Store of kind hr.
        maps: Store of kind maps.
        name: What the architecture is called in the settings.
        architecture: The network.
        settings: The section ``train_srn``.
        calibration: Of these maps; needed where the settings say so.
        work: Folder for checkpoints; each run has a folder of its own in it.
        folder: Where the results go.

    Returns:
        Metrics: the last row of the curves.

    Raises:
        UserError: See ``PairStream``, ``SrnTrainer`` and ``TrainingRun``.

    """
    accelerator = Accelerator(mixed_precision=settings.precision)
    stream = open_stream(hr, maps, settings, calibration, accelerator.device)
    trainer = SrnTrainer(stream, architecture, settings, accelerator)
    make_folder(folder)
    start = file_hash(Path(architecture.warm_start)) if architecture.warm_start else None
    measured = calibration.model_dump() if calibration else None
    key = fingerprint(
        settings.model_dump(), architecture.model_dump(), start, hr.digest, maps.digest, measured
    )
    run = trainer.run(f"train_srn@{name}", work / key)
    for step in run:
        run.record(step, trainer.step(step))
        if (step + 1) % settings.checkpoint_every == 0:
            trainer.contact_sheet(work / key / "contact_sheet.png")
    metadata = {
        "format": srn.FORMAT,
        "scale": maps.scale,
        "architecture": architecture.model_dump(),
        "settings": settings.model_dump(),
        "maps_digest": maps.digest,
    }
    trainer.contact_sheet(folder / "contact_sheet.png")
    run.write_curves(folder / "curves.csv")
    save_weights(folder / "srn.safetensors", trainer.ema.module.state_dict(), metadata)
    run.close()
    return run.curves[-1]


def open_stream(
    hr: Store,
    maps: Store,
    settings: TrainSrnSettings,
    calibration: Calibration | None,
    device: torch.device,
) -> PairStream:
    """The stream that the settings describe.

    Raises:
        UserError: See ``PairStream``.

    """
    constant = settings.constant_theta
    if settings.theta == "constant" and constant is None:
        if calibration is None:
            raise UserError("train_srn.constant_theta is null, and there is no calibration to ask")
        require_calibration(calibration, maps)
        constant = calibration.constant_theta
    return PairStream(
        hr,
        maps,
        settings.lr_patch,
        settings.theta,
        device,
        settings.seed,
        (constant or 0) * GRAY_LEVEL,
        calibration,
    )


def _warm_start(network: nn.Module, path: Path) -> None:
    """Load the weights of an SR model file, in any key style spandrel reads."""
    state = srn.open_model(path).model.state_dict()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: does not fit the architecture: {reason}") from error

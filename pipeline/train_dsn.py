"""Training of the DSN from two piles of images that are not paired (Sec. 3.1)."""

import math
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Adam

from pipeline import pictures
from pipeline.checkpoints import fingerprint, make_folder, save_weights
from pipeline.crops import ImagePool, Schedule, require_crop
from pipeline.errors import UserError
from pipeline.filters import bicubic_downsample, high_pass
from pipeline.laplace import GRAY_LEVEL, sample, scaled_divergence
from pipeline.losses import discriminator_loss, generator_loss
from pipeline.networks.discriminator import UNetDiscriminator
from pipeline.networks.dsn import DSN, FORMAT, theta_from_log
from pipeline.perceptual import VGG19Features
from pipeline.seeding import generator
from pipeline.settings import Settings
from pipeline.stores import Store, require_same_scale
from pipeline.training import TrainingRun, set_learning_rate

SHEET_ROWS = 4


class TrainDsnSettings(Settings):
    """The section ``train_dsn``."""

    seed: int = Field(ge=0)
    """Seed of weights, crops and samples."""
    features: int = Field(gt=0)
    """Width of the DSN trunk."""
    blocks: int = Field(gt=0)
    """Residual blocks."""
    discriminator_features: int = Field(gt=0)
    """Width of the U-Net discriminator at full size."""
    hr_patch: int = Field(gt=0)
    """Side of an HR crop in pixels, a multiple of 16 times the scale."""
    batch_size: int = Field(gt=0)
    """Crops in a batch."""
    crops_per_image: int = Field(gt=0)
    """Crops of every HR image in one epoch."""
    epochs: int = Field(gt=0)
    """Length of the training."""
    learning_rate: float = Field(gt=0)
    """Adam's rate at the start."""
    discriminator_learning_rate: float = Field(gt=0)
    """Adam's rate at the start, for the discriminator."""
    halve_every: int = Field(gt=0)
    """Epochs after which the rate is halved, again and again."""
    prior_scale: float = Field(gt=0)
    """b of Eq. 2 and 4 in gray levels: the Laplace scale of the reference."""
    learn_theta: bool
    """Learn the scale of the pixels (Eq. 2); otherwise L1 and a constant scale, the prior's."""
    learn_sigma: bool
    """Learn the scale of the features (Eq. 4); otherwise Eq. 3."""
    kl_weight: float = Field(ge=0)
    """alpha_1 of Eq. 7."""
    perceptual_weight: float = Field(ge=0)
    """alpha_2 of Eq. 7; zero switches the term and VGG19 off."""
    adversarial_weight: float = Field(ge=0)
    """alpha_3 of Eq. 7; zero switches the term and the discriminator off."""
    perceptual_weights: str
    """VGG19: ``imagenet``, ``random``, or a file."""
    precision: Literal["no", "bf16"]
    """Mixed precision of the training device."""
    log_every: int = Field(gt=0)
    """Steps per row of the curves."""
    checkpoint_every: int = Field(gt=0)
    """Steps between checkpoints and contact sheets."""

    @model_validator(mode="after")
    def _some_loss(self) -> "TrainDsnSettings":
        if self.kl_weight == 0:
            raise ValueError("kl_weight must be positive: nothing else ties the mean to the image")
        return self


class DsnLoss(nn.Module):
    """The generator's terms of Eq. 7, unweighted, in the unit of the image.

    Args:
        settings: Switches, weights and the prior scale.
        vgg: Features, or None when the perceptual term is off.

    """

    def __init__(self, settings: TrainDsnSettings, vgg: VGG19Features | None) -> None:
        super().__init__()
        self.settings, self.vgg = settings, vgg
        self.prior = settings.prior_scale * GRAY_LEVEL

    def content(self, mean: Tensor, log_theta: Tensor, reference: Tensor) -> Tensor:
        """Eq. 2 times the prior scale, or L1 without theta; ``log_theta`` in gray levels."""
        distance = (mean - reference).abs()
        if not self.settings.learn_theta:
            return distance.mean()
        return scaled_divergence(distance, _in_unit(log_theta), self.prior).mean()

    def perceptual(self, mean: Tensor, log_sigma: Tensor | None, reference: Tensor) -> Tensor:
        """Eq. 4 times the prior scale, on 0.5 f + 0.5 of conv5_4, or Eq. 3 without sigma."""
        assert self.vgg is not None
        distance: Tensor = 0.5 * (self.vgg(mean) - self.vgg(reference)).abs()
        if log_sigma is None:
            return distance.mean()
        return scaled_divergence(distance, _in_unit(log_sigma), self.prior).mean()


class DsnTrainer:
    """Networks, optimisers and one step of the DSN training.

    Args:
        hr: Store of kind hr.
        lr: Store of kind lr.
        settings: The section ``train_dsn``.

    Raises:
        UserError: Scales differ, an image is smaller than a crop, or the patch does not fit.

    """

    def __init__(self, hr: Store, lr: Store, settings: TrainDsnSettings) -> None:
        self.settings = settings
        self.scale = require_same_scale(hr, lr)
        if settings.hr_patch % (16 * self.scale):
            raise UserError(
                f"train_dsn.hr_patch is {settings.hr_patch}, not a multiple of {16 * self.scale} "
                f"(16 times the scale {self.scale})"
            )
        self.lr_patch = settings.hr_patch // self.scale
        require_crop(hr, settings.hr_patch, "train_dsn.hr_patch")
        require_crop(lr, self.lr_patch, "train_dsn.hr_patch")
        self.hr_pool, self.lr_pool = ImagePool.load(hr), ImagePool.load(lr)
        seed, batch = settings.seed, settings.batch_size
        self.hr_schedule = Schedule(
            len(hr.ids), settings.crops_per_image, batch, seed, "train_dsn/hr"
        )
        self.lr_schedule = Schedule(
            len(lr.ids), settings.crops_per_image, batch, seed, "train_dsn/lr"
        )
        self._build()

    def _build(self) -> None:
        settings = self.settings
        self.accelerator = Accelerator(mixed_precision=settings.precision)
        self.device = self.accelerator.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            dsn = DSN(self.scale, settings.features, settings.blocks)
            discriminator = UNetDiscriminator(settings.discriminator_features)
        self.dsn, self.discriminator, self.dsn_optimiser, self.discriminator_optimiser = (
            self.accelerator.prepare(
                dsn,
                discriminator,
                Adam(dsn.parameters(), settings.learning_rate),
                Adam(discriminator.parameters(), settings.discriminator_learning_rate),
            )
        )
        vgg = VGG19Features(settings.perceptual_weights) if settings.perceptual_weight else None
        self.loss = DsnLoss(settings, vgg).to(self.device)

    def step(self, step: int) -> dict[str, Tensor]:
        """Train both networks on one batch; returns the unweighted terms and theta statistics."""
        settings = self.settings
        decay = 0.5 ** (self.hr_schedule.epoch(step) // settings.halve_every)
        set_learning_rate(self.dsn_optimiser, settings.learning_rate * decay)
        set_learning_rate(
            self.discriminator_optimiser, settings.discriminator_learning_rate * decay
        )
        hr, real = self.batch(step)
        terms, mean = self._step_dsn(hr)
        if settings.adversarial_weight:
            terms["discriminator"] = self._step_discriminator(mean, real)
        return terms

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """HR crops (N, 3, P, P) and unrelated real LR crops (N, 3, P/s, P/s) of a step."""
        seed = self.settings.seed
        hr = self.hr_pool.crops(
            self.hr_schedule.batch(step),
            self.settings.hr_patch,
            generator(seed, "train_dsn/hr crops", step),
        )
        real = self.lr_pool.crops(
            self.lr_schedule.batch(step),
            self.lr_patch,
            generator(seed, "train_dsn/lr crops", step),
        )
        return hr.to(self.device), real.to(self.device)

    def _step_dsn(self, hr: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        settings = self.settings
        with_sigma = settings.learn_sigma and settings.perceptual_weight > 0
        reference = bicubic_downsample(hr, self.scale)
        with self.accelerator.autocast():
            mean, log_theta, log_sigma = self.dsn(hr, with_sigma=with_sigma)
            terms = {"kl": self.loss.content(mean, log_theta, reference)}
            if settings.perceptual_weight:
                terms["kl_perceptual"] = self.loss.perceptual(mean, log_sigma, reference)
            if settings.adversarial_weight:
                self.discriminator.requires_grad_(False)
                terms["adversarial"] = generator_loss(self.discriminator(high_pass(mean)))
                self.discriminator.requires_grad_(True)
        total = settings.kl_weight * terms["kl"]
        total = total + settings.perceptual_weight * terms.get("kl_perceptual", 0)
        total = total + settings.adversarial_weight * terms.get("adversarial", 0)
        self.dsn_optimiser.zero_grad()
        self.accelerator.backward(total)
        self.dsn_optimiser.step()
        terms["total"] = total
        terms["theta_mean"] = self.theta(log_theta.detach()).mean() * 255
        return terms, mean.detach().float()

    def _step_discriminator(self, mean: Tensor, real: Tensor) -> Tensor:
        with self.accelerator.autocast():
            loss = discriminator_loss(
                self.discriminator(high_pass(real)), self.discriminator(high_pass(mean))
            )
        self.discriminator_optimiser.zero_grad()
        self.accelerator.backward(loss)
        self.discriminator_optimiser.step()
        return loss

    @torch.no_grad()
    def contact_sheet(self, path: Path) -> None:
        """Draw HR, bicubic, mean, theta, two samples and real LR crops, the same at every call."""
        hr, real = self.batch(0)
        hr, real = hr[:SHEET_ROWS], real[:SHEET_ROWS]
        mean, log_theta, _ = self.dsn(hr)
        theta = self.theta(log_theta)
        source = generator(self.settings.seed, "train_dsn/sheet", 0, self.device)
        samples = [sample(mean, theta, source) for _ in range(2)]
        columns = (hr, bicubic_downsample(hr, self.scale), mean, None, *samples, real)
        figure, axes = pictures.sheet(len(hr), len(columns))
        for row, drawn in enumerate(axes):
            for axis, images in zip(drawn, columns, strict=True):
                if images is None:
                    pictures.show_theta(axis, theta[row].cpu().numpy())
                else:
                    pictures.show(axis, images[row])
        pictures.label_columns(
            axes, ("HR", "bicubic", "mean", "theta", "sample", "sample", "real LR")
        )
        pictures.save(figure, path)

    def theta(self, log_theta: Tensor) -> Tensor:
        """Theta in the unit of the image: the learned one, or the constant prior scale."""
        if self.settings.learn_theta:
            return theta_from_log(log_theta)
        return torch.full_like(log_theta, self.settings.prior_scale * GRAY_LEVEL)

    @torch.no_grad()
    def statistics(self, batches: int) -> dict[str, float]:
        """Theta and high-frequency spread of the trained DSN, in gray levels, over some batches.

        The spreads are standard deviations of the high-pass filtered images: of the mean, of
        samples, and of the real LR images.  Samples far below the real ones carry too little noise.
        """
        thetas, spread = [], {"mean": [], "sample": [], "real": []}  # type: ignore[var-annotated]
        for step in range(batches):
            hr, real = self.batch(step)
            mean, log_theta, _ = self.dsn(hr)
            theta = self.theta(log_theta)
            source = generator(self.settings.seed, "train_dsn/statistics", step, self.device)
            drawn = {"mean": mean, "sample": sample(mean, theta, source), "real": real}
            for name, images in drawn.items():
                spread[name].append(2 * (high_pass(images) - 0.5).square().mean().sqrt())
            thetas.append(theta.flatten())
        theta = torch.cat(thetas) * 255
        return {
            "theta_mean": theta.mean().item(),
            "theta_min": theta.min().item(),
            "theta_max": theta.max().item(),
            **{
                f"high_pass_spread_{name}": torch.stack(values).mean().item() * 255
                for name, values in spread.items()
            },
        }


def train_dsn(
    hr: Store, lr: Store, settings: TrainDsnSettings, work: Path, weights: Path, sheet: Path,
    curves: Path,
) -> dict[str, float]:  # fmt: skip
    """Train a DSN, or go on with an interrupted training of the same settings and stores.

    Args:
        hr: Store of kind hr.
        lr: Store of kind lr, the real LR images.
        settings: The section ``train_dsn``.
        work: Folder for checkpoints; each run has a folder of its own in it.
        weights: Where the trained DSN goes.
        sheet: Where the last contact sheet goes.
        curves: Where the curves go, as CSV.

    Returns:
        Metrics: the last row of the curves and the statistics of ``DsnTrainer.statistics``.

    Raises:
        UserError: See ``DsnTrainer`` and ``TrainingRun``.

    """
    trainer = DsnTrainer(hr, lr, settings)
    for path in (weights, sheet, curves):
        make_folder(path.parent)
    folder = work / fingerprint(settings.model_dump(), hr.digest, lr.digest)
    run = TrainingRun(
        "train_dsn",
        folder,
        {
            "dsn": trainer.dsn,
            "discriminator": trainer.discriminator,
            "dsn_optimiser": trainer.dsn_optimiser,
            "discriminator_optimiser": trainer.discriminator_optimiser,
        },
        trainer.hr_schedule.steps(settings.epochs),
        settings.log_every,
        settings.checkpoint_every,
    )
    for step in run:
        run.record(step, trainer.step(step))
        if (step + 1) % settings.checkpoint_every == 0:
            trainer.contact_sheet(folder / "contact_sheet.png")
    metadata = {
        "format": FORMAT,
        "scale": trainer.scale,
        "settings": settings.model_dump(),
        "hr_digest": hr.digest,
        "lr_digest": lr.digest,
    }
    trainer.contact_sheet(sheet)
    run.write_curves(curves)
    save_weights(weights, trainer.accelerator.unwrap_model(trainer.dsn).state_dict(), metadata)
    metrics = {**run.curves[-1], **trainer.statistics(8)}
    run.close()
    return metrics


def _in_unit(log_levels: Tensor) -> Tensor:
    """Logarithm of a scale in the unit of the image, from one in gray levels."""
    return log_levels + math.log(GRAY_LEVEL)

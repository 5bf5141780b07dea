"""Training of the DSN on HR images and real LR images that are not paired (Sec. 3.1)."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.base.errors import UserError
from pipeline.base.hashes import file_hash, fingerprint
from pipeline.base.seeding import generator, of_share
from pipeline.crops.memory import MachineSettings, allowed
from pipeline.dsn.file import CAMERA, DsnDescription, save_dsn
from pipeline.dsn.network import Degradation
from pipeline.images import drawing
from pipeline.images.filters import high_pass
from pipeline.optimisation.rates import Moment
from pipeline.passport.model import CameraModel
from pipeline.runs.checkpoints import Stateful
from pipeline.runs.description import Places, Training
from pipeline.runs.loggers import require_logger
from pipeline.runs.run import run
from pipeline.sampling.laplace import Maps
from pipeline.sampling.sampler import Draw, make_sampler
from pipeline.stores.reader import Store, require_same_scale
from pipeline.train_dsn.data import CropRules, UnpairedCrops
from pipeline.train_dsn.losses import DsnLoss
from pipeline.train_dsn.monitor import BestEpoch, Monitor
from pipeline.train_dsn.prior import known_prior_gray, with_prior
from pipeline.train_dsn.reference import open_passport, open_reference
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.training.discriminators import UNetDiscriminator
from pipeline.training.learner import (
    Adversaries,
    Generated,
    Learner,
    frozen,
    make_accelerator,
    weighted_sum,
)
from pipeline.training.precision import Passes, Precision
from pipeline.training.vgg import VGG19Features, weights_hash


def require_patch(settings: TrainDsnSettings, scale: int) -> None:
    """Check that the networks can halve the LR image of a crop four times.

    Raises:
        UserError: They cannot.

    """
    if settings.hr_patch % (16 * scale):
        raise UserError(
            f"train_dsn.hr_patch is {settings.hr_patch}, not a multiple of {16 * scale} "
            f"(16 times the scale {scale})"
        )


@dataclass(frozen=True)
class DsnMaterial:
    """What a DSN is trained on."""

    hr: Store
    """Store of kind hr."""
    lr: Store
    """Store of kind lr: the real LR images."""
    kernels: Path | None = None
    """A blur kernel or a folder of them, if the settings want kernels for the reference."""
    camera: Path | None = None
    """The camera's passport, if reference or prior scale are to come from it."""


class DsnTrainer:
    """The networks of the DSN training, and one step of it; see ``Trainer``.

    Args:
        material: What it is trained on.
        settings: The section ``train_dsn``.
        machine: The section ``machine``.

    Raises:
        UserError: Scales differ, an image is smaller than a crop, the patch does not fit, a kernel
            file holds no kernel, or the passport is missing or damaged.

    """

    def __init__(
        self, material: DsnMaterial, settings: TrainDsnSettings, machine: MachineSettings
    ) -> None:
        self.material = material
        hr, lr = material.hr, material.lr
        self.scale = require_same_scale(hr, lr)
        self.passport = None
        if settings.reads_passport:
            self.passport = open_passport(material.camera, self.scale)
        self.reference = open_reference(
            settings.reference, material.kernels, self.scale, self.passport
        )
        self.settings = settings = with_prior(settings, lr)
        require_patch(settings, self.scale)
        self.accelerator = make_accelerator()
        self.device = self.accelerator.device
        memory = allowed(machine, self.device, self.accelerator.num_processes)
        demand = settings.demand(self.accelerator, memory)
        rules = CropRules(settings.hr_patch, settings.epoch_over, settings.turn_crops)
        self.data = UnpairedCrops(hr, lr, rules, demand)
        self.schedule = self.data.schedule
        """Schedule of the images that epochs go over."""
        self.steps = self.schedule.steps(settings.epochs)
        self.first_share = settings.own_shares(self.accelerator)[0]
        self.pictured = [
            part[: drawing.SHEET_ROWS] for part in self.data.batch(0, self.first_share)
        ]
        self.sampler = make_sampler(Draw("raw"))
        """Draws samples as a training of the SRN would."""
        if self.passport is not None and settings.prior_scale_gray == CAMERA:
            self.sampler = make_sampler(Draw("camera"), device=self.device, camera=self.passport)
        sampled = settings.adversarial_on == "sample" and settings.adversarial_weight > 0
        self.discriminated = self.sampler if sampled else make_sampler(Draw("none"))
        """Sampler of the generated LR images that the discriminator gets."""
        self._build()

    def _build(self) -> None:
        settings, described = self.settings, self.describe()
        self.constant_theta = described.constant_theta
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.dsn = described.network()
            self.discriminator = UNetDiscriminator(settings.discriminator_features)
        self.with_sigma = settings.learn_sigma and settings.perceptual_weight > 0
        self.dsn.log_sigma_head.requires_grad_(self.with_sigma)
        self.dsn.log_theta_head.requires_grad_(settings.learn_theta)
        self.learner = Learner(self.dsn, settings.learning_rate, settings, self.accelerator)
        self.discriminator_learner = Learner(
            self.discriminator, settings.discriminator_learning_rate, settings, self.accelerator
        )
        self.adversaries = Adversaries(
            self.learner,
            self.discriminator_learner,
            settings,
            settings.adversarial_weight,
            partial(high_pass, borders=settings.borders),
            settings.discriminator_first,
        )
        vgg: nn.Module | None = None
        if self.with_vgg:
            vgg = VGG19Features(settings.perceptual_weights)
            vgg = frozen(vgg, settings, self.accelerator)
        self.loss = DsnLoss(settings, vgg)
        self.precision = Precision(
            settings.precision, self._passes(vgg), self.accelerator, settings.batch_size
        )
        self.noise: CameraModel | None = None
        """Gives the prior scale of every pixel, if it is the camera's."""
        if self.passport is not None and settings.prior_scale_gray == CAMERA:
            self.noise = CameraModel(self.passport).to(self.device)
        self.best = BestEpoch()
        self.parts: dict[str, Stateful] = {
            "dsn": self.dsn,
            "discriminator": self.discriminator,
            "dsn_optimiser": self.learner.optimiser,
            "discriminator_optimiser": self.discriminator_learner.optimiser,
            "best_epoch": self.best,
        }

    def _passes(self, vgg: nn.Module | None) -> list[Passes]:
        """How the networks run in a step."""
        settings, lr_side = self.settings, self.settings.hr_patch // self.scale
        options = {"with_sigma": self.with_sigma}
        passes = [Passes(self.dsn, settings.hr_patch, options=options)]
        if settings.adversarial_weight:
            times = 3 if settings.discriminator_first else 2
            passes.append(Passes(self.discriminator, lr_side, times))
        if vgg is not None:
            passes += [Passes(vgg, lr_side), Passes(vgg, lr_side, backward=False)]
        return passes

    @property
    def with_vgg(self) -> bool:
        """Whether there is a perceptual term."""
        return self.settings.perceptual_weight > 0 and self.steps > 0

    @cached_property
    def monitor(self) -> Monitor:
        """Scores the DSN during its training; it reads images when it is first used."""
        hr, lr = self.material.hr, self.material.lr
        camera = self.passport if self.settings.prior_scale_gray == CAMERA else None
        return Monitor(hr, lr, self.reference.expected, self.settings.seed, camera)

    def step(self, step: int) -> dict[str, Tensor]:
        """Train both networks on one batch; returns the unweighted terms and theta statistics."""
        factor = self.settings.rate_factor(Moment(step, self.schedule.epoch(step), self.steps))
        return self.adversaries.step(factor, lambda share: self._generate(step, share))

    def draw_reference(self, step: int, hr: Tensor, share: int = 0) -> Tensor:
        """y_b of the HR crops of a share."""
        purpose = of_share("train_dsn/kernels", share)
        return self.reference.draw(hr, generator(self.settings.seed, purpose, step))

    def prior(self, reference: Tensor) -> Tensor | None:
        """b(x) of Eq. 2 at the reference's intensities; None where it is one number."""
        if self.noise is None:
            return None
        return self.noise.noise_scale(reference)

    def _generate(self, step: int, share: int) -> Generated:
        """Run the DSN on a share."""
        hr, real = self.data.batch(step, share)
        reference = self.draw_reference(step, hr, share)
        degradation = self.learner(hr, with_sigma=self.with_sigma)
        terms = self.loss.terms(degradation, reference, self.prior(reference))
        total = weighted_sum(terms, self.loss.weights)
        maps = self.maps_of(degradation)
        terms["theta_mean"] = maps["theta"].detach().mean() * 255
        return Generated(terms, total, self.draw(maps, step, share), real)

    def draw(self, maps: Maps, step: int, share: int = 0) -> Tensor:
        """The generated LR images that the discriminator sees, (N, 3, H/s, W/s)."""
        purpose = of_share("train_dsn/noise", share)
        noise = generator(self.settings.seed, purpose, step, self.device)
        return self.discriminated.sample(maps, noise)

    def score(self, step: int) -> dict[str, float | None]:
        """The latest scores without pairs.

        The DSN is scored after the first step, after every ``score_every`` epochs and at the end.
        """
        epoch, following = self.schedule.epoch(step), self.schedule.epoch(step + 1)
        ended = following > epoch and following % self.settings.score_every == 0
        if ended or self.best.latest is None or step + 1 == self.steps:
            with self.learner.averaged():
                self.best.update(epoch, self.monitor.score(self.maps), self.dsn.state_dict())
        return self.best.logged()

    def maps(self, hr: Tensor) -> dict[str, Tensor]:
        """Maps of HR images (N, 3, H, W) by name, in the unit of the image, on the device."""
        return self.maps_of(self.dsn.forward(hr.to(self.device)))

    def maps_of(self, degradation: Degradation) -> dict[str, Tensor]:
        """Maps by name; theta is the prior scale where it is not learned."""
        maps = degradation.maps()
        if self.constant_theta is not None:
            maps["theta"] = torch.full_like(maps["mean"], self.constant_theta)
        return maps

    @property
    def pictures(self) -> dict[str, Callable[[Path], None]]:
        """What draws each picture, by the name of its file."""
        return {"contact_sheet.png": self.contact_sheet}

    @torch.no_grad()
    def contact_sheet(self, path: Path) -> None:
        """Draw HR, reference, mean, theta, two samples and real LR, the same at every call."""
        hr, real = self.pictured
        with self.learner.averaged():
            maps = self.maps(hr)
        source = generator(self.settings.seed, "train_dsn/sheet", 0, self.device)
        samples = [self.sampler.sample(maps, source) for _ in range(2)]
        columns = (hr, self.draw_reference(0, hr), maps["mean"], None, *samples, real)
        figure, axes = drawing.sheet(len(hr), len(columns))
        for row, drawn in enumerate(axes):
            for axis, images in zip(drawn, columns, strict=True):
                if images is None:
                    drawing.show_theta(axis, maps["theta"][row].cpu().numpy())
                else:
                    drawing.show(axis, images[row])
        drawing.label_columns(
            axes, ("HR", "reference", "mean", "theta", "sample", "sample", "real LR")
        )
        drawing.save(figure, path)

    @torch.no_grad()
    def statistics(self, batches: int) -> dict[str, float]:
        """Theta and high-frequency spread of the trained DSN, in gray levels, over some batches.

        The spreads are standard deviations of the high-pass filtered images: of the mean, of
        samples, and of the real LR images.  If that of the samples is far below that of the real LR
        images, the samples carry too little noise.
        """
        thetas, spread = [], {"mean": [], "sample": [], "real": []}  # type: ignore[var-annotated]
        for step in range(batches):
            hr, real = self.data.batch(step, self.first_share)
            maps = self.maps(hr)
            source = generator(self.settings.seed, "train_dsn/statistics", step, self.device)
            drawn = {
                "mean": maps["mean"],
                "sample": self.sampler.sample(maps, source),
                "real": real,
            }
            for name, images in drawn.items():
                spread[name].append(2 * (high_pass(images) - 0.5).square().mean().sqrt())
            thetas.append(maps["theta"].flatten())
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

    def finish(self, weights: Path) -> dict[str, object]:
        """Write the DSN of the last or the best epoch; returns its scores and statistics."""
        settings, best = self.settings, self.best
        self.learner.finish()
        if self.steps == 0:
            best.update(0, self.monitor.score(self.maps), self.dsn.state_dict())
        if settings.keep == "best":
            self.dsn.load_state_dict(best.weights)
        described = self.describe()
        training = described.training | self.precision.described
        save_dsn(weights, self.dsn, described.model_copy(update={"training": training}))
        kept = best.scores if settings.keep == "best" else best.latest  # the last step is scored
        if kept is None:
            raise ValueError("no step was scored")
        last = settings.epochs - 1 if settings.epochs else None
        return {
            "prior_scale_gray": known_prior_gray(settings),
            **self.statistics(8),
            "kept": settings.keep,
            "kept_epoch": best.at if settings.keep == "best" and settings.epochs else last,
            **asdict(kept),
            "noise_ratio": kept.noise_ratio,
            "warning": "; ".join(kept.warnings()),
        }

    def describe(self) -> DsnDescription:
        """The description in the DSN's file.

        Without a training it has the smallest trunk there is, as its heads are zero.
        """
        settings = self.settings
        return DsnDescription(
            scale=self.scale,
            features=settings.features if self.steps else 1,
            blocks=settings.blocks if self.steps else 1,
            learned_theta=settings.learn_theta,
            prior_scale_gray=known_prior_gray(settings),
            reference=self.reference.description,
            passport=self.passport,
            hr_digest=self.material.hr.digest,
            lr_digest=self.material.lr.digest,
            training=settings.model_dump(mode="json"),
        )

    def key(self, start: Path | None) -> str:
        """Fingerprint of all that the results depend on."""
        settings, material = self.settings, self.material
        vgg = weights_hash(settings.perceptual_weights) if self.with_vgg else None
        passport = [] if self.passport is None else [self.passport.model_dump()]
        return fingerprint(
            settings.model_dump(), material.hr.digest, material.lr.digest,
            self.reference.description, vgg, self.accelerator.num_processes,
            None if start is None else file_hash(start), *passport,
        )  # fmt: skip


def train_dsn(
    material: DsnMaterial, settings: TrainDsnSettings, machine: MachineSettings, places: Places
) -> dict[str, object] | None:
    """Train a DSN, or go on with an interrupted training of the same settings and stores.

    Writes ``dsn.safetensors``, ``contact_sheet.png`` and ``curves.csv``.  With ``epochs: 0`` there
    is no training: the file is the camera's passport in the form of a DSN.

    Args:
        material: What it is trained on.
        settings: The section ``train_dsn``.
        machine: The section ``machine``.
        places: Where it reads and writes.

    Returns:
        Metrics: the last row of the curves, the statistics of ``DsnTrainer.statistics``, which
        epoch's weights were written (from 0), its ``DsnScores``, and a warning in words, if any.
        Of several processes the main one alone writes; the others return None.

    Raises:
        UserError: See ``DsnTrainer`` and ``training.run``; or the logger is not installed.

    """
    require_logger(machine.logger)
    trainer = DsnTrainer(material, settings, machine)
    key = trainer.key(places.start)
    training = Training(
        name="train_dsn",
        folder=places.work / key,
        steps=trainer.steps,
        log_every=settings.log_every,
        checkpoint_every=machine.checkpoint_every,
        start=places.start,
        log=places.log(machine.logger, "train_dsn", key),
    )
    return run(trainer, training, places.results("dsn.safetensors"), __name__)

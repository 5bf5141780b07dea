"""Training of the DSN from two piles of images that are not paired (Sec. 3.1)."""

import math
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.base.errors import UserError
from pipeline.base.files import make_folder
from pipeline.base.hashes import file_hash, fingerprint
from pipeline.base.seeding import generator, of_share
from pipeline.base.units import GRAY_LEVEL
from pipeline.crops.memory import MachineSettings, allowed
from pipeline.dsn.network import DSN, FORMAT, theta_from_log
from pipeline.images import drawing
from pipeline.images.filters import HIGH_PASS_SIZE, high_pass, low_pass
from pipeline.noise.estimate import BLOCKS, estimate_noise, read_blocks
from pipeline.sampling.laplace import sample, scale_terms, scaled_divergence
from pipeline.stores.kept import Finished
from pipeline.stores.reader import Store, require_same_scale
from pipeline.stores.weights import save_weights
from pipeline.train_dsn.data import UnpairedCrops
from pipeline.train_dsn.monitor import BestEpoch, Judge
from pipeline.train_dsn.reference import open_reference
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.training.discriminators import UNetDiscriminator
from pipeline.training.learner import Adversaries, Learner, frozen, make_accelerator
from pipeline.training.loop import TrainingRun
from pipeline.training.vgg import VGG19Features, weights_hash


class DsnLoss(nn.Module):
    """The generator's terms of Eq. 7, unweighted, in the unit of the image.

    Args:
        settings: Switches, weights and the prior scale.
        vgg: Features, or None when the perceptual term is off.

    """

    def __init__(self, settings: TrainDsnSettings, vgg: nn.Module | None) -> None:
        super().__init__()
        self.settings, self.vgg = settings, vgg
        self.prior = known_prior_gray(settings) * GRAY_LEVEL

    def content(self, mean: Tensor, log_theta_gray: Tensor, reference: Tensor) -> Tensor:
        """Eq. 2 times the prior scale, or L1 without theta; ``log_theta_gray`` in gray levels."""
        distance = (mean - reference).abs()
        low = self.settings.content == "low_pass"
        told = low_pass(mean - reference, HIGH_PASS_SIZE).abs().mean() if low else distance.mean()
        if not self.settings.learn_theta:
            return told
        return scale_terms(distance, _in_unit(log_theta_gray), self.prior).mean() + told

    def perceptual(self, mean: Tensor, log_sigma: Tensor | None, reference: Tensor) -> Tensor:
        """Eq. 4 times the prior scale, on 0.5 f + 0.5 of conv5_4, or Eq. 3 without sigma."""
        assert self.vgg is not None
        with torch.no_grad():
            features = self.vgg(reference)
        distance: Tensor = 0.5 * (self.vgg(mean) - features).abs()
        if log_sigma is None:
            return distance.mean()
        return scaled_divergence(distance, _in_unit(log_sigma), self.prior).mean()


class DsnTrainer:
    """Networks, optimisers and one step of the DSN training.

    Args:
        hr: Store of kind hr.
        lr: Store of kind lr.
        settings: The section ``train_dsn``.
        machine: The section ``machine``.
        kernels: A kernel file or a folder of them, if the settings want kernels.

    Raises:
        UserError: Scales differ, an image is smaller than a crop, the patch does not fit, or a
            kernel is none.

    """

    def __init__(
        self,
        hr: Store,
        lr: Store,
        settings: TrainDsnSettings,
        machine: MachineSettings,
        kernels: Path | None = None,
    ) -> None:
        self.scale = require_same_scale(hr, lr)
        self.reference = open_reference(settings.reference, kernels, self.scale)
        self.settings = settings = with_prior(settings, lr)
        if settings.hr_patch % (16 * self.scale):
            raise UserError(
                f"train_dsn.hr_patch is {settings.hr_patch}, not a multiple of {16 * self.scale} "
                f"(16 times the scale {self.scale})"
            )
        self.accelerator = make_accelerator(settings)
        self.device = self.accelerator.device
        memory = allowed(machine, self.device, self.accelerator.num_processes)
        self.crops = UnpairedCrops(
            hr, lr, settings.hr_patch, settings.demand(self.accelerator, memory)
        )
        self.hr_schedule = self.crops.schedule
        self.first_share = settings.own_shares(self.accelerator)[0]
        self.shown = [part[: drawing.SHEET_ROWS] for part in self.crops.batch(0, self.first_share)]
        self._build()

    def _build(self) -> None:
        settings = self.settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.dsn = DSN(self.scale, settings.features, settings.blocks)
            self.discriminator = UNetDiscriminator(settings.discriminator_features)
        self.with_sigma = settings.learn_sigma and settings.perceptual_weight > 0
        self.dsn.log_sigma_head.requires_grad_(self.with_sigma)
        self.dsn.log_theta_head.requires_grad_(settings.learn_theta)
        self.learner = Learner(self.dsn, settings.learning_rate, settings, self.accelerator)
        self.opponent = Learner(
            self.discriminator, settings.discriminator_learning_rate, settings, self.accelerator
        )
        self.adversaries = Adversaries(
            self.learner, self.opponent, settings, settings.adversarial_weight, high_pass
        )
        vgg: nn.Module | None = None
        if settings.perceptual_weight:
            vgg = VGG19Features(settings.perceptual_weights)
            vgg = frozen(vgg, settings, self.accelerator)
        self.loss = DsnLoss(settings, vgg)

    def step(self, step: int) -> dict[str, Tensor]:
        """Train both networks on one batch; returns the unweighted terms and theta statistics."""
        decay = self.settings.decay(self.hr_schedule.epoch(step))
        return self.adversaries.step(decay, lambda share: self._learn(step, share))

    def draw_reference(self, step: int, hr: Tensor, share: int = 0) -> Tensor:
        """y_b of the HR crops of a share."""
        purpose = of_share("train_dsn/kernels", share)
        return self.reference.draw(hr, generator(self.settings.seed, purpose, step))

    def _learn(self, step: int, share: int) -> dict[str, Tensor]:
        """Add the gradients of a share to those of both networks; returns its terms."""
        settings = self.settings
        hr, real = self.crops.batch(step, share)
        reference = self.draw_reference(step, hr, share)
        mean, log_theta_gray, log_sigma = self.learner(hr, with_sigma=self.with_sigma)
        terms = {"kl": self.loss.content(mean, log_theta_gray, reference)}
        if settings.perceptual_weight:
            terms["kl_perceptual"] = self.loss.perceptual(mean, log_sigma, reference)
        total = settings.kl_weight * terms["kl"]
        total = total + settings.perceptual_weight * terms.get("kl_perceptual", 0)
        terms["theta_mean"] = self.theta(log_theta_gray.detach()).mean() * 255
        shown = self._shown(mean, log_theta_gray, step, share)
        return {**terms, **self.adversaries.learn(total, shown, real)}

    def _shown(self, mean: Tensor, log_theta_gray: Tensor, step: int, share: int = 0) -> Tensor:
        """What the discriminator sees of the LR images that were made."""
        if self.settings.adversarial_on == "mean" or not self.settings.adversarial_weight:
            return mean
        purpose = of_share("train_dsn/noise", share)
        source = generator(self.settings.seed, purpose, step, self.device)
        return sample(mean, self.theta(log_theta_gray), source)

    def degrade(self, hr: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and theta of HR images (N, 3, H, W), in the unit of the image."""
        mean, log_theta_gray, _ = self.dsn.forward(hr.to(self.device))
        return mean, self.theta(log_theta_gray)

    def ends_epoch(self, step: int, every: int) -> bool:
        """Whether a step is the last, or the last of every so many epochs."""
        epoch, following = self.hr_schedule.epoch(step), self.hr_schedule.epoch(step + 1)
        last = step + 1 == self.hr_schedule.steps(self.settings.epochs)
        return last or (following > epoch and following % every == 0)

    def weights(self) -> dict[str, Tensor]:
        """The DSN's own, without any wrapper."""
        return dict(self.dsn.state_dict())

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go back to weights that ``weights`` gave."""
        self.dsn.load_state_dict(weights)

    @torch.no_grad()
    def contact_sheet(self, path: Path) -> None:
        """Draw HR, reference, mean, theta, two samples and real LR, the same at every call."""
        hr, real = self.shown
        mean, log_theta_gray, _ = self.dsn.forward(hr)
        theta = self.theta(log_theta_gray)
        source = generator(self.settings.seed, "train_dsn/sheet", 0, self.device)
        samples = [sample(mean, theta, source) for _ in range(2)]
        columns = (hr, self.draw_reference(0, hr), mean, None, *samples, real)
        figure, axes = drawing.sheet(len(hr), len(columns))
        for row, drawn in enumerate(axes):
            for axis, images in zip(drawn, columns, strict=True):
                if images is None:
                    drawing.show_theta(axis, theta[row].cpu().numpy())
                else:
                    drawing.show(axis, images[row])
        drawing.label_columns(
            axes, ("HR", "reference", "mean", "theta", "sample", "sample", "real LR")
        )
        drawing.save(figure, path)

    def theta(self, log_theta_gray: Tensor) -> Tensor:
        """Theta in the unit of the image: the learned one, or the constant prior scale."""
        if self.settings.learn_theta:
            return theta_from_log(log_theta_gray)
        return torch.full_like(log_theta_gray, known_prior_gray(self.settings) * GRAY_LEVEL)

    @torch.no_grad()
    def statistics(self, batches: int) -> dict[str, float]:
        """Theta and high-frequency spread of the trained DSN, in gray levels, over some batches.

        The spreads are standard deviations of the high-pass filtered images: of the mean, of
        samples, and of the real LR images.  Samples far below the real ones carry too little noise.
        """
        thetas, spread = [], {"mean": [], "sample": [], "real": []}  # type: ignore[var-annotated]
        for step in range(batches):
            hr, real = self.crops.batch(step, self.first_share)
            mean, log_theta_gray, _ = self.dsn.forward(hr)
            theta = self.theta(log_theta_gray)
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


def with_prior(settings: TrainDsnSettings, lr: Store) -> TrainDsnSettings:
    """The settings with a number for the prior scale, estimated from real LR images if asked.

    Raises:
        UserError: It cannot be estimated; says why.

    """
    if settings.prior_scale_gray != "estimated":
        return settings
    try:
        blocks = read_blocks(lr, BLOCKS)
        level = estimate_noise(blocks).deviation(blocks)
    except ValueError as error:
        raise UserError(
            f"{lr.path}: the noise cannot be estimated: {error}; "
            "give train_dsn.prior_scale_gray a number"
        ) from error
    return settings.model_copy(update={"prior_scale_gray": level / math.sqrt(2)})


def known_prior_gray(settings: TrainDsnSettings) -> float:
    """The prior scale in gray levels, which must be a number."""
    if isinstance(settings.prior_scale_gray, str):
        raise TypeError("the prior scale is still to be estimated")
    return settings.prior_scale_gray


def train_dsn(
    hr: Store, lr: Store, settings: TrainDsnSettings, machine: MachineSettings, work: Path,
    weights: Path, sheet: Path, curves: Path, kernels: Path | None = None,
    start: Path | None = None,
) -> dict[str, object]:  # fmt: skip
    """Train a DSN, or go on with an interrupted training of the same settings and stores.

    Args:
        hr: Store of kind hr.
        lr: Store of kind lr, the real LR images.
        settings: The section ``train_dsn``.
        machine: The section ``machine``.
        work: Folder for checkpoints; each run has a folder of its own in it.
        weights: Where the trained DSN goes.
        sheet: Where the last contact sheet goes.
        curves: Where the curves go, as CSV.
        kernels: A kernel file or a folder of them, if the settings want kernels.
        start: Checkpoint of another run of the same networks to go on from.

    Returns:
        Metrics: the last row of the curves, the statistics of ``DsnTrainer.statistics``, which
        epoch's weights were written (from 0) and its ``Judgement``, and a warning in words, if any.
        Of several processes the main one alone writes, and the others return nothing: ``{}``.

    Raises:
        UserError: See ``DsnTrainer`` and ``TrainingRun``.

    """
    trainer = DsnTrainer(hr, lr, settings, machine, kernels)
    for path in (weights, sheet, curves):
        make_folder(path.parent)
    settings = trainer.settings
    reference = trainer.reference
    vgg = weights_hash(settings.perceptual_weights) if settings.perceptual_weight else None
    key = fingerprint(
        settings.model_dump(), hr.digest, lr.digest, reference.description, vgg,
        trainer.accelerator.num_processes, None if start is None else file_hash(start),
    )  # fmt: skip
    finished, main = (
        Finished(work, key, [weights, sheet, curves], __name__),
        trainer.accelerator.is_main_process,
    )
    if (metrics := finished.again("train_dsn", main)) is not None:
        return metrics
    best = BestEpoch()
    run = TrainingRun(
        "train_dsn",
        work / key,
        {
            "dsn": trainer.dsn,
            "discriminator": trainer.discriminator,
            "dsn_optimiser": trainer.learner.optimiser,
            "discriminator_optimiser": trainer.opponent.optimiser,
            "best_epoch": best,
        },
        trainer.hr_schedule.steps(settings.epochs),
        settings.log_every,
        machine.checkpoint_every,
        trainer.accelerator,
        trainer.crops,
        start,
    )
    judge = Judge(hr, lr, reference.expected, settings.seed)
    for step in run:
        terms = trainer.step(step)
        if best.latest is None or trainer.ends_epoch(step, settings.score_every):
            judgement = judge.judge(trainer.degrade)
            best.see(trainer.hr_schedule.epoch(step), judgement, trainer.weights())
        run.record(step, {**terms, **_logged(best)})
        if run.main and (step + 1) % machine.checkpoint_every == 0:
            trainer.contact_sheet(work / key / "contact_sheet.png")
    kept = best.judgement if settings.keep == "best" else best.latest  # the last step was judged
    if settings.keep == "best":
        trainer.load(best.weights)
    metadata = {
        "format": FORMAT,
        "scale": trainer.scale,
        "settings": settings.model_dump(),
        "reference": reference.description,
        "hr_digest": hr.digest,
        "lr_digest": lr.digest,
    }
    metrics = {}
    if run.main:
        trainer.contact_sheet(sheet)
        run.write_curves(curves)
        save_weights(weights, trainer.weights(), metadata)
        assert kept is not None
        metrics = {
            **run.curves[-1],
            "prior_scale_gray": known_prior_gray(settings),
            **trainer.statistics(8),
            "kept": settings.keep,
            "kept_epoch": best.epoch if settings.keep == "best" else settings.epochs - 1,
            **asdict(kept),
            "warning": "; ".join(kept.warnings()),
        }
        finished.keep(metrics)
    run.close()
    return metrics


def _logged(best: BestEpoch) -> dict[str, Tensor]:
    """The latest scores for the curves; -1 stands for one without an answer."""
    assert best.latest is not None
    scores = {
        "wasserstein": best.latest.wasserstein,
        "noise_level_difference": best.latest.noise_level_difference,
    }
    return {key: torch.tensor(-1.0 if value is None else value) for key, value in scores.items()}


def _in_unit(log_levels: Tensor) -> Tensor:
    """Logarithm of a scale in the unit of the image, from one in gray levels."""
    return log_levels + math.log(GRAY_LEVEL)

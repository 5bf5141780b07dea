"""Training of an SR network on sampled degradations (Sec. 3.2), or on pairs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from pipeline.base.errors import UserError, one_line
from pipeline.base.hashes import file_hash, fingerprint
from pipeline.crops.batches import Demand
from pipeline.crops.memory import MachineSettings, allowed
from pipeline.images import drawing
from pipeline.images.filters import bicubic_upsample
from pipeline.images.io import to_float
from pipeline.optimisation.rates import Moment
from pipeline.passport.passport import Passport, passport_of
from pipeline.passport.words import in_words
from pipeline.runs.best import BestWeights
from pipeline.runs.checkpoints import Stateful
from pipeline.runs.description import Places, Training
from pipeline.runs.loggers import require_logger
from pipeline.runs.progress import Progress
from pipeline.runs.run import run
from pipeline.sampling.calibration import Calibration
from pipeline.sampling.sampler import make_sampler
from pipeline.scores.scorer import ScoreSettings
from pipeline.srn.file import SRN_FORMAT, open_model
from pipeline.srn.network import build
from pipeline.stores.reader import Store
from pipeline.stores.weights import save_weights
from pipeline.train_srn.dists import dists_hashes
from pipeline.train_srn.losses import SrnLoss, require_crops
from pipeline.train_srn.noise_check import check_noise
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.streams import (
    GenericStream,
    Pair,
    SampleStream,
    Stream,
    bicubic_stream,
    pairs_stream,
)
from pipeline.train_srn.validation import (
    OpenedNetwork,
    Scores,
    Validation,
    digests,
    open_validation,
)
from pipeline.training.learner import (
    Adversaries,
    Average,
    Generated,
    Learner,
    frozen,
    make_accelerator,
    weighted_sum,
)
from pipeline.training.precision import Passes, Precision
from pipeline.training.vgg import VGG19Features, weights_hash


@dataclass(frozen=True)
class SrnMaterial:
    """Everything an SR network can be trained on; ``lr_from`` decides what is needed."""

    hr: Store | None = None
    """Store of kind hr."""
    maps: Store | None = None
    """Store of kind maps, exported from ``hr``."""
    calibration: Calibration | None = None
    """Calibration of these maps."""
    pairs: Store | None = None
    """Store of kind val."""
    camera: Passport | None = None
    """The camera's passport; None: that which the maps carry, if any."""
    measured: Calibration | None = None
    """What was measured of the noise of samples, for a warning; it changes no weights."""
    val: Store | None = None
    """Images to validate on, a store of kind val or lr."""
    scoring: ScoreSettings = field(default_factory=ScoreSettings)
    """How they are scored."""

    def used(self, settings: TrainSrnSettings) -> "SrnMaterial":
        """The part that the settings need; a change of the rest changes no result.

        Raises:
            UserError: A store that is needed was not given.

        """
        part = self._trained_on(settings)
        if settings.validate_every:
            part = replace(part, val=self.val, scoring=self.scoring)
        return part

    def _trained_on(self, settings: TrainSrnSettings) -> "SrnMaterial":
        match settings.lr_from:
            case "maps":
                stores = _given("hr", self.hr), _given("maps", self.maps)
                return SrnMaterial(
                    *stores,
                    self.calibration if settings.calibrated else None,
                    camera=(self.camera or passport_of(stores[1])) if settings.camera else None,
                    measured=self.measured,
                )
            case "bicubic" | "generic":
                return SrnMaterial(hr=_given("hr", self.hr))
            case "pairs":
                return SrnMaterial(pairs=_given("pairs", self.pairs))

    def digests(self) -> dict[str, str]:
        """Digests of the stores that are trained on, by name."""
        stores = {"hr": self.hr, "maps": self.maps, "pairs": self.pairs}
        return {name: store.digest for name, store in stores.items() if store}

    def described(self) -> dict[str, object]:
        """What the file of the network says of it: digests, number of images, the camera."""
        sources = {"calibration": self.calibration, "camera": self.camera}
        digests = {name: fingerprint(one.model_dump()) for name, one in sources.items() if one}
        store = self.hr or self.pairs
        return {
            "trained_on": self.digests() | digests,
            "images": len(store.ids) if store else 0,
            "camera": in_words(self.camera) if self.camera else None,
        }


def _given(name: str, store: Store | None) -> Store:
    if store is None:
        raise UserError(f"train_srn.lr_from needs the store --{name}, and none was named")
    return store


class SrnTrainer:
    """The networks of the SRN training, and one step of it; see ``Trainer``.

    Args:
        stream: What it is trained on.
        architecture: The network to train.
        settings: The section ``train_srn``.
        accelerator: Device and processes.
        described: What the file says of the data; see ``SrnMaterial.described``.
        validation: Scores the network during the training; None: nothing does.

    Raises:
        UserError: The network cannot be built, the warm start does not fit it, or a crop is smaller
            than a term of the loss needs.

    """

    def __init__(
        self,
        stream: Stream,
        architecture: Architecture,
        settings: TrainSrnSettings,
        accelerator: Accelerator,
        described: Mapping[str, object] | None = None,
        validation: Validation | None = None,
    ) -> None:
        self.settings, self.architecture = settings, architecture
        self.described, self.validation = dict(described or {}), validation
        self.accelerator, self.device = accelerator, accelerator.device
        self.data, self.schedule = stream, stream.schedule
        steps = settings.steps or self.schedule.steps(settings.epochs)
        self.steps = steps if architecture.train else 0
        require_crops(settings, stream.scale)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = build(
                architecture.network, stream.scale, architecture.options, settings.lr_patch
            )
            self.discriminator = settings.build_discriminator(stream.scale)
        if architecture.warm_start:
            load_start(self.network, Path(architecture.warm_start), stream.scale)
        self.learner = Learner(self.network, settings.learning_rate, settings, accelerator)
        self.discriminator_learner = Learner(
            self.discriminator, settings.discriminator_learning_rate, settings, accelerator
        )
        self.ema = Average(self.network, settings.ema_decay)
        self.adversaries = Adversaries(
            self.learner,
            self.discriminator_learner,
            settings,
            settings.adversarial_weight,
            settings.discriminator_input,
        )
        vgg: nn.Module | None = None
        if settings.perceptual_weight and architecture.train:
            vgg = frozen(VGG19Features(settings.perceptual_weights), settings, accelerator)
        self.loss = SrnLoss(settings, vgg)
        self.precision = Precision(
            settings.precision, self._passes(vgg), accelerator, settings.batch_size
        )
        first = settings.own_shares(accelerator)[0]
        self.pictured = Pair(*(part[: drawing.SHEET_ROWS] for part in stream.batch(0, first)))
        self.opened = OpenedNetwork(self.device)
        self.progress = self._progress()
        self.best: BestWeights[Scores] = BestWeights(self._value, dict, dict)
        self.parts: dict[str, Stateful] = {
            "network": self.network,
            "ema": self.ema,
            "discriminator": self.discriminator,
            "optimiser": self.learner.optimiser,
            "discriminator_optimiser": self.discriminator_learner.optimiser,
            "progress": self.progress,
            "best": self.best,
        }

    def _passes(self, vgg: nn.Module | None) -> list[Passes]:
        """How the networks run in a step."""
        settings, lr_side = self.settings, self.settings.lr_patch
        hr_side = lr_side * self.data.scale
        passes = [Passes(self.network, lr_side)]
        if settings.adversarial_weight:
            passes.append(
                Passes(self.discriminator, settings.discriminator_side(self.data.scale), 2)
            )
        if vgg is not None:
            passes += [Passes(vgg, hr_side), Passes(vgg, hr_side, backward=False)]
        return passes

    def _progress(self) -> Progress:
        """The crops that are pictured at several steps: of validation images, or of the stream."""
        lr, hr = list(self.pictured.lr), list(self.pictured.hr)
        if self.validation is not None:
            crops = self.validation.crops[: drawing.SHEET_ROWS]
            lr = [to_float(crop.lr) for crop in crops]
            hr = [to_float(crop.hr) for crop in crops if crop.hr is not None]
        return Progress(lr, hr, self.data.scale, self.steps)

    def _value(self, scores: Scores) -> float:
        return math.nan if self.validation is None else self.validation.value(scores)

    def step(self, step: int) -> dict[str, Tensor]:
        """Train both networks on one batch; returns the unweighted terms of Eq. 12."""
        factor = self.settings.rate_factor(Moment(step, self._epoch(step), self.steps))
        terms = self.adversaries.step(
            factor, lambda share: self._generate(self.data.batch(step, share))
        )
        with self.learner.averaged():
            self.ema.update(self.network)
        if self.accelerator.is_main_process and self.progress.due(step + 1):
            self._picture(step + 1)
        return terms

    @torch.no_grad()
    def _picture(self, made: int) -> None:
        """Add the SR images of the averaged weights to the pictures of the progress."""
        network = self.opened.with_weights(self.ema.module.state_dict())
        self.progress.add(made, network(self.progress.lr.to(self.device)))

    def _epoch(self, step: int) -> int:
        """Epoch, from 0, by which the rate is halved."""
        if self.settings.steps is None:
            return self.schedule.epoch(step)
        return step * self.settings.epochs // self.settings.steps

    def _generate(self, pair: Pair) -> Generated:
        """Run the network on a share."""
        sr = self.learner(pair.lr)
        terms = self.loss.terms(sr, pair.hr, lambda: self._averaged_sr(pair.lr))
        total = weighted_sum(terms, self.loss.weights)
        return Generated(terms, total, sr, pair.hr)

    @torch.no_grad()
    def _averaged_sr(self, lr: Tensor) -> Tensor:
        """SR images of the averaged weights."""
        sr: Tensor = self.ema.module(lr)
        return sr

    def score(self, step: int) -> dict[str, float | None]:
        """Scores of the averaged weights on validation images; None at steps that are not scored.

        The main process computes them, and the others wait for them.
        """
        validation, made = self.validation, step + 1
        if validation is None:
            return {}
        if made % self.settings.validate_every and made != self.steps:
            return dict.fromkeys(validation.columns)
        weights = self.ema.module.state_dict()
        values = torch.zeros(len(validation.columns), dtype=torch.float64)
        if self.accelerator.is_main_process:
            scored = validation.score(self.opened.with_weights(weights))
            values = torch.tensor(list(scored.values()), dtype=torch.float64)
        values = broadcast(values.to(self.device))
        scores = dict(zip(validation.columns, values.tolist(), strict=True))
        self.best.update(made, scores, weights if self.settings.keep == "best" else {})
        return {name: None if math.isnan(value) else value for name, value in scores.items()}

    @property
    def pictures(self) -> dict[str, Callable[[Path], None]]:
        """What draws each picture, by the name of its file."""
        return {"contact_sheet.png": self.contact_sheet, "progress.png": self.draw_progress}

    def draw_progress(self, path: Path) -> None:
        """Draw the same crops at several steps; those of a network that is not trained once."""
        if not self.steps and not self.progress.made:
            self._picture(0)
        self.progress.draw(path)

    @torch.no_grad()
    def contact_sheet(self, path: Path) -> None:
        """Draw the sampled LR enlarged by bicubic, the SR of the averaged weights, and the HR."""
        lr, hr = self.pictured
        columns = (bicubic_upsample(lr, self.data.scale), self.ema.module(lr), hr)
        figure, axes = drawing.sheet(len(lr), len(columns), side=2.2)
        for row, drawn in enumerate(axes):
            for axis, images in zip(drawn, columns, strict=True):
                drawing.show(axis, images[row])
        drawing.label_columns(axes, ("sampled LR, bicubic", "SR", "HR"))
        drawing.save(figure, path)

    def finish(self, weights: Path) -> dict[str, object]:
        """Write the averaged weights of the last or the best step, in the keys of the architecture.

        Returns:
            Metrics: what the validation says of these weights, if there is one.

        """
        metadata = {
            "format": SRN_FORMAT,
            "scale": self.data.scale,
            "architecture": self.architecture.model_dump(),
            "settings": self.settings.model_dump() | self.precision.described,
            "steps": self.steps,
            **self.described,
        }
        best = self.settings.keep == "best" and self.best.at is not None
        if best:
            self.ema.module.load_state_dict(self.best.weights)
            metadata["chosen"] = {"step": self.best.at, "by": self.settings.best_by}
        save_weights(weights, self.ema.module.state_dict(), metadata)
        if self.validation is None:
            return {}
        network = self.opened.with_weights(self.ema.module.state_dict())
        scores = self.best.scores if best else self.best.latest
        scores = self.validation.score(network) if scores is None else scores
        kept = self.best.at if best else self.steps
        return {"validation": self.validation.metrics(kept or 0, scores, network)}


def train_srn(
    material: SrnMaterial,
    name: str,
    architecture: Architecture,
    settings: TrainSrnSettings,
    machine: MachineSettings,
    places: Places,
) -> dict[str, object] | None:
    """Train an SR network, or go on with an interrupted training of the same settings and stores.

    Writes ``srn.safetensors`` (the averaged weights, in the keys of the architecture),
    ``contact_sheet.png``, ``progress.png`` and ``curves.csv``.

    Args:
        material: What it is trained on.
        name: Name of the architecture in the settings.
        architecture: The network; if it is not trained, its warm start is written unchanged.
        settings: The section ``train_srn``.
        machine: The section ``machine``.
        places: Where it reads and writes.

    Returns:
        Metrics: the last row of the curves; without a training ``{"step": 0}``; and what
        ``noise_check`` and the validation say.  Of several processes the main one alone writes; the
        others return None.

    Raises:
        UserError: See ``open_stream``, ``open_validation``, ``SrnTrainer`` and ``training.run``; or
            the logger is not installed.

    """
    require_logger(machine.logger)
    material = material.used(settings)
    accelerator = make_accelerator()
    memory = allowed(machine, accelerator.device, accelerator.num_processes)
    validation = open_validation(material.val, settings, material.scoring)
    stream = open_stream(material, settings, settings.demand(accelerator, memory))
    noise: dict[str, float | None] = {}
    if material.maps is not None and accelerator.is_main_process:
        noise = check_noise(material.measured, settings, material.maps)
    trainer = SrnTrainer(
        stream, architecture, settings, accelerator, material.described(), validation
    )
    key = _key(material, architecture, settings, accelerator.num_processes, places.start)
    training = Training(
        name=f"train_srn@{name}",
        folder=places.work / key,
        steps=trainer.steps,
        log_every=settings.log_every,
        checkpoint_every=machine.checkpoint_every,
        start=places.start,
        log=places.log(machine.logger, f"train_srn@{name}", key),
    )
    result = run(trainer, training, places.results("srn.safetensors"), __name__)
    return None if result is None else {**result, **noise}


def _key(
    material: SrnMaterial,
    architecture: Architecture,
    settings: TrainSrnSettings,
    processes: int,
    start: Path | None,
) -> str:
    """Fingerprint of all that the results depend on."""
    files = [Path(architecture.warm_start) if architecture.warm_start else None, start]
    hashes = [None if path is None else file_hash(path) for path in files]
    source = material.calibration or material.camera
    measured = source and source.model_dump()
    vgg = weights_hash(settings.perceptual_weights) if settings.perceptual_weight else None
    dists = [dists_hashes(settings.dists_weights, settings.dists_vgg16)]
    validated = [] if material.val is None else digests(material.val, material.scoring)
    return fingerprint(
        settings.model_dump(), architecture.model_dump(), hashes, vgg, material.digests(), measured,
        processes, *validated, *(dists if settings.dists_weight else []),
    )  # fmt: skip


def open_stream(material: SrnMaterial, settings: TrainSrnSettings, demand: Demand) -> Stream:
    """The stream that the settings describe.

    Args:
        material: Result of ``SrnMaterial.used``.
        settings: The section ``train_srn``.
        demand: How many crops, and where they go.

    Raises:
        UserError: See ``streams`` and ``make_sampler``.

    """
    patch = settings.lr_patch
    if settings.lr_from == "bicubic":
        return bicubic_stream(_given("hr", material.hr), patch, demand)
    if settings.lr_from == "generic":
        return GenericStream(_given("hr", material.hr), patch, demand)
    if settings.lr_from == "pairs":
        return pairs_stream(_given("pairs", material.pairs), patch, demand)
    hr, maps = _given("hr", material.hr), _given("maps", material.maps)
    sampler = make_sampler(
        settings.draw, material.calibration, maps, demand.device, material.camera
    )
    return SampleStream(hr, maps, patch, sampler, demand)


def load_start(network: nn.Module, path: Path, scale: int) -> None:
    """Load the weights of an SR model file, in any key style spandrel reads.

    Raises:
        UserError: The file cannot be opened, or does not fit the network or the scale.

    """
    model = open_model(path)
    if model.scale != scale:
        raise UserError(f"{path} has the scale {model.scale}, but the training has {scale}")
    try:
        network.load_state_dict(model.model.state_dict())
    except RuntimeError as error:
        raise UserError(f"{path}: does not fit the architecture: {one_line(error)}") from error

"""Training of an SR network on sampled degradations (Sec. 3.2), or on pairs."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from pipeline.base.errors import UserError
from pipeline.base.files import make_folder
from pipeline.base.hashes import file_hash, fingerprint
from pipeline.base.units import GRAY_LEVEL
from pipeline.crops.memory import MachineSettings, Memory, allowed
from pipeline.images import drawing
from pipeline.images.filters import bicubic_upsample, low_pass
from pipeline.sampling.calibration import Calibration, require_calibration
from pipeline.srn import network as srn
from pipeline.stores.kept import Finished
from pipeline.stores.reader import Store
from pipeline.stores.weights import save_weights
from pipeline.train_srn.settings import Architecture, TrainSrnSettings
from pipeline.train_srn.streams import (
    Pair,
    PairStream,
    Stream,
    bicubic_stream,
    pairs_stream,
)
from pipeline.training.learner import (
    Adversaries,
    Average,
    Learner,
    frozen,
    make_accelerator,
)
from pipeline.training.loop import TrainingRun
from pipeline.training.vgg import VGG19Features, weights_hash

LOW_PASS_SIZE = 9
"""Taps of the Gaussian of the low-passed content term."""


@dataclass(frozen=True)
class Material:
    """What an SR network may be trained on; ``lr_from`` says what is needed."""

    hr: Store | None = None
    """Store of kind hr."""
    maps: Store | None = None
    """Store of kind maps, exported from ``hr``."""
    calibration: Calibration | None = None
    """Of these maps."""
    pairs: Store | None = None
    """Store of kind val."""

    def used(self, settings: TrainSrnSettings) -> "Material":
        """Only what the settings need: changing the rest changes nothing.

        Raises:
            UserError: Some of it is not there.

        """
        match settings.lr_from:
            case "maps":
                stores = _given("hr", self.hr), _given("maps", self.maps)
                return Material(*stores, self.calibration if settings.calibrated else None)
            case "bicubic":
                return Material(hr=_given("hr", self.hr))
            case "pairs":
                return Material(pairs=_given("pairs", self.pairs))

    def digests(self) -> dict[str, str]:
        """Digests of the stores, by name."""
        stores = {"hr": self.hr, "maps": self.maps, "pairs": self.pairs}
        return {name: store.digest for name, store in stores.items() if store}


def _given(name: str, store: Store | None) -> Store:
    if store is None:
        raise UserError(f"train_srn.lr_from needs the store --{name}, and none was named")
    return store


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
        self.trained = architecture.train
        self.accelerator = accelerator
        self.device = self.accelerator.device
        self.stream = stream
        self.schedule = stream.schedule
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = srn.build(architecture.network, stream.scale, architecture.options)
            self.discriminator = settings.build_discriminator(stream.scale)
        if architecture.warm_start:
            _warm_start(self.network, Path(architecture.warm_start), stream.scale)
        self.learner = Learner(self.network, settings.learning_rate, settings, accelerator)
        self.opponent = Learner(
            self.discriminator, settings.discriminator_learning_rate, settings, accelerator
        )
        self.ema = Average(self.network, settings.ema_decay)
        self.adversaries = Adversaries(
            self.learner, self.opponent, settings, settings.adversarial_weight, settings.judged
        )
        self.vgg = None
        if settings.perceptual_weight and self.trained:
            vgg = VGG19Features(settings.perceptual_weights)
            self.vgg = frozen(vgg, settings, accelerator)
        first = settings.own_shares(accelerator)[0]
        self.shown = Pair(*(part[: drawing.SHEET_ROWS] for part in stream.batch(0, first)))

    def run(
        self, name: str, folder: Path, checkpoint_every: int, start: Path | None = None
    ) -> TrainingRun:
        """The whole training, or what is left of it; see ``TrainingRun``."""
        parts = {
            "network": self.network,
            "ema": self.ema,
            "discriminator": self.discriminator,
            "optimiser": self.learner.optimiser,
            "discriminator_optimiser": self.opponent.optimiser,
        }
        return TrainingRun(
            name,
            folder,
            parts,
            self.schedule.steps(self.settings.epochs) if self.trained else 0,
            self.settings.log_every,
            checkpoint_every,
            self.accelerator,
            self.stream,
            start,
        )

    def step(self, step: int) -> dict[str, Tensor]:
        """Train both networks on one batch; returns the unweighted terms of Eq. 12."""
        decay = self.settings.decay(self.schedule.epoch(step))
        terms = self.adversaries.step(
            decay, lambda share: self._learn(self.stream.batch(step, share))
        )
        self.ema.update(self.network)
        return terms

    def _learn(self, pair: Pair) -> dict[str, Tensor]:
        """Add the gradients of a share to those of both networks; returns its terms."""
        settings = self.settings
        sr = self.learner(pair.lr)
        terms = {"content": F.l1_loss(sr, pair.hr)}
        if settings.low_pass_weight:
            terms["low_pass"] = low_pass(sr - pair.hr, LOW_PASS_SIZE).abs().mean()
        if self.vgg is not None:
            with torch.no_grad():
                features = self.vgg(pair.hr)
            terms["perceptual"] = F.l1_loss(self.vgg(sr), features)
        total = settings.content_weight * terms["content"]
        total = total + settings.low_pass_weight * terms.get("low_pass", 0)
        total = total + settings.perceptual_weight * terms.get("perceptual", 0)
        return {**terms, **self.adversaries.learn(total, sr, pair.hr)}

    @torch.no_grad()
    def contact_sheet(self, path: Path) -> None:
        """Draw the sampled LR enlarged by bicubic, the SR of the averaged weights, and the HR."""
        lr, hr = self.shown
        columns = (bicubic_upsample(lr, self.stream.scale), self.ema.module(lr), hr)
        figure, axes = drawing.sheet(len(lr), len(columns), side=2.2)
        for row, drawn in enumerate(axes):
            for axis, images in zip(drawn, columns, strict=True):
                drawing.show(axis, images[row])
        drawing.label_columns(axes, ("sampled LR, bicubic", "SR", "HR"))
        drawing.save(figure, path)


def train_srn(
    material: Material,
    name: str,
    architecture: Architecture,
    settings: TrainSrnSettings,
    machine: MachineSettings,
    work: Path,
    folder: Path,
    start: Path | None = None,
) -> dict[str, float]:
    """Train an SR network, or go on with an interrupted training of the same settings and stores.

    Writes ``srn.safetensors`` (the averaged weights, in the keys of the architecture),
    ``contact_sheet.png`` and ``curves.csv``.

    Args:
        material: What it is trained on.
        name: What the architecture is called in the settings.
        architecture: The network; one that is not trained is written as its warm start is.
        settings: The section ``train_srn``.
        machine: The section ``machine``.
        work: Folder for checkpoints; each run has a folder of its own in it.
        folder: Where the results go.
        start: Checkpoint of another run of the same networks to go on from.

    Returns:
        Metrics: the last row of the curves; without a training ``{"step": 0}``.  Of several
        processes the main one alone writes, and the others return nothing: ``{}``.

    Raises:
        UserError: See ``open_stream``, ``SrnTrainer`` and ``TrainingRun``.

    """
    material = material.used(settings)
    accelerator = make_accelerator(settings)
    memory = allowed(machine, accelerator.device, accelerator.num_processes)
    stream = open_stream(material, settings, accelerator, memory)
    trainer = SrnTrainer(stream, architecture, settings, accelerator)
    make_folder(folder)
    files = [Path(architecture.warm_start) if architecture.warm_start else None, start]
    hashes = [None if path is None else file_hash(path) for path in files]
    measured = material.calibration and material.calibration.model_dump()
    vgg = weights_hash(settings.perceptual_weights) if settings.perceptual_weight else None
    key = fingerprint(
        settings.model_dump(), architecture.model_dump(), hashes, vgg, material.digests(), measured,
        accelerator.num_processes,
    )  # fmt: skip
    results = [folder / file for file in ("srn.safetensors", "contact_sheet.png", "curves.csv")]
    finished, stage = Finished(work, key, results, __name__), f"train_srn@{name}"
    if (metrics := finished.again(stage, accelerator.is_main_process)) is not None:
        return metrics
    run = trainer.run(stage, work / key, machine.checkpoint_every, start)
    for step in run:
        run.record(step, trainer.step(step))
        if run.main and (step + 1) % machine.checkpoint_every == 0:
            trainer.contact_sheet(work / key / "contact_sheet.png")
    metadata = {
        "format": srn.FORMAT,
        "scale": stream.scale,
        "architecture": architecture.model_dump(),
        "settings": settings.model_dump(),
        "trained_on": material.digests(),
    }
    metrics = {}
    if run.main:  # what is kept lets the checkpoint go
        weights, sheet, curves = results
        trainer.contact_sheet(sheet)
        run.write_curves(curves)
        save_weights(weights, trainer.ema.module.state_dict(), metadata)
        metrics = run.curves[-1] if run.curves else {"step": 0}
        finished.keep(metrics)
    run.close()
    return metrics


def open_stream(
    material: Material, settings: TrainSrnSettings, accelerator: Accelerator, memory: Memory
) -> Stream:
    """The stream that the settings describe.

    Args:
        material: What ``Material.used`` says is needed.
        settings: The section ``train_srn``.
        accelerator: Where batches go, and which process this is.
        memory: Bytes that images may take.

    Raises:
        UserError: See ``streams``.

    """
    patch, demand = settings.lr_patch, settings.demand(accelerator, memory)
    if settings.lr_from == "bicubic":
        return bicubic_stream(_given("hr", material.hr), patch, demand)
    if settings.lr_from == "pairs":
        return pairs_stream(_given("pairs", material.pairs), patch, demand)
    hr, maps = _given("hr", material.hr), _given("maps", material.maps)
    constant, calibration = settings.constant_theta_gray, material.calibration
    if settings.theta == "constant" and constant is None:
        if calibration is None:
            raise UserError(
                "train_srn.constant_theta_gray is null, and there is no calibration to ask"
            )
        require_calibration(calibration, maps)
        constant = calibration.constant_theta_gray
    constant = (constant or 0) * GRAY_LEVEL
    return PairStream(hr, maps, patch, settings.theta, demand, constant, calibration)


def _warm_start(network: nn.Module, path: Path, scale: int) -> None:
    """Load the weights of an SR model file, in any key style spandrel reads."""
    model = srn.open_model(path)
    if model.scale != scale:
        raise UserError(f"{path} has the scale {model.scale}, but the training has {scale}")
    try:
        network.load_state_dict(model.model.state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: does not fit the architecture: {reason}") from error

"""The settings of the SRN training, and those of a network to train."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from pipeline.base.settings import Count, Positive, Settings, Weight
from pipeline.base.units import GRAY_LEVEL
from pipeline.images.filters import Borders, gradient_map, gradient_map_l1
from pipeline.optimisation.settings import StepSettings
from pipeline.sampling.sampler import Draw, Theta
from pipeline.training.discriminators import UNetDiscriminator, VGGDiscriminator

SUFFICIENT = ("content", "low_pass", "charbonnier", "ms_ssim", "fft", "dists", "perceptual")
"""Terms of the loss that a network can be trained on alone: they see where things are."""

ScoreName = Literal["psnr", "ssim", "haarpsi", "lpips", "niqe"]
HIGHER_IS_BETTER = ("psnr", "ssim", "haarpsi")


class Architecture(Settings):
    """One entry of the section ``architectures``."""

    network: str
    """Name of the architecture, of spandrel or of an installed package."""
    options: dict[str, object] = Field(default_factory=dict)
    """Keyword arguments of its constructor; the scale is added."""
    warm_start: str | None = None
    """File of an SR model of this architecture to start from, or null."""
    train: bool = True
    """Whether it is trained; otherwise ``warm_start`` is evaluated as it is (P.T. ESRGAN)."""

    @model_validator(mode="after")
    def _some_weights(self) -> "Architecture":
        if not self.train and self.warm_start is None:
            raise ValueError("train is false, but there is no warm_start to evaluate")
        return self


class TrainSrnSettings(StepSettings):
    """The section ``train_srn``."""

    lr_from: Literal["maps", "bicubic", "generic", "pairs"] = "maps"
    """Source of the LR images: samples of the maps, bicubic downsampling of the HR images (the
    baseline), the HR images degraded at random without regard to the camera (see ``generic``), or
    the real LR images of pairs (supervised training, S.T. ESRGAN)."""
    theta: Theta = "camera"
    """Theta of the samples (Eq. 8): ``calibrated``, ``raw`` (the stored theta), ``camera`` (the
    stored theta, with the correlation, tails and JPEG of the camera's passport), ``constant``
    (Table 1, row 2), or ``none``, the mean alone."""
    constant_theta_gray: Positive | None = 1.0
    """Laplace scale in gray levels for ``theta: constant``; null: that of the calibration."""
    lr_patch: int = Field(16, ge=8)
    """Side of an LR crop in pixels."""
    batch_size: Count = 8
    """Crops in a share, the part of a batch that one process holds at a time."""
    crops_per_image: Count = 64
    """Crops of every image in one epoch."""
    epochs: Count = 54
    """Epochs of the training."""
    steps: Count | None = None
    """Steps of the training, whatever the number of images; the epochs are equal parts of them.
    None: an epoch is ``crops_per_image`` crops of every image."""
    learning_rate: Positive = 0.002
    """The optimiser's rate at the start."""
    discriminator_learning_rate: Positive = 0.0001
    """The optimiser's rate at the start, for the discriminator."""
    halve_every: Count = 19
    """Epochs between two halvings of the rate."""
    ema_decay: float = Field(0.98, ge=0, lt=1)
    """Weight of the past in the moving average of the weights, per step; 0: no average."""
    discriminator: Literal["unet", "vgg"] = "unet"
    """A U-Net with spectral norm and one logit per pixel, or ESRGAN's with one logit per crop."""
    discriminator_features: Count = 4
    """Width of the discriminator at full size, in channels."""
    content_weight: Weight = 1.0
    """beta_1 of Eq. 12, a factor of the L1 distance."""
    low_pass_weight: Weight = 0.0
    """Factor of the L1 distance of 9x9 Gaussian low-passed images (released code); zero: not
    used."""
    spectrum_weight: Weight = 0.0
    """Factor of the L1 distance of the amplitudes of local spectra (see ``terms.block_spectra``),
    which keeps detail without a discriminator; zero: not used."""
    charbonnier_weight: Weight = 0.0
    """Factor of the Charbonnier distance, a smooth L1 (see ``terms.charbonnier``)."""
    ms_ssim_weight: Weight = 0.0
    """Factor of MS-SSIM mixed with L1 (see ``terms.ms_ssim``); crops of 31 HR pixels or more."""
    ldl_weight: Weight = 0.0
    """Factor of the L1 distance where the network makes artifacts, compared with its average (see
    ``terms.ldl``)."""
    fft_weight: Weight = 0.0
    """Factor of the L1 distance of whole crops' Fourier transforms (see ``terms.fft``)."""
    dists_weight: Weight = 0.0
    """Factor of DISTS (see ``dists.open_dists``)."""
    dists_weights: str | None = None
    """File of DISTS' weights; None: piq's, downloaded once."""
    dists_vgg16: str | None = None
    """File of torchvision's ``vgg16``, for DISTS; None: torchvision's, downloaded once."""
    perceptual_weight: Weight = 0.0
    """beta_2 of Eq. 12, a factor; zero switches the term and VGG19 off."""
    adversarial_weight: Weight = 0.001
    """beta_3 of Eq. 12, a factor; zero switches the term and the discriminator off."""
    adversarial_on: Literal["gradient", "pixels"] = "gradient"
    """Input of the discriminator: the gradient map (Eq. 9 to 11) or the image (Table 1, row 4)."""
    gradient_norm: Literal["l2", "l1"] = "l2"
    """Norm of the gradient map: L2 (Eq. 11) or L1 (released code)."""
    borders: Borders = "valid"
    """Borders of the low-pass and of the gradient map: ``valid``, the result is smaller than the
    crop; ``zeros`` (released code), it has the size of the crop (see ``filters.Borders``)."""
    perceptual_weights: str = "random"
    """VGG19: ``imagenet``, ``random``, or a file."""
    channels_last: bool = True
    """Channels innermost in memory, the layout that tensor cores prefer; faster on a CPU too."""
    log_every: Count = 50
    """Steps per row of the curves."""
    validate_every: int = Field(250, ge=0)
    """Steps between two scorings on validation images, under the first protocol of the section
    ``evaluate``; the last step is scored too.  0: none."""
    validation_images: Count = 16
    """Validation images that are scored, at most; which ones follows from hashes of their names."""
    validation_crop: int = Field(256, ge=48, le=1024)
    """Largest side of the central part of a validation image that is scored, in HR pixels."""
    validation_half: bool = False
    """Hold out half of the validation images, which are scored once, at the end."""
    keep: Literal["best", "last"] = "last"
    """Step whose averaged weights are written: the best of those that were scored, or the last."""
    best_by: ScoreName = "psnr"
    """The score that is best for ``keep: best``.  PSNR needs no files, and prefers smooth images;
    ``lpips``, where ``evaluate.lpips_weights`` names weights, is nearer to the eye."""

    @model_validator(mode="after")
    def _some_loss(self) -> "TrainSrnSettings":
        if not any(self.weight_of(name) for name in SUFFICIENT):
            *names, last = (f"{name}_weight" for name in SUFFICIENT)
            raise ValueError(f"{', '.join(names)} and {last} are all zero")
        return self

    @model_validator(mode="after")
    def _one_average(self) -> "TrainSrnSettings":
        if self.optimiser == "schedulefree" and self.ema_decay:
            raise ValueError(
                "the optimiser schedulefree averages the weights itself, which needs ema_decay: 0"
            )
        if self.ldl_weight and not self.ema_decay and self.optimiser != "schedulefree":
            raise ValueError("ldl_weight needs averaged weights, but ema_decay is 0")
        return self

    @model_validator(mode="after")
    def _the_best_of_something(self) -> "TrainSrnSettings":
        if self.keep == "best" and not self.validate_every:
            raise ValueError("keep is best, which needs scores: validate_every is 0")
        return self

    def weight_of(self, term: str) -> float:
        """Weight of a term of the loss by its name in the curves."""
        weight: float = getattr(self, f"{term}_weight")
        return weight

    @property
    def draw(self) -> Draw:
        """How samples of the maps are drawn."""
        gray = self.constant_theta_gray
        constant = None if gray is None else gray * GRAY_LEVEL
        return Draw(self.theta, constant)

    @property
    def calibrated(self) -> bool:
        """Whether a calibration is needed to draw the samples."""
        return self.lr_from == "maps" and self.draw.calibrated

    @property
    def camera(self) -> bool:
        """Whether a camera's passport is needed to draw the samples."""
        return self.lr_from == "maps" and self.theta == "camera"

    @property
    def discriminator_input(self) -> Callable[[Tensor], Tensor]:
        """The function from an image to the input of the discriminator."""
        if self.adversarial_on == "pixels":
            return nn.Identity()
        of_norm = gradient_map if self.gradient_norm == "l2" else gradient_map_l1
        return partial(of_norm, borders=self.borders)

    def build_discriminator(self, scale: int) -> nn.Module:
        """The discriminator with fresh weights, for HR crops of ``lr_patch`` times the scale."""
        if self.discriminator == "unet":
            return UNetDiscriminator(self.discriminator_features)
        return VGGDiscriminator(self.discriminator_features, self.discriminator_side(scale))

    def discriminator_side(self, scale: int) -> int:
        """H and W of the images that the discriminator gets."""
        shorter = int(self.adversarial_on == "gradient" and self.borders == "valid")
        return self.lr_patch * scale - shorter

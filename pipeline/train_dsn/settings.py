"""The settings of the DSN training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.training.learner import StepSettings


class TrainDsnSettings(StepSettings):
    """The section ``train_dsn``."""

    features: int = Field(gt=0)
    """Width of the DSN trunk."""
    blocks: int = Field(gt=0)
    """Residual blocks."""
    discriminator_features: int = Field(gt=0)
    """Width of the U-Net discriminator at full size."""
    hr_patch: int = Field(gt=0)
    """Side of an HR crop in pixels, a multiple of 16 times the scale."""
    epochs: int = Field(gt=0)
    """Length of the training."""
    content: Literal["full_band", "low_pass"]
    """What the distance of Eq. 2 is taken of: the images, or (released code) their 5x5 Gaussian
    low-pass, while the terms with theta keep that of the images."""
    reference: Literal["bicubic", "kernels"]
    """y_b of Eq. 2 and 4: bicubic, or blur kernels from files, one drawn for every crop."""
    prior_scale: Annotated[float, Field(gt=0)] | Literal["estimated"]
    """b of Eq. 2 and 4 in gray levels, the Laplace scale of the reference; ``estimated``: that of
    the noise of the real LR images."""
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
    adversarial_on: Literal["mean", "sample"]
    """What the discriminator sees: the mean (Eq. 5, 6) or a reparameterised sample (Eq. 8), through
    which it teaches theta as well."""
    perceptual_weights: str
    """VGG19: ``imagenet``, ``random``, or a file."""
    score_every: int = Field(gt=0)
    """Epochs between two judgements of the DSN by scores without pairs."""
    keep: Literal["best", "last"]
    """Which epoch's weights are written: the best by those scores, or the last."""
    log_every: int = Field(gt=0)
    """Steps per row of the curves."""
    checkpoint_every: int = Field(gt=0)
    """Steps between checkpoints and contact sheets."""

    @model_validator(mode="after")
    def _some_loss(self) -> "TrainDsnSettings":
        if self.kl_weight == 0:
            raise ValueError("kl_weight must be positive: nothing else ties the mean to the image")
        return self

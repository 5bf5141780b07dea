"""The settings of the DSN training."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.base.settings import Count, Positive, Weight
from pipeline.images.filters import Borders
from pipeline.optimisation.settings import StepSettings


class TrainDsnSettings(StepSettings):
    """The section ``train_dsn``."""

    features: Count = 16
    """Width of the DSN trunk in channels."""
    blocks: Count = 4
    """Residual blocks."""
    discriminator_features: Count = 16
    """Width of the U-Net discriminator at full size, in channels."""
    hr_patch: Count = 128
    """Side of an HR crop in pixels, a multiple of 16 times the scale."""
    batch_size: Count = 4
    """Crops in a share, the part of a batch that one process holds at a time."""
    crops_per_image: Count = 8
    """Crops of every image in one epoch, of HR or of LR images, see ``epoch_over``."""
    epoch_over: Literal["hr", "lr"] = "hr"
    """Images that an epoch goes over: the HR images, or (released code) the real LR images, each
    crop of them beside one of an HR image drawn at random, with replacement."""
    turn_crops: bool = True
    """Turn and mirror crops at random; the released code leaves them as they are."""
    epochs: int = Field(0, ge=0)
    """Epochs of the training; 0: none, mean and theta are those of the camera's passport."""
    learning_rate: Positive = 0.001
    """The optimiser's rate at the start."""
    discriminator_learning_rate: Positive = 0.0005
    """The optimiser's rate at the start, for the discriminator."""
    halve_every: Count = 22
    """Epochs between two halvings of the rate."""
    content: Literal["full_band", "low_pass"] = "full_band"
    """Images whose distance enters Eq. 2: the images themselves, or (released code) their 5x5
    Gaussian low-pass.  The terms with theta use the distance of the images themselves."""
    reference: Literal["bicubic", "kernels", "camera"] = "camera"
    """y_b of Eq. 2 and 4: bicubic; blur kernels from files, one drawn for every crop; or what the
    camera's passport makes of the HR image.  With ``camera`` the DSN learns what is left: its mean
    is a residual on that image."""
    prior_scale_gray: Positive | Literal["estimated", "camera"] = "camera"
    """b of Eq. 2 and 4 in gray levels, the Laplace scale of the reference; ``estimated``: that of
    the noise of the real LR images; ``camera``: b(x), the scale of the passport's noise at every
    pixel of the reference (Eq. 4, of features, then has the paper's one gray level)."""
    learn_theta: bool = True
    """Learn theta (Eq. 2); otherwise the loss is L1 and theta is the prior scale everywhere."""
    learn_sigma: bool = True
    """Learn sigma, the scale of the features (Eq. 4); otherwise the loss is Eq. 3."""
    kl_weight: Weight = 1.0
    """alpha_1 of Eq. 7, a factor."""
    perceptual_weight: Weight = 0.01
    """alpha_2 of Eq. 7, a factor; zero switches the term and VGG19 off."""
    adversarial_weight: Weight = 0.01
    """alpha_3 of Eq. 7, a factor; zero switches the term and the discriminator off."""
    adversarial_on: Literal["mean", "sample"] = "sample"
    """Input of the discriminator: the mean (Eq. 5, 6), or a reparameterised sample (Eq. 8), whose
    gradient reaches theta as well."""
    discriminator_first: bool = False
    """Update the discriminator before the DSN learns against it (released code), which takes a
    third run of the discriminator, and memory for all shares of a step at a time; otherwise both
    learn against the other of the step before."""
    borders: Borders = "valid"
    """Borders of the high-pass that the discriminator sees: ``valid``, four pixels less than the
    crop a side; ``zeros`` (released code), the size of the crop (see ``filters.Borders``)."""
    perceptual_weights: str = "random"
    """VGG19: ``imagenet``, ``random``, or a file."""
    channels_last: bool = False
    """Channels innermost in memory, the layout that tensor cores prefer; slower on a CPU."""
    score_every: Count = 10
    """Epochs between two scorings of the DSN without pairs."""
    keep: Literal["best", "last"] = "last"
    """Epoch whose weights are written: the best by these scores, or the last."""
    log_every: Count = 25
    """Steps per row of the curves."""

    @property
    def reads_passport(self) -> bool:
        """Whether the camera's passport is needed."""
        return "camera" in (self.reference, self.prior_scale_gray)

    @model_validator(mode="after")
    def _straight_from_the_passport(self) -> "TrainDsnSettings":
        of_camera = self.reference == "camera" and self.prior_scale_gray == "camera"
        if self.epochs == 0 and not of_camera:
            raise ValueError(
                "epochs is 0, which needs a reference and a prior_scale_gray of camera: without a "
                "training, mean and theta are those of the camera's passport"
            )
        if not self.learn_theta and self.prior_scale_gray == "camera" and not of_camera:
            raise ValueError(
                "learn_theta is false and prior_scale_gray is camera, which needs a reference of "
                "camera too"
            )
        return self

    @model_validator(mode="after")
    def _some_loss(self) -> "TrainDsnSettings":
        if self.kl_weight == 0:
            raise ValueError("kl_weight must be positive: nothing else ties the mean to the image")
        return self

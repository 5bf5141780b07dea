"""The settings of a training step, which the sections of both trainings have."""

from typing import Annotated, Literal

from accelerate import Accelerator
from pydantic import BeforeValidator, Field, model_validator

from pipeline.base.settings import Count, Positive, Settings
from pipeline.crops.batches import Demand
from pipeline.crops.memory import Memory
from pipeline.optimisation.rates import Moment, cosine_factor, halving_factor, warm_up_factor

Decay = Annotated[float, Field(ge=0, lt=1)]
AdamBetas = Annotated[
    tuple[Decay, Decay], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
]
"""Adam's two decay rates; a list in the params file."""


class StepSettings(Settings):
    """The settings of a step, which the sections of both trainings have.

    A field without a default here has one in each of the two sections.
    """

    seed: int = Field(0, ge=0)
    """Seed of weights, crops and samples."""
    crops_per_image: Count
    """Crops of every image in one epoch."""
    window: Count = 256
    """Images that are shuffled together; at most twice as many are in memory."""
    batch_size: Count
    """Crops in a share, the part of a batch that one process holds at a time."""
    accumulate: Count = 1
    """Shares that a process takes in a step, one after the other."""
    optimiser: Literal["adam", "adamw", "schedulefree"] = "adam"
    """Of both networks, see ``make_optimiser``.  ``schedulefree`` averages the weights itself, and
    that average is what is scored, drawn and written."""
    weight_decay: float = Field(0.0, ge=0)
    """Share of a weight, times the rate, that it loses in a step; not of ``adam``."""
    learning_rate: Positive
    """The optimiser's rate at the start."""
    discriminator_learning_rate: Positive
    """The optimiser's rate at the start, for the discriminator."""
    schedule: Literal["halve", "cosine", "constant"] = "halve"
    """How both rates fall: halved every ``halve_every`` epochs, along half a cosine from the end of
    the warm-up to the last step (see ``cosine_factor``), or not at all."""
    halve_every: Count
    """Epochs between two halvings of the rate."""
    warm_up: int = Field(0, ge=0)
    """Steps at the start in which both rates rise linearly (see ``warm_up_factor``)."""
    least_rate: float = Field(0.0, ge=0, lt=1)
    """Share of the rates that is left at the end of ``schedule: cosine``."""
    adam_betas: AdamBetas = (0.9, 0.999)
    """Adam's decay of the mean and of the square of the gradient, for both networks."""
    clip_gradient: float = Field(0.0, ge=0)
    """Largest L2 norm of a network's gradient; a larger one is scaled down to it; 0: no limit."""
    precision: Literal["no", "bf16", "auto"] = "no"
    """``bf16``: networks and VGG19 run in mixed precision, losses and weights stay float32;
    ``auto``: if that is faster on this device, which is measured at the start."""
    channels_last: bool
    """Channels innermost in memory, the layout that tensor cores prefer."""
    compile: bool = False
    """``torch.compile`` both networks: minutes at the start, faster steps."""
    fused: bool = True
    """Adam and AdamW as one kernel."""

    def own_shares(self, accelerator: Accelerator) -> range:
        """Which shares of a step's batch this process takes."""
        first = accelerator.process_index * self.accumulate
        return range(first, first + self.accumulate)

    def demand(self, accelerator: Accelerator, memory: Memory) -> Demand:
        """The crops that the training needs."""
        return Demand(
            self.batch_size,
            self.crops_per_image,
            self.window,
            self.seed,
            accelerator.device,
            memory,
            self.accumulate * accelerator.num_processes,
            self.own_shares(accelerator),
        )

    def rate_factor(self, at: Moment) -> float:
        """The factor of both learning rates at a moment of the training."""
        factor = warm_up_factor(at.step, self.warm_up)
        if self.schedule == "halve":
            factor *= halving_factor(at.epoch, self.halve_every)
        if self.schedule == "cosine":
            after = at.step - self.warm_up, at.steps - self.warm_up
            factor *= cosine_factor(*after, self.least_rate)
        return factor

    @model_validator(mode="after")
    def _optimiser_fits(self) -> "StepSettings":
        if self.optimiser == "adam" and self.weight_decay:
            raise ValueError("weight_decay needs the optimiser adamw or schedulefree")
        if self.optimiser == "schedulefree" and self.schedule != "constant":
            raise ValueError(
                "the optimiser schedulefree needs schedule: constant, as its average of the "
                "weights takes the place of a falling rate"
            )
        if self.optimiser == "schedulefree" and not self.adam_betas[0]:
            raise ValueError("the optimiser schedulefree needs a first one of adam_betas above 0")
        return self

"""How the networks of both trainings learn: the optimiser, speed, and several processes.

The generator and the discriminator of a training are one ``Learner`` each; ``Adversaries`` trains
both.  A step's batch is made of shares.  Every process takes ``accumulate`` of them, one after the
other, and the gradient is the mean over all shares.  So two processes make the same step as one
process with ``accumulate`` doubled.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pipeline.base.errors import UserError, one_line
from pipeline.optimisation.optimisers import averaged, finish, make_optimiser, set_learning_rate
from pipeline.optimisation.settings import StepSettings
from pipeline.training.adversarial import discriminate, discriminator_loss
from pipeline.training.precision import run_in_bf16

T = TypeVar("T")


class _BuffersStay(DistributedDataParallelKwargs):  # type: ignore[misc]
    """No broadcast of buffers between two forward passes of one step.

    Buffers follow from equal weights (spectral norm), or training does not read them (batch norm).
    The keyword has another name in torch than in accelerate.
    """

    def to_kwargs(self) -> dict[str, Any]:
        return {"forward_sync_buffers": False, "gradient_as_bucket_view": True}


def make_accelerator() -> Accelerator:
    """Device and processes, as ``accelerate launch`` or ``torchrun`` started them.

    The precision is not accelerate's, which is one for a whole process: ``run_in_bf16`` sets it.
    """
    cpu = not torch.accelerator.is_available()  # else processes on CPUs would form no group
    accelerator = Accelerator(mixed_precision="no", cpu=cpu)
    accelerator.ddp_handler = _BuffersStay()
    return accelerator


def leave() -> None:
    """Leave the group of processes, if there is one, at the end of a command."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class Learner:
    """A network with its optimiser; calling it runs the network as the settings ask.

    Args:
        network: Every parameter that requires a gradient must get one in every step.
        rate: The optimiser's rate at the start.
        settings: Settings of the step.
        accelerator: From ``make_accelerator``.

    Attributes:
        network: The bare network, whose state has the keys of its architecture.  Its ``forward``
            is never compiled, so images of any size may go through it.

    """

    def __init__(
        self, network: nn.Module, rate: float, settings: StepSettings, accelerator: Accelerator
    ) -> None:
        self.settings, self.accelerator, self.rate = settings, accelerator, rate
        self.network = _fast(network, settings, accelerator.device)
        optimiser = make_optimiser(network, rate, settings)
        self._prepared, self.optimiser = accelerator.prepare(network, optimiser)

    def __call__(self, images: Tensor, **options: bool) -> Any:
        """Run the network on (N, C, H, W).

        Raises:
            UserError: The network cannot be compiled on this machine.

        """
        if self.settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if not self.settings.compile:
            return self._prepared(images, **options)
        from torch._dynamo.exc import BackendCompilerFailed  # imported by torch.compile anyway

        try:
            return self._prepared(images, **options)
        except BackendCompilerFailed as error:
            raise UserError(
                f"compile is true, but a network cannot be compiled here: {one_line(error, 200)}"
            ) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which gradients are not averaged over the processes."""
        with self.accelerator.no_sync(self._prepared):
            yield

    def start(self) -> None:
        """Set the gradients to zero."""
        self.optimiser.zero_grad()

    def update(self, decay: float) -> None:
        """Clip the gradient, then make an optimiser step at ``decay`` times the rate."""
        set_learning_rate(self.optimiser, self.rate * decay)
        if self.settings.clip_gradient:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_gradient)
        self.optimiser.step()

    def averaged(self) -> AbstractContextManager[None]:
        """A block in which the network has the weights to use, not those to train on."""
        return averaged(self.optimiser, self.network)

    def finish(self) -> None:
        """Give the network the weights to use for good: nothing is trained any more."""
        finish(self.optimiser)


def frozen(network: nn.Module, settings: StepSettings, accelerator: Accelerator) -> nn.Module:
    """A network that is not trained, on the device, run as the settings ask."""
    prepared: nn.Module = accelerator.prepare_model(
        _fast(network, settings, accelerator.device), evaluation_mode=True
    )
    return prepared


def _fast(network: nn.Module, settings: StepSettings, device: torch.device) -> nn.Module:
    if settings.precision == "bf16":
        run_in_bf16(network, device)
    if settings.channels_last:
        network.to(memory_format=torch.channels_last)
    if settings.compile:
        network.compile()  # in place: the state keeps its keys, and a copy is not compiled
        # Two gradients of a discriminator's logits are taken, so its buffers must be kept.
        torch._functorch.config.donated_buffer = False
    return network


class Generated(NamedTuple):
    """What a network made of a share of a step's batch."""

    terms: dict[str, Tensor]
    """Scalars to report."""
    total: Tensor
    """The weighted sum of the terms that need no discriminator, with its graph."""
    fake: Tensor
    """Generated images (N, C, H, W), with their graph."""
    real: Tensor
    """Real images (N, C, H, W)."""


class Adversaries:
    """A network that learns against a discriminator, or alone if the term has no weight.

    Both are updated at the end of a step, each against the other as it was before; the
    discriminator then sees the generated images once.  With ``discriminator_first`` it is updated
    before the network learns against it, and sees them twice; all shares of a step are in memory
    at a time.

    Args:
        learner: The network, which generates images.
        discriminator: The network that distinguishes them from real images.
        settings: Settings of the step.
        weight: Weight of the adversarial term.
        discriminator_input: The function from an image to the input of the discriminator.
        discriminator_first: Whether the discriminator is updated first.

    """

    def __init__(
        self,
        learner: Learner,
        discriminator: Learner,
        settings: StepSettings,
        weight: float,
        discriminator_input: Callable[[Tensor], Tensor],
        discriminator_first: bool = False,
    ) -> None:
        self.settings, self.weight, self.first = settings, weight, discriminator_first
        self._both = [learner, discriminator] if weight else [learner]
        self._learner, self._discriminator = learner, discriminator
        self._input = discriminator_input

    def step(self, decay: float, generate: Callable[[int], Generated]) -> dict[str, Tensor]:
        """Train both networks for one step, on the shares of this process.

        Their gradients are averaged over the processes once, with the last share.

        Args:
            decay: Factor of both rates.
            generate: Gets the number of a share among those of all processes, and runs the network
                on it.

        Returns:
            The mean of each term, on the device: those of ``generate``, and ``total``, with the
            adversarial term if there is one, ``adversarial``, unweighted, and ``discriminator``.

        """
        for learner in self._both:
            learner.start()
        if self.weight and self.first:
            terms = self._in_turn(decay, generate)
        else:
            terms = self._of_shares(lambda share: self._learn(generate(share)))
            for learner in self._both:
                learner.update(decay)
        if len(terms) == 1:
            return terms[0]
        return {name: torch.stack([part[name] for part in terms]).mean() for name in terms[0]}

    def _of_shares(self, learn: Callable[[int], T]) -> list[T]:
        """The results for the shares of this process, one after the other."""
        own = self.settings.own_shares(self._learner.accelerator)
        results = []
        for share in own:
            with ExitStack() as block:
                for learner in self._both if share < own[-1] else ():
                    block.enter_context(learner.alone())
                results.append(learn(share))
        return results

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self._discriminator(self._input(images))
        return logits

    def _learn(self, made: Generated) -> dict[str, Tensor]:
        """Add the gradients of a share to those of both networks; returns all terms."""
        shares = self.settings.accumulate
        if not self.weight:
            torch.autograd.backward(made.total / shares)
            return {**made.terms, "total": made.total.detach()}
        found = discriminate(self._logits, made.fake)
        gradient = self.weight / shares * found.gradient
        torch.autograd.backward([made.total / shares, made.fake], [None, gradient])
        loss = discriminator_loss(self._logits(made.real), found.logits)
        torch.autograd.backward(loss / shares)
        return self._terms(made, found.loss, loss)

    def _in_turn(
        self, decay: float, generate: Callable[[int], Generated]
    ) -> list[dict[str, Tensor]]:
        """Update the discriminator, then the network against it; returns the terms of each share.

        The network runs once a share, and goes backward once for all of them.
        """
        shares = self.settings.accumulate

        def discern(share: int) -> tuple[Generated, Tensor]:
            made = generate(share)
            fake = self._logits(made.fake.detach())
            loss = discriminator_loss(self._logits(made.real), fake)
            torch.autograd.backward(loss / shares)
            return made, loss

        discerned = self._of_shares(discern)
        self._discriminator.update(decay)
        terms, ends, gradients = [], [], []
        for made, loss in discerned:
            with self._discriminator.alone():
                found = discriminate(self._logits, made.fake)
            ends += [made.total / shares, made.fake]
            gradients += [None, self.weight / shares * found.gradient]
            terms.append(self._terms(made, found.loss, loss))
        torch.autograd.backward(ends, gradients)
        self._learner.update(decay)
        return terms

    def _terms(self, made: Generated, adversarial: Tensor, loss: Tensor) -> dict[str, Tensor]:
        return {
            **made.terms,
            "adversarial": adversarial,
            "total": made.total.detach() + self.weight * adversarial,
            "discriminator": loss.detach(),
        }


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The sum of scalar terms, each times its weight; every term must have a weight."""
    first, *others = (weights[name] * term for name, term in terms.items())
    return sum(others, start=first)


class Average:
    """The exponential moving average of a network's parameters.

    It starts with the parameters after the first step, a_1 = w_1.  Buffers are copied.
    ``torch.optim.swa_utils.AveragedModel`` is not used: it counts on the device and reads the count
    back in every step.

    Args:
        network: The bare network.
        decay: Weight of the past, in [0, 1); 0 gives the network itself.

    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(network).requires_grad_(False)
        self.updates = 0
        self._mix = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Add the weights after a step to the average."""
        own: list[Tensor] = list(self.module.parameters())
        new: list[Tensor] = list(network.parameters())
        if self.updates:
            self._mix(own, new, self.updates)
        else:
            torch._foreach_copy_(own, new)
        for buffer, now in zip(self.module.buffers(), network.buffers(), strict=True):
            buffer.copy_(now)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The whole state, for a checkpoint."""
        return {"updates": self.updates, "module": self.module.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.updates = state_dict["updates"]
        self.module.load_state_dict(state_dict["module"])

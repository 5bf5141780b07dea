"""The optimisers of both trainings, and the weights to use of each."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from schedulefree import AdamWScheduleFree
from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from pipeline.optimisation.settings import StepSettings

PROGRESS = ("params", "k", "weight_sum", "lr_max", "scheduled_lr", "train_mode")
"""Entries of a parameter group that are progress; all others are settings."""


def make_optimiser(network: nn.Module, rate: float, settings: StepSettings) -> Optimizer:
    """The optimiser that the settings name, for all parameters of a network.

    ``adam``: Kingma and Ba, ICLR 2015.  ``adamw``: Loshchilov and Hutter, ICLR 2019, w loses
    rate * weight_decay * w apart from the gradient.  ``schedulefree``: Defazio et al., NeurIPS
    2024, whose gradients are taken at y, between the last iterate z and the average x.

    Args:
        network: The network.
        rate: The learning rate at the start.
        settings: Settings of the step.

    """
    parameters, betas, decay = network.parameters(), settings.adam_betas, settings.weight_decay
    fused = settings.fused or None
    optimiser: Optimizer
    match settings.optimiser:
        case "adam":
            optimiser = Adam(parameters, rate, betas, fused=fused)
        case "adamw":
            optimiser = AdamW(parameters, rate, betas, weight_decay=decay, fused=fused)
        case "schedulefree":
            free = AdamWScheduleFree(parameters, rate, betas, weight_decay=decay)
            free.train()
            optimiser = free
    optimiser.register_load_state_dict_pre_hook(_with_own_settings)
    return optimiser


def _with_own_settings(optimiser: Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a checkpoint with the settings of this run: it may be one of another run.

    Raises:
        ValueError: One of both is schedule-free, and the other is not.

    """
    groups = []
    for own, saved in zip(optimiser.param_groups, state["param_groups"], strict=True):
        if ("train_mode" in own) != ("train_mode" in saved):
            raise ValueError("one of the two optimisers is schedulefree, the other is not")
        progress = {name: saved[name] for name in PROGRESS if name in saved}
        groups.append({**own, **progress})
    return {**state, "param_groups": groups}


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """Set the rate of every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = rate


@contextmanager
def averaged(optimiser: Optimizer, network: nn.Module) -> Iterator[None]:
    """A block in which a network has the weights to use: with ``schedulefree`` its average x.

    Afterwards it has the weights y to train on again, to the bit.  With other optimisers, and after
    ``finish``, the network has the weights to use anyway.
    """
    inner = _schedule_free(optimiser)
    if inner is None or not inner.param_groups[0]["train_mode"]:
        yield
        return
    own: list[torch.Tensor] = list(network.parameters())
    trained = [parameter.detach().clone() for parameter in own]
    inner.eval()
    try:
        yield
    finally:
        inner.train()
        with torch.no_grad():
            torch._foreach_copy_(own, trained)


def finish(optimiser: Optimizer) -> None:
    """Give the network the weights to use for good: nothing is trained any more."""
    inner = _schedule_free(optimiser)
    if inner is not None:
        inner.eval()


def _schedule_free(optimiser: Optimizer) -> AdamWScheduleFree | None:
    """The schedule-free optimiser itself, without what accelerate wraps around it."""
    inner = getattr(optimiser, "optimizer", optimiser)
    return inner if isinstance(inner, AdamWScheduleFree) else None

"""Generators: the same arguments give the same stream, any other argument another one."""

import hashlib
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from laws import STANDARD_ERRORS

from pipeline.base.seeding import generator, of_share

SEEDS = [-(2**80), -(2**63), -1, 0, 1, 2, 2**31, 2**32, 2**63, 2**64, 10**40]
PURPOSES = ["", "a", "b", "a/b", "a/b/1", "größe", "train_srn/noise", "train_srn/crops"]
STEPS = [0, 1, 2, 10, 11, 10**6, 10**15]


def stream(seed: int = 0, purpose: str = "a", step: int = 0) -> list[float]:
    made = torch.rand(8, dtype=torch.float64, generator=generator(seed, purpose, step))
    return [float(value) for value in made]


@pytest.mark.parametrize("seed", SEEDS)
def test_same_arguments_same_stream(seed: int) -> None:
    assert stream(seed, "a", 3) == stream(seed, "a", 3)


def test_the_step_is_zero_by_default() -> None:
    assert torch.equal(
        torch.rand(8, generator=generator(1, "a")), torch.rand(8, generator=generator(1, "a", 0))
    )


def test_any_other_argument_gives_another_stream() -> None:
    streams = {
        tuple(stream(seed, purpose, step))
        for seed in SEEDS
        for purpose in PURPOSES
        for step in STEPS
    }
    assert len(streams) == len(SEEDS) * len(PURPOSES) * len(STEPS)


def test_arguments_do_not_run_together() -> None:
    streams = [stream(1, "2", 3), stream(12, "", 3), stream(1, "23", 0), stream(1, "", 23)]
    for first, second in pairwise(streams):
        assert first != second


def test_every_call_makes_a_fresh_generator() -> None:
    first = generator(1, "a")
    start = torch.rand(8, generator=first)
    second = generator(1, "a")
    assert not torch.equal(torch.rand(8, generator=first), start)
    torch.testing.assert_close(torch.rand(8, generator=second), start, rtol=0, atol=0)


def test_global_generators_are_neither_read_nor_moved() -> None:
    before = stream(5)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    assert stream(5) == before
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index]
    assert random.getstate() == states[2]


def test_neighbouring_steps_are_independent() -> None:
    """Correlations of the streams of 2000 steps stay within some standard errors of zero."""
    draws = np.array([stream(7, "a", step) for step in range(2000)]) - 0.5
    for lag in (1, 2, 7):
        correlation = (draws[lag:] * draws[:-lag]).mean() * 12
        assert abs(correlation) < STANDARD_ERRORS / np.sqrt(draws[lag:].size)
    assert abs(draws.mean()) < STANDARD_ERRORS / np.sqrt(12 * draws.size)


def test_a_stream_is_what_it_was() -> None:
    """A run of an earlier version can be repeated: the derivation, once more by hand."""
    digest = hashlib.sha256(b"3\x00train_srn/noise\x0041").digest()
    by_hand = torch.Generator()
    by_hand.manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    expected = torch.rand(8, dtype=torch.float64, generator=by_hand).tolist()
    assert stream(3, "train_srn/noise", 41) == expected


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_device(device: str | torch.device) -> None:
    assert generator(0, "a", device=device).device == torch.device("cpu")


def test_shares_have_purposes_of_their_own() -> None:
    """The first has that of a batch without shares, so that nothing changes for one process."""
    assert [of_share("noise", share) for share in (0, 1, 2)] == ["noise", "noise/1", "noise/2"]

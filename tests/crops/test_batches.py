"""Batches: the same bits wherever the images are held."""

from typing import Any

import numpy as np
import psutil
import pytest
import torch
from conftest import demand
from crop_threads import crop_threads
from torch import Tensor

from pipeline.base.seeding import generator
from pipeline.crops.batches import Batches, Demand
from pipeline.crops.memory import Memory
from pipeline.crops.window import CropSource

SIZES = [(12, 17), (10, 10), (15, 11), (30, 10), (11, 11), (13, 10), (10, 19)] * 2
PATCH = 8
NONE, PLENTY = 0, 2**30
MEMORIES = {
    "on cpu": Memory(PLENTY, PLENTY),
    "in host memory": Memory(NONE, PLENTY),
    "in a rolling window": Memory(NONE, 90_000),
}


def pixels(image: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    rng = np.random.default_rng(image)
    height, width = SIZES[image]
    small = rng.random((3, height, width)).astype(np.float16)
    return [small, rng.integers(0, 255, (3, 4 * height, 4 * width), np.uint8)]


SOURCE = CropSource("pixels", SIZES, (1, 4), (torch.float16, torch.uint8), pixels)


def generators(step: int) -> tuple[torch.Generator, torch.Generator]:
    return generator(1, "corners", step), generator(1, "turns", step)


def made(wanted: Demand) -> Batches:
    return Batches(SOURCE, "test", PATCH, generators, wanted)


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_all_images_are_larger_than_the_rolling_window() -> None:
    total = sum(SOURCE.bytes(image) for image in range(len(SIZES)))
    assert 90_000 < total < PLENTY


@pytest.mark.parametrize("replacement", [False, True])
def test_batches_are_the_same_wherever_the_images_are(replacement: bool) -> None:
    streams = []
    for held, memory in MEMORIES.items():
        wanted = demand(5, 3, crops_per_image=2, window=2, memory=memory, replacement=replacement)
        streams.append(made(wanted))
        assert held in str(streams[-1]) and "14 images" in str(streams[-1])
    steps = [*range(12), 3, 30, 31]
    for step in steps:
        first, *others = (stream.batch(step) for stream in streams)
        assert [part.dtype for part in first] == [torch.float16, torch.uint8]
        assert [part.shape for part in first] == [(3, 3, 8, 8), (3, 3, 32, 32)]
        assert all(same(first, other) for other in others)
    for stream in streams:
        assert stream.waited > 0
        stream.close()


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
def test_no_thread_is_left_when_the_block_is(memory: Memory) -> None:
    before = crop_threads()
    with made(demand(5, 3, window=2, memory=memory)) as stream:
        stream.batch(0)
        assert crop_threads() - before
    assert not crop_threads() - before


def test_an_error_in_the_block_ends_the_threads() -> None:
    before = crop_threads()
    with pytest.raises(KeyError, match="mine"), made(demand(5, 3)) as stream:
        raise KeyError(f"mine, after {len(stream.batch(0))} arrays")
    assert not crop_threads() - before


def test_an_error_of_a_reading_thread_ends_the_others() -> None:
    def read(image: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
        raise OSError(f"image {image} is gone")

    before = crop_threads()
    source = CropSource("gone", SIZES, (1, 4), (torch.float16, torch.uint8), read)
    with (
        pytest.raises(OSError, match="is gone"),
        Batches(source, "test", PATCH, generators, demand(5, 3)) as stream,
    ):
        stream.batch(0)
    assert not crop_threads() - before


def test_a_demand_has_defaults() -> None:
    """The batch is the paper's; images may take half of the memory that is free."""
    plain = Demand()
    assert (plain.batch_size, plain.crops_per_image, plain.seed) == (16, 1, 0)
    assert plain.device == torch.device("cpu")
    free = psutil.virtual_memory().available
    assert plain.room.device == 0
    assert free / 4 < plain.room.host < free
    assert Demand(memory=Memory(1, 2)).room == Memory(1, 2)
    with made(Demand(batch_size=3)) as stream:
        assert [part.shape for part in stream.batch(0)] == [(3, 3, 8, 8), (3, 3, 32, 32)]
        assert "in host memory" in str(stream)


def test_crops_come_from_the_images_of_the_schedule() -> None:
    stream = made(demand(5, 3))
    for step in range(4):
        small, large = (part.numpy() for part in stream.batch(step))
        for image, crop, fine in zip(stream.schedule.batch(step), small, large, strict=True):
            whole, hr = pixels(image)
            assert np.isin(crop, whole).all() and np.isin(crop.min(), whole)
            values = {tuple(column) for column in whole.reshape(3, -1).T}
            assert {tuple(column) for column in crop.reshape(3, -1).T} <= values
            assert np.isin(fine, hr).all()


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
def test_shares_are_the_parts_of_a_larger_batch(memory: Memory) -> None:
    whole = made(demand(5, 3, window=2, memory=Memory(NONE, PLENTY)))
    parts = made(demand(5, 1, window=2, memory=memory, shares=3, own=(0, 1, 2)))
    alone = made(demand(5, 1, window=2, memory=memory, shares=3, own=(1,)))
    for step in range(8):
        expected = whole.batch(step)
        found = [parts.batch(step, share) for share in range(3)]
        assert same([torch.cat(part) for part in zip(*found, strict=True)], expected)
        assert same(alone.batch(step, 1), [part[1:2] for part in expected])


def test_only_images_of_the_first_batches_are_read_at_the_start() -> None:
    reads: list[int] = []

    def read(image: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
        reads.append(image)
        return [np.zeros((3, 8, 8), np.float16)]

    source = CropSource("many", [(8, 8)] * 100_000, (1,), (torch.float16,), read)
    for memory in (Memory(PLENTY, PLENTY), Memory(NONE, PLENTY), Memory(NONE, 2**20)):
        reads.clear()
        stream = Batches(source, "test", PATCH, generators, demand(0, 4, memory=memory))
        stream.batch(0)
        stream.close()
        assert len(reads) < 100


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"crops_per_image": -1}, "crops_per_image must be at least 1, got -1"),
        ({"window": 0}, "window must be"),
        ({"shares": 0}, "shares must be"),
        ({"shares": 2, "own": (2,)}, "own must be among 2 shares"),
    ],
)
def test_a_demand_that_cannot_be_met(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Demand(**changes)


def test_a_device_may_be_named() -> None:
    assert Demand(device="cpu").device == torch.device("cpu")  # type: ignore[arg-type]

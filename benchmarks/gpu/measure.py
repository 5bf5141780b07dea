"""What the process of a part calls: the part's function, with what it is given."""

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.gpu.card import card, data
from benchmarks.gpu.draws import law, speed
from benchmarks.gpu.inference import exported, plain_export, upscaled
from benchmarks.gpu.results import Result
from benchmarks.gpu.run import Setting
from benchmarks.gpu.streaming import released, resident
from benchmarks.gpu.training import step
from benchmarks.gpu.workload import Given

FUNCTIONS: dict[str, Callable[..., Iterator[Result]]] = {
    function.__name__: function
    for function in (
        card, data, law, speed, released, resident, step, plain_export, exported, upscaled,
    )
}  # fmt: skip
"""By name."""


def measure(setting: Setting, scratch: Path, name: str, *arguments: object) -> Iterator[Result]:
    """Yield the results of a part.

    Args:
        setting: Size, device, rounds and data.
        scratch: A folder of its own.
        name: Of one of ``FUNCTIONS``.
        arguments: For it.

    """
    yield from FUNCTIONS[name](Given(setting, scratch), *arguments)

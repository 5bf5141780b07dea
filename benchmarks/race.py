"""Two or more ways to do the same, in turns, and what that gives: lines of the table."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from tqdm import tqdm


@dataclass(frozen=True)
class Entry:
    """One way to do it."""

    name: str
    work: Callable[[], object]
    """Does it once."""
    rest: Callable[[], object] = field(default=lambda: None)
    """Ends what the last calls left running; it belongs to the time of a turn."""
    least: int = 1
    """Calls in a turn, at least."""


Times = dict[str, list[float]]
"""Seconds per call in every round, by name."""


def race(
    entries: Sequence[Entry], rounds: int, turn: float, device: torch.device, what: str
) -> Times:
    """Let all take turns, A B C A B C ..., so that whatever else the machine does meets all alike.

    Args:
        entries: The ways.
        rounds: Turns of each.
        turn: Seconds of a turn, about.
        device: Whose queue is empty when a turn ends.
        what: For the progress bar.

    """
    counts = {entry.name: _calls(entry, turn, device) for entry in entries}
    times: Times = {entry.name: [] for entry in entries}
    for _ in tqdm(range(rounds), what, unit="round"):
        for entry in entries:
            times[entry.name].append(_turn(entry, counts[entry.name], device))
    return times


def _calls(entry: Entry, turn: float, device: torch.device) -> int:
    """How many calls fill a turn; the first call, which may compile or read, does not count."""
    _turn(entry, 1, device)
    return max(entry.least, math.ceil(turn / _turn(entry, 1, device)))


def _turn(entry: Entry, calls: int, device: torch.device) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        entry.work()
    entry.rest()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - begin) / calls


@dataclass(frozen=True)
class Target:
    """What a line should reach."""

    of: Literal["ratio", "ours"]
    """The ratio must be at least ``value``, or our own figure at most."""
    value: float


@dataclass(frozen=True)
class Line:
    """A line of the table.

    The ratio says how many times better we are: it is the alternative's cost over ours.
    """

    row: str
    """Its letter."""
    what: str
    ours: str
    """Which of our ways."""
    other: str
    """Which alternative; empty for none."""
    costs: Sequence[float]
    """Ours in every round, in seconds or MiB."""
    other_costs: Sequence[float]
    """The alternative's, in the same rounds; empty for none."""
    show: Callable[[float], str]
    """From a cost to a figure with its unit."""
    target: Target | None = None
    remark: str = ""
    """Behind our figure."""

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return statistics.median(self.other_costs) / statistics.median(self.costs)

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        if self.target is None:
            return True
        if self.target.of == "ratio":
            return self.ratio >= self.target.value
        return statistics.median(self.costs) <= self.target.value

    def __str__(self) -> str:
        return f"| {' | '.join(self.cells())} |"

    def cells(self) -> list[str]:
        """Row, what, ours and its figure, the alternative and its figure, ratio, target."""
        ours = f"{self.ours}: {self.show(statistics.median(self.costs))}{self.remark}"
        other = ratio = "-"
        if self.other_costs:
            other = f"{self.other}: {self.show(statistics.median(self.other_costs))}"
            pairs = zip(self.other_costs, self.costs, strict=True)
            rounds = sorted(theirs / own for theirs, own in pairs)
            spread = f"{_short(rounds[0])} to {_short(rounds[-1])}, {len(rounds)} rounds"
            ratio = f"**{_short(self.ratio)}** ({spread if len(rounds) > 1 else 'one round'})"
        return [self.row, self.what, ours, other, ratio, self._target()]

    def _target(self) -> str:
        if self.target is None:
            return ""
        value = self.target.value
        words = f"{value:g}" if self.target.of == "ratio" else f"at most {self.show(value)}"
        return f"{words}: {'met' if self.met else '**missed**'}"


HEAD = """\
| | what | ours | alternative | ratio (lowest to highest round) | target |
|---|---|---|---|--:|---|"""
"""Of the table."""


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def milliseconds(seconds: float) -> str:
    """Of a duration."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def per_second(units: float, unit: str) -> Callable[[float], str]:
    """How to show the seconds that so many units take."""
    return lambda seconds: f"{_thousands(units / seconds)} {unit}/s"


def mebibytes(size: float) -> str:
    """Of a size that is in MiB."""
    return f"{size:.0f} MiB"


def _thousands(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"

"""What the parts measure, and the tables of it."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Timed:
    """How long something takes; rows of the same ``what`` are compared with the first of them."""

    what: str
    way: str
    seconds: Sequence[float]
    """Of one call, in every round."""
    units: float
    """What one call gives."""
    unit: str
    memory: float
    """MiB of the device at most; 0 on a CPU."""
    tflop: float = 0.0
    """10^12 operations of one call, of convolutions and matrix products; 0: not counted."""
    peak: str = ""
    """The ``Peak`` that it is a share of."""

    @property
    def median(self) -> float:
        """Seconds of one call."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Peak:
    """Speed of a large matrix product."""

    precision: str
    tflops: float
    """10^12 operations a second."""


@dataclass(frozen=True)
class Law:
    """A figure of many draws against that of the exact law."""

    what: str
    measured: float
    exact: float
    tolerance: float

    @property
    def met(self) -> bool:
        """Whether they agree; NaN does not."""
        return abs(self.measured - self.exact) <= self.tolerance


@dataclass(frozen=True)
class Machine:
    """Where it ran."""

    words: str


@dataclass(frozen=True)
class Fact:
    """What was found of the subject of a part."""

    name: str
    value: float | str


Result = Timed | Peak | Law | Machine | Fact
KINDS: dict[str, type[Result]] = {kind.__name__: kind for kind in (Timed, Peak, Law, Machine, Fact)}


def to_plain(result: Result) -> dict[str, Any]:
    """As JSON has it."""
    return {"kind": type(result).__name__, **asdict(result)}


def from_plain(plain: dict[str, Any]) -> Result:
    """The opposite of ``to_plain``."""
    fields = dict(plain)
    return KINDS[fields.pop("kind")](**fields)


MEASURED = "measured"


@dataclass(frozen=True)
class Outcome:
    """What became of a part."""

    part: str
    state: str
    """``measured``, or what happened instead."""
    seconds: float
    """That it took, with the start of its process."""
    results: list[Result] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether it was measured, or left out, and every law was met."""
        fine = self.state == MEASURED or self.state.startswith("left out")
        return fine and all(one.met for one in self.results if isinstance(one, Law))

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        results = [to_plain(one) for one in self.results]
        return {
            "part": self.part, "state": self.state, "seconds": self.seconds, "results": results,
        }  # fmt: skip

    def __str__(self) -> str:
        shown = [one for one in self.results if not isinstance(one, Law)]
        laws = [one for one in self.results if isinstance(one, Law)]
        words = [_brief(one) for one in shown]
        if laws:
            words.append(f"{sum(one.met for one in laws)} of {len(laws)} figures of the law agree")
        if self.state != MEASURED:
            words.append(self.state)
        return f"{self.part}: {'; '.join(words)}"


def _brief(result: Timed | Peak | Machine | Fact) -> str:
    if isinstance(result, Machine):
        return result.words
    if isinstance(result, Fact):
        shown = result.value if isinstance(result.value, str) else f"{result.value:.3g}"
        return f"{result.name} {shown}"
    if isinstance(result, Peak):
        return f"{result.precision} {result.tflops:.3g} TFLOP/s"
    return f"{time_of(result.median)}, {rate(result)}"


def tables(outcomes: Sequence[Outcome]) -> str:
    """Markdown: speed, the law, and the parts that were not measured."""
    results = [one for outcome in outcomes for one in outcome.results]
    timed = [one for one in results if isinstance(one, Timed)]
    laws = [one for one in results if isinstance(one, Law)]
    peaks = {one.precision: one.tflops for one in results if isinstance(one, Peak)}
    blocks = [[one.words] for one in results if isinstance(one, Machine)]
    if peaks:
        shown = "; ".join(f"{kind} {value:.3g}" for kind, value in peaks.items())
        blocks.append([f"Peak of a large matrix product, TFLOP/s: {shown}."])
    if timed:
        blocks.append([*SPEED_HEAD, *_speed(timed, peaks)])
    if laws:
        blocks.append([*LAW_HEAD, *(_law(one) for one in laws)])
    if missing := [one for one in outcomes if one.state != MEASURED]:
        blocks.append([*STATE_HEAD, *(f"| {one.part} | {one.state} |" for one in missing)])
    return "\n\n".join("\n".join(block) for block in blocks)


SPEED_HEAD = (
    "| what | way | time (lowest to highest round) | a second | times the first "
    "| TFLOP/s, share of the peak | GPU memory |",
    "|---|---|--:|--:|--:|--:|--:|",
)
LAW_HEAD = ("| law | measured | exact | tolerance | |", "|---|--:|--:|--:|---|")
STATE_HEAD = ("| not measured | what happened |", "|---|---|")


def _speed(timed: Sequence[Timed], peaks: dict[str, float]) -> Iterator[str]:
    firsts: dict[str, Timed] = {}
    counted = {one.what: one.tflop for one in timed if one.tflop}
    for one in timed:
        first = firsts.setdefault(one.what, one)
        ratio = (first.median / first.units) / (one.median / one.units)
        spread = f"{time_of(min(one.seconds))} to {time_of(max(one.seconds))}"
        cells = [
            one.what,
            one.way,
            f"{time_of(one.median)} ({spread})",
            rate(one),
            f"{ratio:.3g}",
            _share(one, counted.get(one.what, 0.0), peaks),
            f"{one.memory:,.0f} MiB" if one.memory else "-",
        ]
        yield f"| {' | '.join(cells)} |"


def _share(one: Timed, tflop: float, peaks: dict[str, float]) -> str:
    if not tflop:
        return "-"
    speed = tflop / one.median
    share = f", {speed / peaks[one.peak]:.0%} of {one.peak}" if one.peak in peaks else ""
    return f"{speed:.3g}{share}"


def _law(law: Law) -> str:
    figures = f"{law.measured:.6g} | {law.exact:.6g} | {law.tolerance:.2g}"
    return f"| {law.what} | {figures} | {'met' if law.met else '**missed**'} |"


def time_of(seconds: float) -> str:
    """A duration with its unit."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def rate(timed: Timed) -> str:
    """Units a second."""
    value = timed.units / timed.median
    return f"{value:,.0f} {timed.unit}" if value >= 100 else f"{value:.3g} {timed.unit}"

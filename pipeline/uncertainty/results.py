"""What the scores of predictions say: tables, sentences and a picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.images.drawing import save, sheet
from pipeline.uncertainty.pairs import EDGES, Tallies
from pipeline.uncertainty.tally import LEVELS, RANKS, StratumScores, stratum_scores

PAIRS, FLAT_AREAS = "pairs", "flat areas"
"""What predictions were compared with: real LR images of pairs, or flat areas of unpaired ones."""
CANNOT_TELL = (
    "Flat areas of unpaired images show the noise alone: not whether the mean is right, nor "
    "whether theta is at edges and in texture, where the LR image cannot be known from the HR "
    "image; pairs (--val) show both."
)
TARGET, TOLERANCE = 0.9, 0.03
"""The interval that sentences are about, and what its coverage may miss."""

NAMED = 3
"""Most strata that a sentence names."""
ALIKE = 1.01
"""Sources whose CRPS lies within this factor of the lowest are said to be alike."""

Scores = dict[str, dict[str, StratumScores]]
"""By source and stratum."""


@dataclass(frozen=True)
class Results:
    """Scores of all sources against pairs and against flat areas."""

    sources: dict[str, str]
    """What each of them is, in words."""
    parts: dict[str, Scores]
    """By what they were compared with."""

    @property
    def sentences(self) -> list[str]:
        """What a reader should know, most important first."""
        found = [line for part, scores in self.parts.items() for line in _sentences(part, scores)]
        return [*found, CANNOT_TELL] if FLAT_AREAS in self.parts else found

    def rows(self) -> Iterator[dict[str, object]]:
        """The scores as rows of a table."""
        for part, scores in self.parts.items():
            for source, strata in scores.items():
                for stratum, one in strata.items():
                    yield {"compared with": part, "source": source, "stratum": stratum} | _row(one)

    def content(self) -> dict[str, Any]:
        """The scores as JSON."""
        return {"sources": self.sources, "sentences": self.sentences} | {
            part: {
                source: {stratum: asdict(one) for stratum, one in strata.items()}
                for source, strata in scores.items()
            }
            for part, scores in self.parts.items()
        }


def summed(images: Mapping[str, Sequence[Tallies]]) -> Scores:
    """The scores of every source, and of every stratum that holds values."""
    random = np.random.default_rng(0)
    return {
        source: {
            stratum: found
            for stratum in each[0]
            if (found := stratum_scores([image[stratum] for image in each], random)) is not None
        }
        for source, each in images.items()
    }


def _row(scores: StratumScores) -> dict[str, object]:
    coverage: dict[str, object] = {}
    for level, found in scores.coverage.items():
        coverage |= {level: found.share, f"{level} low": found.low, f"{level} high": found.high}
    return {
        "values": scores.values,
        **coverage,
        "CRPS": scores.crps,
        "width of 90%": scores.width,
        "error": scores.error,
        "NLL": scores.negative_log_likelihood,
    }


def _sentences(part: str, scores: Scores) -> Iterator[str]:
    level = f"{TARGET:.0%}"
    for source, strata in scores.items():
        if "all" not in strata:
            yield f"{part}, {source}: no class of intensity has enough flat areas in both sets."
            continue
        whole = strata["all"]
        line = f"{part}, {source}: {whole.coverage[level].share:.1%} of the real values lie in the "
        line += f"{level} interval, CRPS {whole.crps:.2f} gray levels."
        off = [name for name, one in strata.items() if name != "all" and _missed(one)]
        shares = {name: strata[name].coverage[level].share for name in off}
        off.sort(key=lambda name: -abs(shares[name] - TARGET))
        worst = [f"{name} ({shares[name]:.0%})" for name in off[:NAMED]]
        yield f"{line}  Farthest off: {', '.join(worst)}." if worst else line
    known = {name: strata["all"].crps for name, strata in scores.items() if "all" in strata}
    if len(known) > 1:
        best = [name for name, crps in known.items() if crps <= ALIKE * min(known.values())]
        yield f"{part}: best by CRPS, to {ALIKE - 1:.0%}: {', '.join(best)}."
    yield from _edges(part, scores)


def _missed(scores: StratumScores) -> bool:
    """Whether the coverage is off by more than the tolerance, and not by chance."""
    found = scores.coverage[f"{TARGET:.0%}"]
    if found.low is None or found.high is None:
        return abs(found.share - TARGET) > TOLERANCE
    return found.high < TARGET - TOLERANCE or found.low > TARGET + TOLERANCE


def _edges(part: str, scores: Scores) -> Iterator[str]:
    """That theta does not grow where the LR image is less sure, if so."""
    for source, strata in scores.items():
        edges, whole = strata.get(EDGES), strata.get("all")
        if edges is None or whole is None:
            continue
        level = f"{TARGET:.0%}"
        if _missed(edges) and edges.coverage[level].share < TARGET:
            need = edges.error / whole.error
            have = edges.width / whole.width
            yield (
                f"{part}, {source}: at edges real values lie {need:.1f} times as far from the "
                f"prediction as elsewhere, but its interval is {have:.1f} times as wide."
            )


def draw_results(path: Path, results: Results) -> None:
    """Draw ranks and coverage of every source.

    Args:
        path: PNG file to write.
        results: The scores.

    """
    cells = [
        (part, source, strata)
        for part, scores in results.parts.items()
        for source, strata in scores.items()
        if "all" in strata
    ]
    figure, axes = sheet(2, len(cells), side=3.0)
    for column, (part, source, strata) in enumerate(cells):
        _draw_ranks(axes[0, column], f"{source}\nagainst {part}", strata["all"])
        _draw_coverage(axes[1, column], strata)
    save(figure, path)


def _draw_ranks(axes: Any, title: str, scores: StratumScores) -> None:
    places = (np.arange(RANKS) + 0.5) / RANKS
    axes.bar(places, scores.ranks, width=0.9 / RANKS, color="tab:blue")
    axes.axhline(1, lw=0.8, c="black")
    axes.set_title(title, fontsize=9)
    axes.set(xlabel="rank among draws; flat is right", xlim=(0, 1))


def _draw_coverage(axes: Any, strata: Mapping[str, StratumScores]) -> None:
    names = list(strata)
    for level in LEVELS:
        found = [strata[name].coverage[f"{level:.0%}"] for name in names]
        shares = [one.share for one in found]
        axes.plot(shares, range(len(names)), "o", ms=4, label=f"{level:.0%}")
        axes.axvline(level, lw=0.6, c="gray")
        for row, one in enumerate(found):
            if one.low is not None and one.high is not None:
                axes.plot([one.low, one.high], [row, row], lw=1, c="gray")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="share inside the interval", xlim=(0, 1.02))
    axes.legend(fontsize=7, loc="lower left")

"""The claims of the paper's Table 1: whether one row is better than another, beyond the seeds.

For two rows of one camera, with n seeds each,

    gain = mean score of the row that the paper calls better - mean score of the other,

with the sign turned where lower is better.  The seeds of all rows of a camera that have a DSN give
one standard deviation s (pooled, with the degrees of freedom of all rows together), so that three
seeds are enough for an interval of Student's t:

    gain +- t(0.995) s sqrt(1 / n_better + 1 / n_other).

A claim holds if the whole interval is above zero, fails if it is below, and cannot be told if it
holds zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from pipeline.recovery.table import MEASURES, Score

CONFIDENCE = 0.99
LOWER_IS_BETTER = ("lpips",)


class Claim(NamedTuple):
    """One claim: a row is better than another."""

    text: str
    better: str
    other: str


CLAIMS = (
    Claim("samples with theta are better than the mean", "row-3", "row-1"),
    Claim("the mean is better than samples of one gray level", "row-1", "row-2"),
    Claim("a DSN with sigma is better", "row-5", "row-3"),
    Claim("the adversarial loss is better on gradients", "row-5", "row-4"),
    Claim("the same without sigma", "row-3", "row-3-pixels"),
)
"""Those of Sec. 4.2, by names of rows.  The second one, that a constant theta cannot improve, also
stands where no difference is seen."""


@dataclass(frozen=True)
class Finding:
    """What the scores of one camera say of a claim, in one measure."""

    camera: str
    recipe: str
    """The reference of the DSNs."""
    claim: Claim
    measure: str
    gain: float
    """Mean gain, in units of the measure; positive if the claim is right."""
    margin: float
    """Half of the interval."""

    @property
    def verdict(self) -> str:
        """``holds``, ``fails``, or ``cannot be told``."""
        if self.gain > self.margin:
            return "holds"
        return "fails" if self.gain < -self.margin else "cannot be told"


def spread(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Pooled standard deviation of groups around their means, and its degrees of freedom.

    Returns:
        Both; the standard deviation is NaN without a degree of freedom.

    """
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(np.var(group)) * len(group) for group in groups)
    return (math.sqrt(squares / freedom) if freedom else math.nan), freedom


def findings(scores: Sequence[Score], claims: Sequence[Claim] = CLAIMS) -> list[Finding]:
    """Test every claim on every camera and reference, in every measure.

    Args:
        scores: Of all seeds; ``source`` names the row.  Those without a DSN are left out.
        claims: The claims; one of which a row is missing is left out.

    """
    found = []
    for camera in dict.fromkeys(score.camera for score in scores):
        mine = [score for score in scores if score.camera == camera]
        for measure in mine[0].values:
            groups = _groups(mine, measure)
            deviation, freedom = spread([group for (recipe, _), group in groups.items() if recipe])
            factor = float(student.ppf((1 + CONFIDENCE) / 2, freedom)) * deviation
            sign = -1 if measure in LOWER_IS_BETTER else 1
            recipes = dict.fromkeys(recipe for recipe, _ in groups if recipe)
            for recipe, claim in product(recipes, claims):
                better = groups.get((recipe, claim.better))
                other = groups.get((recipe, claim.other))
                if better is None or other is None:
                    continue
                gain = sign * float(np.mean(better) - np.mean(other))
                margin = factor * math.sqrt(1 / len(better) + 1 / len(other))
                found.append(Finding(camera, recipe, claim, measure, gain, margin))
    return found


def _groups(scores: Sequence[Score], measure: str) -> dict[tuple[str, str], list[float]]:
    """The values of all seeds, by recipe and row."""
    groups: dict[tuple[str, str], list[float]] = {}
    for score in scores:
        groups.setdefault((score.recipe, score.source), []).append(score.values[measure])
    return groups


def claims_text(found: Sequence[Finding]) -> str:
    """The findings as Markdown: a line per reference, claim and camera, a column per measure."""
    measures = list(dict.fromkeys(one.measure for one in found))
    kinds = list(dict.fromkeys((one.recipe, one.claim) for one in found))
    by_kind: dict[tuple[str, str, str], dict[str, str]] = {}
    for one in sorted(found, key=lambda one: kinds.index((one.recipe, one.claim))):
        by_kind.setdefault((one.recipe, one.claim.text, one.camera), {})[one.measure] = _text(one)
    lines = [["reference", "claim", "camera", *(MEASURES[measure][0] for measure in measures)]]
    lines.append(["---"] * 3 + ["--:"] * len(measures))
    lines += [[*kind, *cells.values()] for kind, cells in by_kind.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(one: Finding) -> str:
    decimals = MEASURES[one.measure][1]
    return f"{one.gain:+.{decimals}f} ± {one.margin:.{decimals}f} {one.verdict}"

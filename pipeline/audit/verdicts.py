"""Verdicts of the audit: pass, warn or fail for each question, with what was found and what to do.

One rule holds for every question.  A difference warns beyond its limit: what ``params.yaml``
tolerates, or ``FLOOR_TIMES`` times the floor if that is more, which is the same difference of two
halves of the real images, less what may be chance.  It fails beyond ``fail_times`` times the limit.
A difference whose 95 % interval holds zero passes, because chance makes as large ones; where the
interval holds zero and reaches as far to either side as what fails, nothing can be told.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline.base.settings import Positive, Settings
from pipeline.comparison import differences
from pipeline.comparison.differences import Figure, Pair
from pipeline.noise.statistics import LrStatistics
from pipeline.sampling.noise_level import LEAST_MISS

Word = Literal["pass", "warn", "fail", "cannot be told"]
WORDS: tuple[Word, ...] = ("fail", "warn", "pass", "cannot be told")
"""The worst first."""
FailOn = Literal["never", "warn", "fail"]

THETAS = ("camera", "calibrated", "raw")
"""Thetas that have verdicts; the first that the audit samples is the one that counts."""
FLOOR_TIMES = 2
"""A difference up to this multiple of that of two halves of the real images counts as none."""


class VerdictSettings(Settings):
    """The settings ``audit.verdicts``: the differences that are tolerated, by question."""

    noise_level: Positive = 0.1
    """Difference of the noise levels, as a share of the real one."""
    noise_by_intensity: Positive = 0.15
    """Difference of the noise curves after both were given one level, as a share of the level."""
    correlation: Positive = 0.1
    """Difference of a correlation of the noise, between neighbours or channels."""
    blur: Positive = 0.2
    """Standard deviation of the Gaussian between the sets, in LR pixels."""
    jpeg: Positive = 1.0
    """Difference of the JPEG quality, that of libjpeg; 100 without compression."""
    tails: Positive = 1.0
    """Difference of the excess kurtosis of the noise: 0 for Gaussian, 3 for Laplace noise."""
    collapse: Positive = 0.25
    """One less the correlation of the mean with bicubic."""
    outliers: Positive = 0.1
    """Share of the images that are listed as outliers."""
    fail_times: float = Field(2.0, ge=1)
    """A difference fails beyond this multiple of the limit at which it warns."""


@dataclass(frozen=True)
class Verdict:
    """The answer to one question."""

    question: str
    """Its name among the settings and the metrics."""
    title: str
    word: Word
    value: float | None
    """The difference, with a sign where less and more differ; None if it cannot be told."""
    floor: float | None
    """The same between two halves of the real images; None if there is none."""
    limit: float
    """Size of a difference beyond which it warns."""
    unit: str
    """Of the three: ``%`` of shares, a noun in the plural, or none."""
    sentence: str
    """What was found."""
    advice: str
    """What to do next; empty where nothing is wrong."""
    low: float | None = None
    """Lower end of the 95 % interval of the difference; None if there is none."""
    high: float | None = None
    """Upper end."""


@dataclass(frozen=True)
class Verdicts:
    """The answers to all questions."""

    theta: str
    """The theta whose verdicts count."""
    word: Word
    """The worst of its verdicts."""
    by_theta: dict[str, list[Verdict]]
    """The verdicts of every theta that was sampled, this one first."""

    @property
    def counted(self) -> list[Verdict]:
        """The verdicts that count."""
        return self.by_theta[self.theta]

    def metrics(self) -> dict[str, Any]:
        """``verdict``, ``verdict_theta`` and ``verdicts``: the words of all questions."""
        words = {verdict.question: verdict.word for verdict in self.counted}
        return {"verdict": self.word, "verdict_theta": self.theta, "verdicts": words}

    def failed(self, fail_on: FailOn) -> list[Verdict]:
        """The verdicts that are as bad as this, or worse."""
        bad = {"never": (), "warn": ("warn", "fail"), "fail": ("fail",)}[fail_on]
        return [verdict for verdict in self.counted if verdict.word in bad]


FLAT_AREAS = "Add real LR photographs with flat areas, such as a wall or the sky."
NOISE_FIRST = (
    "See the noise level first. If it cannot be told either, add real LR photographs with flat "
    "areas, such as a wall or the sky."
)


@dataclass(frozen=True)
class Question:
    """A question, with the sentences of its answers."""

    name: str
    """Among the settings and the metrics."""
    title: str
    unit: str
    """Of its difference; see ``Verdict``."""
    fine: str
    """Clause where it passes."""
    more: str
    """Clause where the difference is too large."""
    if_more: str
    """What to do then."""
    if_unknown: str
    """What to do where it cannot be told."""
    less: str = ""
    """Clause where the difference is below zero, if it is another one."""
    if_less: str = ""
    """What to do then."""


QUESTIONS = (
    Question(
        "noise_level",
        "Noise level",
        "%",
        fine="The samples have the noise level of the real images",
        less="The samples have less noise than the real images",
        more="The samples have more noise than the real images",
        if_less="Run usrdu calibrate, and set train_srn.theta to calibrated; if it is, raise "
        "calibrate.rounds.",
        if_more="Run usrdu calibrate, and set train_srn.theta to calibrated; if it is, take HR "
        "images that are less noisy and have flat areas, because what the means carry adds up.",
        if_unknown=FLAT_AREAS,
    ),
    Question(
        "noise_by_intensity",
        "Noise by intensity",
        "%",
        fine="The noise depends on the intensity as in the real images",
        more="The noise depends on the intensity otherwise than in the real images",
        if_more="Look at the chart of noise against intensity. Set train_srn.theta to calibrated; "
        "if it is, add real LR photographs with flat areas of every brightness.",
        if_unknown=NOISE_FIRST,
    ),
    Question(
        "correlation",
        "Correlation of the noise",
        "",
        fine="The noise is correlated as in the real images",
        less="The noise is correlated less than in the real images, or the other way",
        more="The noise is correlated more than in the real images",
        if_less="Set train_srn.theta to camera or calibrated, because raw noise is white; if it "
        "is, lower calibrate.least_correlation.",
        if_more="Take HR images that are less noisy: the noise of an enlarged or compressed HR "
        "image is correlated. Set train_srn.theta to camera or calibrated.",
        if_unknown=NOISE_FIRST,
    ),
    Question(
        "blur",
        "Blur",
        "LR pixels",
        fine="The samples are as sharp as the real images",
        less="The samples are sharper than the real images",
        more="The samples are more blurred than the real images",
        if_less="Train the DSN on the passport of usrdu camera (train_dsn.reference: camera).",
        if_more="Take sharper HR images, and train the DSN on the passport of usrdu camera "
        "(train_dsn.reference: camera).",
        if_unknown="Add real LR photographs that have both edges and flat areas.",
    ),
    Question(
        "jpeg",
        "JPEG",
        "points",
        fine="The samples are compressed as the real images",
        less="The samples are compressed more than the real images",
        more="The samples are compressed less than the real images",
        if_more="Give usrdu prepare the files that the camera wrote, which hold their tables, and "
        "set train_srn.theta to camera or calibrated.",
        if_less="Check that the real LR images are the files that the camera wrote: to enlarge, "
        "reduce or save them again changes their steps. Then run usrdu prepare again.",
        if_unknown="Add real LR images that have detail.",
    ),
    Question(
        "tails",
        "Tails of the noise",
        "",
        fine="The noise has the tails of the real images",
        less="The noise has lighter tails than the real images",
        more="The noise has heavier tails than the real images",
        if_less="Look at the table of the correlation of the noise. Add real LR photographs with "
        "flat areas, and run usrdu camera and usrdu calibrate again.",
        if_more="Set train_srn.theta to camera or calibrated, because raw noise is Laplace; if it "
        "is, add real LR photographs with flat areas.",
        if_unknown=NOISE_FIRST,
    ),
    Question(
        "collapse",
        "Collapse of the DSN",
        "",
        fine="The means show what the HR images show",
        more="The means do not show what the HR images show",
        if_more="Lower train_dsn.adversarial_weight or train_dsn.learning_rate, train the DSN "
        "again, and look at its contact sheet.",
        if_unknown="Take HR images of 24 LR pixels a side or more.",
    ),
    Question(
        "outliers",
        "Outliers",
        "%",
        fine="Few images are unlike the others",
        more="Many images are unlike the others",
        if_more="Look at the images under Outliers: leave out what is no photograph of this kind, "
        "and export the maps again.",
        if_unknown="Look at the images yourself, or add HR images.",
    ),
)
"""In the order of the page."""


def amount(value: float, unit: str) -> str:
    """A difference such as ``−40 %``, ``0.31 LR pixels`` or ``0.12``, which no line break cuts."""
    number = f"{100 * abs(value):.0f}" if unit == "%" else f"{abs(value):.2f}"
    sign = "−" if value < 0 and float(number) else ""
    return f"{sign}{number} {unit}".strip().replace(" ", "\u00a0")


def read_verdicts(folder: Path) -> Verdicts:
    """The verdicts that an audit wrote into its folder."""
    content = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["verdicts"]
    by_theta = {
        theta: [Verdict(**verdict) for verdict in each]
        for theta, each in content["by_theta"].items()
    }
    return Verdicts(content["theta"], content["word"], by_theta)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the verdicts rest on."""

    real: LrStatistics
    """The held-out real LR images."""
    rest: LrStatistics | None
    """The other part of the same images: its halves give the floor; those of ``real`` without."""
    samples: Mapping[str, LrStatistics]
    """LR images by theta, and ``bicubic`` and ``mean``."""
    images: int
    """Number of images of the maps."""
    listed: int
    """How many of them are outliers."""


def verdicts(evidence: Evidence, settings: VerdictSettings) -> Verdicts:
    """Answer every question for every theta of ``THETAS`` that was sampled.

    Raises:
        ValueError: None of them was.

    """
    thetas = [theta for theta in THETAS if theta in evidence.samples]
    if not thetas:
        raise ValueError(f"expected samples of one of {THETAS}, got {list(evidence.samples)}")
    halves = differences.halves(evidence.real if evidence.rest is None else evidence.rest)
    floor = {} if halves is None else _against(halves)
    of_maps = {
        "collapse": differences.collapse(evidence.samples["bicubic"], evidence.samples["mean"]),
        "outliers": differences.outliers(evidence.images, evidence.listed),
    }
    found = {
        theta: _against(Pair(evidence.real, evidence.samples[theta])) | of_maps for theta in thetas
    }
    limits = {q.name: _limit(q.name, floor, evidence, settings) for q in QUESTIONS}
    words = {
        theta: {name: _word(figure, limits[name], settings) for name, figure in figures.items()}
        for theta, figures in found.items()
    }
    answered = {
        theta: [
            Verdict(
                question=q.name,
                title=q.title,
                word=words[theta][q.name],
                value=found[theta][q.name].value,
                low=found[theta][q.name].low,
                high=found[theta][q.name].high,
                floor=floor[q.name].value if q.name in floor else None,
                limit=limits[q.name],
                unit=q.unit,
                sentence=_sentence(q, words[theta][q.name], found[theta][q.name]),
                advice=_advice(q, theta, words, found[theta][q.name]),
            )
            for q in QUESTIONS
        ]
        for theta in thetas
    }
    return Verdicts(thetas[0], _worst(words[thetas[0]].values()), answered)


def _against(pair: Pair) -> dict[str, Figure]:
    """The differences of two sets of LR images, by question."""
    return {
        "noise_level": differences.noise_level(pair),
        "noise_by_intensity": differences.noise_by_intensity(pair),
        "correlation": differences.correlation(pair),
        "blur": differences.blur(pair),
        "jpeg": differences.jpeg(pair),
        "tails": differences.tails(pair),
    }


def _limit(
    name: str, floor: Mapping[str, Figure], evidence: Evidence, settings: VerdictSettings
) -> float:
    """The size of a difference beyond which it warns."""
    limit = float(getattr(settings, name))
    if name in floor:
        limit = max(limit, FLOOR_TIMES * _beyond_chance(floor[name]))
    noise = evidence.real.noise
    if name == "noise_level" and not isinstance(noise, str) and len(evidence.real.blocks):
        limit = max(limit, LEAST_MISS / noise.deviation(evidence.real.blocks))
    return limit


def _word(figure: Figure, limit: float, settings: VerdictSettings) -> Word:
    if figure.value is None or _too_wide(figure, settings.fail_times * limit):
        return "cannot be told"
    if abs(figure.value) <= limit or _by_chance(figure):
        return "pass"
    return "warn" if abs(figure.value) <= settings.fail_times * limit else "fail"


def _worst(words: Iterable[Word]) -> Word:
    found = set(words)
    return next((word for word in WORDS if word in found), WORDS[-1])


def _sentence(question: Question, word: Word, figure: Figure) -> str:
    if figure.value is None:
        return f"It cannot be told: {figure.words}."
    found = figure.words
    if figure.low is not None and figure.high is not None:
        low, high = (amount(end, question.unit) for end in (figure.low, figure.high))
        found += f"; {amount(figure.value, question.unit)}, 95 % interval {low} to {high}"
    if word == "cannot be told":
        return f"It cannot be told from so few images: {found}."
    bad = (_below(figure) and question.less) or question.more
    return f"{question.fine if word == 'pass' else bad}: {found}."


def _advice(
    question: Question, theta: str, words: Mapping[str, Mapping[str, Word]], figure: Figure
) -> str:
    """What to do next: draw with a theta that passes, if there is one that is not worse in all."""
    word = words[theta][question.name]
    if word == "pass":
        return ""
    if word == "cannot be told":
        return question.if_unknown
    own = WORDS.index(_worst(words[theta].values()))
    better = [
        other
        for other, each in words.items()
        if each[question.name] == "pass" and WORDS.index(_worst(each.values())) >= own
    ]
    if better:
        return f"Set train_srn.theta to {better[0]}: its samples pass here."
    return (_below(figure) and question.if_less) or question.if_more


def _by_chance(figure: Figure) -> bool:
    """Whether the interval holds zero."""
    return figure.low is not None and figure.high is not None and figure.low <= 0 <= figure.high


def _beyond_chance(figure: Figure) -> float:
    """Size of a difference less what may be chance; all of it where there is no interval."""
    if figure.value is None or _by_chance(figure):
        return 0.0
    ends = [figure.value if end is None else end for end in (figure.low, figure.high)]
    return min(abs(end) for end in ends)


def _too_wide(figure: Figure, limit: float) -> bool:
    """Whether the interval holds zero and reaches further than what fails."""
    if figure.low is None or figure.high is None or not _by_chance(figure):
        return False
    return (figure.high - figure.low) / 2 > limit


def _below(figure: Figure) -> bool:
    return figure.value is not None and figure.value < 0

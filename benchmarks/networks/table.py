"""The rows of ``docs/networks.md``, from what the parts found."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.gpu.results import MEASURED, Fact, Outcome
from benchmarks.networks.choices import MADE_FOR, Choice

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
"""What the command writes stands between these lines of the page."""
TRIED = (
    "| network | options | scale | parameters | step, s | times ESRGAN | memory, MiB "
    "| SR of 64x64, s | sides of an image | ONNX, size; difference | ONNX in float16, gray levels "
    "| bfloat16 |",
    f"|---|---|{'--:|' * 6}---|---|--:|---|",
)
REFUSED = ("| network | why it is not trained |", "|---|---|")
BF16_BOUND = 0.02
"""Relative error of the output up to which bfloat16 counts as safe."""
FP16_BOUND = 2.0
"""Gray levels that an ONNX file in float16 may differ from torch, as in ``usrdu convert``."""
VERBS = "at the scale|cannot|enlarges|gives|would be|a file of|no program|is no"
"""How the reasons of ``pipeline.srn`` begin."""
NONE = "-"
LATER = "not tried yet"
"""Of a run that was stopped."""
REFERENCE = "ESRGAN"
"""The network that times are compared with; its part is the first."""


def row(name: str, chosen: Choice, outcomes: Iterable[Outcome]) -> str:
    """The line of a network in one of the two tables.

    Args:
        name: Of the architecture.
        chosen: How it was built.
        outcomes: Of its parts, the steps first.

    """
    states = [one.state for one in outcomes]
    facts = {
        fact.name: fact.value
        for one in outcomes
        for fact in one.results
        if isinstance(fact, Fact)
    }  # fmt: skip
    faults = [_words(state) for state in states if state != MEASURED]
    if "times" not in facts:
        purpose = f"made for {MADE_FOR[name]}; " if name in MADE_FOR else ""
        return f"| {name} | {purpose}{faults[0] if faults else 'not tried'} |"
    cells = [
        name,
        chosen.named,
        f"{chosen.scale}",
        f"{_number(facts['parameters']):,.0f}",
        f"{_number(facts['step']):.2f}",
        f"{_number(facts['times']):.2f}",
        f"{_number(facts['memory']):,.0f}",
        f"{_number(facts['inference']):.2f}" if "inference" in facts else NONE,
        *(_formats(facts, faults) if len(states) > 1 else [LATER] * 4),
    ]
    return f"| {' | '.join(cells)} |"


def _formats(facts: Mapping[str, float | str], faults: list[str]) -> list[str]:
    return [
        _sides(facts),
        _onnx(facts, faults),
        _safe(facts, "fp16", FP16_BOUND, "{:.2g}"),
        _safe(facts, "bf16", BF16_BOUND, "{:.2%}"),
    ]


def _number(value: float | str) -> float:
    return float(value)


def _sides(facts: Mapping[str, float | str]) -> str:
    if "least" not in facts:
        return NONE
    least, multiple = _number(facts["least"]), _number(facts["multiple"])
    least_side = f"at least {least:.0f}" if least > 1 else "any"
    return f"multiples of {multiple:.0f}, {least_side}" if multiple > 1 else least_side


def _onnx(facts: Mapping[str, float | str], faults: list[str]) -> str:
    if "onnx" in facts:
        return f"{facts['onnx']}; {_number(facts['onnx difference']):.0e}"
    return f"no: {faults[-1]}" if faults else NONE


def _safe(facts: Mapping[str, float | str], name: str, bound: float, shown: str) -> str:
    if name not in facts:
        return NONE
    value = _number(facts[name])
    return f"{shown.format(value)}, {'safe' if value <= bound else 'not safe'}"


def _words(state: str) -> str:
    """What went wrong, without the names of error, network and options, nor bars of a table."""
    words = re.sub(r"^failed: (UserError: )?", "", state)
    words = re.sub(r"^architecture '[^']*'( with .*?)?:? (?=" + VERBS + ")", "", words)
    return words.replace("|", "/").rstrip(".")


def page(text: str, rows: Mapping[str, str], machine: str) -> str:
    """The page with new tables; rows of other networks that it has already stay.

    Args:
        text: The page as it is.
        rows: Lines by network.
        machine: Where they were measured.

    Raises:
        ValueError: The page has no place for the tables.

    """
    if BEGIN not in text or END not in text:
        raise ValueError(f"the page has no lines {BEGIN} and {END}")
    head, rest = text.split(BEGIN, 1)
    before, tail = rest.split(END, 1)
    lines = {_name(line): line for line in before.splitlines() if _name(line)} | dict(rows)
    tried = [line for _, line in sorted(lines.items()) if line.count(" | ") > 1]
    refused = [line for _, line in sorted(lines.items()) if line.count(" | ") == 1]
    blocks = [machine, "\n".join([*TRIED, *tried])]
    if refused:
        blocks.append("\n".join([*REFUSED, *refused]))
    return f"{head}{BEGIN}\n\n" + "\n\n".join(blocks) + f"\n\n{END}{tail}"


def _name(line: str) -> str:
    """The network of a line of a table; empty for heads and other text."""
    found = re.match(r"\| ([^|]+) \| ", line)
    return found[1] if found and found[1] != "network" else ""


def write(path: Path, rows: Mapping[str, str], machine: str) -> None:
    """Write the tables into a page; see ``page``."""
    path.write_text(page(path.read_text(encoding="utf-8"), rows, machine), encoding="utf-8")

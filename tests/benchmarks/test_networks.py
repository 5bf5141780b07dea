"""The table of networks: one row for every network of spandrel, and what the command measures."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from repository import ROOT
from spandrel import MAIN_REGISTRY

from benchmarks.gpu.results import MEASURED, Fact, Outcome
from benchmarks.gpu.run import Part, Setting, run_part
from benchmarks.networks.choices import CHOICES, MADE_FOR, Choice
from benchmarks.networks.command import main
from benchmarks.networks.table import BEGIN, END, page, row

HEAD = f"# Networks\n\nHand-written.\n\n{BEGIN}\n{END}\n\nMore.\n"
NAMES = {str(one.architecture.id) for one in MAIN_REGISTRY}


def rows(text: str) -> dict[str, list[str]]:
    """Cells of the rows between the marks, by network."""
    between = text.split(BEGIN)[1].split(END)[0]
    lines = [line for line in between.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return {first: rest for first, *rest in cells if first != "network"}


def test_the_page_has_every_network_of_spandrel() -> None:
    """Tried, with twelve columns, or with the reason why not."""
    found = rows((ROOT / "docs" / "networks.md").read_text())
    assert set(found) == NAMES
    assert set(CHOICES) | set(MADE_FOR) <= NAMES
    for name, cells in found.items():
        assert len(cells) in (1, 11), name
        assert cells[0] not in ("", "-"), name
        if len(cells) == 11:
            parameters, step, times, memory = (float(c.replace(",", "")) for c in cells[2:6])
            assert parameters > 1e5 and min(step, times, memory) > 0, name
            written = not cells[8].startswith("no: ")  # else there is no file to compute in float16
            assert ("-" not in cells[6:]) if written else cells[9] == "-", name


TRIED: dict[str, float | str] = {
    "parameters": 1234567.0, "step": 0.5, "times": 0.25, "memory": 99.6, "inference": 1.5,
    "multiple": 8.0, "least": 16.0, "onnx": "64x64 alone", "onnx difference": 2e-6,
    "bf16": 0.021, "fp16": 0.4,
}  # fmt: skip


def outcomes(facts: dict[str, float | str], state: str = MEASURED) -> list[Outcome]:
    return [Outcome("X", state, 1.0, [Fact(*one) for one in facts.items()])]


def test_a_row() -> None:
    shown = row("X", Choice({}, "its own", 2), outcomes(TRIED) + outcomes({}))
    assert shown == (
        "| X | its own | 2 | 1,234,567 | 0.50 | 0.25 | 100 | 1.50 | multiples of 8, at least 16 "
        "| 64x64 alone; 2e-06 | 0.4, safe | 2.10%, not safe |"
    )


def test_what_failed_costs_its_cells_alone() -> None:
    first = {key: TRIED[key] for key in ("parameters", "step", "times", "memory", "inference")}
    late = outcomes({"multiple": 1.0, "least": 1.0}, "over its limit of 9 s")
    cells = rows(page(HEAD, {"X": row("X", Choice(), outcomes(first) + late)}, "m"))["X"]
    assert cells[7:] == ["any", "no: over its limit of 9 s", "-", "-"]
    refused = outcomes(
        {}, "failed: UserError: architecture 'X' with a: 'b|c' enlarges by 1, not 4."
    )
    assert row("X", Choice(), refused) == "| X | enlarges by 1, not 4 |"
    stopped = rows(page(HEAD, {"X": row("X", Choice(), outcomes(first))}, "m"))["X"]
    assert stopped[7:] == ["not tried yet"] * 4
    assert row("LaMa", Choice(), refused) == "| LaMa | made for inpainting; enlarges by 1, not 4 |"
    killed = outcomes({"parameters": 3.0}, "failed: ended by SIGKILL")
    assert row("X", Choice(), killed) == "| X | failed: ended by SIGKILL |".replace("failed: ", "")


def test_other_rows_and_the_text_stay() -> None:
    first = page(HEAD, {"B": "| B | a | b |", "A": "| A | why |"}, "a machine.")
    again = page(first, {"C": "| C | c | d |", "A": "| A | now | tried |"}, "another.")
    assert rows(again) == {"A": ["now", "tried"], "B": ["a", "b"], "C": ["c", "d"]}
    assert list(rows(again)) == ["A", "B", "C"]
    assert again.startswith("# Networks\n\nHand-written.\n") and again.endswith("\n\nMore.\n")
    assert "a machine." not in again and "another." in again
    with pytest.raises(ValueError, match="the page has no lines"):
        page("# Networks", {}, "")


def test_memory_has_a_limit(tmp_path: Path) -> None:
    """A network that needs more ends alone, in words."""
    part = Part("large", "gpu_parts:takes", (3 * 2**30,), 60.0, memory=2048)
    outcome = run_part(part, Setting("tiny", "cpu", 1, tmp_path), 60.0, "spawn")
    assert outcome.state.startswith("failed: MemoryError")
    fits = Part("small", "gpu_parts:takes", (2**20,), 60.0, memory=2048)
    assert run_part(fits, Setting("tiny", "cpu", 1, tmp_path), 60.0, "spawn").state == MEASURED


@pytest.mark.slow
def test_the_command_on_two_tiny_networks(tmp_path: Path) -> None:
    out = tmp_path / "networks.md"
    out.write_text(HEAD)
    words = ["--networks", "--size", "tiny", "--out", str(out), "--network", "Compact"]
    done = CliRunner().invoke(main, [*words, "--network", "LaMa"])
    assert done.exit_code == 0, done.output
    found = rows(out.read_text())
    assert set(found) == {"ESRGAN", "Compact", "LaMa"}  # ESRGAN is what others are compared with
    options, scale, parameters, step, times, memory, _, sides, onnx, half, bf16 = found["Compact"]
    assert (options, scale, parameters) == (
        "6 channels",
        "2",
        "1,506",
    )  # 6 x 28 + 2 (6 x 55 + 6) + 12 x 55 + 6
    assert float(times) < 1 and float(step) < 1 and float(memory) > 0
    assert sides == "any" and re.fullmatch(r"any; \de-\d+", onnx)
    assert half.endswith(", safe") and bf16.endswith("%, safe")
    assert found["LaMa"][0].startswith("made for inpainting; cannot be built")
    refused = CliRunner().invoke(main, [*words, "--network", "NoSuchNet"])
    assert refused.exit_code == 2 and "spandrel has no network NoSuchNet" in refused.output

"""How much memory images may take."""

import psutil
import pytest
import torch
from pydantic import ValidationError

from pipeline.crops.memory import MachineSettings, allowed

CPU = torch.device("cpu")


def test_auto_is_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)  # it changes from call to call
    found = allowed(MachineSettings(memory="auto"), CPU)
    assert found.device == 0  # the CPU has no memory of its own
    assert found.host == free.available // 2


def test_a_number_is_in_gib_and_shared_by_the_processes() -> None:
    assert allowed(MachineSettings(memory=1.5), CPU).host == 1.5 * 2**30
    assert allowed(MachineSettings(memory=1.5), CPU, processes=3).host == 2**29


@pytest.mark.parametrize("memory", [0, -1.0, "all", None])
def test_no_other_words(memory: object) -> None:
    with pytest.raises(ValidationError):
        MachineSettings.model_validate({"memory": memory})

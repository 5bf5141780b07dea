"""The machine, in words."""

import os
import platform
from pathlib import Path

import torch


def hardware(device: torch.device) -> str:
    """Processor, cores, GPU and version of torch."""
    parts = [f"{processor()}, {os.cpu_count()} cores", f"torch {torch.__version__}"]
    if device.type == "cuda":
        parts.insert(1, torch.cuda.get_device_name(device))
    return "; ".join(parts)


def processor() -> str:
    """Model of the CPU."""
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

"""What several benchmarks need: where results go, the data of a folder, the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def annotations(folder: Path, split: str) -> tuple[str, str]:
    """The annotation file of a split and its folder of images."""
    for name in (f"annotations_{split}.json", f"annotation_example_{split}.json"):
        if (folder / name).exists():
            return str(folder / name), str(folder / split)
    raise SystemExit(f"{folder}: there is no annotations_{split}.json")


def machine() -> str:
    """Processor, cores, and the versions that matter."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, torch {version('torch')}, multibox {version('multibox')}"

"""What several benchmarks need: where results go, the data of a folder, the machine."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

from multibox.machine import processor, usable_cores

RESULTS = Path(__file__).parent / "results"


def annotations(folder: Path, split: str) -> tuple[str, str]:
    """The annotation file of a split and its folder of images."""
    for name in (f"annotations_{split}.json", f"annotation_example_{split}.json"):
        if (folder / name).exists():
            return str(folder / name), str(folder / split)
    raise SystemExit(f"{folder}: there is no annotations_{split}.json")


def machine() -> str:
    """Processor, cores, the graphics card if there is one, and the versions that matter."""
    parts = [processor(), f"{usable_cores()} cores", *graphics_cards()]
    return ", ".join([*parts, f"torch {version('torch')}", f"multibox {version('multibox')}"])


def graphics_cards() -> list[str]:
    """The names of NVIDIA's that trainings find here, without starting CUDA in this process."""
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []

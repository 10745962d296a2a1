"""What several benchmarks need: tables of results, the data of a folder, the machine."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from multibox.files import write_atomically
from multibox.machine import processor, usable_cores

RESULTS = Path(__file__).parent / "results"
"""Folder with one table for each benchmark: tab-separated, names of the columns first, a row for each measurement."""

_lock = threading.Lock()


def append(rows: Iterable[Mapping[str, Any]], table: Path) -> None:
    """Add rows to a table; a name that it does not have yet becomes its last column."""
    with _lock:
        known = read(table)
        names = list(dict.fromkeys(name for row in [*known, *rows] for name in row))
        table.parent.mkdir(parents=True, exist_ok=True)
        lines = ["\t".join(names), *("\t".join(_cell(row.get(name)) for name in names) for row in [*known, *rows])]
        write_atomically(table, "\n".join(lines) + "\n")


def read(table: Path) -> list[dict[str, Any]]:
    """The rows of a table, in the order in which they were measured; an empty cell is None. No file is no row."""
    if not table.exists():
        return []
    names, *rows = (line.split("\t") for line in table.read_text(encoding="utf-8")[:-1].split("\n"))
    return [{name: _value(cell) for name, cell in zip(names, row, strict=True)} for row in rows]


def flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Facts in facts as one row: `{"network": {"p50_ms": 2.5}}` has the column `network.p50_ms`."""
    row: dict[str, Any] = {}
    for name, value in facts.items():
        row |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return row


def annotations(folder: Path, split: str) -> tuple[str, str]:
    """The annotation file of a split and its folder of images."""
    for name in (f"annotations_{split}.json", f"annotation_example_{split}.json"):
        if (folder / name).exists():
            return str(folder / name), str(folder / split)
    raise SystemExit(f"{folder}: there is no annotations_{split}.json")


def circumstances() -> dict[str, str]:
    """The columns `machine` (processor, cores, graphics cards) and `versions` of a row that is measured now."""
    machine = [processor(), f"{usable_cores()} cores", *graphics_cards()]
    versions = [f"torch {version('torch')}", f"multibox {version('multibox')}"]
    return {"machine": ", ".join(machine), "versions": ", ".join(versions)}


def graphics_cards() -> list[str]:
    """The names of NVIDIA's that trainings find here, without starting CUDA in this process."""
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []


def _cell(value: Any) -> str:
    """Text as it is, numbers and lists as JSON, None as nothing."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(cell: str) -> Any:
    try:
        return json.loads(cell) if cell else None
    except ValueError:
        return cell

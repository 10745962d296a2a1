"""Prints what 8 bits cost and gain: AP, time and size of the files of several exports, side by side.

    python tools/compare_exports.py EXPORT_FOLDER EXPORT_FOLDER ...

AP is the one that each export's own check measured (export.json), in the arithmetic that the processor prefers; times
are measured here, all files taking turns.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from multibox.data.builtin_images import builtin_images
from multibox.data.images import read_image
from multibox.export.timing import median_ms
from multibox.runtime.openvino_runtime import OpenVINORuntime

FILES = ("model.xml", "alt_ssd_export/model.xml")


def main(folders: list[Path]) -> int:
    """Print the table; the exit code."""
    files = {f"{folder.name}/{name}": (folder, name) for folder in folders for name in FILES}
    runtimes = {key: OpenVINORuntime(folder / name) for key, (folder, name) in files.items()}
    times = median_ms(runtimes, read_image(builtin_images()[0]))
    table = Table()
    for heading in ("file", "weights", "AP", "ms", "MB"):
        table.add_column(heading, justify="left" if heading in {"file", "weights"} else "right")
    for key, (folder, name) in files.items():
        info = runtimes[key].info
        ap = _row(folder, name)["ap"]
        size = sum((folder / name).with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin")) / 1e6
        shown = "-" if ap is None else f"{100 * ap:.1f}"
        table.add_row(key, info.precision if info else "?", shown, f"{times[key]:.1f}", f"{size:.1f}")
    Console().print(table)
    return 0


def _row(folder: Path, name: str) -> dict[str, Any]:
    """The last row of a file: where the processor prefers an arithmetic of its own, that row comes after float32."""
    rows = json.loads((folder / "export.json").read_text(encoding="utf-8"))["rows"]
    of_file: list[dict[str, Any]] = [row for row in rows if row["form"]["file"] == name]
    return of_file[-1]


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))

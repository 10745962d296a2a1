"""How long commands take until they do what they are for, as ratios to a bare `import torch` in the same round.

    python benchmarks/start_up.py MODEL.xml FOLDER [--rounds 5]    MODEL.xml: an exported detector; FOLDER: a COCO set
    python benchmarks/start_up.py --table                          the recorded results as Markdown

`multibox --help` to its end; `multibox predict` to its end on one image, so that its first box is earlier; `multibox
train` to its end with one step on all images of the set, so that the first step is earlier: its annotations are
checked, the weights that come with the package are loaded, batch statistics measured, a checkpoint saved.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from common import RESULTS, annotations, append, circumstances, read  # the module beside this one

TABLE = RESULTS / "start_up.tsv"

MULTIBOX = [sys.executable, "-m", "multibox"]
BARE = "python -c 'import torch'"


def main() -> int:
    """Measure, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    if arguments.model is None or arguments.folder is None:
        parser.error("name an exported model and a COCO set, or --table")
    image = min(Path(annotations(arguments.folder, "val")[1]).glob("*.*"))
    ways: dict[str, Callable[[], float]] = {
        BARE: lambda: whole([sys.executable, "-c", "import torch"]),
        "multibox --help": lambda: whole([*MULTIBOX, "--help"]),
        "multibox predict, one image": lambda: whole(
            [*MULTIBOX, "predict", str(image), "--load-weights", str(arguments.model)]
        ),
        "multibox train, one step": lambda: first_step(arguments.folder),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds + 1):
        for name, run in ways.items():
            seconds[name].append(run())
    facts = {"date": date.today().isoformat(), **circumstances()}
    # The first round warms up: files of libraries come from the disk.
    measured = {name: [round(value, 3) for value in values[1:]] for name, values in seconds.items()}
    append([{**facts, "what": name, "seconds": values} for name, values in measured.items()], TABLE)
    print(table())
    return 0


def whole(command: list[str]) -> float:
    """Seconds of a process."""
    started_at = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_at


def first_step(folder: Path) -> float:
    """Seconds of a training of one step on all images of a set, with its checks and the weights that it saves."""
    file, root = annotations(folder, "train")
    with tempfile.TemporaryDirectory() as work:
        return whole(
            [
                *(
                    *MULTIBOX,
                    "train",
                    "--model",
                    "yolox_nano-384x384",
                    "--train-ann-files",
                    file,
                    "--train-data-roots",
                    root,
                ),
                # A budget that is over before the first step: one is done.
                *("--save-checkpoints-to", f"{work}/run", "--time-budget", "0.001"),
            ]
        )


def table() -> str:
    """All recorded results, one row each."""
    rows = ["| date | what | seconds | times `import torch` (of each round) |", "|---|---|---|---|"]
    bare: list[float] = []
    for r in read(TABLE):
        if r["what"] == BARE:  # the first row of a run
            bare = r["seconds"]
        ratios = sorted(value / base for value, base in zip(r["seconds"], bare, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        rows.append(f"| {r['date']} | `{r['what']}` | {statistics.median(r['seconds']):.2f} | {spread} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())

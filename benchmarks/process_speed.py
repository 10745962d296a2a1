"""How fast several processes on one processor train, as ratios to one process in the same round.

    python benchmarks/process_speed.py FOLDER [--processes 1,2,4] [--model yolox_nano-256x256] [--batch 16] [--rounds 3]
    python benchmarks/process_speed.py --table

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json. Each number of processes trains two epochs
with the same images per step in all; the second epoch counts. Rounds take turns, so that a slow minute slows all alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from common import RESULTS, annotations, append, circumstances, read  # the module beside this one

TABLE = RESULTS / "process_speed.tsv"


def main() -> int:
    """Measure, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--model", default="yolox_nano-256x256")
    parser.add_argument("--batch", type=int, default=16, help="images per step of all processes together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    if arguments.folder is None:
        parser.error("name a COCO set, or --table")
    counts = [int(count) for count in arguments.processes.split(",")]
    speeds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(arguments.rounds):
        for count in counts:
            speeds[count].append(images_per_second(arguments, count))
    facts = {"date": date.today().isoformat(), **circumstances(), "data": arguments.folder.resolve().name}
    facts |= {"model": arguments.model, "batch": arguments.batch}
    append(({**facts, "processes": count, "images_per_second": speeds[count]} for count in counts), TABLE)
    print(table())
    return 0


def images_per_second(arguments: argparse.Namespace, count: int) -> float:
    """Of the second epoch of a training in so many processes.

    Raises:
        SystemExit: it failed.
    """
    train_files, val_files = annotations(arguments.folder, "train"), annotations(arguments.folder, "val")
    with tempfile.TemporaryDirectory() as work:
        command = [
            *(sys.executable, "-m", "multibox", "train", "--config", arguments.model, "--device", "cpu"),
            *("--train-ann-files", train_files[0], "--train-data-roots", train_files[1]),
            *("--val-ann-files", val_files[0], "--val-data-roots", val_files[1]),
            *("--gpu-num", str(count), "--batch-size", str(arguments.batch // count), "--epochs", "2"),
            *("--save-checkpoints-to", work),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
        last = (Path(work) / "metrics.jsonl").read_text().splitlines()[-1]
    return round(float(json.loads(last)["images_per_second"]), 1)


def table() -> str:
    """A row for each number of processes: the median speed, and the median ratio of the rounds to the first number."""
    rows = [
        "| date | data | model | images per step | processes | images/s | times one process, of each round |",
        "|---|---|---|---|---|---|---|",
    ]
    first: list[float] = []
    for r in read(TABLE):
        speeds = r["images_per_second"]
        first = speeds if r["processes"] == 1 else first
        ratios = [speed / one for speed, one in zip(speeds, first, strict=False)]
        facts = [r["date"], r["data"], r["model"], str(r["batch"]), str(r["processes"])]
        facts.append(f"{statistics.median(speeds):.1f}")
        facts.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "-")
        rows.append("| " + " | ".join(facts) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())

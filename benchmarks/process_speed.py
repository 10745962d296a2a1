"""How fast several processes on one processor train, as ratios to one process in the same round.

    python benchmarks/process_speed.py FOLDER [--processes 1,2,4] [--model yolox_nano-256x256] [--batch 16] [--rounds 3]
    python benchmarks/process_speed.py --table

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json. Each number of processes trains three short
epochs with the same images per step in all, and shares the cores; the median epoch counts. Rounds take turns, so that a
slow minute slows all alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path

import yaml

from common import RESULTS, append, circumstances, read  # the modules beside this one
from multibox.config import bundled_templates
from trainings import Training, threads_of_each

TABLE = RESULTS / "process_speed.tsv"

EPOCHS, STEPS = 3, 10
"""Of each training: epochs, and the steps of one on a small set."""


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
    append([{**facts, "processes": count, "images_per_second": speeds[count]} for count in counts], TABLE)
    print(table())
    return 0


def images_per_second(arguments: argparse.Namespace, count: int) -> float:
    """The median over the epochs of a training in so many processes, of which the first may be slower."""
    template = yaml.safe_load(Path(bundled_templates()[arguments.model]).read_text())
    template["train"]["schedule"]["min_steps_per_epoch"] = STEPS
    template["hyper_parameters"]["basic"]["epochs"] = EPOCHS
    template["tensorboard"] = False
    options = ("--device", "cpu", "--gpu-num", str(count), "--batch-size", str(arguments.batch // count))
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "template.yaml"
        file.write_text(yaml.safe_dump(template, sort_keys=False))
        training = Training(arguments.folder, str(file), "bundled", 0, None, threads_of_each(count), options=options)
        return float(training.run()["images_per_second"])


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

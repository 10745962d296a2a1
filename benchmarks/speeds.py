"""All speeds of the toy set in one run and one table of ratios: what `make bench` runs, in seven minutes.

    python benchmarks/speeds.py [--data data/airport] [--work runs/bench]

Each line compares two things that took turns in this run; what slows the machine slows both. The scripts add their rows
to `results/`, as they do when they are run by themselves; what they print is in WORK/log.txt.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import RESULTS, annotations, read  # the module beside this one
from start_up import BARE

HERE = Path(__file__).parent


class Line(NamedTuple):
    """One line of the table: what was measured, its median with unit, and the ratios to something else."""

    what: str
    measured: str
    ratio: str
    times: str


def main() -> int:
    """Run everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/airport"))
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    began_at = time.monotonic()
    before = {name: len(read(RESULTS / f"{name}.tsv")) for name in LINES}
    with (arguments.work / "log.txt").open("w", encoding="utf-8") as log:
        for command in commands(arguments.data, arguments.work):
            print(" ".join([Path(command[0]).name, *command[1:]]), flush=True)
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode:
                print(f"This failed; {log.name} says why.", file=sys.stderr)
                return 1
    new = {name: read(RESULTS / f"{name}.tsv")[count:] for name, count in before.items()}
    lines = [line for name, lines_of in LINES.items() for line in lines_of(new[name])]
    print(table(lines))
    print(f"{(time.monotonic() - began_at) / 60:.0f} minutes.")
    return 0


def commands(data: Path, work: Path) -> Iterator[list[str]]:
    """What is run, in turn."""
    train_file, train_root = annotations(data, "train")
    program = [sys.executable, "-m", "multibox"]
    yield [
        *(*program, "train", "--config", "yolox_nano-256x256", "--train-ann-files", train_file),
        *("--train-data-roots", train_root, "--epochs", "1", "--save-checkpoints-to", str(work / "run")),
    ]
    exported = work / "export"
    yield [
        *(*program, "export", "--load-weights", str(work / "run" / "latest.pth")),
        *("--save-model-to", str(exported), "--no-onnx"),
    ]
    train_speed = ["train_speed.py", str(data), "--start", "bundled-classifier", "--steps", "12", "--rounds", "2"]
    for script in (
        train_speed,
        ["train_speed.py", str(data), "--start", "bundled-classifier", "--ceiling"],
        [*train_speed, "--cache"],
        ["train_speed.py", "--parts"],
        ["process_speed.py", str(data), "--processes", "1,2", "--rounds", "2"],
        ["eval_speed.py", str(exported / "model.xml"), str(data / "val"), "--rounds", "3"],
        ["start_up.py", str(exported / "model.xml"), str(data), "--rounds", "3"],
        ["family_speed.py", "--sizes", "256", "--images", str(data / "val"), "--rounds", "40"],
    ):
        yield [sys.executable, str(HERE / script[0]), *script[1:]]


def training(rows: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """The lines of `train_speed.py`."""
    bases: dict[str, list[float]] = {}
    for row in rows:
        kind, speeds, way = row["kind"], row["images_per_second"], row["way"]
        first = bases.setdefault(kind, speeds)
        measured = f"{statistics.median(speeds):.1f} images/s"
        if kind == "trainings":
            yield Line(f"train an SSD: {way}", measured, ratio(speeds, first), "a plain loop")
        elif kind == "ceiling":
            ready = row["ready_batch_images_per_second"]
            yield Line(f"an epoch of an SSD, {way}", measured, ratio(speeds, ready), "steps on a batch that is ready")
        elif kind == "cache":
            yield Line(f"an epoch, images in memory: {way}", measured, ratio(speeds, first), "all images in memory")
        elif kind == "parts":
            yield Line(way, measured, ratio(speeds, row["torch_images_per_second"]), "PyTorch's own")


def processes(rows: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """The lines of `process_speed.py`."""
    for row in rows:
        speeds = row["images_per_second"]
        what = f"train a YOLOX-Nano in several processes: {row['processes']}"
        measured = f"{statistics.median(speeds):.1f} images/s"
        yield Line(what, measured, ratio(speeds, rows[0]["images_per_second"]), "one process")


def evaluation(rows: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """The lines of `eval_speed.py`."""
    for row in rows:
        measured = f"{statistics.median(row['evaluation']):.1f} images/s"
        what = f"evaluate an exported YOLOX-Nano in {row['computes_in']}"
        yield Line(what, measured, ratio(row["evaluation"], row["network"]), "the network alone")


def starts(rows: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """The lines of `start_up.py`."""
    bare = next((row["seconds"] for row in rows if row["what"] == BARE), [])
    for row in rows:
        if row["what"] != BARE:
            measured = f"{statistics.median(row['seconds']):.2f} s"
            yield Line(row["what"], measured, ratio(bare, row["seconds"]), "import torch")


def files(rows: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """The lines of `family_speed.py`."""
    for row in rows:
        # It compares times.
        fastest, median, slowest = (1 / row[f"ratio.{name}"] for name in ("lower", "median", "upper"))
        measured = f"{row['processor_ms']:.2f} ms of a core"
        what = f"one image through {row['name']}, in {row['computes_in']}"
        yield Line(what, measured, f"{median:.2f} ({slowest:.2f} to {fastest:.2f})", "the SSD in the same arithmetic")


def ratio(speeds: Sequence[float], others: Sequence[float]) -> str:
    """Median of the ratios of the rounds, and their range."""
    of_rounds = sorted(one / other for one, other in zip(speeds, others, strict=True))
    return f"{statistics.median(of_rounds):.2f} ({of_rounds[0]:.2f} to {of_rounds[-1]:.2f})"


def table(lines: Sequence[Line]) -> str:
    """The lines as Markdown."""
    rows = ["| what | median | times as fast (of each round) | as |", "|---|---|---|---|"]
    return "\n".join([*rows, *("| " + " | ".join(line) + " |" for line in lines)])


LINES = {
    "train_speed": training,
    "process_speed": processes,
    "eval_speed": evaluation,
    "start_up": starts,
    "family_speed": files,
}
"""Names of the tables in results/, with the function that makes lines of their rows."""


if __name__ == "__main__":
    sys.exit(main())

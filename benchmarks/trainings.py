"""One training as a user starts it, in a process of its own, and what came of it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from common import annotations, append, circumstances, read  # the module beside this one
from multibox.machine import usable_cores


@dataclass(frozen=True)
class Training:
    """What is trained: `config` is a template's name or file, `start` what --load-weights takes, `minutes` a budget."""

    folder: Path
    config: str
    start: str
    seed: int
    minutes: float | None
    threads: int
    classes: str = ""
    options: tuple[str, ...] = ()

    @property
    def name(self) -> dict[str, Any]:
        """The columns of a table that tell this training from others with its settings."""
        return {"data": self.folder.resolve().name, "start": Path(self.start).stem, "seed": self.seed}

    def run(self) -> dict[str, Any]:
        """Train, and say how that went and under what circumstances.

        Raises:
            SystemExit: it failed; its last words are in the message.
        """
        train_files, val_files = annotations(self.folder, "train"), annotations(self.folder, "val")
        with tempfile.TemporaryDirectory() as work:
            command = [
                *(sys.executable, "-m", "multibox", "train", "--verbose", "--config", self.config),
                *("--train-ann-files", train_files[0], "--train-data-roots", train_files[1]),
                *("--val-ann-files", val_files[0], "--val-data-roots", val_files[1]),
                *("--load-weights", self.start, "--seed", str(self.seed), "--save-checkpoints-to", work),
                *(("--time-budget", str(self.minutes)) if self.minutes else ()),
                *(("--classes", self.classes) if self.classes else ()),
                *self.options,
            ]
            started_at = time.monotonic()
            environment = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            minutes = (time.monotonic() - started_at) / 60
            if done.returncode:
                raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
            log = [json.loads(line) for line in (Path(work) / "metrics.jsonl").read_text().splitlines()]
        validated = [line for line in log if line["ap"] is not None]
        best = max(validated, key=lambda line: line["ap"])
        return {
            **circumstances(),
            **self.name,
            "tried": [line for line in done.stdout.splitlines() if ", the better one after " in line],
            **{"classes": self.classes, "threads": self.threads, "budget": self.minutes},
            **{"minutes": round(minutes, 1), "steps": log[-1]["step"], "loss": round(log[-1]["loss"], 3)},
            "images_per_second": round(statistics.median(line["images_per_second"] for line in log), 1),
            **{name: round(validated[-1][name], 4) for name in ("ap", "ap50")},
            **{f"best_{name}": round(best[name], 4) for name in ("ap", "ap50")},
            # Minutes since the start of the command, AP, AP50.
            "curve": [
                [round(line["seconds"] / 60, 2), round(line["ap"], 4), round(line["ap50"], 4)] for line in validated
            ],
        }


def template_name(model: str) -> str:
    """The name of the template that `--model` means: by itself, or by the size of an SSD."""
    return f"mobilenet_v2-2s_ssd-{model}x{model}" if model.isdigit() else model


def threads_of_each(jobs: int) -> int:
    """The threads that each of some trainings side by side gets."""
    return max(1, usable_cores() // jobs)


def run_side_by_side(jobs: int, runs: Iterable[Callable[[], None]]) -> None:
    """Call each of `runs`, some at a time. The first that fails ends it, once those under way are through."""
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda run: run(), runs))


def record_once(table: Path, known: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
    """Add what `measure` returns to a table, unless it has a row with these values of `known` already."""
    rows = read(table)
    # A table does not tell the number 256 from the text.
    if any(all(value in (row.get(name), str(row.get(name))) for name, value in known.items()) for row in rows):
        return
    row = {"date": date.today().isoformat(), **known, **measure()}
    append([row], table)
    print(f"{', '.join(map(str, known.values()))}: AP {row['ap']:.3f} AP50 {row['ap50']:.3f}", flush=True)

"""How good a detector becomes in some minutes of a processor with the defaults, and how soon it is nearly as good.

    python benchmarks/accuracy.py FOLDER... [--model 256] [--start bundled] [--minutes 15] [--seeds 0,1] [--jobs 2]
    python benchmarks/accuracy.py --table          the recorded results as Markdown

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json (or annotation_example_*.json). Each training
is `multibox train` in a process of its own; with `--jobs`, several run side by side with one thread each. The minutes
are those of the whole command: reading, trial of starts, validations. What is recorded is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
USABLE = 0.9  # of the last AP


def main() -> int:
    """Train what is not recorded yet, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--model", default="256", choices=["256", "384", "512"])
    parser.add_argument("--start", default="bundled", help="weights to start from")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--classes", default="")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    if not arguments.folders:
        parser.error("name folders, or --table")
    RESULTS.mkdir(exist_ok=True)
    runs = [(folder, seed) for seed in map(int, arguments.seeds.split(",")) for folder in arguments.folders]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda run: run_once(*run, arguments), runs))
    return 0


def run_once(folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    """Train, and record how it went, unless that is done."""
    start, data = Path(arguments.start).stem, folder.resolve().name
    one_thread = "-one-thread" if arguments.jobs > 1 else ""
    name = f"accuracy-{data}-{arguments.model}-{start}-{arguments.minutes:g}min{one_thread}-{seed}"
    if not list(RESULTS.glob(f"*-{name}.json")):
        result = measure(folder, seed, arguments)
        (RESULTS / f"{result['date']}-{name}.json").write_text(json.dumps(result) + "\n")
        print(f"{name}: AP {result['ap']:.3f} AP50 {result['ap50']:.3f}", flush=True)


def measure(folder: Path, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, and say how that went and under what circumstances."""
    train_files, val_files = annotations(folder, "train"), annotations(folder, "val")
    with tempfile.TemporaryDirectory() as work:
        command = [
            *(sys.executable, "-m", "multibox", "train"),
            *("--config", f"mobilenet_v2-2s_ssd-{arguments.model}x{arguments.model}"),
            *("--train-ann-files", train_files[0], "--train-data-roots", train_files[1]),
            *("--val-ann-files", val_files[0], "--val-data-roots", val_files[1]),
            *("--load-weights", arguments.start, "--seed", str(seed)),
            *("--save-checkpoints-to", work, "--time-budget", str(arguments.minutes)),
            *(("--classes", arguments.classes) if arguments.classes else ()),
        ]
        started_at = time.monotonic()
        threads = {"OMP_NUM_THREADS": "1"} if arguments.jobs > 1 else {}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | threads)
        minutes = (time.monotonic() - started_at) / 60
        log = [json.loads(line) for line in (Path(work) / "metrics.jsonl").read_text().splitlines()]
    tried = [line for line in done.stdout.splitlines() if line.startswith("Tried for")]
    validated = [line for line in log if line["ap"] is not None]
    best = max(validated, key=lambda line: line["ap"])
    return {
        **{"date": date.today().isoformat(), "data": folder.resolve().name, "model": arguments.model},
        **{"start": Path(arguments.start).stem, "tried": tried, "classes": arguments.classes, "seed": seed},
        "threads": 1 if arguments.jobs > 1 else os.cpu_count(),
        **{"budget": arguments.minutes, "minutes": round(minutes, 1), "steps": log[-1]["step"]},
        "images_per_second": round(statistics.median(line["images_per_second"] for line in log), 1),
        **{name: round(validated[-1][name], 4) for name in ("ap", "ap50")},
        **{f"best_{name}": round(best[name], 4) for name in ("ap", "ap50")},
        "curve": [[round(line["seconds"] / 60, 2), round(line["ap"], 4), round(line["ap50"], 4)] for line in validated],
        "machine": machine(),
    }


def annotations(folder: Path, split: str) -> tuple[str, str]:
    """The annotation file of a split and its folder of images."""
    for name in (f"annotations_{split}.json", f"annotation_example_{split}.json"):
        if (folder / name).exists():
            return str(folder / name), str(folder / split)
    raise SystemExit(f"{folder}: there is no annotations_{split}.json")


def machine() -> str:
    """Processor, cores, and the versions that matter."""
    from importlib.metadata import version

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, torch {version('torch')}, multibox {version('multibox')}"


def table() -> str:
    """One row per set, model and start: means over seeds, with the lowest and the highest."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*-accuracy-*min*-[0-9].json")):
        r = json.loads(path.read_text())
        key = (r["data"], r["model"], r["start"], f"{r['budget']:g}", str(r["threads"]))
        groups.setdefault(key, []).append(r)
    rows = [
        "| data | model | start | minutes | threads | seeds | steps | AP last | AP50 last | AP50 best | to 0.9 AP |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in sorted(groups):
        runs = groups[key]
        facts = [*key, str(len(runs)), f"{statistics.mean(r['steps'] for r in runs):.0f}"]
        facts += [spread([r[name] for r in runs], 3) for name in ("ap", "ap50", "best_ap50")]
        facts.append(spread([minutes_to_usable(r) for r in runs], 1))
        rows.append("| " + " | ".join(facts) + " |")
    return "\n".join(rows)


def minutes_to_usable(result: dict[str, Any]) -> float:
    """From the start of the command to the first validation with nearly the last AP."""
    return next(float(minutes) for minutes, ap, _ in result["curve"] if ap >= USABLE * result["ap"])


def spread(values: list[float], digits: int) -> str:
    """Mean, and the range if there are several."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())

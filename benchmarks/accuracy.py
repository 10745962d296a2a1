"""How good a detector becomes: train on a COCO folder for some minutes, evaluate, and record a dated result.

    python benchmarks/accuracy.py FOLDER [--model 256] [--start FILE] [--minutes 15] [--seed 0] [--classes A,B]
    python benchmarks/accuracy.py --table          the recorded results as Markdown

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json (or annotation_example_*.json). Training and
evaluation run as a user would run them, in processes of their own; the minutes are those of the whole training command.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run one training, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", default="256", choices=["256", "384", "512"])
    parser.add_argument("--start", default="", help="weights to start from; default: random")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classes", default="")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    if arguments.folder is None:
        parser.error("name a folder, or --table")
    result = measure(arguments)
    RESULTS.mkdir(exist_ok=True)
    name = f"{result['date']}-accuracy-{result['data']}-{result['model']}-{result['start_kind']}-{result['seed']}.json"
    (RESULTS / name).write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Train, evaluate the last and the best weights, and say under what circumstances."""
    train_files, val_files = annotations(arguments.folder, "train"), annotations(arguments.folder, "val")
    classes = ["--classes", arguments.classes] if arguments.classes else []
    with tempfile.TemporaryDirectory() as work:
        output = Path(work) / "outputs"
        command = [
            *("train", "--config", f"mobilenet_v2-2s_ssd-{arguments.model}x{arguments.model}"),
            *("--train-ann-files", train_files[0], "--train-data-roots", train_files[1]),
            *("--val-ann-files", val_files[0], "--val-data-roots", val_files[1]),
            *("--save-checkpoints-to", str(output), "--time-budget", str(arguments.minutes)),
            *("--seed", str(arguments.seed), *classes),
            *(("--load-weights", arguments.start) if arguments.start else ()),
        ]
        started_at = time.monotonic()
        run(command)
        minutes = (time.monotonic() - started_at) / 60
        log = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        metrics = {}
        for kind in ("latest", "best"):
            path = Path(work) / f"{kind}.yaml"
            run(
                [
                    *("eval", "--load-weights", str(output / f"{kind}.pth"), "--save-metrics-to", str(path)),
                    *("--test-ann-files", val_files[0], "--test-data-roots", val_files[1]),
                ]
            )
            metrics[kind] = json.loads(path.with_suffix(".json").read_text())["metrics"]
    return {
        "date": date.today().isoformat(),
        "data": arguments.folder.resolve().name,
        "model": arguments.model,
        "start": Path(arguments.start).name or "random weights",
        "start_kind": "pretrained" if arguments.start else "random",
        "seed": arguments.seed,
        "minutes": round(minutes, 1),
        "steps": log[-1]["step"],
        "images_per_second": round(sum(line["images_per_second"] for line in log) / len(log), 1),
        **{f"{kind}_{name}": round(found[name], 4) for kind, found in metrics.items() for name in ("ap", "ap50")},
        "machine": machine(),
    }


def annotations(folder: Path, split: str) -> tuple[str, str]:
    """The annotation file of a split and its folder of images."""
    for name in (f"annotations_{split}.json", f"annotation_example_{split}.json"):
        if (folder / name).exists():
            return str(folder / name), str(folder / split)
    raise SystemExit(f"{folder}: there is no annotations_{split}.json")


def run(arguments: list[str]) -> None:
    """Run a multibox command; stop if it fails."""
    subprocess.run([sys.executable, "-m", "multibox", *arguments], check=True)


def machine() -> str:
    """Processor, cores, and the versions that matter."""
    import os
    from importlib.metadata import version

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, torch {version('torch')}, multibox {version('multibox')}"


def table() -> str:
    """All recorded results, one row each."""
    rows = [
        "| date | data | model | start | seed | minutes | steps | img/s | AP / AP50 last | AP / AP50 best |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(RESULTS.glob("*-accuracy-*.json")):
        r = json.loads(path.read_text())
        scores = [f"{r[f'{kind}_ap']:.3f} / {r[f'{kind}_ap50']:.3f}" for kind in ("latest", "best")]
        facts = (
            r[name] for name in ("date", "data", "model", "start", "seed", "minutes", "steps", "images_per_second")
        )
        rows.append("| " + " | ".join([*map(str, facts), *scores]) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())

"""How long commands take until they do what they are for, as ratios to a bare `import torch` in the same round.

    python benchmarks/start_up.py MODEL.xml FOLDER [--rounds 5]    MODEL.xml: an exported detector; FOLDER: a COCO set
    python benchmarks/start_up.py --table                          the recorded results as Markdown

`multibox --help` to its end; `multibox predict` to its end on one image, so that its first box is earlier; `multibox
train` to its end with 16 images and one step, so that the first step is earlier: the weights that come with the package
are loaded, anchors fitted, batch statistics measured, a checkpoint saved.
"""

from __future__ import annotations

import argparse
import json
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
    """Seconds of a training of one step, the weights that it saves included."""
    from multibox import config
    from multibox.config import bundled_templates

    template = config.load_template(bundled_templates()["mobilenet_v2-2s_ssd-256x256"])
    batch_size = template.hyper_parameters.basic.batch_size
    changed = config.changed(template, {"train.schedule.min_steps_per_epoch": 1})
    file, root = annotations(folder, "train")
    content = json.loads(Path(file).read_text())
    content["images"] = content["images"][:batch_size]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in kept]
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "template.yaml").write_text(config.dump(changed))
        (Path(work) / "train.json").write_text(json.dumps(content))
        return whole(
            [
                *(*MULTIBOX, "train", "--config", f"{work}/template.yaml", "--load-weights", "bundled"),
                *("--train-ann-files", f"{work}/train.json", "--train-data-roots", root),
                *("--save-checkpoints-to", work, "--epochs", "1"),
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

"""Which of the package's two starts a short trial takes, by AP and by AP50, and how that changes with its length.

    python benchmarks/start_trials.py FOLDER... [--seeds 0,1,2,3] [--steps 60,120] [--model 256]
    python benchmarks/start_trials.py --table      the recorded results as Markdown

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json (or annotation_example_*.json). Each trial is
that of `multibox train`, of each start. What they lead to after a whole training is in recipe.py's table. What is
recorded is not done again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from common import RESULTS, annotations, circumstances, read  # the modules beside this one
from multibox import config
from multibox.config import Template, bundled_templates
from multibox.data import coco
from multibox.train.brief import brief_training
from multibox.train.trial import MAX_IMAGES, num_steps
from multibox.weights.bundled import KINDS
from multibox.weights.start import open_starting_point
from trainings import record_once

TABLE = RESULTS / "start_trials.tsv"


def main() -> int:
    """Try what is not recorded yet, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--seeds", default="0,1,2,3")
    parser.add_argument("--steps", default="", help="of each trial, with commas between; those of train unless told")
    parser.add_argument("--model", default="256", choices=["256", "384", "512"])
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    if not arguments.folders:
        parser.error("name folders, or --table")
    for folder in arguments.folders:
        for seed in map(int, arguments.seeds.split(",")):
            for steps in map(int, arguments.steps.split(",")) if arguments.steps else [of_train(arguments.model)]:
                for kind in KINDS:
                    run_once(folder, arguments.model, kind, seed=seed, steps=steps)
    return 0


def template_of(model: str) -> Template:
    """The SSD's template of that size."""
    return config.load_template(bundled_templates()[f"mobilenet_v2-2s_ssd-{model}x{model}"])


def of_train(model: str) -> int:
    """Number of steps of each trial of `multibox train`."""
    return num_steps(template_of(model).hyper_parameters.basic.batch_size)


def run_once(folder: Path, model: str, kind: str, *, seed: int, steps: int) -> None:
    """Train one start for so many steps, and record how it went, unless that is done."""
    data = folder.resolve().name

    def measure() -> dict[str, Any]:
        template = template_of(model)
        train_file, train_root = annotations(folder, "train")
        val_file, val_root = annotations(folder, "val")
        val_data = coco.read([val_file], [val_root]).evenly(MAX_IMAGES)
        start = open_starting_point(f"bundled-{kind}", template)
        train_data = coco.read([train_file], [train_root])
        with brief_training(template, train_data, steps=steps, start=start, val_data=val_data, seed=seed) as result:
            assert result.metrics is not None
            scores = {"ap": round(result.metrics.ap or 0.0, 4), "ap50": round(result.metrics.ap50 or 0.0, 4)}
        return scores | circumstances()

    record_once(TABLE, {"data": data, "model": model, "kind": kind, "seed": seed, "steps": steps}, measure)


def table() -> str:
    """One row per set, model and length: how often each start was ahead, and by how much."""
    trials: dict[tuple[str, str, int], dict[int, dict[str, dict[str, Any]]]] = {}
    for r in read(TABLE):
        trials.setdefault((r["data"], str(r["model"]), r["steps"]), {}).setdefault(r["seed"], {})[r["kind"]] = r
    rows = [
        "| data | model | steps | seeds | classifier AP / AP50 | detector AP / AP50 | classifier by AP | by AP50 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (data, model, steps), seeds in sorted(trials.items()):
        pairs = [by_kind for by_kind in seeds.values() if len(by_kind) == len(KINDS)]
        means = [
            " / ".join(f"{sum(pair[kind][name] for pair in pairs) / len(pairs):.3f}" for name in ("ap", "ap50"))
            for kind in ("classifier", "detector")
        ]
        taken = [
            f"{sum(pair['classifier'][name] >= pair['detector'][name] for pair in pairs)} of {len(pairs)}"
            for name in ("ap", "ap50")
        ]
        rows.append("| " + " | ".join([data, model, str(steps), str(len(pairs)), *means, *taken]) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())

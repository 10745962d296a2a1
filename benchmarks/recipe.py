"""What each choice of the training recipe is worth: the default against changes of it, on several sets and seeds.

    python benchmarks/recipe.py FOLDER... [--variants default,no-crop] [--seeds 0,1] [--steps 840 | --minutes 15]
                                          [--model 256 | --model yolox_nano-384x384] [--start FILE] [--jobs 2]
    python benchmarks/recipe.py --list             the variants and what they change
    python benchmarks/recipe.py --table            the recorded results as Markdown

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json (or annotation_example_*.json). Each run is
`multibox train` in a process of its own, with its share of the processor if `--jobs` run side by side. Equal steps
compare recipes whatever else the machine does; equal minutes are what users have. A run that is recorded is not done
again.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from common import RESULTS, circumstances, read  # the modules beside this one
from multibox.config import bundled_templates
from trainings import Training, record_once, run_side_by_side, template_name, threads_of_each

TABLE = RESULTS / "recipe.tsv"

VALIDATIONS = 7

STEP_IMAGES = 16
"""Number of images of a step of `--steps`, whatever the batch: runs are compared that see as many images."""

# Keys of the template and their other values; everything else stays as it is.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "learnt-balance": {"train.loss.learn_balance": True},
    "match-0.5": {"train.loss.match_iou_threshold": 0.5},
    "match-0.6": {"train.loss.match_iou_threshold": 0.6},
    "negatives-1": {"train.loss.negatives_per_positive": 1.0},
    "negatives-6": {"train.loss.negatives_per_positive": 6.0},
    "object-exponent-1": {"train.loss.object_exponent": 1.0},
    "object-exponent-0": {"train.loss.object_exponent": 0.0},
    "frozen-4": {"train.frozen_stride": 4},
    "frozen-16": {"train.frozen_stride": 16},
    "frozen-0": {"train.frozen_stride": 0},
    "given-anchors": {"train.anchor_clustering.enabled": False},
    "no-crop": {"train.augment.crop": None},
    "crop-0.3": {"train.augment.crop.min_side": 0.3},
    "crop-0.5": {"train.augment.crop.min_side": 0.5},
    "no-colours": {"train.augment.photometric": None},
    "no-permuted-channels": {"train.augment.photometric.permute_channels": 0.0},
    "no-flip": {"train.augment.flip": 0.0},
    "no-mosaics": {"train.augment.mosaic": None},
    "all-mosaics": {"train.augment.mosaic.share": 1.0},
    "mosaics-to-the-end": {"train.augment.mosaic.until": 1.0},
    "shrink-all": {"train.augment.mosaic.min_object_px": 0.0},
    "no-mosaics-frozen-4": {"train.augment.mosaic": None, "train.frozen_stride": 4},
    "no-mosaics-object-exponent-0": {"train.augment.mosaic": None, "train.loss.object_exponent": 0.0},
    "no-mosaics-object-exponent-1": {"train.augment.mosaic": None, "train.loss.object_exponent": 1.0},
    "200-candidates": {"postprocess.max_per_class": 200},
    "ema-0.999": {"train.ema_decay": 0.999},
    "weight-decay-0.05": {"train.weight_decay": 0.05},
    # Of an SSD: as the templates had it before AdamW, and other rates.
    "sgd": {
        "train.optimizer": "sgd",
        "hyper_parameters.basic.base_learning_rate": 0.02,
        "hyper_parameters.basic.batch_size": 16,
    },
    "rate-0.001": {"hyper_parameters.basic.base_learning_rate": 0.001},
    "rate-0.004": {"hyper_parameters.basic.base_learning_rate": 0.004},
    # Of yolox_nano.
    "crop-0.1": {"train.augment.crop.min_side": 0.1},
    "mosaics-until-0.7": {"train.augment.mosaic.until": 0.7},
    "rate-0.5x-adamw": {"hyper_parameters.basic.base_learning_rate": 0.0005},
    "rate-2x-adamw": {"hyper_parameters.basic.base_learning_rate": 0.002},
    "frozen-8": {"train.frozen_stride": 8},
    "box-weight-10": {"train.loss.box_weight": 10.0},
    "places-20": {"train.loss.num_places": 20},
    "batch-16": {"hyper_parameters.basic.batch_size": 16},
    # For a graphics card: the rate grows with the square root of the batch, as AdamW's does.
    "batch-64": {"hyper_parameters.basic.batch_size": 64, "hyper_parameters.basic.base_learning_rate": 0.0028},
}


def main() -> int:
    """Run what is not recorded yet, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--variants", default="default")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--steps", type=int, default=840, help=f"of {STEP_IMAGES} images, whatever the batch")
    parser.add_argument("--minutes", type=float, default=None, help="instead of --steps")
    parser.add_argument("--model", default="256", help="the size of an SSD, or the name of a template")
    parser.add_argument("--start", default="bundled")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    if arguments.list:
        print("\n".join(f"{name}: {changes}" for name, changes in VARIANTS.items()))
        return 0
    names = arguments.variants.split(",")
    if not arguments.folders or not set(names) <= set(VARIANTS):
        parser.error(f"name folders, and variants of {', '.join(VARIANTS)}; or --list, or --table")
    run_side_by_side(
        arguments.jobs,
        [
            partial(run_once, name, folder, seed, arguments)
            for folder in arguments.folders
            for seed in map(int, arguments.seeds.split(","))
            for name in names
        ],
    )
    return 0


def run_once(variant: str, folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    """Train, and record how it went, unless that is done."""
    length = f"{arguments.minutes:g}min" if arguments.minutes else f"{arguments.steps}steps"
    threads = threads_of_each(arguments.jobs)

    def measure() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as work:
            file = Path(work) / "template.yaml"
            file.write_text(yaml.safe_dump(changed_template(arguments, VARIANTS[variant]), sort_keys=False))
            training = Training(folder, str(file), arguments.start, seed, arguments.minutes, threads)
            return {"changes": VARIANTS[variant], **training.run()}

    known = {"variant": variant, "model": arguments.model, "length": length, "data": folder.resolve().name}
    known |= {"start": Path(arguments.start).stem, "seed": seed}
    # Half precision and other sums: a card's results are its own.
    known |= {"on": card(circumstances()["machine"])}
    record_once(TABLE, known, measure)


def changed_template(arguments: argparse.Namespace, changes: dict[str, Any]) -> dict[str, Any]:
    """The template as plain data, with the changes, and epochs such that the run sees the images of the steps."""
    template: dict[str, Any] = yaml.safe_load(Path(bundled_templates()[template_name(arguments.model)]).read_text())
    template["tensorboard"] = False
    basic = template["hyper_parameters"]["basic"]
    num_images = arguments.steps * STEP_IMAGES
    for key, value in changes.items():
        *path, last = key.split(".")
        part = template
        for step in path:
            part = part[step]
        part[last] = value
    if not arguments.minutes:
        steps = num_images / basic["batch_size"]
        template["train"]["schedule"]["min_steps_per_epoch"] = math.ceil(steps / VALIDATIONS)
        basic["epochs"] = VALIDATIONS
    return template


def table() -> str:
    """One row per variant and set: means over seeds, and the gain over its base, with its standard error."""
    groups: dict[tuple[str, ...], dict[int, dict[str, Any]]] = {}
    for r in read(TABLE):
        key = tuple(str(r[name]) for name in ("length", "on", "model", "start", "data", "variant"))
        groups.setdefault(key, {})[r["seed"]] = r
    rows = [
        "| length | on | model | start | data | variant | seeds | AP / AP50 | gain in AP, AP50 (points) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key in sorted(groups, key=lambda key: (*key[:5], key[5] != "default", key[5])):
        by_seed = groups[key]
        # Some were tried on another recipe than the default.
        base = next(iter(by_seed.values())).get("base") or "default"
        defaults = groups.get((*key[:5], base), {})
        shared = sorted(by_seed.keys() & defaults.keys())
        gains = [
            spread([100 * (by_seed[seed][name] - defaults[seed][name]) for seed in shared]) for name in ("ap", "ap50")
        ]
        means = [statistics.mean(r[name] for r in by_seed.values()) for name in ("ap", "ap50")]
        facts = [
            *key,
            str(len(by_seed)),
            f"{means[0]:.3f} / {means[1]:.3f}",
            "" if key[5] == base or not shared else ", ".join(gains) + ("" if base == "default" else f" over {base}"),
        ]
        rows.append("| " + " | ".join(facts) + " |")
    return "\n".join(rows)


def card(machine: str) -> str:
    """The graphics card that a result's machine names, or CPU."""
    return next((part.removeprefix("NVIDIA ") for part in machine.split(", ") if part.startswith("NVIDIA ")), "CPU")


def spread(values: list[float]) -> str:
    """Mean of paired differences; with its standard error if there are several."""
    if not values:
        return ""
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):+.1f}{error}"


if __name__ == "__main__":
    sys.exit(main())

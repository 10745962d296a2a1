"""How many steps of training in 8 bits the last rung of `multibox compress` needs on a small set.

    python benchmarks/int8_training.py CHECKPOINT=FOLDER ... [--steps 25,50,100] [--seeds 0,1]
    python benchmarks/int8_training.py --table          the recorded results as Markdown

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json. Each training starts from the candidate of
the first rung and has one epoch of at least so many steps, in whole passes over the images. AP is that of the exported
file, what is not in 8 bits in float32.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

from common import RESULTS, annotations, append, circumstances, read  # the module beside this one
from multibox.compress.candidates import Candidate, CheckpointModel
from multibox.compress.ladder import FAST_IMAGES, calibration_squares
from multibox.data import coco
from multibox.data.coco import CocoData
from multibox.evaluate.run import evaluate
from multibox.train import quantised_run
from multibox.train.loop import TrainingResult
from multibox.weights import checkpoint
from multibox.weights.checkpoint import Checkpoint

TABLE = RESULTS / "int8_training.tsv"


class Silence:
    """Where a training tells nobody how it goes."""

    def line(self, text: str) -> None:
        """See `multibox.train.loop.Display`."""

    def progress(self, **_: object) -> None:
        """See `multibox.train.loop.Display`."""


def main() -> int:
    """Measure what is named, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="CHECKPOINT=FOLDER")
    parser.add_argument("--steps", default="25,50,100")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    for pair in arguments.pairs:
        source, _, folder = pair.partition("=")
        if not folder:
            parser.error(f"{pair}: name the folder of the data after a =")
        steps, seeds = (tuple(map(int, text.split(","))) for text in (arguments.steps, arguments.seeds))
        measure(Path(source), Path(folder), steps, seeds)
    print(table())
    return 0


def measure(source: Path, folder: Path, steps: tuple[int, ...], seeds: tuple[int, ...]) -> None:
    """Record AP of the network in floating point, of the first rung, and of each training."""
    start = checkpoint.load(source)
    train_data, val_data = (_read(folder, part, start) for part in ("train", "val"))
    with tempfile.TemporaryDirectory() as work:
        model = CheckpointModel(start, source, Path(work), device="cpu")
        squares = calibration_squares(train_data, FAST_IMAGES, model.input_size, seed=0)
        first = model.quantise(squares, thorough=False)
        known: dict[str, Any] = {"date": date.today().isoformat(), **circumstances()}
        known |= {"data": folder.resolve().name, "input_size": model.input_size}
        known |= {"ap_float": _ap(model, model.float_xml, val_data), "ap_ptq": _ap(model, first.xml, val_data)}
        for asked in steps:
            for seed in seeds:
                place = Path(work) / f"{asked}-{seed}"
                row = {**known, "asked": asked, "seed": seed, **_trained(model, first, train_data, place, asked, seed)}
                row["ap_qat"] = _ap(model, row.pop("xml"), val_data)
                append([row], TABLE)


def _trained(
    model: CheckpointModel, first: Candidate, data: CocoData, output: Path, asked: int, seed: int
) -> dict[str, Any]:
    quantised_run.MIN_STEPS_IN_8_BITS = asked
    results: list[TrainingResult] = []

    def train(weights: Checkpoint) -> TrainingResult:
        results.append(quantised_run.train_quantised(weights, data, output, display=Silence(), seed=seed, device="cpu"))
        return results[-1]

    began_at = time.monotonic()
    candidate = model.train(first, train, num_images=len(data.records))
    assert candidate is not None
    return {"steps": results[0].steps, "seconds": round(time.monotonic() - began_at, 1), "xml": candidate.xml}


def table() -> str:
    """One row per set: AP in percent in floating point, after the first rung, and after trainings, seed by seed."""
    rows = [
        "| data | input | FP32 | ptq | steps asked for | steps | INT8 AP, each seed |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in read(TABLE):
        groups.setdefault((r["data"], r["input_size"], r["ap_float"], r["ap_ptq"], r["asked"]), []).append(r)
    for (data, size, ap_float, ap_ptq, asked), runs in groups.items():
        steps = ", ".join(sorted({str(r["steps"]) for r in runs}))
        aps = ", ".join(f"{100 * r['ap_qat']:.2f}" for r in runs)
        rows.append(f"| {data} | {size} | {100 * ap_float:.2f} | {100 * ap_ptq:.2f} | {asked} | {steps} | {aps} |")
    return "\n".join(rows)


def _read(folder: Path, part: str, start: Checkpoint) -> CocoData:
    file, root = annotations(folder, part)
    return coco.read([file], [root], classes=start.classes)


def _ap(model: CheckpointModel, xml: Path, data: CocoData) -> float:
    ap = evaluate(model.open(xml), data).metrics.ap
    assert ap is not None
    return round(ap, 4)


if __name__ == "__main__":
    sys.exit(main())

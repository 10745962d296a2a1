"""Whether images that `predict --pick` names help more than random ones, at equal number.

    python benchmarks/picking.py FOLDER... [--model yolox_nano-256x256] [--seeds 0,1] [--first 40] [--more 40]
                                           [--steps 105]
    python benchmarks/picking.py --table             the recorded results as Markdown

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json. A detector is trained on `--first` random
images of the training split. It picks `--more` of the others, and a generator picks as many. A detector is trained on
the first and on each of these, with equal steps, and measured on the val split.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import yaml

from common import RESULTS, annotations, append, circumstances, read  # the module beside this one
from multibox.config import bundled_templates
from multibox.predict.picking import pick, unlabelled_image
from multibox.runtime.opening import open_runtime

TABLE = RESULTS / "picking.tsv"


def main() -> int:
    """Measure what is not recorded yet, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--model", default="yolox_nano-256x256")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--first", type=int, default=40)
    parser.add_argument("--more", type=int, default=40)
    parser.add_argument("--steps", type=int, default=105)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    for folder in arguments.folders:
        for seed in map(int, arguments.seeds.split(",")):
            run_once(folder, seed, arguments)
    return 0


def run_once(folder: Path, seed: int, arguments: argparse.Namespace) -> None:
    """One comparison, unless it is recorded."""
    known = {"data": folder.resolve().name, "model": arguments.model, "seed": seed, "steps": arguments.steps}
    known |= {"first": arguments.first, "more": arguments.more}
    if any(all(row[name] == value for name, value in known.items()) for row in read(TABLE)):
        return
    file, root = annotations(folder, "train")
    content = json.loads(Path(file).read_text())
    rng = random.Random(seed)
    ids = sorted(image["id"] for image in content["images"])
    rng.shuffle(ids)
    first, others = ids[: arguments.first], ids[arguments.first :]
    with tempfile.TemporaryDirectory() as work:
        base = train(folder, content, first, Path(work) / "first", seed, arguments)
        names = {image["id"]: image["file_name"] for image in content["images"]}
        runtime = open_runtime(Path(work) / "first/run/latest.pth", device="cpu")
        images = [cv2.imread(str(Path(root) / names[i])) for i in others]
        candidates = [unlabelled_image(str(i), image, runtime(image)) for i, image in zip(others, images, strict=True)]
        picked = [int(each.name) for each in pick(candidates, arguments.more)]
        drawn = rng.sample(others, arguments.more)
        results = {
            "picked": train(folder, content, first + picked, Path(work) / "picked", seed, arguments),
            "random": train(folder, content, first + drawn, Path(work) / "random", seed, arguments),
        }
    row: dict[str, Any] = {**circumstances(), **known, "base_ap": base["ap"], "base_ap50": base["ap50"]}
    for name, chosen in (("picked", picked), ("random", drawn)):
        row |= {f"{name}_{key}": results[name][key] for key in ("ap", "ap50")}
        row[f"{name}_objects"] = sum(1 for entry in content["annotations"] if entry["image_id"] in set(chosen))
    append([row], TABLE)
    print(row, flush=True)


def train(
    folder: Path, content: dict[str, Any], ids: list[int], work: Path, seed: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """AP and AP50 of the last weights after training on these images."""
    work.mkdir()
    wanted = set(ids)
    part = content | {
        "images": [image for image in content["images"] if image["id"] in wanted],
        "annotations": [entry for entry in content["annotations"] if entry["image_id"] in wanted],
    }
    (work / "train.json").write_text(json.dumps(part))
    template = yaml.safe_load(Path(bundled_templates()[arguments.model]).read_text())
    template["tensorboard"] = False
    template["hyper_parameters"]["basic"]["epochs"] = 1
    template["train"]["schedule"]["min_steps_per_epoch"] = arguments.steps
    (work / "template.yaml").write_text(yaml.safe_dump(template))
    val_files = annotations(folder, "val")
    command = [
        *(sys.executable, "-m", "multibox", "train", "--config", str(work / "template.yaml")),
        *("--train-ann-files", str(work / "train.json"), "--train-data-roots", annotations(folder, "train")[1]),
        *("--val-ann-files", val_files[0], "--val-data-roots", val_files[1]),
        *("--load-weights", "bundled", "--seed", str(seed), "--save-checkpoints-to", str(work / "run")),
        # Of a rare class there may be no object among the first images.
        *("--classes", ",".join(f'"{category["name"]}"' for category in content["categories"])),
    ]
    subprocess.run(command, check=True, capture_output=True)
    last = json.loads((work / "run/metrics.jsonl").read_text().splitlines()[-1])
    return {"ap": round(last["ap"], 4), "ap50": round(last["ap50"], 4)}


def table() -> str:
    """One row per set: means over seeds, and the gain of picking over chance with its standard error."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in read(TABLE):
        groups.setdefault((row["data"], row["model"], row["first"], row["more"], row["steps"]), []).append(row)
    lines = [
        "| data | model | first + more images | steps | seeds | first | random | picked | gain in AP, AP50 (points) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (data, model, first, more, steps), rows in sorted(groups.items()):
        cells = [
            " / ".join(f"{statistics.mean(r[f'{kind}_{key}'] for r in rows):.3f}" for key in ("ap", "ap50"))
            for kind in ("base", "random", "picked")
        ]
        gains = [spread([100 * (r[f"picked_{key}"] - r[f"random_{key}"]) for r in rows]) for key in ("ap", "ap50")]
        facts = [data, model, f"{first} + {more}", str(steps), str(len(rows)), *cells, ", ".join(gains)]
        lines.append("| " + " | ".join(facts) + " |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean of paired differences; with its standard error if there are several."""
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):+.1f}{error}"


if __name__ == "__main__":
    sys.exit(main())

"""Make the weights that come with the package: one network that learns the objects of several data sets at once.

    tools/make_starting_weights.py FOLDER... --size 256 --start mobilenet_v2_1.0_224_int8.tflite --kind classifier \\
        --epochs 12 --frozen-stride 16

Each FOLDER holds train/, val/ and annotations_train.json, annotations_val.json (or annotation_example_*.json). The sets
become one, whose classes are those of all. What comes out lies in src/multibox/weights/bundled_files:
NAME-KIND.safetensors, without the classes, and NAME-KIND.json with the facts of the run; the README.md there is written
by hand. It runs on a processor or a graphics card (--device cuda).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from multibox import config
from multibox.commands.console import console
from multibox.config import bundled_templates
from multibox.data import coco
from multibox.runs.display import TrainingDisplay
from multibox.train.assembly import without_mosaics
from multibox.train.run import train
from multibox.weights import checkpoint
from multibox.weights.bundled import KINDS, SUFFIX, write_bundled
from multibox.weights.start import open_starting_point

TARGET = Path(__file__).parents[1] / "src" / "multibox" / "weights" / "bundled_files"


def main() -> int:
    """Train, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--size", choices=["256", "384", "512"], required=True)
    parser.add_argument("--start", required=True, help="trained weights: a .pth, .safetensors, .xml or .tflite")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--frozen-stride", type=int, default=8, choices=[0, 2, 4, 8, 16])
    parser.add_argument("--kind", choices=KINDS, required=True, help="what the start was first taught to be")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, default=None, help="folder for the run; default: a temporary one")
    parser.add_argument("--to", type=Path, default=TARGET)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        make(arguments, arguments.work or Path(temporary))
    return 0


def make(arguments: argparse.Namespace, work: Path) -> None:
    """One file of weights, by a run in the folder `work`."""
    name = f"mobilenet_v2-2s_ssd-{arguments.size}x{arguments.size}"
    # A few epochs over many classes are too short to learn from mosaics.
    template = without_mosaics(config.load_template(bundled_templates()[name]))
    template = config.changed(
        template,
        {"hyper_parameters.basic.epochs": arguments.epochs, "train.frozen_stride": arguments.frozen_stride},
    )
    work.mkdir(parents=True, exist_ok=True)
    data = {split: joined(arguments.folders, split, work) for split in ("train", "val")}
    start = open_starting_point(arguments.start, template)
    with TrainingDisplay(console) as display:
        result = train(
            template,
            data["train"],
            work,
            display=display,
            val_data=data["val"],
            start=start,
            seed=arguments.seed,
            device=arguments.device,
            command=" ".join(["tools/make_starting_weights.py", *sys.argv[1:]]),
        )
    trained = checkpoint.load(result.latest)
    names = [folder.resolve().name for folder in arguments.folders]
    arguments.to.mkdir(parents=True, exist_ok=True)
    # Of a network of another size, made by this script: what that one began with.
    ancestor = checkpoint.load(arguments.start).meta["start"] if arguments.start.endswith(".pth") else arguments.start
    origin = f"{Path(ancestor).stem}, trained on by multibox with {', '.join(names)}"
    write_bundled(
        arguments.to / f"{name}-{arguments.kind}{SUFFIX}",
        trained.state_dict,
        anchors_px=trained.template.model.anchors_px,
        num_classes=len(trained.classes),
        input_size=template.input.size,
        origin=origin,
    )
    record = {
        "origin": origin,
        "epochs": arguments.epochs,
        "steps": result.steps,
        "seed": arguments.seed,
        "frozen_stride": arguments.frozen_stride,
        "data": {
            folder: len(json.loads(annotation_file(path, "train").read_text())["images"])
            for folder, path in zip(names, arguments.folders, strict=True)
        },
        "ap_on_their_val": result.metrics.ap if result.metrics else None,
        "libraries": trained.meta.get("libraries"),
    }
    (arguments.to / f"{name}-{arguments.kind}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def joined(folders: list[Path], split: str, work: Path) -> coco.CocoData:
    """One set of several folders; images and categories are counted anew."""
    images: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    top = os.path.commonpath([folder.resolve() for folder in folders])
    for folder in folders:
        content = json.loads(annotation_file(folder, split).read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in content["categories"]}
        used = {annotation["category_id"] for annotation in content["annotations"]}
        for category_id, name in names.items():
            if category_id in used or name in categories:
                categories.setdefault(name, len(categories) + 1)
        ids = {image["id"]: len(images) + number for number, image in enumerate(content["images"], start=1)}
        root = (folder / split).resolve()
        images += [
            {**image, "id": ids[image["id"]], "file_name": (root / image["file_name"]).relative_to(top).as_posix()}
            for image in content["images"]
        ]
        found += [
            {
                **annotation,
                "id": len(found) + number,
                "image_id": ids[annotation["image_id"]],
                "category_id": categories[names[annotation["category_id"]]],
            }
            for number, annotation in enumerate(content["annotations"], start=1)
        ]
    content = {
        "images": images,
        "annotations": found,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    file = work / f"{split}.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    classes = None if split == "train" else tuple(categories)
    return coco.read([file], [Path(top)], classes=classes, allow_missing_classes=True)


def annotation_file(folder: Path, split: str) -> Path:
    """The annotation file of a split."""
    for name in (f"annotations_{split}.json", f"annotation_example_{split}.json"):
        if (folder / name).exists():
            return folder / name
    raise SystemExit(f"{folder}: there is no annotations_{split}.json")


if __name__ == "__main__":
    sys.exit(main())

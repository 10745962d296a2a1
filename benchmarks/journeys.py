"""The way from a labelled folder to a report, typed as a user types it, on data sets as they lie on disks.

    python benchmarks/journeys.py FOLDER --minutes 4

FOLDER holds the sets raccoon, playing_cards, bccd and face_mask, each with train/, val/ and annotations_*.json. Of
these are made, in a folder of the user's own: COCO with a part to validate on, a single annotation file, YOLO, and
Pascal VOC. Commands are counted as they are typed: characters, options, and whether a path is typed twice. AP is that
of the run's own validation images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import multibox
from common import RESULTS, append, circumstances  # the module beside this one
from multibox.cli import main as run_command

FIRST_BOXES = 2
"""Number of commands after which there are images with boxes."""

GOAL_FIRST, GOAL_ALL = 70, 130
"""Characters that the first boxes and the whole journey may take."""


@dataclass(frozen=True)
class Journey:
    """A data set as a user has it: what it is called, of which set it is made, and how."""

    name: str
    source: str
    make: Callable[[Path, Path], None]


def main() -> None:
    """Do all journeys, or those that are named, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--only", nargs="*", choices=[journey.name for journey in JOURNEYS])
    parser.add_argument("--record", action="store_true", help="append the rows to results/journeys.tsv")
    arguments = parser.parse_args()
    print(f"{'; '.join(circumstances().values())}; --minutes {arguments.minutes:g}\n")
    print("| journey | set | first boxes: characters, minutes | all: commands, characters, options | AP | AP50 | min |")
    print("|---|---|---|---|---|---|---|")
    rows = [
        travel(journey, arguments.folder.resolve(), arguments.minutes)
        for journey in JOURNEYS
        if not arguments.only or journey.name in arguments.only
    ]
    if arguments.record:
        append([{**row, **circumstances()} for row in rows], RESULTS / "journeys.tsv")


def travel(journey: Journey, folder: Path, minutes: float) -> dict[str, Any]:
    """Do one journey in a folder of its own; its row of the table, which is printed as well."""
    commands = [
        f"multibox train photos --minutes {minutes:g}",
        "multibox predict new",
        *(f"multibox {name}" for name in ("eval", "export", "compress", "report")),
    ]
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="journey-") as name:
        place = Path(name)
        journey.make(folder / journey.source, place / "photos")
        new_images(folder / journey.source, place / "new")
        os.chdir(place)
        try:
            seconds = [timed(command) for command in commands]
            metrics = multibox.Run(Path("runs/photos")).metrics
        finally:
            os.chdir(here)
    assert metrics is not None
    row = {
        "journey": journey.name,
        "set": journey.source,
        "characters_to_first_boxes": sum(map(len, commands[:FIRST_BOXES])),
        "minutes_to_first_boxes": sum(seconds[:FIRST_BOXES]) / 60,
        "commands": len(commands),
        "characters": sum(map(len, commands)),
        "options": sum(command.count(" --") for command in commands),
        "ap": metrics.ap,
        "ap50": metrics.ap50,
        "minutes_of_budget": minutes,
        "minutes_of_training": seconds[0] / 60,
        "minutes": sum(seconds) / 60,
    }
    assert row["characters_to_first_boxes"] <= GOAL_FIRST and row["characters"] <= GOAL_ALL
    words = [word for command in commands for word in shlex.split(command)[2:] if not word.startswith("-")]
    assert len(words) == len(set(words)), "a path is typed twice"
    print(
        f"| {journey.name} | {journey.source} "
        f"| {row['characters_to_first_boxes']}, {row['minutes_to_first_boxes']:.1f} "
        f"| {row['commands']}, {row['characters']}, {row['options']} | {row['ap']:.3f} | {row['ap50']:.3f} "
        f"| {row['minutes']:.1f} |",
        flush=True,
    )
    return row


def timed(command: str) -> float:
    """Run a command line; how many seconds it took."""
    began_at = time.monotonic()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = run_command(shlex.split(command)[1:])
    if code:
        raise SystemExit(f"{said.getvalue()}\n{command}: exit code {code}")
    return time.monotonic() - began_at


def new_images(source: Path, target: Path) -> None:
    """Ten images that no training has seen."""
    target.mkdir()
    for path in sorted((source / "val").iterdir())[:10]:
        shutil.copy(path, target)


def as_coco(source: Path, target: Path) -> None:
    """Images in train/ and val/, an annotation file for each."""
    target.mkdir()
    for part in ("train", "val"):
        shutil.copytree(source / part, target / part)
        shutil.copy(source / f"annotations_{part}.json", target)


def as_one_file(source: Path, target: Path) -> None:
    """Images and one annotation file; nothing to validate on."""
    target.mkdir()
    shutil.copytree(source / "train", target / "images")
    shutil.copy(source / "annotations_train.json", target / "labels.json")


def as_yolo(source: Path, target: Path) -> None:
    """What Ultralytics trains on: data.yaml, images/, labels/."""
    names: list[str] = []
    for part in ("train", "val"):
        content = json.loads((source / f"annotations_{part}.json").read_text())
        shutil.copytree(source / part, target / "images" / part)
        (target / "labels" / part).mkdir(parents=True)
        names = [category["name"] for category in content["categories"]]
        numbers = {category["id"]: number for number, category in enumerate(content["categories"])}
        for image, objects in by_image(content):
            width, height = image["width"], image["height"]
            lines = [
                f"{numbers[each['category_id']]} {(x + w / 2) / width} {(y + h / 2) / height} "
                f"{w / width} {h / height}\n"
                for each in objects
                for x, y, w, h in [each["bbox"]]
            ]
            (target / "labels" / part / f"{Path(image['file_name']).stem}.txt").write_text("".join(lines))
    (target / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {json.dumps(names)}\n")


def as_voc(source: Path, target: Path) -> None:
    """Annotations/, JPEGImages/ and the lists in ImageSets/."""
    (target / "Annotations").mkdir(parents=True)
    (target / "JPEGImages").mkdir()
    (target / "ImageSets/Main").mkdir(parents=True)
    for part in ("train", "val"):
        content = json.loads((source / f"annotations_{part}.json").read_text())
        names = {category["id"]: category["name"] for category in content["categories"]}
        stems = []
        for image, objects in by_image(content):
            name = Path(image["file_name"]).name
            shutil.copy(source / part / image["file_name"], target / "JPEGImages" / name)
            stems.append(Path(name).stem)
            boxes = "".join(
                f"<object><name>{names[each['category_id']]}</name><bndbox><xmin>{round(x) + 1}</xmin>"
                f"<ymin>{round(y) + 1}</ymin><xmax>{round(x + w)}</xmax><ymax>{round(y + h)}</ymax></bndbox></object>"
                for each in objects
                for x, y, w, h in [each["bbox"]]
            )
            size = f"<size><width>{image['width']}</width><height>{image['height']}</height><depth>3</depth></size>"
            text = f"<annotation><filename>{name}</filename>{size}{boxes}</annotation>"
            (target / "Annotations" / f"{stems[-1]}.xml").write_text(text)
        (target / f"ImageSets/Main/{part}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def by_image(content: dict[str, Any]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each image of an annotation file with its objects."""
    objects: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for each in content["annotations"]:
        objects[each["image_id"]].append(each)
    return [(image, objects[image["id"]]) for image in content["images"]]


JOURNEYS = (
    Journey("COCO with val", "playing_cards", as_coco),
    Journey("one annotation file", "raccoon", as_one_file),
    Journey("YOLO", "bccd", as_yolo),
    Journey("Pascal VOC", "face_mask", as_voc),
)


if __name__ == "__main__":
    main()

"""The data set: pictures in folders, and their labels as COCO documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from airport.air import random_air
from airport.arrays import Picture
from airport.camera import HEIGHT, WIDTH
from airport.ground import Ground, ground_of
from airport.placing import objects_of
from airport.readme import LICENCE, readme
from airport.rendering import Label, render
from airport.scene import Scene
from airport.things import CATEGORIES
from airport.three_scenes import gate_scene, hangar_scene, stand_scene

# Sixteen entries: with three cameras in turn, 48 pictures show every one of them at every camera.
AIRS = (
    ("day", "clear"),
    ("low", "clear"),
    ("night", "clear"),
    ("day", "rain"),
    ("dusk", "clear"),
    ("day", "clear"),
    ("day", "snow"),
    ("low", "clear"),
    ("night", "rain"),
    ("day", "clear"),
    ("low", "fog"),
    ("night", "clear"),
    ("low", "clear"),
    ("dusk", "rain"),
    ("day", "clear"),
    ("day", "fog"),
)
EMPTY_EVERY, EMPTY_AT = 24, 17
QUALITY = 83


def draw_dataset(folder: Path, *, seed: int, train: int, val: int) -> None:
    """Write the pictures, the labels and the read-me text; train and val are numbers of pictures."""
    scenes = [(scene, ground_of(scene)) for scene in (gate_scene(), hangar_scene(), stand_scene())]
    documents: dict[str, dict[str, Any]] = {}
    for part, count in (("train", train), ("val", val)):
        documents[part] = draw_part(folder, part, count, seed, scenes)
        text = json.dumps(documents[part], sort_keys=True, separators=(",", ":")) + "\n"
        (folder / f"annotation_example_{part}.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(readme(documents, seed), encoding="utf-8")


def draw_part(folder: Path, part: str, count: int, seed: int, scenes: Sequence[tuple[Scene, Ground]]) -> dict[str, Any]:
    """Write the pictures of a part ("train" or "val") and return its COCO document."""
    (folder / part).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        random = np.random.default_rng([seed, 0 if part == "train" else 1, index])
        scene, ground = scenes[index % len(scenes)]
        air = random_air(*AIRS[index % len(AIRS)], random)
        wanted = 0 if part == "train" and index % EMPTY_EVERY == EMPTY_AT else int(random.integers(4, 10))
        picture, labels = render(scene, ground, air, objects_of(scene, random, wanted), random)
        name = f"image_{index:06d}.jpg"
        write_picture(folder / part / name, picture)
        images.append({"id": index, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for label in labels:
            annotations.append(annotation(len(annotations), index, label))
    return {
        "info": {"description": f"multibox airport toy data set, {part}", "licence": LICENCE, "version": "1.0"},
        "licenses": [{"id": 1, "name": LICENCE, "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
        "categories": [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(CATEGORIES, start=1)],
        "images": images,
        "annotations": annotations,
    }


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture as JPEG."""
    written, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    if not written:
        raise OSError(f"OpenCV cannot encode {path.name}")
    path.write_bytes(code.tobytes())


def annotation(number: int, image: int, label: Label) -> dict[str, Any]:
    """A label as a COCO annotation."""
    x, y, width, height = (round(value, 1) for value in label.box)
    return {
        "id": number,
        "image_id": image,
        "category_id": label.category,
        "bbox": [x, y, width, height],
        "area": round(width * height, 1),
        "iscrowd": 0,
        "segmentation": [],
    }

"""What tests share: fixed seeds, one thread, a small data set of coloured shapes, a small template.

torch is imported by no line here: tests of what needs no torch run without it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import hypothesis
import numpy as np
import pytest
from filelock import FileLock

from multibox import config

Once = Callable[[str, Callable[[Path], object]], Path]

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "src/multibox/templates"
TEMPLATE_256 = TEMPLATES / "mobilenet_v2-2s_ssd-256x256.yaml"

# Tests share a machine with each other; before torch is imported by any.
os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("multibox", deadline=None, derandomize=True)
hypothesis.settings.load_profile("multibox")


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from the global generator
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference numbers and public models beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.exists():
        pytest.skip("../shared is not here")
    return folder


@dataclass(frozen=True)
class ShapesData:
    """COCO annotation files, the folders of their images, and the classes in the order of their labels."""

    train_file: Path
    train_root: Path
    val_file: Path
    val_root: Path
    classes: tuple[str, ...]


SHAPES = ("square", "circle", "red, tiny triangle")
# Sparse and not from 0: a mix-up of ids and labels shows.
CATEGORY_IDS = {"square": 3, "circle": 7, "red, tiny triangle": 12}
IMAGE_SIZE = (160, 120)
COLOURS_BGR = {"square": (40, 200, 60), "circle": (220, 90, 30), "red, tiny triangle": (30, 30, 230)}


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, make)`: a folder in which `make` left something, in one of the processes that run tests."""
    root = tmp_path_factory.getbasetemp()
    shared_root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def fill(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared_root / name, shared_root / f"{name}.done"
        with FileLock(shared_root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed in it
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return fill


@pytest.fixture(scope="session")
def shapes_data(once: Once) -> ShapesData:
    """16 images to train on and 8 to validate on, each with one to four shapes that do not touch."""
    folder = once("shapes data", write_shapes)
    return _shapes_in(folder)


def write_shapes(folder: Path) -> ShapesData:
    """The data set of `shapes_data`, written to `folder`."""
    rng = np.random.default_rng(20)
    for name, count in (("train", 16), ("val", 8)):
        (folder / name).mkdir()
        (folder / f"{name}.json").write_text(json.dumps(draw_shapes(folder / name, count, rng)), encoding="utf-8")
    return _shapes_in(folder)


def _shapes_in(folder: Path) -> ShapesData:
    return ShapesData(folder / "train.json", folder / "train", folder / "val.json", folder / "val", SHAPES)


def draw_shapes(folder: Path, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Writes the images and gives the content of their annotation file, with ids from 0."""
    width, height = IMAGE_SIZE
    images, annotations = [], []
    for image_id in range(count):
        grey = rng.integers(60, 180)
        noise = rng.integers(-25, 26, (height, width, 3))
        image = (grey + noise).astype(np.uint8)
        for cell in rng.permutation(4)[: rng.integers(1, 5)]:
            shape = SHAPES[len(annotations) % 3]
            side = int(rng.integers(22, 31) if shape == SHAPES[2] else rng.integers(32, 53))
            # Four cells of 80 x 60 pixels, one shape in each: sides of up to 52 leave room to move.
            x = int(cell % 2 * 80 + rng.integers(2, 79 - side))
            y = int(cell // 2 * 60 + rng.integers(2, 59 - side))
            paint(image, shape, x, y, side)
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image_id,
                    "category_id": CATEGORY_IDS[shape],
                    "bbox": [x, y, side, side],
                    "area": side * side,
                    "iscrowd": 0,
                }
            )
        file_name = f"image {image_id:02d}.png"
        assert cv2.imwrite(str(folder / file_name), image)
        images.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
    categories = [{"id": CATEGORY_IDS[name], "name": name} for name in SHAPES]
    return {"images": images, "annotations": annotations, "categories": categories}


def paint(image: np.ndarray, shape: str, x: int, y: int, side: int) -> None:
    """Fills the pixels x .. x + side - 1, y .. y + side - 1 with the shape."""
    last = side - 1
    colour = COLOURS_BGR[shape]
    if shape == "square":
        cv2.rectangle(image, (x, y), (x + last, y + last), colour, cv2.FILLED)
    elif shape == "circle":
        centre = (x + last // 2, y + last // 2)
        cv2.ellipse(image, centre, (last // 2, last // 2), 0, 0, 360, colour, cv2.FILLED)
    else:
        corners = [(x, y + last), (x + last, y + last), (x + last // 2, y)]
        cv2.fillPoly(image, [np.array(corners, dtype=np.int32)], colour)


def set_orientation(path: Path, value: int) -> None:
    """An EXIF segment with nothing but the orientation, after the JPEG's first marker."""
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([value, 0, 0, 0]) + bytes(4)
    body = b"Exif\x00\x00" + tiff
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:])


@pytest.fixture(scope="session")
def tiny_template_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of `tiny_template`."""
    path = tmp_path_factory.mktemp("tiny template") / "template.yaml"
    path.write_text(config.dump(tiny_template()), encoding="utf-8")
    return path


def tiny_template() -> config.Template:
    """The 256 template for 96 pixels and two short epochs; it fetches nothing, and shows images one by one."""
    template = config.load_template(TEMPLATE_256)
    scale = 96 / template.input.size
    anchors_px = tuple(tuple((w * scale, h * scale) for w, h in level) for level in template.model.anchors_px)
    return config.changed(
        template,
        {
            "name": "mobilenet_v2-2s_ssd-96x96",
            "dependencies": (),
            "hyper_parameters.basic.batch_size": 4,
            # What tests know of losses and weights was learned so.
            "hyper_parameters.basic.base_learning_rate": 0.02,
            "train.optimizer": "sgd",
            "hyper_parameters.basic.epochs": 2,
            "tensorboard": False,
            "model.anchors_px": anchors_px,
            "input.size": 96,
            "train.precision": "float32",
            "train.schedule.min_steps_per_epoch": 2,
            "train.augment.mosaic": None,
            "train.anchor_clustering.enabled": False,
        },
    )


def tiny_yolox_template() -> config.Template:
    """YOLOX-Nano as `tiny_template` has the SSD, without colours and crops: for runs that learn images by heart."""
    template = config.load_template(TEMPLATES / "yolox_nano/yolox_nano-256x256.yaml")
    return config.changed(
        template,
        {
            "name": "yolox_nano-96x96",
            "hyper_parameters.basic.batch_size": 8,
            "hyper_parameters.basic.base_learning_rate": 0.003,
            "hyper_parameters.basic.epochs": 1,
            "tensorboard": False,
            "input.size": 96,
            "train.precision": "float32",
            "train.schedule.min_steps_per_epoch": 2,
            "train.augment.mosaic": None,
            "train.augment.photometric": None,
            "train.augment.crop": None,
        },
    )


@pytest.fixture(scope="session")
def tiny_yolox_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of `tiny_yolox_template`."""
    path = tmp_path_factory.mktemp("tiny YOLOX template") / "template.yaml"
    path.write_text(config.dump(tiny_yolox_template()), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_model(tiny_template_file: Path) -> Any:
    """A network of the tiny template with two classes, in which no layer is still at its neutral start."""
    return _unsettled(config.load_template(tiny_template_file))


@pytest.fixture(scope="session")
def tiny_yolox_model() -> Any:
    """As `tiny_model`, of YOLOX-Nano."""
    return _unsettled(tiny_yolox_template())


def _unsettled(template: config.Template) -> Any:
    import torch
    from torch import nn

    from multibox.model import detector

    torch.manual_seed(0)
    model = detector.build(template, num_classes=2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model.eval()

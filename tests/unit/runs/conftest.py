"""Data sets of blots, and folders that look like runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

CLASSES = ("common", "rare")


def blots(seed: int) -> np.ndarray:
    """An image that is like none of another seed."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)


def write_set(folder: Path, images: dict[str, np.ndarray], labels: dict[str, str] | None = None) -> Path:
    """A COCO set in which every image has one object, `common` unless `labels` says otherwise; its annotation file."""
    folder.mkdir(parents=True)
    entries, annotations = [], []
    for number, (name, image) in enumerate(images.items()):
        assert cv2.imwrite(str(folder / name), image)
        entries.append({"id": number, "file_name": name, "width": 160, "height": 120})
        category_id = 1 + CLASSES.index((labels or {}).get(name, "common"))
        box = {"bbox": [10, 10, 60, 50], "area": 3000, "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "category_id": category_id, **box})
    categories = [{"id": 1 + number, "name": name} for number, name in enumerate(CLASSES)]
    content = {"info": {"by": "hand"}, "images": entries, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "labels.json"


@pytest.fixture
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(folder: Path, *, saved_at: float = 1000.0, best: bool = True, facts: dict | None = None) -> Path:
    """A folder with the files of a run; its weights are none."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(facts or {}), encoding="utf-8")
    for name in ("latest.pth", *(["best.pth"] if best else [])):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (saved_at, saved_at))
    return folder

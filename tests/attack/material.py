"""What is attacked: small data sets, a trained network and what every command makes of it; made once for all trials."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from multibox import config
from tests.conftest import draw_shapes, tiny_template


def make(folder: Path) -> None:
    """Everything that a trial may take a copy of.

    coco/       train.json, val.json, images in train/ and val/
    yolo/, voc/, cvat/    the same images with labels of that format
    work/       a work directory: template.yaml, outputs/, export/, compressed/, metrics, report.html, bench.json
    """
    random = np.random.default_rng(20)
    coco = folder / "coco"
    for name, count in (("train", 4), ("val", 2)):
        (coco / name).mkdir(parents=True)
        (coco / f"{name}.json").write_text(json.dumps(draw_shapes(coco / name, count, random)), encoding="utf-8")
    places = {"yolo": "images", "voc": "JPEGImages", "cvat": ""}
    for label_format in places:
        run("convert", coco, "--save-to", folder / label_format, "--format", label_format)
    for label_format, images in places.items():
        for split in ("train", "val"):
            shutil.copytree(coco / split, folder / label_format / images / split)
    work = folder / "work"
    work.mkdir()
    template = config.changed(tiny_template(), {"hyper_parameters.basic.batch_size": 2})
    (work / "template.yaml").write_text(config.dump(template), encoding="utf-8")
    with contextlib.chdir(work):
        run(*train_words("../coco"), "--save-checkpoints-to", "outputs")
        best = "outputs/best.pth" if Path("outputs/best.pth").exists() else "outputs/latest.pth"
        test = ("--test-ann-files", "../coco/val.json", "--test-data-roots", "../coco/val")
        run("eval", "--load-weights", best, *test, "--save-metrics-to", "metrics.yaml")
        run("export", "--load-weights", best, "--save-model-to", "export")
        run("compress", "--load-weights", best, "--save-checkpoints-to", "compressed", "--method", "ptq")
        run("bench", "export/model.xml", "--seconds", "0.2", "--json", "bench.json")


def train_words(coco: str) -> list[str]:
    """The words of a short training on a set, without the folder for its checkpoints."""
    return [
        *("train", "--config", "template.yaml", "--device", "cpu", "--load-weights", "random", "--epochs", "2"),
        *("--train-ann-files", f"{coco}/train.json", "--train-data-roots", f"{coco}/train"),
        *("--val-ann-files", f"{coco}/val.json", "--val-data-roots", f"{coco}/val"),
    ]


def run(*words: object) -> None:
    """`multibox WORDS...` in a process of its own, which has to succeed."""
    child = os.fork()
    if child == 0:
        from multibox.cli import main

        os._exit(main([str(word) for word in words]))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        raise RuntimeError(f"multibox {' '.join(map(str, words))} ended with {code}")

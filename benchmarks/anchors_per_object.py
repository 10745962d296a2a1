"""How many anchors meet an object of each class, and so what share of a loss over anchors each class has.

    python benchmarks/anchors_per_object.py FOLDER...

FOLDER holds train/ and annotations_train.json (or annotation_example_train.json). Whole images, anchors fitted to the
training boxes, the templates' matching; nothing is trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from common import annotations  # the module beside this one
from multibox import config
from multibox.boxes import iou
from multibox.config import bundled_templates
from multibox.data import coco
from multibox.model import ssd
from multibox.model.anchors import fit_anchors, make_anchors
from multibox.model.matching import match, pad


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    print(
        "| data | model | class | meet no anchor | anchors per object | share of objects | share of positive anchors |"
    )
    print("|---|---|---|---|---|---|---|")
    for folder in parser.parse_args().folders:
        file, root = annotations(folder, "train")
        data = coco.read([file], [root])
        boxes = np.concatenate([record.targets.boxes for record in data.records])
        num_objects = np.array(data.objects_per_class)
        for size in (256, 384, 512):
            template = config.load_template(bundled_templates()[f"mobilenet_v2-2s_ssd-{size}x{size}"])
            strides, threshold = (
                ssd.strides(ssd.build_ssd(template, num_classes=1)),
                template.train.loss.match_iou_threshold,
            )
            fitted, _, _ = fit_anchors(boxes, template.model.anchors_px, strides, size, iou_threshold=threshold, seed=0)
            anchors = torch.from_numpy(make_anchors(fitted, strides, size))
            num_anchors, num_unmet = np.zeros(len(data.classes)), np.zeros(len(data.classes))
            for record in data.records:
                objects = match(pad([record.targets], "cpu"), anchors, iou_threshold=threshold)[0].numpy()
                labels = record.targets.labels[objects[objects >= 0]]
                num_anchors += np.bincount(labels, minlength=len(data.classes))
                if len(record.targets):
                    is_unmet = iou(record.targets.boxes, anchors.numpy()).max(axis=1) < threshold
                    num_unmet += np.bincount(record.targets.labels[is_unmet], minlength=len(data.classes))
            unmet, each = num_unmet / num_objects, num_anchors / num_objects
            for row, name in enumerate(data.classes):
                shares = num_objects[row] / num_objects.sum(), num_anchors[row] / num_anchors.sum()
                cells = [folder.resolve().name, str(size), name, f"{unmet[row]:.0%}", f"{each[row]:.1f}"]
                cells += [f"{share:.1%}" for share in shares]
                print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

"""What a data set was, in plain values: for the record of a run, and for finding it again."""

from __future__ import annotations

from typing import Any

import numpy as np

from multibox.data.coco import CocoData

FEW_OBJECTS = 20
"""Number of objects of a class below which it is hardly learnt or measured: what is learnt is mostly these very
objects, and the AP hangs on single ones. (COCO's rarest class has 198 in 118,000 images; of playing cards, 80 each were
enough.)"""

PERCENTILES = (5, 25, 50, 75, 95)


def describe(data: CocoData) -> dict[str, Any]:
    """What a data set was and where it lay, so that export, compression and reports find it again.

    `object_side_percentiles`: of the square root of the share of its image that an object covers.
    """
    plain = [~record.is_crowd for record in data.records]
    shares = [
        record.areas_px[keep] / (record.width * record.height) for record, keep in zip(data.records, plain, strict=True)
    ]
    sides = np.sqrt(np.concatenate(shares)) if shares else np.zeros(0)
    return {
        "images": len(data.records),
        "images_without_objects": sum(not keep.any() for keep in plain),
        "objects": sum(data.objects_per_class),
        "objects_per_class": dict(zip(data.classes, data.objects_per_class, strict=True)),
        "object_side_percentiles": np.percentile(sides, PERCENTILES).round(4).tolist() if sides.size else None,
        "fingerprint": data.fingerprint,
        "annotation_files": [str(file) for file, _ in data.sources],
        "data_roots": [str(root) for _, root in data.sources],
    }

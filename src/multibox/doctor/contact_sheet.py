"""Samples of a data set with their boxes, in one image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from multibox.data import images
from multibox.data.coco import CocoData, Record
from multibox.drawing import colour, drawable_name
from multibox.structures import Image

COLUMNS, ROWS = 4, 3
CELL = (400, 300)
"""Largest width and height of a sample with its margin, in pixels; a row is as high as its highest sample."""

LEGEND_PX = 34
MARGIN_PX = 6
BACKGROUND = 32


def contact_sheet(data: CocoData) -> Image:
    """Draw up to twelve samples and a legend of the classes as one BGR image.

    Each class that has objects is in some sample, as far as twelve are enough.
    """
    samples = [_sample(record) for record in choose(data, COLUMNS * ROWS)]
    rows = [_row(samples[start : start + COLUMNS]) for start in range(0, len(samples), COLUMNS)]
    return np.concatenate([*rows, _legend(data.classes, COLUMNS * CELL[0])])


def choose(data: CocoData, count: int) -> list[Record]:
    """Choose records that show all classes, the rarest first, then ones spread over the data set."""
    rarest = sorted((number, label) for label, number in enumerate(data.objects_per_class) if number)
    chosen: list[Record] = []
    for _, label in rarest:
        if len(chosen) == count:
            break
        if any(label in record.targets.labels for record in chosen):
            continue
        # Of those with the class, one that shows much.
        having = [record for record in data.records if label in record.targets.labels]
        chosen.append(max(having[:50], key=lambda record: len(set(record.targets.labels.tolist()))))
    for index in np.linspace(0, len(data.records) - 1, num=2 * count).astype(int).tolist():
        record = data.records[index]
        if len(chosen) < min(count, len(data.records)) and all(record is not other for other in chosen):
            chosen.append(record)
    return chosen


def _sample(record: Record) -> Image:
    """The image with its boxes, as large as a cell allows."""
    full = images.read_image(record.path, expected_size=(record.width, record.height), min_size=CELL)
    room = (CELL[0] - 2 * MARGIN_PX, CELL[1] - 2 * MARGIN_PX)
    scale = min(room[0] / full.shape[1], room[1] / full.shape[0])
    size = (max(1, round(full.shape[1] * scale)), max(1, round(full.shape[0] * scale)))
    image: Image = cv2.resize(full, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    corners = (record.boxes * np.array([*size, *size], dtype=np.float32)).round().astype(int).tolist()
    for (x1, y1, x2, y2), label in zip(corners, record.labels.tolist(), strict=True):
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), (0, 0, 0), 4)
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), colour(label), 2)
    return image


def _row(samples: Sequence[Image]) -> Image:
    """Samples side by side, each in the middle of its cell."""
    height = max(len(sample) for sample in samples) + 2 * MARGIN_PX
    row = np.full((height, COLUMNS * CELL[0], 3), BACKGROUND, dtype=np.uint8)
    for column, sample in enumerate(samples):
        top = (height - sample.shape[0]) // 2
        left = column * CELL[0] + (CELL[0] - sample.shape[1]) // 2
        row[top : top + sample.shape[0], left : left + sample.shape[1]] = sample
    return row


def _legend(classes: Sequence[str], width: int) -> Image:
    """A strip of as many lines as the names need."""
    places: list[tuple[int, int, int]] = []
    x, line = MARGIN_PX, 0
    for label, name in enumerate(classes):
        (text_width, _), _ = cv2.getTextSize(drawable_name(name, label), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
        if x + text_width + 40 > width and x > MARGIN_PX:
            x, line = MARGIN_PX, line + 1
        places.append((x, line, label))
        x += text_width + 48
    strip = np.full(((line + 1) * LEGEND_PX, width, 3), BACKGROUND, dtype=np.uint8)
    for left, row, label in places:
        middle = row * LEGEND_PX + LEGEND_PX // 2
        cv2.rectangle(strip, (left, middle - 8), (left + 16, middle + 8), colour(label), cv2.FILLED)
        where = (left + 24, middle + 7)
        white = (240, 240, 240)
        cv2.putText(
            strip, drawable_name(classes[label], label), where, cv2.FONT_HERSHEY_SIMPLEX, 0.6, white, 1, cv2.LINE_AA
        )
    return strip

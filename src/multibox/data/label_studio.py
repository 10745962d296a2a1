"""Label Studio's own JSON, complete ("JSON") or short ("JSON-MIN"): tasks with regions in percent of the image.

Source: labelstud.io, "Label Studio JSON format of annotated tasks" and "Export formats".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from multibox.data.coco_mending import AROUND_POLYGONS, AROUND_TURNED
from multibox.data.image_files import SUFFIXES
from multibox.data.labels import Labels
from multibox.data.layouts import Layout
from multibox.data.listed_images import Entry, Region, read_json, to_labels
from multibox.data.shapes import Box, box_around, box_around_ellipse
from multibox.errors import DataError

LABEL_KEYS = ("rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels", "keypointlabels", "labels")
"""Where a region has its classes; `labels` if they are chosen apart from the shape."""

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of a file that is uploaded."""

Value = dict[str, Any]


def read_label_studio(layout: Layout) -> tuple[dict[str, Labels], dict[int, str]]:
    """The labels of each split of a set in Label Studio's JSON, and the names of its classes in order.

    Of several annotations of one image, the newest counts; skipped ones do not, nor what a model predicted.

    Raises:
        DataError: a file cannot be read, or has no object.
    """
    parts = {split: Labels(layout.folder) for split in layout.words}
    entries = {}
    for split, word in layout.words.items():
        tasks = read_json(layout.folder / word)
        if not isinstance(tasks, list):
            raise DataError(f"{layout.folder / word}: this is no list of tasks. Export it as JSON or JSON-MIN.")
        entries[split] = list(_entries([task for task in tasks if isinstance(task, dict)], word, parts[split]))
    return parts, to_labels(layout, entries, parts)


def _entries(tasks: list[Value], file: str, part: Labels) -> Iterator[Entry]:
    newest: dict[str, tuple[str, Value]] = {}
    for position, task in enumerate(tasks, start=1):
        title = f"{file}: task {task.get('id', position)}"
        path = _image_path(task)
        if path is None:
            part.lose("tasks without an image", [f"{title} names none"])
            continue
        annotation = _newest(task, title, part) if "annotations" in task or "predictions" in task else task
        if annotation is None:
            continue
        when = str(annotation.get("updated_at") or annotation.get("created_at") or "")
        if path in newest:  # JSON-MIN lists an image once for each annotation
            part.remark("images annotated several times, of which the newest counts", [title])
        if path not in newest or when >= newest[path][0]:
            newest[path] = when, annotation
    for path, (_, annotation) in newest.items():
        yield _entry(path, annotation)


def _newest(task: Value, title: str, part: Labels) -> Value | None:
    """The annotation of a task that counts, or None if there is none, which is noted."""
    given = [item for item in task.get("annotations") or [] if isinstance(item, dict)]
    done = [item for item in given if not item.get("was_cancelled")]
    if not done:
        if given:
            part.remark("tasks that were skipped, left out", [title])
        else:
            part.remark("tasks without an annotation, left out", [title])
        return None
    if len(done) > 1:
        part.remark("images annotated several times, of which the newest counts", [title])
    return max(done, key=lambda item: str(item.get("updated_at") or item.get("created_at") or ""))


def _image_path(task: Value) -> str | None:
    """The path or address of a task's image: whatever its key is called, it ends like one."""
    data = task["data"] if isinstance(task.get("data"), dict) else task
    for value in [data.get("image"), *data.values()]:
        if isinstance(value, str) and _plain_path(value).rpartition(".")[2].lower() in _ENDINGS:
            return value
    return None


_ENDINGS = {suffix[1:] for suffix in SUFFIXES}


def _plain_path(address: str) -> str:
    """The path in an address: `/data/local-files/?d=a/b.jpg` is `a/b.jpg`, `s3://bucket/a.jpg` is `bucket/a.jpg`."""
    parts = urlsplit(address)
    inner = parse_qs(parts.query).get("d")
    if inner:
        return inner[0]
    if not parts.scheme and not parts.netloc:
        return address
    return unquote(f"{parts.netloc}{parts.path}")


def _entry(path: str, annotation: Value) -> Entry:
    regions = list(_joined(annotation))
    plain = _plain_path(path)
    folder, slash, base = plain.rpartition("/")
    names = [plain, f"{folder}{slash}{UPLOAD_PREFIX.sub('', base)}"]
    sizes = [(_side(region.get("original_width")), _side(region.get("original_height"))) for region in regions]
    width, height = sizes[0] if sizes else (None, None)
    return Entry(list(dict.fromkeys(names)), width, height, [_region(region) for region in regions])


def _joined(annotation: Value) -> Iterator[Value]:
    """The regions of an annotation; of shapes that have their class apart, both in one."""
    if "result" in annotation:
        by_id: dict[str, Value] = {}
        for position, item in enumerate(annotation.get("result") or []):
            if not isinstance(item, dict) or not isinstance(item.get("value"), dict):
                continue
            sides = {key: item[key] for key in ("original_width", "original_height", "image_rotation") if key in item}
            own = by_id.setdefault(str(item.get("id", f"at position {position}")), {})
            own |= sides | item["value"]
        given: list[Any] = list(by_id.values())
    else:
        lists = [value for value in annotation.values() if isinstance(value, list)]
        given = [item for items in lists for item in items]
    for item in given:
        if isinstance(item, dict) and any(key in item for key in ("original_width", *LABEL_KEYS)):
            yield item


def _region(value: Value) -> Region:
    label = next((str(value[key][0]) for key in LABEL_KEYS if isinstance(value.get(key), list) and value[key]), "")
    if value.get("image_rotation"):
        return Region(label, fault="was drawn on the image turned in the tool. Turn the file, and draw it again")
    width, height = _side(value.get("original_width")), _side(value.get("original_height"))
    if width is None or height is None:
        return Region(label, fault="has no original_width and original_height")
    try:
        box, made_from = _box(value, width / 100, height / 100)
    except (KeyError, TypeError, ValueError):
        return Region(label, fault="has numbers that cannot be read")
    return Region(label, box, "" if box else "has a shape without a box", made_from)


def _box(value: Value, x_px: float, y_px: float) -> tuple[Box | None, str]:
    """The box in pixels around a shape in percent, None for one that has none; and what it was made from.

    `x_px` and `y_px` are one percent of the image's sides.

    Raises:
        KeyError, TypeError, ValueError: its numbers are missing or no numbers.
    """
    degrees = float(value.get("rotation") or 0) % 360
    if "points" in value:
        xs, ys = zip(*((float(x) * x_px, float(y) * y_px) for x, y in value["points"]), strict=True)
        return _finite(box_around(xs, ys)), AROUND_POLYGONS
    if "radiusX" in value:
        x, y, wide, high = (_number(value, key) for key in ("x", "y", "radiusX", "radiusY"))
        return _finite(box_around_ellipse(x * x_px, y * y_px, wide * x_px, high * y_px, degrees)), ""
    if "width" not in value or "rle" in value or "keypointlabels" in value:
        return None, ""
    x, y, width, height = (_number(value, key) for key in ("x", "y", "width", "height"))
    box = x * x_px, y * y_px, width * x_px, height * y_px
    return (_finite(_turned(box, degrees)), AROUND_TURNED) if degrees else (_finite(box), "")


def _turned(box: Box, degrees: float) -> Box:
    """The box around one that is turned clockwise about its upper left corner, as Label Studio turns."""
    x, y, width, height = box
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    xs, ys = zip(*((x + a * cosine - b * sine, y + a * sine + b * cosine) for a, b in corners), strict=True)
    return box_around(xs, ys)


def _number(value: Mapping[str, Any], key: str) -> float:
    return float(value[key])


def _finite(box: Box) -> Box:
    if not all(map(math.isfinite, box)):
        raise ValueError("not finite")
    return box


def _side(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None

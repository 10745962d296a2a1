"""What an evaluation leaves behind: metrics.yaml, metrics.json, a detections file, a table on the console."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from rich.table import Table

from multibox.data.coco_categories import comparable_name
from multibox.errors import OptionError
from multibox.evaluate.average_precision import Metrics
from multibox.files import read_limited, sha256, write_atomically
from multibox.plain_yaml import MAX_CHARACTERS, read_yaml
from multibox.structures import Detections
from multibox.wording import cell, counted, listed, shortened

if TYPE_CHECKING:
    from multibox.data.coco import CocoData

METRIC_COLUMNS = ("AP", "AP50", "AP75", "small", "medium", "large", "recall", "objects")
LEFT_OUT_OF_BRIEF = ("AP75", "small", "medium", "large", "recall")
MOST_CLASSES = 10
"""Number of classes up to which a console shows each of them without being asked for details."""


def write_metrics_yaml(
    path: str | os.PathLike[str],
    *,
    weights_path: str | os.PathLike[str],
    metrics: Metrics,
    size_mp: float | None,
    complexity_gflops: float | None,
) -> None:
    """Write the original's metrics.yaml: the measured file, model size, complexity and AP in percent.

    Keys of an existing file other than `files` and `metrics` are kept. AP has one decimal, as the original had it from
    a printed 0.345. Without any object there is no AP: its value is null, and a line on stderr says so.

    Raises:
        OptionError: an existing file is no YAML mapping, or a file cannot be read or written.
    """
    target = Path(path)
    values = [
        {"display_name": "Size", "key": "size", "unit": "Mp", "value": size_mp},
        {"display_name": "Complexity", "key": "complexity", "unit": "GFLOPs", "value": complexity_gflops},
        {"display_name": "AP @ [IoU=0.50:0.95]", "key": "bbox", "unit": "%", "value": _percent(metrics.ap)},
    ]
    content = _existing_yaml(target) | {"files": [_file_facts(weights_path)], "metrics": values}
    _write(target, yaml.safe_dump(content))
    if metrics.ap is None:
        print(f"{target}: AP is null, because the data has no object of the model's classes.", file=sys.stderr)


def write_metrics_json(
    path: str | os.PathLike[str],
    *,
    weights_path: str | os.PathLike[str],
    metrics: Metrics,
    size_mp: float | None,
    complexity_gflops: float | None,
    data: CocoData | None = None,
) -> None:
    """Write all metrics as JSON, unrounded fractions in 0..1, with the facts of metrics.yaml beside them.

    With `data`, it also says what of these was not measured: objects of classes that the model lacks by class, boxes
    around many objects, and how many objects have the area of their box because theirs was not annotated.

    Raises:
        OptionError: a file cannot be read or written.
    """
    content = {
        "files": [_file_facts(weights_path)],
        "size_mp": size_mp,
        "complexity_gflops": complexity_gflops,
        "metrics": metrics.to_plain(),
    }
    if data is not None:
        content["not_measured"] = {"objects_of_other_classes": dict(data.unchosen), "crowds": data.num_crowds}
        content["areas_from_boxes"] = data.areas_from_boxes
    _write(Path(path), msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def limits(data: CocoData) -> list[str]:
    """Lines about what an evaluation on this data says nothing of, or counts in its own way."""
    lines = []
    if data.unchosen:
        known = {comparable_name(name): name for name in data.classes}
        alike = {name: known.get(comparable_name(name)) for name in data.unchosen}
        meant = {name: f", meant {other}?" if other else "" for name, other in alike.items()}
        names = listed([f"{name} ({count}{meant[name]})" for name, count in data.unchosen.items()], limit=9)
        lines.append(f"Not measured, because the model has no such class: {names}.")
    if data.num_crowds:
        all_of = "" if sum(data.objects_per_class) else "; there is nothing else to measure on"
        boxes = counted(data.num_crowds, "box", "boxes")
        lines.append(f"Flagged as crowds (iscrowd), and so neither for nor against: {boxes}{all_of}.")
    if data.areas_from_boxes:
        lines.append(
            f"{counted(data.areas_from_boxes, 'object')} annotated with an area of 0 or less: AP of small, medium and "
            "large objects takes the areas of their boxes."
        )
    return lines


def detections_to_coco(detections: Sequence[Detections], data: CocoData) -> list[dict[str, Any]]:
    """Detections in the COCO result format, with the image and category ids of the data set's own files.

    `bbox` is [x, y, width, height] in pixels of the original image. When several annotation files use an image id for
    different images, the id alone names none of them: then each entry also has the image's `file_name` and `source`,
    the position of its annotation file. Detections of a class that the files do not have are left out.
    """
    image_ids = [record.image_id for record in data.records]
    is_ambiguous = len(set(image_ids)) < len(image_ids)
    results: list[dict[str, Any]] = []
    for record, detected in zip(data.records, detections, strict=True):
        origin = {"file_name": record.file_name, "source": record.source} if is_ambiguous else {}
        rows = zip(
            detected.corner_and_size_px(record.width, record.height).tolist(),
            detected.scores.tolist(),
            detected.labels.tolist(),
            strict=True,
        )
        results.extend(
            {
                "image_id": record.image_id,
                "category_id": data.category_ids[label],
                "bbox": [round(value, 3) for value in box],
                "score": round(score, 6),
                **origin,
            }
            for box, score, label in rows
            if data.category_ids[label] is not None
        )
    return results


def write_detections(path: str | os.PathLike[str], detections: Sequence[Detections], data: CocoData) -> None:
    """Write `detections_to_coco` as JSON.

    Raises:
        OptionError: the file cannot be written.
    """
    _write(Path(path), msgspec.json.encode(detections_to_coco(detections, data)))


def metrics_table(metrics: Metrics, *, has_details: bool = True) -> Table:
    """The metrics for a console: all classes together, then each; percent, and a dash where there is no object.

    Without details there is AP and AP50, and of more than `MOST_CLASSES` classes those of the lowest AP.
    """
    caption = f"percent, on {metrics.num_images} images; - means: no such object"
    classes = metrics.per_class
    if not has_details and len(classes) > MOST_CLASSES:
        measured = [name for name, of_class in classes.items() if of_class.ap is not None]
        chosen = sorted(measured, key=lambda name: classes[name].ap or 0.0)[:MOST_CLASSES]
        classes = {name: classes[name] for name in chosen}
        caption += f"; the {len(classes)} weakest of {len(metrics.per_class)} classes, all with --verbose"
    result = Table(caption=caption, caption_justify="left")
    result.add_column("class", overflow="fold")
    left_out = () if has_details else LEFT_OUT_OF_BRIEF
    columns = [name for name in METRIC_COLUMNS if name not in left_out]
    for name in columns:
        result.add_column(name, justify="right", no_wrap=True)

    def add(name: str, *values: str, is_total: bool = False) -> None:
        cells = dict(zip(METRIC_COLUMNS, values, strict=True))
        # The name may hold square brackets, which rich would read as markup.
        result.add_row(cell(shortened(name)), *(cells[column] for column in columns), end_section=is_total)

    total = (metrics.ap, metrics.ap50, metrics.ap75, metrics.ap_small, metrics.ap_medium, metrics.ap_large)
    add("all", *map(_cell, total), _cell(metrics.recall), str(metrics.num_objects), is_total=True)
    for name, of_class in classes.items():
        measures = _cell(of_class.ap), _cell(of_class.ap50), "", "", "", "", _cell(of_class.recall)
        add(name, *measures, str(of_class.num_objects))
    return result


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * round(fraction, 3), 1)


def _cell(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


def _file_facts(weights_path: str | os.PathLike[str]) -> dict[str, Any]:
    path = Path(weights_path)
    try:
        digest = sha256(path)
        # latest.pth is a link to epoch_15.pth: the report names the file that lasts.
        while path.is_symlink():
            path = path.parent / path.readlink()
        return {"name": path.name, "sha256": digest, "size": path.stat().st_size, "source": str(path)}
    except OSError as error:
        raise OptionError(f"{path}: cannot read the weights: {error.strerror}.") from error


def _existing_yaml(path: Path) -> dict[str, Any]:
    advice = "Move it away, or name another file in --save-metrics-to."
    try:
        content = read_yaml(read_limited(path, MAX_CHARACTERS).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OptionError(f"{path}: cannot read the existing file: {error.strerror}. {advice}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(
            f"{path}: the existing file is not valid YAML, so its content cannot be kept. {advice}"
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionError(f"{path}: the existing file is not a metrics.yaml (no keys at its top level). {advice}")
    return content


def _write(path: Path, data: bytes | str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise OptionError(f"{path}: cannot write the file: {error.strerror}.") from error

"""What is in the files of labels that labelling tools import, one function for each format: COCO, YOLO, Pascal VOC,
CVAT's XML, Label Studio's tasks and Hugging Face's metadata.jsonl. Nothing is written here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote
from xml.etree import ElementTree

import msgspec

from multibox.data.labels import LabelledImage, LabelledObject
from multibox.data.layouts import CLASSES_FILE, METADATA
from multibox.wording import quoted

LabelFormat = Literal["coco", "yolo", "voc", "cvat", "label-studio", "hf-folder"]

Files = Iterator[tuple[str, str]]
"""Names of files, relative with slashes, each with its content."""

FILE_NAMES: dict[LabelFormat, tuple[str, str]] = {
    "coco": ("annotations", ".json"),
    "cvat": ("annotations", ".xml"),
    "label-studio": ("tasks", ".json"),
}
"""The name and ending of the file of a split, in formats that have one for all images."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels of a split, whose name is empty where there is only one, and the folder that its images are in.

    Boxes lie inside their images, and all sizes are known. `model`: what found the objects, empty where people did.
    """

    split: str
    root: Path
    images: Sequence[LabelledImage]
    model: str = ""


def file_name_of(label_format: LabelFormat, part: LabelSet) -> str:
    """The name of the file of a split, in a format that has one for all images: `annotations_train.json`."""
    stem, ending = FILE_NAMES[label_format]
    return f"{stem}_{part.split}{ending}" if part.split else stem + ending


def coco_content(images: Sequence[LabelledImage], names: Mapping[int, str]) -> dict[str, list[dict[str, Any]]]:
    """The content of a COCO file: ids count from 1, those of categories are the numbers of the classes plus 1.

    Boxes are rounded to thousandths of a pixel. A side that nobody knows is left out.
    """
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, width, height, objects) in enumerate(images, start=1):
        entries.append({"id": image_id, "file_name": name})
        if width is not None and height is not None:
            entries[-1] |= {"width": width, "height": height}
        for item in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id} | _coco_object(item))
    categories = [{"id": number + 1, "name": name} for number, name in names.items()]
    return {"images": entries, "annotations": annotations, "categories": categories}


def _coco_object(item: LabelledObject) -> dict[str, Any]:
    box = [round(value, 3) for value in (item.x1, item.y1, item.x2 - item.x1, item.y2 - item.y1)]
    entry = {
        "category_id": item.number + 1,
        "bbox": box,
        "area": round(box[2] * box[3], 3),
        "iscrowd": int(item.is_crowd),
    }
    return entry if item.score is None else entry | {"segmentation": [], "score": round(item.score, 4)}


def _coco(sets: Sequence[LabelSet], classes: Sequence[str]) -> Files:
    for part in sets:
        content = coco_content(part.images, dict(enumerate(classes)))
        yield file_name_of("coco", part), msgspec.json.encode(content).decode()


def _yolo(sets: Sequence[LabelSet], classes: Sequence[str]) -> Files:
    """A text file for each image, and the classes twice: in data.yaml for Ultralytics, in classes.txt for others."""
    for part in sets:
        for image in part.images:
            yield _yolo_name(_below_split(part, image)), "".join(_yolo_line(image, item) for item in image.objects)
    yield "classes.txt", "".join(f"{name}\n" for name in classes)
    places = [f"{part.split or 'train'}: {quoted('/'.join(filter(None, ['images', part.split])))}\n" for part in sets]
    # All in quotation marks, because to YAML a plain `no` is no name.
    names = [f"  {number}: {quoted(name)}\n" for number, name in enumerate(classes)]
    yield "data.yaml", "".join([*places, "names:\n", *names])


def _yolo_name(file_name: str) -> str:
    """The labels of an image below `images`: readers put `labels` in the place of the last `images` of its path."""
    parts = ["images", *PurePosixPath(file_name).parts]
    parts[-1] = PurePosixPath(file_name).stem + ".txt"
    last = max(position for position, part in enumerate(parts[:-1]) if part == "images")
    return "/".join([*parts[:last], "labels", *parts[last + 1 :]])


def _yolo_line(image: LabelledImage, item: LabelledObject) -> str:
    width, height = _size(image)
    centre = (item.x1 + item.x2) / 2 / width, (item.y1 + item.y2) / 2 / height
    size = (item.x2 - item.x1) / width, (item.y2 - item.y1) / height
    return f"{item.number} " + " ".join(f"{value:.6f}" for value in (*centre, *size)) + "\n"


def _voc(sets: Sequence[LabelSet], classes: Sequence[str]) -> Files:
    """An .xml for each image, and a list of all for each split; CVAT calls a list without a split `default`."""
    for part in sets:
        stems = []
        for image in part.images:
            name = PurePosixPath(_below_split(part, image))
            stem = name.with_suffix("").as_posix() if name.stem != name.name else name.as_posix()
            stems.append(stem)
            yield f"Annotations/{stem}.xml", _voc_document(image, classes)
        yield f"ImageSets/Main/{part.split or 'default'}.txt", "".join(f"{stem}\n" for stem in stems)


def _voc_document(image: LabelledImage, classes: Sequence[str]) -> str:
    width, height = _size(image)
    name = PurePosixPath(image.file_name)
    root = ElementTree.Element("annotation")
    _add(root, "folder", "" if name.parent == PurePosixPath() else name.parent.as_posix())
    _add(root, "filename", name.name)
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", width), ("height", height), ("depth", 3)):
        _add(size, key, str(value))
    _add(root, "segmented", "0")
    for item in image.objects:
        element = ElementTree.SubElement(root, "object")
        for key, text in (("name", classes[item.number]), ("pose", "Unspecified"), ("truncated", "0")):
            _add(element, key, text)
        _add(element, "difficult", "0")
        box = ElementTree.SubElement(element, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), _voc_corners(item, width, height), strict=True):
            _add(box, key, str(value))
    return _xml(root)


def _voc_corners(item: LabelledObject, width: int, height: int) -> tuple[int, int, int, int]:
    """The first and the last pixel of a box each way, counted from 1: whole ones, as the format has them."""
    x1, y1 = min(round(item.x1), width - 1) + 1, min(round(item.y1), height - 1) + 1
    return x1, y1, max(round(item.x2), x1), max(round(item.y2), y1)


def _cvat(sets: Sequence[LabelSet], classes: Sequence[str]) -> Files:
    """CVAT for images 1.1. Source: docs.cvat.ai, "XML annotation format"."""
    for part in sets:
        root = ElementTree.Element("annotations")
        _add(root, "version", "1.1")
        task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
        _add(task, "size", str(len(part.images)))
        labels = ElementTree.SubElement(task, "labels")
        for name in classes:
            label = ElementTree.SubElement(labels, "label")
            _add(label, "name", name)
            _add(label, "type", "rectangle")
        # An id is the place of an image in the order of the names: where CVAT cannot find a name, it goes by that.
        for index, image in enumerate(sorted(part.images, key=lambda image: image.file_name)):
            width, height = _size(image)
            facts = {"id": str(index), "name": image.file_name, "width": str(width), "height": str(height)}
            element = ElementTree.SubElement(root, "image", facts)
            for item in image.objects:
                ElementTree.SubElement(element, "box", _cvat_box(item, classes))
        yield file_name_of("cvat", part), _xml(root)


def _cvat_box(item: LabelledObject, classes: Sequence[str]) -> dict[str, str]:
    source = "manual" if item.score is None else "auto"
    facts = {"label": classes[item.number], "source": source, "occluded": "0"}
    corners = {"xtl": item.x1, "ytl": item.y1, "xbr": item.x2, "ybr": item.y2}
    return facts | {key: f"{value:.2f}" for key, value in corners.items()} | {"z_order": "0"}


def _label_studio(sets: Sequence[LabelSet], classes: Sequence[str]) -> Files:
    """Tasks with what a model predicted or people annotated, and the labelling interface that they are for."""
    for part in sets:
        folder = part.root.resolve().name
        names = [f"{folder}/{image.file_name}".removeprefix("/") for image in part.images]
        tasks = [_task(image, name, part.model, classes) for name, image in zip(names, part.images, strict=True)]
        yield file_name_of("label-studio", part), json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", {"name": "image", "value": "$image"})
    labels = ElementTree.SubElement(view, "RectangleLabels", {"name": "label", "toName": "image"})
    for name in classes:
        ElementTree.SubElement(labels, "Label", {"value": name})
    yield "label_config.xml", _xml(view)


def _task(image: LabelledImage, path: str, model: str, classes: Sequence[str]) -> dict[str, Any]:
    """An image below LOCAL_FILES_DOCUMENT_ROOT. Source: labelstud.io, "Import pre-annotated data"."""
    regions = [_region(image, item, str(index), classes) for index, item in enumerate(image.objects)]
    data = {"image": f"/data/local-files/?d={quote(path)}"}
    if not model:
        return {"data": data, "annotations": [{"result": regions}]}
    return {"data": data, "predictions": [{"model_version": model, "result": regions}]}


def _region(image: LabelledImage, item: LabelledObject, region_id: str, classes: Sequence[str]) -> dict[str, Any]:
    width, height = _size(image)
    percent = {
        "x": 100 * item.x1 / width,
        "y": 100 * item.y1 / height,
        "width": 100 * (item.x2 - item.x1) / width,
        "height": 100 * (item.y2 - item.y1) / height,
    }
    region = {
        "id": region_id,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {key: round(value, 5) for key, value in percent.items()}
        | {"rotation": 0, "rectanglelabels": [classes[item.number]]},
    }
    return region if item.score is None else region | {"score": round(item.score, 4)}


def _hf_folder(sets: Sequence[LabelSet], classes: Sequence[str]) -> Files:
    """A line for each image in the folder of its split, with the numbers of its classes; classes.txt has their names.

    Source: huggingface.co/docs/datasets, "Create an image dataset", object detection.
    """
    for part in sets:
        lines = [json.dumps(_hf_line(image), ensure_ascii=False) + "\n" for image in part.images]
        yield f"{part.split}/{METADATA}".removeprefix("/"), "".join(lines)
    yield CLASSES_FILE, "".join(f"{name}\n" for name in classes)


def _hf_line(image: LabelledImage) -> dict[str, Any]:
    width, height = _size(image)
    objects: dict[str, list[Any]] = {
        "bbox": [
            [round(value, 3) for value in (item.x1, item.y1, item.x2 - item.x1, item.y2 - item.y1)]
            for item in image.objects
        ],
        "categories": [item.number for item in image.objects],
    }
    scores = [item.score for item in image.objects if item.score is not None]
    if scores:
        objects["scores"] = [round(score, 4) for score in scores]
    return {"file_name": image.file_name, "width": width, "height": height, "objects": objects}


WRITERS: dict[LabelFormat, Callable[[Sequence[LabelSet], Sequence[str]], Files]] = {
    "coco": _coco,
    "yolo": _yolo,
    "voc": _voc,
    "cvat": _cvat,
    "label-studio": _label_studio,
    "hf-folder": _hf_folder,
}
"""What writes each format."""


def _below_split(part: LabelSet, image: LabelledImage) -> str:
    return f"{part.split}/{image.file_name}" if part.split else image.file_name


def _size(image: LabelledImage) -> tuple[int, int]:
    assert image.width is not None and image.height is not None, f"{image.file_name} has no size"
    return image.width, image.height


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text


def _xml(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"

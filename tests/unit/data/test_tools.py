"""Sets as labelling tools write them, each read right: the table in docs/data-formats.md, a cell a test.

The same two images of 100 x 50 pixels are annotated everywhere: a cat at 10..50, 5..25 on both, a dog at 60..90, 10..40
on the second. What a tool adds of its own (licences, colours, occlusion, ...) is there as it writes it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox.data import coco
from multibox.data.convert import convert
from multibox.data.layouts import find_layout

Objects = dict[str, list[tuple[str, list[float]]]]

CAT, DOG = ("cat", [10.0, 5.0, 50.0, 25.0]), ("dog", [60.0, 10.0, 90.0, 40.0])
NAMES = ("a", "b")
OBJECTS: Objects = {"a": [CAT], "b": [CAT, DOG]}
CLASSES = ["cat", "dog"]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".jpg", np.full((50, 100, 3), 90, np.uint8))
    path.write_bytes(data.tobytes())


def text(path: Path, content: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))


def coco_content(
    name_of: Callable[[str], str],
    *,
    first_id: int = 1,
    image: dict[str, Any] | None = None,
    annotation: dict[str, Any] | None = None,
    category: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A COCO file as tools have it in common, with fields of their own in each entry."""
    images, annotations = [], []
    for number, name in enumerate(NAMES, start=first_id):
        entry = {"id": number, "width": 100, "height": 50, "file_name": name_of(name)}
        images.append(entry | (image or {}))
        for label, (x1, y1, x2, y2) in OBJECTS[name]:
            own = {
                "id": len(annotations) + first_id,
                "image_id": number,
                "category_id": CLASSES.index(label) + first_id,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "segmentation": [],
            }
            annotations.append(own | (annotation or {}))
    categories = [{"id": i, "name": name} | (category or {}) for i, name in enumerate(CLASSES, start=first_id)]
    return {"images": images, "annotations": annotations, "categories": categories}


def yolo_lines(name: str) -> str:
    lines = []
    for label, (x1, y1, x2, y2) in OBJECTS[name]:
        numbers = ((x1 + x2) / 200, (y1 + y2) / 100, (x2 - x1) / 100, (y2 - y1) / 50)
        lines.append(f"{CLASSES.index(label)} " + " ".join(f"{number:.6f}" for number in numbers))
    return "\n".join(lines) + "\n"


def voc_xml(
    name: str, file_name: str, *, offset: float = 1, inner: str = "", head: str = "", decimals: str = "d"
) -> str:
    """Annotations as most tools write them: corners count from 1, so that the upper left ones are one more."""
    objects = ""
    for label, corners in OBJECTS[name]:
        x1, y1, x2, y2 = (
            format(int(v) if decimals == "d" else v, decimals)
            for v in (corners[0] + offset, corners[1] + offset, corners[2], corners[3])
        )
        objects += (
            f"\t<object>\n\t\t<name>{label}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
            f"\t\t<difficult>0</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>{x1}</xmin>\n\t\t\t<ymin>{y1}</ymin>\n"
            f"\t\t\t<xmax>{x2}</xmax>\n\t\t\t<ymax>{y2}</ymax>\n\t\t</bndbox>{inner}\n\t</object>\n"
        )
    return (
        f"<annotation>\n\t<folder>images</folder>\n\t<filename>{file_name}</filename>\n{head}"
        "\t<source>\n\t\t<database>Unknown</database>\n\t</source>\n"
        "\t<size>\n\t\t<width>100</width>\n\t\t<height>50</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n{objects}</annotation>\n"
    )


# CVAT


def cvat_xml(folder: Path) -> None:
    images = ""
    for number, name in enumerate(NAMES):
        boxes = "".join(
            f'    <box label="{label}" source="manual" occluded="0" xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" '
            f'ybr="{y2:.2f}" z_order="0">\n      <attribute name="age">old</attribute>\n    </box>\n'
            for label, (x1, y1, x2, y2) in OBJECTS[name]
        )
        images += f'  <image id="{number}" name="{name}.jpg" width="100" height="50">\n{boxes}  </image>\n'
        picture(folder / f"images/{name}.jpg")
    labels = "".join(
        f"<label><name>{name}</name><color>#aa0000</color><type>any</type><attributes></attributes></label>"
        for name in CLASSES
    )
    text(
        folder / "annotations.xml",
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>'
        f"<id>7</id><name>a task</name><size>2</size><mode>annotation</mode><labels>{labels}</labels></task>\n"
        f"    <dumped>2026-01-01</dumped>\n  </meta>\n{images}</annotations>\n",
    )


def cvat_coco(folder: Path) -> None:
    content = coco_content(
        lambda name: f"{name}.jpg",
        image={"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0},
        annotation={"attributes": {"occluded": False, "rotation": 0.0}},
        category={"supercategory": ""},
    )
    head = {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
    }
    text(folder / "annotations/instances_default.json", json.dumps(head | content))
    for name in NAMES:
        picture(folder / f"images/{name}.jpg")


def cvat_coco_with_folders_of_subsets(folder: Path) -> None:
    cvat_coco(folder)
    (folder / "images/default").mkdir()
    for name in NAMES:
        (folder / f"images/{name}.jpg").rename(folder / f"images/default/{name}.jpg")


def cvat_ultralytics(folder: Path, prefix: str = "data/") -> None:
    text(folder / "data.yaml", "names:\n  0: cat\n  1: dog\npath: .\ntrain: train.txt\n")
    text(folder / "train.txt", "".join(f"{prefix}images/train/{name}.jpg\n" for name in NAMES))
    for name in NAMES:
        picture(folder / f"images/train/{name}.jpg")
        text(folder / f"labels/train/{name}.txt", yolo_lines(name))


def cvat_ultralytics_without_prefix(folder: Path) -> None:
    cvat_ultralytics(folder, prefix="")


def cvat_yolo_1_1(folder: Path) -> None:
    text(folder / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    text(folder / "obj.names", "cat\ndog\n")
    text(folder / "train.txt", "".join(f"data/obj_train_data/{name}.jpg\n" for name in NAMES))
    for name in NAMES:
        picture(folder / f"obj_train_data/{name}.jpg")
        text(folder / f"obj_train_data/{name}.txt", yolo_lines(name))


def cvat_voc(folder: Path) -> None:
    attributes = "<attributes><attribute><name>rotation</name><value>0.0</value></attribute></attributes>"
    for name in NAMES:
        picture(folder / f"JPEGImages/{name}.jpg")
        # CVAT counts from 0 and writes decimals.
        xml = voc_xml(name, f"{name}.jpg", offset=0, inner=f"<occluded>0</occluded>{attributes}", decimals=".2f")
        text(folder / f"Annotations/{name}.xml", xml.replace("25.00", "25.25"))
    text(folder / "ImageSets/Main/default.txt", "".join(f"{name}\n" for name in NAMES))
    text(folder / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:1,2,3::\ndog:4,5,6::\n")


def cvat_video(folder: Path) -> None:
    def box(frame: int, corners: list[float], outside: int, keyframe: int) -> str:
        x1, y1, x2, y2 = corners
        return (
            f'    <box frame="{frame}" keyframe="{keyframe}" outside="{outside}" occluded="0" xtl="{x1:.2f}" '
            f'ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}" z_order="0">\n    </box>\n'
        )

    tracks = (
        f'  <track id="0" label="cat" source="manual">\n{box(10, CAT[1], 0, 1)}{box(11, CAT[1], 0, 0)}  </track>\n'
        f'  <track id="1" label="dog" source="manual">\n{box(10, DOG[1], 1, 1)}{box(11, DOG[1], 0, 1)}  </track>\n'
    )
    labels = "".join(f"<label><name>{name}</name><color>#aa0000</color></label>" for name in CLASSES)
    size = "<original_size>\n<width>100</width>\n<height>50</height>\n</original_size><source>a.mp4</source>"
    text(
        folder / "annotations.xml",
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>'
        f"<id>7</id><size>2</size><mode>interpolation</mode><start_frame>10</start_frame><labels>{labels}</labels>"
        f"{size}</task>\n    <dumped>2026-01-01</dumped>\n  </meta>\n{tracks}</annotations>\n",
    )
    for number in (10, 11):
        picture(folder / f"images/frame_{number:06d}.PNG")


# Label Studio


def label_studio_regions(name: str) -> list[dict[str, Any]]:
    regions = []
    for label, (x1, y1, x2, y2) in OBJECTS[name]:
        value = {"x": x1, "y": 2 * y1, "width": x2 - x1, "height": 2 * (y2 - y1), "rotation": 0}
        own = {"original_width": 100, "original_height": 50, "image_rotation": 0}
        regions.append(own | {"value": value | {"rectanglelabels": [label]}})
    return regions


def label_studio_json(folder: Path) -> None:
    tasks = []
    for number, name in enumerate(NAMES, start=41):
        drawn = {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "origin": "manual"}
        result = [
            region | {"id": f"Ab{position}"} | drawn for position, region in enumerate(label_studio_regions(name))
        ]
        annotation = {
            "id": number - 40,
            "completed_by": 1,
            "result": result,
            "was_cancelled": False,
            "ground_truth": False,
            "created_at": "2026-01-01T10:00:00.000000Z",
            "updated_at": "2026-01-01T10:00:00.000000Z",
            "draft_created_at": None,
            "lead_time": 9.5,
            "prediction": {},
            "result_count": len(result),
            "task": number,
            "project": 1,
            "parent_annotation": None,
        }
        file = f"1a2b3c4d-{name}.jpg"
        tasks.append(
            {
                "id": number,
                "annotations": [annotation],
                "file_upload": file,
                "drafts": [],
                "predictions": [],
                "data": {"image": f"/data/upload/1/{file}"},
                "meta": {},
                "created_at": "2026-01-01T09:00:00.000000Z",
                "inner_id": number - 40,
                "total_annotations": 1,
            }
        )
        picture(folder / f"images/{name}.jpg")  # as it was called before it was uploaded
    text(folder / "project-1-at-2026-01-01-10-00-1a2b3c4d.json", json.dumps(tasks))


def label_studio_json_min(folder: Path) -> None:
    items = []
    for number, name in enumerate(NAMES, start=41):
        label = [
            region["value"] | {"original_width": 100, "original_height": 50} for region in label_studio_regions(name)
        ]
        own = {"annotator": 1, "annotation_id": number - 40, "created_at": "2026-01-01T10:00:00.000000Z"}
        file = {"image": f"/data/local-files/?d=photos/of%20animals/{name}.jpg", "id": number, "label": label}
        items.append(file | own | {"updated_at": "2026-01-01T10:00:00.000000Z", "lead_time": 9.5})
        picture(folder / f"of animals/{name}.jpg")
    text(folder / "project-1-at-2026-01-01-10-00-1a2b3c4d.json", json.dumps(items, indent=2))


def label_studio_coco(folder: Path, slash: str = "/") -> None:
    content = coco_content(lambda name: f"images{slash}1a2b3c4d-{name}.jpg", first_id=0, annotation={"ignore": 0})
    info = {"year": 2026, "version": "1.0", "contributor": "Label Studio"}
    text(folder / "result.json", json.dumps(content | {"info": info}, indent=2))
    for name in NAMES:
        picture(folder / f"images/1a2b3c4d-{name}.jpg")


def label_studio_coco_of_windows(folder: Path) -> None:
    label_studio_coco(folder, slash="\\")


def label_studio_yolo(folder: Path) -> None:
    text(folder / "classes.txt", "cat\ndog\n")
    text(folder / "notes.json", json.dumps({"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2026}}))
    for name in NAMES:
        picture(folder / f"images/1a2b3c4d-{name}.jpg")
        text(folder / f"labels/1a2b3c4d-{name}.txt", yolo_lines(name))


def label_studio_voc(folder: Path) -> None:
    for name in NAMES:
        picture(folder / f"images/1a2b3c4d-{name}.jpg")
        text(folder / f"Annotations/1a2b3c4d-{name}.xml", voc_xml(name, f"1a2b3c4d-{name}"))


# Roboflow


def roboflow_coco(folder: Path) -> None:
    content = coco_content(
        lambda name: f"{name}_jpg.rf.0123456789abcdef.jpg",
        image={"license": 1, "date_captured": "2026-01-01T00:00:00+00:00", "extra": {"name": "a.jpg"}},
        category={"supercategory": "animals"},
    )
    content["categories"].insert(0, {"id": 0, "name": "animals", "supercategory": "none"})
    for split in ("train", "valid"):
        text(folder / split / "_annotations.coco.json", json.dumps(content))
        for name in NAMES:
            picture(folder / split / f"{name}_jpg.rf.0123456789abcdef.jpg")
    text(folder / "README.roboflow.txt", "animals > 2026-01-01\n")


def roboflow_yolo(folder: Path, train: str = "../train/images") -> None:
    val = train.replace("train", "valid")
    text(
        folder / "data.yaml",
        f"train: {train}\nval: {val}\ntest: ../test/images\n\nnc: 2\nnames: ['cat', 'dog']\n\n"
        "roboflow:\n  workspace: mine\n  project: animals\n  version: 1\n  license: CC BY 4.0\n",
    )
    for split in ("train", "valid"):
        for name in NAMES:
            stem = f"{name}_jpg.rf.0123456789abcdef"
            picture(folder / split / "images" / f"{stem}.jpg")
            text(folder / split / "labels" / f"{stem}.txt", yolo_lines(name).rstrip("\n"))


def roboflow_yolo_of_a_notebook(folder: Path) -> None:
    roboflow_yolo(folder, "/content/animals-1/train/images")


def roboflow_yolo_with_its_name(folder: Path) -> None:
    roboflow_yolo(folder, "animals-1/train/images")


def roboflow_voc(folder: Path) -> None:
    for split in ("train", "valid"):
        for name in NAMES:
            stem = f"{name}_jpg.rf.0123456789abcdef"
            picture(folder / split / f"{stem}.jpg")
            head = f"\t<path>{stem}.jpg</path>\n"
            xml = voc_xml(name, f"{stem}.jpg", head=head, inner="<occluded>0</occluded>")
            text(folder / split / f"{stem}.xml", xml)


# labelImg, labelme


def labelimg_voc(folder: Path) -> None:
    for name in NAMES:
        picture(folder / f"{name}.JPG")
        head = f"\t<path>C:\\Users\\me\\images\\{name}.JPG</path>\n"
        text(folder / f"{name}.xml", voc_xml(name, f"{name}.JPG", head=head).replace("\n", "\r\n"))


def labelimg_yolo(folder: Path) -> None:
    text(folder / "classes.txt", "cat\r\ndog\r\n")
    for name in NAMES:
        picture(folder / f"{name}.jpg")
        text(folder / f"{name}.txt", yolo_lines(name).replace("\n", "\r\n"))


def labelme(folder: Path) -> None:
    for name in NAMES:
        picture(folder / f"{name}.jpg")
        shapes = []
        for label, (x1, y1, x2, y2) in OBJECTS[name]:
            points = [[x2, y2], [x1, y1]]  # drawn from the lower right
            kind = "rectangle"
            if label == "dog":
                points, kind = [[x1, y1], [x2, y1 + 7], [x1 + 9, y2]], "polygon"
            own = {"group_id": None, "description": "", "flags": {}, "mask": None}
            shapes.append({"label": label, "points": points, "shape_type": kind} | own)
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg", "imageData": "aGk="}
        text(folder / f"{name}.json", json.dumps(content | {"imageHeight": 50, "imageWidth": 100}, indent=2))


# VIA, coco-annotator, Kaggle, PASCAL itself


def via_coco(folder: Path) -> None:
    content = coco_content(
        lambda name: f"{name}.jpg",
        image={"width": -1, "height": -1, "license": 0, "flickr_url": "", "coco_url": "", "date_captured": ""},
        category={"supercategory": "type"},
    )
    for annotation in content["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
        annotation["id"] = str(annotation["id"])
    info = {"year": 2026, "version": "1.0", "description": "VIA project exported to COCO format"}
    text(folder / "via_project_coco.json", json.dumps({"info": info} | content))
    for name in NAMES:
        picture(folder / f"{name}.jpg")


def via_images() -> dict[str, Any]:
    images = {}
    for name in NAMES:
        regions = []
        for label, (x1, y1, x2, y2) in OBJECTS[name]:
            shape: dict[str, Any] = {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
            if label == "dog":  # as wide as it is high
                shape = {"name": "circle", "cx": (x1 + x2) / 2, "cy": (y1 + y2) / 2, "r": (x2 - x1) / 2}
            regions.append({"shape_attributes": shape, "region_attributes": {"animal": label}})
        images[f"{name}.jpg629"] = {"filename": f"{name}.jpg", "size": 629, "regions": regions, "file_attributes": {}}
    return images


def via_project(folder: Path) -> None:
    options = {"type": "dropdown", "description": "", "options": {"cat": "", "dog": ""}, "default_options": {}}
    images = via_images()
    content = {
        "_via_settings": {"ui": {"image": {}}, "core": {"buffer_size": 18, "default_filepath": ""}, "project": {}},
        "_via_img_metadata": images,
        "_via_attributes": {"region": {"animal": options}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(images),
    }
    text(folder / "via_project_1Jan2026_10h0m.json", json.dumps(content))
    for name in NAMES:
        picture(folder / f"{name}.jpg")


def via_annotations(folder: Path) -> None:
    text(folder / "via_project_1Jan2026_10h0m_json.json", json.dumps(via_images()))
    for name in NAMES:
        picture(folder / f"{name}.jpg")


def via_1(folder: Path) -> None:
    images = via_images()
    for image in images.values():
        image["regions"] = {str(position): region for position, region in enumerate(image["regions"])}
        image |= {"fileref": "", "base64_img_data": ""}
    text(folder / "via_region_data.json", json.dumps(images))
    for name in NAMES:
        picture(folder / f"{name}.jpg")


def coco_annotator(folder: Path) -> None:
    content = coco_content(
        lambda name: f"{name}.jpg",
        image={
            "dataset_id": 1,
            "path": "/datasets/x",
            "annotated": False,
            "annotating": [],
            "metadata": {},
            "events": [],
        },
        annotation={"iscrowd": False, "isbbox": True, "creator": "me", "color": "#a", "keypoints": [], "metadata": {}},
        category={"supercategory": "", "color": "#aa00bb", "metadata": {}, "keypoint_colors": []},
    )
    text(folder / "animals-1.json", json.dumps(content))
    for name in NAMES:
        picture(folder / f"images/{name}.jpg")


def kaggle_voc(folder: Path) -> None:
    for name in NAMES:
        picture(folder / f"images/{name}.jpg")
        text(folder / f"annotations/{name}.xml", voc_xml(name, f"{name}.jpg"))


def voc2007(folder: Path) -> None:
    top = folder / "VOCdevkit/VOC2007"
    for name in NAMES:
        picture(top / f"JPEGImages/{name}.jpg")
        text(top / f"Annotations/{name}.xml", voc_xml(name, f"{name}.jpg"))
        (top / "SegmentationClass").mkdir(exist_ok=True)
    for part in ("train", "val", "trainval", "test"):
        text(top / f"ImageSets/Main/{part}.txt", "".join(f"{name}\n" for name in NAMES))
    text(top / "ImageSets/Main/cat_train.txt", "a  1\nb  1\n")


def open_images(folder: Path) -> None:
    head = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    rows = [head]
    for name in NAMES:
        picture(folder / f"train/000{name}.jpg")
        for label, (x1, y1, x2, y2) in OBJECTS[name]:
            code = {"cat": "/m/01yrx", "dog": "/m/0bt9lr"}[label]
            sides = f"{x1 / 100:.6f},{x2 / 100:.6f},{y1 / 50:.6f},{y2 / 50:.6f}"
            rows.append(f"000{name},xclick,{code},1,{sides},0,0,0,0")
    text(folder / "train-annotations-bbox.csv", "\n".join(rows) + "\n")
    text(folder / "class-descriptions-boxable.csv", '/m/01yrx,cat\n/m/0bt9lr,dog\n/m/011k07,"Tortoise, old"\n')


TOOLS = [
    cvat_xml,
    cvat_coco,
    cvat_coco_with_folders_of_subsets,
    cvat_ultralytics,
    cvat_ultralytics_without_prefix,
    cvat_yolo_1_1,
    cvat_voc,
    cvat_video,
    label_studio_json,
    label_studio_json_min,
    label_studio_coco,
    label_studio_coco_of_windows,
    label_studio_yolo,
    label_studio_voc,
    roboflow_coco,
    roboflow_yolo,
    roboflow_yolo_of_a_notebook,
    roboflow_yolo_with_its_name,
    roboflow_voc,
    labelimg_voc,
    labelimg_yolo,
    labelme,
    via_coco,
    via_project,
    via_annotations,
    via_1,
    coco_annotator,
    kaggle_voc,
    voc2007,
    open_images,
]
WITH_VAL = {
    roboflow_coco,
    roboflow_yolo,
    roboflow_yolo_of_a_notebook,
    roboflow_yolo_with_its_name,
    roboflow_voc,
    voc2007,
}


def letter_of(file_name: str) -> str:
    """The last letter of what a tool calls an image; of a frame, `a` for the tenth and `b` for the next."""
    stem = Path(file_name).stem.split("_jpg.rf")[0]
    return {"0": "a", "1": "b"}.get(stem[-1], stem[-1])


def read(source: Path, output: Path) -> dict[str, Objects]:
    """The objects of each image of each split, by the last letter of what the tool calls the image."""
    layout = find_layout(source)
    splits = layout.splits if layout.format == "COCO" else convert(layout, output)
    found: dict[str, Objects] = {}
    for name, split in splits.items():
        assert not split.problems
        data = coco.read([split.annotation_file], [split.root])
        assert [kind for kind in (doubt.kind for doubt in data.doubts) if kind != "groups-as-classes"] == []
        found[name] = {
            letter_of(record.file_name): [
                (data.classes[label], box)
                for label, box in zip(record.labels, record.boxes_px.round(3).tolist(), strict=True)
            ]
            for record in data.records
        }
    return found


def expected(tool: Callable[[Path], None]) -> dict[str, Objects]:
    objects = OBJECTS
    if tool is cvat_voc:
        objects = {"a": [("cat", [10, 5, 50, 25.25])], "b": [("cat", [10, 5, 50, 25.25]), DOG]}
    return dict.fromkeys(("train", "val") if tool in WITH_VAL else ("train",), objects)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_what_a_tool_exports_is_read_as_it_was_drawn(tmp_path: Path, tool: Callable[[Path], None]) -> None:
    tool(tmp_path / "my export")

    assert read(tmp_path / "my export", tmp_path / "converted") == expected(tool)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
@pytest.mark.parametrize("is_inside_a_folder", [False, True])
def test_a_zip_of_it_is_read_as_well(tmp_path: Path, tool: Callable[[Path], None], is_inside_a_folder: bool) -> None:
    tool(tmp_path / "in/my export")
    top = tmp_path / "in" if is_inside_a_folder else tmp_path / "in/my export"
    archive = shutil.make_archive(str(tmp_path / "export of today"), "zip", top)

    shutil.rmtree(tmp_path / "in")

    assert read(Path(archive), tmp_path / "converted") == expected(tool)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool not in {cvat_voc}], ids=lambda tool: tool.__name__)
def test_it_may_have_been_saved_anew_by_an_editor(tmp_path: Path, tool: Callable[[Path], None], encoding: str) -> None:
    folder = tmp_path / "my export"
    tool(folder)
    for file in [
        file for file in folder.rglob("*") if file.suffix in {".json", ".xml", ".txt", ".yaml", ".names", ".data"}
    ]:
        file.write_bytes(file.read_bytes().decode().replace("\r\n", "\n").replace("\n", "\r\n").encode(encoding))

    assert read(folder, tmp_path / "converted") == expected(tool)


def test_groups_of_open_images_are_crowds(tmp_path: Path) -> None:
    open_images(tmp_path / "set")
    file = tmp_path / "set/train-annotations-bbox.csv"
    text(file, file.read_text().replace(",0,0,0,0\n", ",0,0,1,0\n", 1))

    split = convert(find_layout(tmp_path / "set"), tmp_path / "converted")["train"]

    data = coco.read([split.annotation_file], [split.root])
    assert data.num_crowds == 1 and data.objects_per_class == (1, 1)


def test_rows_and_images_of_open_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    open_images(tmp_path / "set")
    file = tmp_path / "set/train-annotations-bbox.csv"
    text(
        file,
        file.read_text() + "000b,xclick,/m/01yrx,1,0.5,0.5,0.1,0.2,0,0,0,0,0\n000x,x,/m/01yrx,1,0,1,0,1,0,0,0,0,0\n",
    )

    problems = convert(find_layout(tmp_path / "set"), tmp_path / "converted")["train"].problems

    assert problems == {
        "images of the table that are missing": ['image "000x"'],
        "rows that cannot be read": ["train-annotations-bbox.csv, line 5 has a box of width 0"],
    }

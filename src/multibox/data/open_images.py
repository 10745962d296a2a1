"""Open Images' tables: a row for each box, its corners as fractions of the image, and a table of the classes' names."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from multibox.data import images
from multibox.data.coco_checks import box_fault
from multibox.data.image_files import by_stem, image_names
from multibox.data.labels import LabelledImage, LabelledObject, Labels
from multibox.data.layouts import Layout
from multibox.data.text_files import read_text
from multibox.errors import DataError
from multibox.wording import quoted

SIDES = ("XMin", "YMin", "XMax", "YMax")

_Row = tuple[str, dict[str, str]]
"""Where a row stands, and its cells by the names of their columns."""


def read_open_images(layout: Layout) -> tuple[dict[str, Labels], dict[int, str]]:
    """The labels of each split of a set in Open Images' tables, and the names of its classes in order.

    Classes are those that have boxes, by the names that `class-descriptions*.csv` has for them, or else by their codes.

    Raises:
        DataError: a table cannot be read, or has no box of an image that is there.
    """
    titles = _titles(layout.folder)
    tables = {split: list(_rows(layout.folder / word)) for split, word in layout.words.items()}
    codes = sorted({row.get("LabelName", "") for rows in tables.values() for _, row in rows})
    classes = sorted({titles.get(code, code) for code in codes if code})
    numbers = {name: number for number, name in enumerate(classes)}
    parts = {}
    for split, rows in tables.items():
        folder, stems = _image_folder(layout, split, rows)
        part = parts[split] = Labels(folder)
        of_image: dict[str, list[_Row]] = defaultdict(list)
        for where, row in rows:
            of_image[row.get("ImageID", "")].append((where, row))
        missing = [image_id for image_id in of_image if image_id not in stems]
        part.lose("images of the table that are missing", [f"image {quoted(image_id)}" for image_id in missing])
        for image_id, names in stems.items():
            own = of_image.get(image_id)
            if own is None:
                part.remark("images without a row, left out", [f"image {quoted(names[0])}"])
                continue
            _add_image(part, names[0], own, titles, numbers)
    return parts, dict(enumerate(classes))


def _add_image(part: Labels, name: str, rows: list[_Row], titles: dict[str, str], numbers: dict[str, int]) -> None:
    try:
        width, height = images.read_size(part.root / name)
    except DataError:
        part.lose("images that cannot be used", [f"image {quoted(name)} {images.find_fault(part.root / name)}"])
        return
    objects = []
    for where, row in rows:
        try:
            x1, y1, x2, y2 = (float(row[side]) for side in SIDES)
        except (KeyError, ValueError):
            part.lose("rows that cannot be read", [f"{where} has no box"])
            continue
        corners = x1 * width, y1 * height, x2 * width, y2 * height
        code = row.get("LabelName", "")
        fault = box_fault([*corners[:2], corners[2] - corners[0], corners[3] - corners[1]], width, height)
        if fault is not None or not code or not all(map(math.isfinite, corners)):
            part.lose("rows that cannot be read", [f"{where} {fault or 'has no class'}"])
            continue
        number = numbers[titles.get(code, code)]
        objects.append(LabelledObject(number, *corners, is_crowd=row.get("IsGroupOf") == "1"))
    part.images.append(LabelledImage(name, width, height, objects))


def _image_folder(layout: Layout, split: str, rows: list[_Row]) -> tuple[Path, dict[str, list[str]]]:
    """The folder that has images of the rows, a split's own before others, and its images by their ids."""
    word = layout.words[split].split("-")[0]
    ids = {row.get("ImageID", "") for _, row in rows}
    for place in (word, f"images/{word}", f"{word}/data", f"data/{word}", "images", "data", "."):
        folder = layout.folder / place
        if folder.is_dir():
            stems = {stem.rsplit("/", 1)[-1]: names for stem, names in by_stem(image_names(folder)).items()}
            if ids & stems.keys():
                return folder, stems
    raise DataError(f"{layout.folder / layout.words[split]}: none of its images is in {layout.folder}. Put them there.")


def _titles(folder: Path) -> dict[str, str]:
    """The names of classes by their codes."""
    titles: dict[str, str] = {}
    for file in sorted(folder.glob("*class-descriptions*.csv")):
        rows = csv.reader(io.StringIO(read_text(file, "the names of the classes")))
        titles |= {row[0]: row[1].strip() for row in rows if len(row) >= 2 and row[0] != "LabelName"}
    return titles


def _rows(file: Path) -> Iterator[_Row]:
    for number, row in enumerate(csv.DictReader(io.StringIO(read_text(file, "the table of boxes"))), start=2):
        yield f"{file.name}, line {number}", row

"""COCO annotation files as records: read, checked against the images, with the objects of the chosen classes. Category
ids end here; everything after counts labels from 0 in the order of the classes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox.data import coco_categories
from multibox.data.addresses import locate
from multibox.data.coco_categories import choose_categories, common_categories
from multibox.data.coco_checks import Usable, UsableObject, check
from multibox.data.coco_format import AnnotationFile, Id, read_content
from multibox.data.coco_images import UsableImage
from multibox.data.problems import Doubt
from multibox.errors import DataError
from multibox.structures import FloatArray, IntArray, Targets
from multibox.wording import counted, quoted


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One image and its objects, as annotated for the chosen classes; objects flagged `ignore` are left out.

    `source`: the position of its annotation file. `image_id`: its id there. `boxes` (N, 4): float32 fractions of width
    and height, inside the image. `labels` (N,): int64 indices into the classes. `is_crowd` (N,): boxes around many
    objects, which evaluation treats apart and training leaves out. For evaluation: `boxes_px` (N, 4), float64 corners
    as annotated, not clipped, and `areas_px` (N,), float64, the annotated area or else that of the box.
    """

    path: Path
    file_name: str
    image_id: Id
    source: int
    width: int
    height: int
    boxes: FloatArray
    labels: IntArray
    is_crowd: NDArray[np.bool_]
    boxes_px: NDArray[np.float64]
    areas_px: NDArray[np.float64]

    @property
    def targets(self) -> Targets:
        """What training is to find: all boxes that are not crowds."""
        if not self.is_crowd.any():
            return Targets(self.boxes, self.labels)
        return Targets(self.boxes[~self.is_crowd], self.labels[~self.is_crowd])


@dataclass(frozen=True)
class CocoData:
    """What annotation files hold for the chosen classes.

    `category_ids`: the files' own id of each class, None for a class that they do not have. `num_clipped`: boxes that
    were cut at the border of their image. `skipped`: a line for each image and annotation that was left out because it
    is bad; `problems` has the same lines by what is wrong. `fingerprint`: the same for the same classes, names and
    sizes of image files, and boxes.
    `sources`: each annotation file with the folder of its images, as absolute paths. `doubts`: what can be used but is
    hardly meant. `unchosen`: how many objects the files have of each class that is not chosen. `areas_from_boxes`: how
    many objects have the area of their box because theirs was not annotated as a number above 0.
    """

    records: tuple[Record, ...] = field(repr=False)
    classes: tuple[str, ...]
    category_ids: tuple[int | None, ...]
    num_clipped: int
    skipped: tuple[str, ...]
    fingerprint: str
    sources: tuple[tuple[Path, Path], ...] = ()
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    doubts: tuple[Doubt, ...] = ()
    unchosen: Mapping[str, int] = field(default_factory=dict)
    areas_from_boxes: int = 0

    @property
    def num_crowds(self) -> int:
        """How many boxes around many objects there are; evaluation counts them neither for nor against."""
        return sum(int(record.is_crowd.sum()) for record in self.records)

    @cached_property
    def objects_per_class(self) -> tuple[int, ...]:
        """How many objects of each class there are; crowds do not count."""
        counts = np.zeros(len(self.classes), dtype=np.int64)
        for record in self.records:
            np.add.at(counts, record.targets.labels, 1)
        return tuple(counts.tolist())

    def evenly(self, count: int) -> CocoData:
        """This data with so many records at most, evenly spread; what was wrong stays that of the whole."""
        total = len(self.records)
        if total <= count:
            return self
        return replace(self, records=tuple(self.records[i * total // count] for i in range(count)))


def split_list(text: str) -> list[str]:
    r"""The items of a comma-separated option: `a, b`, `"a, b", c` and `a\, b` are all two, two and one.

    Blanks around items are no part of them. A double quote starts a quoted item only at its beginning; inside it, two
    double quotes stand for one.
    """
    items = re.findall(r'\s*("(?:[^"]|"")*"(?=\s*(?:,|$))|(?:\\,|[^,])*)(?:,|$)', text)
    plain = (_unquoted(item.strip()) for item in items)
    return [item for item in plain if item]


def read(
    annotation_files: Sequence[str | os.PathLike[str]],
    data_roots: Sequence[str | os.PathLike[str]],
    *,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    keep_images_without_objects: bool = True,
    verify_images: bool = True,
    allow_missing_classes: bool = False,
    titles: Sequence[str] | None = None,
    guess: bool = False,
) -> CocoData:
    """The images and objects of one or several annotation files, each with the folder that its images are in.

    Several files become one set and must have the same categories. `classes` chooses some of them, in this order; by
    default all are taken, by ascending id. Files and folders may be addresses (see `addresses`). With `skip_bad`,
    images and annotations that cannot be used are left out and listed. With `verify_images`, every image on this
    machine is decoded (quickly) and its size compared. With `allow_missing_classes`, the files need not have all of
    `classes`, as when a model is evaluated on data of some of its classes; but one. `titles` are what messages call the
    files, if not by their paths. With `guess`, boxes that all mean something else are read as that, and `doubts` say
    so: for a look at a set, not for training on it.

    Raises:
        DataError: something cannot be used, and `skip_bad` is off or does not apply; or nearly all boxes of a file mean
            something else than the format says.
    """
    if len(annotation_files) != len(data_roots):
        raise DataError(
            f"{counted(len(annotation_files), 'annotation file')} but {counted(len(data_roots), 'folder')} of images "
            "are given. Name one folder for each annotation file."
        )
    if not annotation_files:
        raise DataError("No annotation file is given. Name at least one, and the folder that its images are in.")
    sources = [
        AnnotationFile(locate(file), locate(root), index, titles[index] if titles else "")
        for index, (file, root) in enumerate(zip(annotation_files, data_roots, strict=True))
    ]
    contents = [read_content(source) for source in sources]
    categories = common_categories(sources, contents)
    chosen = choose_categories(categories, classes, sources[0].name, allow_missing=allow_missing_classes)
    labels = {category_id: label for label, category_id in enumerate(chosen) if category_id is not None}
    results = [
        check(source, content, labels, known=categories, skip_bad=skip_bad, verify_images=verify_images, guess=guess)
        for source, content in zip(sources, contents, strict=True)
    ]
    records = tuple(
        record
        for source, usable in zip(sources, results, strict=True)
        for record in _records(source, usable)
        if keep_images_without_objects or not record.is_crowd.all()
    )
    names = tuple(classes or categories.values())
    if not records:
        raise DataError(_nothing_left(sources, results, names))
    file_sizes = {image.path: image.file_size for usable in results for image in usable.images}
    return CocoData(
        records=records,
        classes=names,
        category_ids=tuple(chosen),
        num_clipped=sum(usable.num_clipped for usable in results),
        skipped=tuple(line for usable in results for line in usable.skipped),
        fingerprint=_fingerprint(names, records, file_sizes),
        sources=tuple((source.file.resolve(), source.root.resolve()) for source in sources),
        problems=_joined(usable.problems for usable in results),
        doubts=(
            *dict.fromkeys(doubt for content in contents for doubt in coco_categories.doubts(content, names)),
            *(doubt for usable in results for doubt in usable.doubts),
        ),
        unchosen=_unchosen(categories, results),
        areas_from_boxes=sum(usable.areas_from_boxes for usable in results),
    )


def _unchosen(categories: dict[int, str], results: Sequence[Usable]) -> dict[str, int]:
    """How many objects there are of each class that is not chosen, by its name."""
    counts = Counter[int]()
    for usable in results:
        counts.update(usable.unchosen)
    return {categories[category_id]: count for category_id, count in sorted(counts.items())}


def _joined(problems: Iterable[dict[str, list[str]]]) -> dict[str, list[str]]:
    joined: dict[str, list[str]] = {}
    for of_file in problems:
        for kind, lines in of_file.items():
            joined.setdefault(kind, []).extend(lines)
    return joined


def _records(source: AnnotationFile, usable: Usable) -> Iterator[Record]:
    for image in usable.images:
        yield _record(source, image, usable.objects.get(image.image_id, []))


def _record(source: AnnotationFile, image: UsableImage, objects: list[UsableObject]) -> Record:
    boxes_px = np.array([item.box_px for item in objects], dtype=np.float64).reshape(-1, 4)
    return Record(
        path=image.path,
        file_name=image.file_name,
        image_id=image.image_id,
        source=source.index,
        width=image.width,
        height=image.height,
        boxes=geometry.clip(_fractions(boxes_px, image.width, image.height)),
        labels=np.array([item.label for item in objects], dtype=np.int64),
        is_crowd=np.array([item.is_crowd for item in objects], dtype=np.bool_),
        boxes_px=boxes_px,
        areas_px=np.array([item.area_px for item in objects], dtype=np.float64),
    )


def _fractions(boxes_px: NDArray[np.float64], width: int, height: int) -> FloatArray:
    return (boxes_px / np.array([width, height, width, height], dtype=np.float64)).astype(np.float32)


def _nothing_left(sources: Sequence[AnnotationFile], results: Sequence[Usable], classes: tuple[str, ...]) -> str:
    files = ", ".join(source.name for source in sources)
    num_skipped = sum(len(usable.skipped) for usable in results)
    if num_skipped:
        example = next(line for usable in results for line in usable.skipped)
        return (
            f"{files}: no usable image is left after skipping {counted(num_skipped, 'problem')}, the first: {example}."
        )
    if any(usable.images for usable in results):
        names = ", ".join(map(quoted, classes))
        return f"{files}: no image has an object of the classes {names}. Choose other classes or annotate some."
    return f"{files}: there are no images in it. Annotate some."


def _fingerprint(classes: tuple[str, ...], records: Sequence[Record], file_sizes: dict[Path, int]) -> str:
    digest = hashlib.sha256(json.dumps(classes).encode())
    for record in records:
        facts = [record.file_name, record.width, record.height, file_sizes[record.path], record.labels.tolist()]
        digest.update(json.dumps(facts).encode())
        digest.update(record.boxes_px.astype("<f8").tobytes())
        digest.update(record.is_crowd.tobytes())
    return digest.hexdigest()


def _unquoted(item: str) -> str:
    if len(item) >= 2 and item.startswith('"') and item.endswith('"'):
        return item[1:-1].replace('""', '"').strip()
    return item.replace("\\,", ",")

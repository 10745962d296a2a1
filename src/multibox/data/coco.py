"""COCO annotation files: read, checked against the images, and turned into records. The only place that knows
category ids; everything after it counts labels from 0 in the order of the classes.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import ntpath
import os
import posixpath
import re
import stat
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox import images
from multibox.errors import DataError
from multibox.structures import FloatArray, IntArray, Targets

CLIP_TOLERANCE_PX = 0.01
"""A box that leaves the image by less is cut without being counted: that much comes from rounding decimals."""

MIN_BOX_SIDE = 1e-5
"""Of the image's side. Smaller boxes could lose their size to rounding when the image is cropped or mirrored, and an
infinite loss would end the training; at 512 pixels of network input it is 1/200 of a pixel.
"""

NUM_EXAMPLES = 3

Id = int | str


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
        keep = ~self.is_crowd
        return Targets(self.boxes[keep], self.labels[keep])


@dataclass(frozen=True)
class CocoData:
    """What annotation files hold for the chosen classes.

    `category_ids`: the files' own id of each class, None for a class that they do not have. `num_clipped`: boxes that
    were cut at the border of their image. `skipped`: a line for each image and annotation that was left out because it
    is bad. `fingerprint`: the same for the same classes, names and sizes of image files, and boxes.
    """

    records: tuple[Record, ...] = field(repr=False)
    classes: tuple[str, ...]
    category_ids: tuple[int | None, ...]
    num_clipped: int
    skipped: tuple[str, ...]
    fingerprint: str

    @cached_property
    def objects_per_class(self) -> tuple[int, ...]:
        """How many objects of each class there are; crowds do not count."""
        counts = np.zeros(len(self.classes), dtype=np.int64)
        for record in self.records:
            np.add.at(counts, record.targets.labels, 1)
        return tuple(counts.tolist())


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
) -> CocoData:
    """The images and objects of one or several annotation files, each with the folder that its images are in.

    Several files become one set and must have the same categories. `classes` chooses some of them, in this order; by
    default all are taken, by ascending id. With `skip_bad`, images and annotations that cannot be used are left out and
    listed. With `verify_images`, every image is decoded (quickly) and its size compared. With `allow_missing_classes`,
    the files need not have all of `classes`, as when a model is evaluated on data of some of its classes; but one.

    Raises:
        DataError: something cannot be used, and `skip_bad` is off or does not apply.
    """
    if len(annotation_files) != len(data_roots):
        raise DataError(
            f"{_count(len(annotation_files), 'annotation file')} but {_count(len(data_roots), 'folder')} of images "
            "are given. Name one folder for each annotation file."
        )
    if not annotation_files:
        raise DataError("No annotation file is given. Name at least one, and the folder that its images are in.")
    sources = [
        _Source(Path(file), Path(root), index)
        for index, (file, root) in enumerate(_pairs(annotation_files, data_roots))
    ]
    contents = [_read_file(source) for source in sources]
    categories = _common_categories(sources, contents)
    chosen = _choose(categories, classes, sources[0].file, allow_missing=allow_missing_classes)
    labels = {category_id: label for label, category_id in enumerate(chosen) if category_id is not None}
    results = [
        _check(source, content, labels, known=categories, skip_bad=skip_bad, verify_images=verify_images)
        for source, content in zip(sources, contents, strict=True)
    ]
    records = tuple(
        record
        for result in results
        for record in result.records
        if keep_images_without_objects or not record.is_crowd.all()
    )
    skipped = tuple(line for result in results for line in result.skipped)
    names = tuple(classes or categories.values())
    if not records:
        raise DataError(_nothing_left(sources, results, names))
    file_sizes = {path: size for result in results for path, size in result.file_sizes.items()}
    return CocoData(
        records=records,
        classes=names,
        category_ids=tuple(chosen),
        num_clipped=sum(result.num_clipped for result in results),
        skipped=skipped,
        fingerprint=_fingerprint(names, records, file_sizes),
    )


# The fields that are read; others may be there and are passed over.


class _Category(Struct, gc=False):
    id: int
    name: str


class _Image(Struct, gc=False):
    id: Id
    file_name: str
    width: int | None = None
    height: int | None = None


class _Annotation(Struct):
    image_id: Id
    category_id: int
    id: Id | None = None
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: int | bool | None = 0
    ignore: int | bool | None = 0


class _Content(Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True)
class _Source:
    """An annotation file, the folder of its images, and its position among the files."""

    file: Path
    root: Path
    index: int


@dataclass(frozen=True)
class _Result:
    records: list[Record]
    skipped: list[str]
    num_clipped: int
    file_sizes: dict[Path, int]


class _Problems:
    """What is wrong in one annotation file, by kind, in the order of discovery."""

    def __init__(self, file: Path, *, skip_bad: bool) -> None:
        self.file = file
        self.skip_bad = skip_bad
        self.lines: dict[str, list[str]] = {}

    def add(self, kind: str, line: str) -> None:
        self.lines.setdefault(kind, []).append(line)

    def stop(self) -> None:
        """Raise what was found so far, unless it is to be skipped."""
        if not self.lines or self.skip_bad:
            return
        kind, lines = next(iter(self.lines.items()))
        text = "; ".join(lines[:NUM_EXAMPLES])
        if len(lines) > NUM_EXAMPLES:
            text += f"; ... ({len(lines)} {kind})"
        num_others = sum(map(len, self.lines.values())) - len(lines)
        others = (
            f" There {'is' if num_others == 1 else 'are'} {_count(num_others, 'other problem')}." if num_others else ""
        )
        pronouns = ("it", "it") if len(lines) + num_others == 1 else ("them", "them")
        raise DataError(
            f"{self.file}: {text}.{others} Correct {pronouns[0]}, or pass --skip-bad to leave {pronouns[1]} out."
        )

    def skipped(self) -> list[str]:
        return [f"{self.file}: {line}" for lines in self.lines.values() for line in lines]


def _read_file(source: _Source) -> _Content:
    file = source.file
    if not source.root.is_dir():
        raise DataError(f"{source.root}: there is no such folder of images. Correct the data root of {file}.")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot read the annotations: {error.strerror}. Correct the path.") from error
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: the annotations are no UTF-8 text (byte {error.start}). Save the file as UTF-8."
        ) from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(data, type=_Content)
    except msgspec.ValidationError as error:
        if "out of range" in str(error):  # 1e999
            return _read_lenient(file, data)
        raise _not_coco(file, error) from error
    except RecursionError as error:
        raise DataError(f"{file}: this is no annotation file: it is nested too deeply. Correct the path.") from error
    except msgspec.DecodeError as error:
        if re.search(rb"\b(NaN|Infinity)\b", data):
            return _read_lenient(file, data)
        if "truncated" in str(error):
            raise DataError(
                f"{file}: the annotations break off: this is no complete JSON. Make the file again."
            ) from error
        raise DataError(f"{file}: this is no JSON ({_reason(error)}). Correct the file or make it again.") from error


def _read_lenient(file: Path, data: bytes) -> _Content:
    """The content with numbers that are no JSON (NaN, Infinity), so that the check can name the boxes they are in."""
    try:
        return msgspec.convert(json.loads(data), _Content)
    except msgspec.ValidationError as error:
        raise _not_coco(file, error) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file}: this is no JSON; it has NaN or Infinity, which JSON does not know, and more faults. "
            "Correct the file or make it again."
        ) from error


def _not_coco(file: Path, error: msgspec.ValidationError) -> DataError:
    return DataError(f"{file}: {error}. Correct it; annotations must be in COCO's format for object detection.")


def _common_categories(sources: Sequence[_Source], contents: Sequence[_Content]) -> dict[int, str]:
    """Names by id, by ascending id; the same in all files."""
    first = _categories(sources[0].file, contents[0])
    for source, content in zip(sources[1:], contents[1:], strict=True):
        other = _categories(source.file, content)
        if other == first:
            continue
        differing = sorted(key for key in first.keys() | other.keys() if first.get(key) != other.get(key))
        shown = "; ".join(
            f"id {key}: {_name(first.get(key))} and {_name(other.get(key))}" for key in differing[:NUM_EXAMPLES]
        )
        more = f"; ... ({len(differing)} in all)" if len(differing) > NUM_EXAMPLES else ""
        raise DataError(
            f"{sources[0].file} and {source.file} have different categories ({shown}{more}). "
            "Files that are used together must have the same; make them agree."
        )
    return first


def _categories(file: Path, content: _Content) -> dict[int, str]:
    names: dict[int, str] = {}
    for category in content.categories:
        if category.id in names:
            raise DataError(f"{file}: two categories have the id {category.id}. Give each its own.")
        if category.name in names.values():
            raise DataError(f"{file}: two categories have the name {_quoted(category.name)}. Merge or rename them.")
        names[category.id] = category.name
    if not names:
        raise DataError(f"{file}: there are no categories. Add those that the annotations use.")
    return dict(sorted(names.items()))


def _choose(
    categories: dict[int, str], classes: Sequence[str] | None, file: Path, *, allow_missing: bool
) -> Sequence[int | None]:
    """Category ids in the order of the chosen classes; None for one that is missing."""
    if not classes:
        return list(categories)
    ids = {name: category_id for category_id, name in categories.items()}
    unknown = [name for name in classes if name not in ids]
    if unknown and not (allow_missing and len(unknown) < len(classes)):
        near = difflib.get_close_matches(unknown[0], ids, n=1)
        hint = f" Did you mean {_quoted(near[0])}?" if near else ""
        raise DataError(
            f"{file}: there is no class {', '.join(map(_quoted, unknown))}.{hint} "
            f"Choose from: {', '.join(map(_quoted, ids))}."
        )
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise DataError(f"The class {_quoted(twice[0])} is chosen twice. Name each class once.")
    return [ids.get(name) for name in classes]


def _check(
    source: _Source,
    content: _Content,
    labels: dict[int, int],
    *,
    known: dict[int, str],
    skip_bad: bool,
    verify_images: bool,
) -> _Result:
    problems = _Problems(source.file, skip_bad=skip_bad)
    usable = _check_images(source, content, problems)
    annotations, num_clipped = _check_annotations(content, labels, known, usable, problems)
    problems.stop()
    if verify_images:
        faults = _find_faults(usable.values())
        for image_id, fault in zip(list(usable), faults, strict=True):
            if fault is not None:
                entry = usable.pop(image_id)
                problems.add("images that cannot be used", f"{entry.title} {fault}")
        problems.stop()
    records, file_sizes = [], {}
    total_clipped = 0
    for image_id, entry in usable.items():
        records.append(_record(source, entry, annotations.get(image_id, [])))
        file_sizes[entry.path] = entry.file_size
        total_clipped += num_clipped.get(image_id, 0)
    return _Result(records, problems.skipped(), total_clipped, file_sizes)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An image whose file is there."""

    image_id: Id
    file_name: str
    path: Path
    file_size: int
    width: int
    height: int

    @property
    def title(self) -> str:
        return f"image {_quoted(self.file_name)}"


@dataclass(frozen=True, slots=True)
class _Object:
    label: int
    box_px: tuple[float, float, float, float]
    area_px: float
    is_crowd: bool


def _check_images(source: _Source, content: _Content, problems: _Problems) -> dict[Id, _Entry]:
    entries: dict[Id, _Entry] = {}
    seen: set[Id] = set()
    for image in content.images:
        title = f"image {_quoted(image.file_name)}"
        if image.id in seen:
            problems.add("images with the id of another", f"{title} has the id {image.id} of another image")
            continue
        seen.add(image.id)
        if _leads_outside(image.file_name):
            problems.add("images outside the data root", f"{title} leads outside the data root {source.root}")
            continue
        path, file_size = _find(source.root, image.file_name)
        if file_size is None:
            problems.add("missing images", f"{title} is missing from {source.root}")
            continue
        width, height = image.width, image.height
        if width is None or height is None:
            fault = images.find_fault(path)
            if fault is not None:
                problems.add("images that cannot be used", f"{title} {fault}")
                continue
            width, height = images.read_size(path)
        if width <= 0 or height <= 0:
            problems.add("images without a size", f"{title} is said to measure {width}x{height} pixels")
            continue
        entries[image.id] = _Entry(image.id, image.file_name, path, file_size, width, height)
    return entries


def _check_annotations(
    content: _Content,
    labels: dict[int, int],
    known: dict[int, str],
    usable: dict[Id, _Entry],
    problems: _Problems,
) -> tuple[dict[Id, list[_Object]], dict[Id, int]]:
    """The objects of each usable image, and how many of its boxes leave it."""
    objects: dict[Id, list[_Object]] = {}
    num_clipped: dict[Id, int] = {}
    image_ids = {image.id for image in content.images}
    seen: set[Id] = set()
    for position, annotation in enumerate(content.annotations):
        title = f"annotation {annotation.id}" if annotation.id is not None else f"annotation at position {position}"
        if annotation.image_id not in image_ids:
            problems.add("annotations of unknown images", f"{title} has the unknown image_id {annotation.image_id}")
            continue
        entry = usable.get(annotation.image_id)
        if entry is None:  # its image is left out, and said to be
            continue
        title = f"{title} ({entry.title})"
        if annotation.id is not None:
            if annotation.id in seen:
                problems.add("annotations with the id of another", f"{title} has the id of another annotation")
                continue
            seen.add(annotation.id)
        if annotation.category_id not in known:
            problems.add(
                "annotations of unknown categories", f"{title} has the unknown category_id {annotation.category_id}"
            )
            continue
        label = labels.get(annotation.category_id)
        if label is None or annotation.ignore:
            continue
        fault = _box_fault(annotation.bbox, entry.width, entry.height)
        if fault is not None:
            problems.add("bad boxes", f"{title} {fault}")
            continue
        assert annotation.bbox is not None
        x, y, width, height = annotation.bbox
        box_px = (x, y, x + width, y + height)
        if (
            min(x, y) < -CLIP_TOLERANCE_PX
            or x + width > entry.width + CLIP_TOLERANCE_PX
            or y + height > entry.height + CLIP_TOLERANCE_PX
        ):
            num_clipped[entry.image_id] = num_clipped.get(entry.image_id, 0) + 1
        area = annotation.area
        area_px = area if area is not None and 0 <= area < float("inf") else width * height
        objects.setdefault(entry.image_id, []).append(_Object(label, box_px, area_px, bool(annotation.iscrowd)))
    return objects, num_clipped


def _box_fault(box: list[float] | None, image_width: int, image_height: int) -> str | None:
    """What is wrong with a box [x, y, width, height], as the end of a sentence, or None."""
    if box is None or len(box) != 4:
        return "has no box" if not box else f"has a box of {_count(len(box), 'number')}, not 4"
    if not all(abs(value) < float("inf") for value in box):  # false for NaN, too
        return f"has a box that is not finite: {_numbers(box)}"
    x, y, width, height = box
    if width <= MIN_BOX_SIDE * image_width:
        return f"has a box of width {width:g}"
    if height <= MIN_BOX_SIDE * image_height:
        return f"has a box of height {height:g}"
    sides_inside = (min(x + width, image_width) - max(x, 0), min(y + height, image_height) - max(y, 0))
    if sides_inside[0] <= MIN_BOX_SIDE * image_width or sides_inside[1] <= MIN_BOX_SIDE * image_height:
        return f"has the box {_numbers(box)} outside its image of {image_width}x{image_height} pixels"
    return None


def _record(source: _Source, entry: _Entry, objects: list[_Object]) -> Record:
    boxes_px = np.array([item.box_px for item in objects], dtype=np.float64).reshape(-1, 4)
    return Record(
        path=entry.path,
        file_name=entry.file_name,
        image_id=entry.image_id,
        source=source.index,
        width=entry.width,
        height=entry.height,
        boxes=geometry.clip(_fractions(boxes_px, entry.width, entry.height)),
        labels=np.array([item.label for item in objects], dtype=np.int64),
        is_crowd=np.array([item.is_crowd for item in objects], dtype=np.bool_),
        boxes_px=boxes_px,
        areas_px=np.array([item.area_px for item in objects], dtype=np.float64),
    )


def _fractions(boxes_px: NDArray[np.float64], width: int, height: int) -> FloatArray:
    return (boxes_px / np.array([width, height, width, height], dtype=np.float64)).astype(np.float32)


def _leads_outside(file_name: str) -> bool:
    """Whether a name is absolute or climbs out of its folder, by the rules of any system."""
    if "\\" in file_name and _leads_outside(file_name.replace("\\", "/")):
        return True
    plain = posixpath.normpath(file_name)
    return plain.startswith("/") or plain == ".." or plain.startswith("../") or bool(ntpath.splitdrive(file_name)[0])


def _find(root: Path, file_name: str) -> tuple[Path, int | None]:
    """Path and size of an image file; the size is None where there is no such file."""
    size = _file_size(root / file_name)
    if size is None and "\\" in file_name:  # written on Windows
        return _find(root, file_name.replace("\\", "/"))
    return root / file_name, size


def _file_size(path: Path) -> int | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a null character or half a surrogate pair in the name
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _find_faults(entries: Iterable[_Entry]) -> list[str | None]:
    """For each image, why it cannot be used, or None."""
    num_threads = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(_find_fault, entries))


def _find_fault(entry: _Entry) -> str | None:
    return images.find_fault(entry.path, expected_size=(entry.width, entry.height))


def _nothing_left(sources: Sequence[_Source], results: Sequence[_Result], classes: tuple[str, ...]) -> str:
    files = ", ".join(str(source.file) for source in sources)
    num_skipped = sum(len(result.skipped) for result in results)
    if num_skipped:
        example = next(line for result in results for line in result.skipped)
        return (
            f"{files}: no usable image is left after skipping {_count(num_skipped, 'problem')}, the first: {example}."
        )
    if any(result.records for result in results):
        names = ", ".join(map(_quoted, classes))
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


def _pairs(
    files: Sequence[str | os.PathLike[str]], roots: Sequence[str | os.PathLike[str]]
) -> Iterable[tuple[Any, Any]]:
    return zip(files, roots, strict=True)


def _quoted(text: str) -> str:
    # One line whatever is in the name, and quotation marks inside it are told from those around it.
    return json.dumps(text, ensure_ascii=False)


def _name(text: str | None) -> str:
    return "nothing" if text is None else _quoted(text)


def _numbers(values: Iterable[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _reason(error: msgspec.DecodeError) -> str:
    return str(error).removeprefix("JSON is malformed: ").replace("(byte", "at (byte").replace("(", "").replace(")", "")

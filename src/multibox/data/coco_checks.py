"""Checks of what annotation files hold against the rules of the format and the image files: what passes is usable, the
rest is named.
"""

from __future__ import annotations

import ntpath
import posixpath
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from multibox.data import images
from multibox.data.addresses import is_remote
from multibox.data.coco_format import Content, Id, Source
from multibox.data.problems import Problems
from multibox.errors import DataError
from multibox.machine import usable_cores
from multibox.wording import counted, quoted

CLIP_TOLERANCE_PX = 0.01
"""A box that leaves the image by less is cut without being counted: that much comes from rounding decimals."""

MIN_BOX_SIDE = 1e-5
"""Of the image's side. Smaller boxes could lose their size to rounding when the image is cropped or mirrored, and an
infinite loss would end the training; at 512 pixels of network input it is 1/200 of a pixel.
"""


REMOTE_THREADS = 32
"""Requests at a time, when each image of a set is asked for over a network."""


@dataclass(frozen=True, slots=True)
class UsableImage:
    """An image whose file is there."""

    image_id: Id
    file_name: str
    path: Path
    file_size: int
    width: int
    height: int

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"image {quoted(self.file_name)}"


@dataclass(frozen=True, slots=True)
class UsableObject:
    """An annotation of a chosen category, its box as corners, not clipped."""

    label: int
    box_px: tuple[float, float, float, float]
    area_px: float
    is_crowd: bool


@dataclass(frozen=True)
class Usable:
    """What can be used of one annotation file, and a line for each problem that was skipped.

    `objects` are those of each image that has some. `num_clipped`: boxes that leave their image.
    """

    images: list[UsableImage]
    objects: dict[Id, list[UsableObject]]
    num_clipped: int
    skipped: list[str]
    problems: dict[str, list[str]]


def check(
    source: Source,
    content: Content,
    labels: dict[int, int],
    *,
    known: dict[int, str],
    skip_bad: bool,
    verify_images: bool,
) -> Usable:
    """The images of one annotation file that can be used, and their objects of the categories in `labels`.

    `labels`: the label of each chosen category, by id. `known`: all categories of the file. With `verify_images`, every
    image is decoded and its size compared, unless that would fetch the whole set over a network.

    Raises:
        DataError: something cannot be used, and `skip_bad` is off.
    """
    problems = Problems(source.file, skip_bad=skip_bad)
    usable = _check_images(source, content, problems)
    objects, num_clipped = _check_annotations(content, labels, known, usable, problems)
    problems.stop()
    if verify_images and not is_remote(source.root):
        faults = _find_faults(usable.values())
        for image_id, fault in zip(list(usable), faults, strict=True):
            if fault is not None:
                image = usable.pop(image_id)
                problems.add("images that cannot be used", f"{image.title} {fault}")
        problems.stop()
    return Usable(
        images=list(usable.values()),
        objects=objects,
        num_clipped=sum(num_clipped.get(image_id, 0) for image_id in usable),
        skipped=problems.skipped(),
        problems=problems.by_kind(),
    )


def _check_images(source: Source, content: Content, problems: Problems) -> dict[Id, UsableImage]:
    usable: dict[Id, UsableImage] = {}
    seen: set[Id] = set()
    found = _find_files(source.root, [image.file_name for image in content.images])
    for image in content.images:
        title = f"image {quoted(image.file_name)}"
        if image.id in seen:
            problems.add("images with the id of another", f"{title} has the id {image.id} of another image")
            continue
        seen.add(image.id)
        if leads_outside(image.file_name):
            problems.add("images outside the data root", f"{title} leads outside the data root {source.root}")
            continue
        path, file_size = found[image.file_name]
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
        usable[image.id] = UsableImage(image.id, image.file_name, path, file_size, width, height)
    return usable


def _check_annotations(
    content: Content,
    labels: dict[int, int],
    known: dict[int, str],
    usable: dict[Id, UsableImage],
    problems: Problems,
) -> tuple[dict[Id, list[UsableObject]], dict[Id, int]]:
    """The objects of each usable image, and how many of its boxes leave it."""
    objects: dict[Id, list[UsableObject]] = {}
    num_clipped: dict[Id, int] = {}
    image_ids = {image.id for image in content.images}
    seen: set[Id] = set()
    for position, annotation in enumerate(content.annotations):
        title = f"annotation {annotation.id}" if annotation.id is not None else f"annotation at position {position}"
        if annotation.image_id not in image_ids:
            problems.add("annotations of unknown images", f"{title} has the unknown image_id {annotation.image_id}")
            continue
        image = usable.get(annotation.image_id)
        if image is None:  # its image is left out, and said to be
            continue
        title = f"{title} ({image.title})"
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
        fault = box_fault(annotation.bbox, image.width, image.height)
        if fault is not None:
            problems.add("bad boxes", f"{title} {fault}")
            continue
        assert annotation.bbox is not None
        x, y, width, height = annotation.bbox
        box_px = (x, y, x + width, y + height)
        if (
            min(x, y) < -CLIP_TOLERANCE_PX
            or x + width > image.width + CLIP_TOLERANCE_PX
            or y + height > image.height + CLIP_TOLERANCE_PX
        ):
            num_clipped[image.image_id] = num_clipped.get(image.image_id, 0) + 1
        area = annotation.area
        area_px = area if area is not None and 0 <= area < float("inf") else width * height
        objects.setdefault(image.image_id, []).append(UsableObject(label, box_px, area_px, bool(annotation.iscrowd)))
    return objects, num_clipped


def box_fault(box: list[float] | None, image_width: int, image_height: int) -> str | None:
    """What is wrong with a box [x, y, width, height], as the end of a sentence, or None."""
    if box is None or len(box) != 4:
        return "has no box" if not box else f"has a box of {counted(len(box), 'number')}, not 4"
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


def leads_outside(file_name: str) -> bool:
    """Whether a name is absolute or climbs out of its folder, by the rules of any system."""
    if "\\" in file_name and leads_outside(file_name.replace("\\", "/")):
        return True
    plain = posixpath.normpath(file_name)
    return plain.startswith("/") or plain == ".." or plain.startswith("../") or bool(ntpath.splitdrive(file_name)[0])


def _find_files(root: Path, names: Iterable[str]) -> dict[str, tuple[Path, int | None]]:
    """`find_file` for each name that stays in the folder."""
    inside = [name for name in dict.fromkeys(names) if not leads_outside(name)]
    # Over a network each question takes a while, but many can be asked at once.
    with ThreadPoolExecutor(REMOTE_THREADS if is_remote(root) else 1) as pool:
        return dict(zip(inside, pool.map(lambda name: find_file(root, name), inside), strict=True))


def find_file(root: Path, file_name: str) -> tuple[Path, int | None]:
    """Path and size of an image file; the size is None where there is no such file."""
    size = _file_size(root / file_name)
    if size is None and "\\" in file_name:  # written on Windows
        return find_file(root, file_name.replace("\\", "/"))
    return root / file_name, size


def _file_size(path: Path) -> int | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a null character or half a surrogate pair in the name
        return None
    except Exception as error:
        if not is_remote(path):
            raise
        raise DataError(f"{path}: cannot be asked for ({error}). Correct the address or the access to it.") from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _find_faults(usable: Iterable[UsableImage]) -> list[str | None]:
    """For each image, why it cannot be used, or None."""
    num_threads = min(8, usable_cores())
    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(_find_fault, usable))


def _find_fault(image: UsableImage) -> str | None:
    return images.find_fault(image.path, expected_size=(image.width, image.height))


def _numbers(values: Iterable[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"

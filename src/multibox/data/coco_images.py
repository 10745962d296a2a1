"""The images of annotation files against the files on disk: found, of the annotated size, not broken."""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from multibox.data import images
from multibox.data.addresses import is_remote
from multibox.data.coco_format import AnnotationFile, Content, Id
from multibox.data.image_files import hint, leads_outside, name_below, spellings
from multibox.data.jpeg_header import Size
from multibox.data.problems import NUM_EXAMPLES, Problems
from multibox.errors import DataError
from multibox.machine import usable_cores
from multibox.wording import quoted, shortened

REMOTE_THREADS = 32
"""Number of requests at a time, when each image of a set is asked for over a network."""

NUM_HINTS = 50
"""Number of missing images for which it is looked what lies near: each look reads folders."""

CANNOT_BE_USED = "images that cannot be used"
"""The kind of problem of images that are broken, or not of the annotated size."""

LIES_ACROSS = -1.0
"""The factor of an image whose width and height have changed places."""


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
class UnusableImage:
    """An image file that cannot be used: its annotated (width, height), and why, as the end of a sentence."""

    file_name: str
    annotated_size: Size
    fault: str


def check_images(source: AnnotationFile, content: Content, problems: Problems) -> dict[Id, UsableImage]:
    """The images whose files are there, by their ids; the rest is noted."""
    usable: dict[Id, UsableImage] = {}
    seen: set[Id] = set()
    files = _find_files(source.root, [image.file_name for image in content.images])
    num_missing = 0
    for image in content.images:
        if image.id in seen:
            title = f"image {quoted(image.file_name)}"
            problems.add(
                "images with the id of another", f"{title} has the id {shortened(str(image.id))} of another image"
            )
            continue
        seen.add(image.id)
        path, file_size = files[image.file_name]
        if file_size is None:
            num_missing += 1
            near = hint(source.root, image.file_name) if num_missing <= NUM_HINTS and not is_remote(source.root) else ""
            title = f"image {quoted(image.file_name)}"
            if leads_outside(image.file_name):
                problems.add("images outside the data root", f"{title} leads outside the data root {source.root}{near}")
            else:
                problems.add("missing images", f"{title} is missing from {source.root}{near}")
            continue
        width, height = image.width, image.height
        if width is None or height is None or width <= 0 or height <= 0:  # VIA writes -1
            fault = images.find_fault(path)
            if fault is not None:
                problems.add(CANNOT_BE_USED, f"image {quoted(image.file_name)} {fault}")
                continue
            width, height = images.read_size(path)
        name = name_below(source.root, image.file_name) or image.file_name
        usable[image.id] = UsableImage(image.id, name, path, file_size, width, height)
    return usable


def verify(usable: dict[Id, UsableImage], problems: Problems) -> None:
    """Take out the images that cannot be decoded, or are not of the annotated size."""
    faults = _find_faults(usable.values())
    bad = [(image_id, fault) for image_id, fault in zip(list(usable), faults, strict=True) if fault is not None]
    unusable = []
    for image_id, fault in bad:
        image = usable.pop(image_id)
        unusable.append(UnusableImage(image.file_name, (image.width, image.height), fault))
    for line in fault_lines(unusable):
        problems.add(CANNOT_BE_USED, line)


def fault_lines(unusable: Sequence[UnusableImage]) -> list[str]:
    """A line for each image; if many were turned or resized after they were annotated, the first line says so, too."""
    lines = [f"image {quoted(image.file_name)} {image.fault}" for image in unusable]
    factors = Counter(_factor(image) for image in unusable)
    factor, count = max(factors.items(), key=lambda item: item[1], default=(0.0, 0))
    if factor == LIES_ACROSS and count > NUM_EXAMPLES:
        lines[0] += (
            f" ({count:,} images lie the other way: they were turned after they were annotated, or width and height "
            "have changed places in the file)"
        )
    elif factor and count > NUM_EXAMPLES:
        lines[0] += (
            f" ({count:,} images differ by the factor {factor:g}: they were resized after they were annotated; "
            "`multibox doctor ... --fix` scales their boxes)"
        )
    return lines


def find_file(root: Path, file_name: str) -> tuple[Path, int | None]:
    """Path and size of an image file in a folder; the size is None where there is no such file in it.

    The name may be written as on Windows, with percent signs, with letters composed or not, or with its whole path.
    """
    name = name_below(root, file_name) or file_name
    if leads_outside(name):
        return root / name, None
    path = root / name
    size = _file_size(path)
    if size is not None or is_remote(root):
        return (path, size) if size is not None or "\\" not in name else find_file(root, name.replace("\\", "/"))
    for other in spellings(name):
        if other != name and not leads_outside(other):
            size = _file_size(root / other)
            if size is not None:
                return root / other, size
    return path, None


def scale(annotated: Size, actual: Size) -> float | None:
    """How many times the annotated size the actual one is, if the shape is the same up to a pixel; else None."""
    factor = actual[0] / annotated[0]
    return round(factor, 4) if abs(annotated[1] * factor - actual[1]) <= max(1.0, factor) else None


def _factor(image: UnusableImage) -> float:
    """How many times its annotated size an image has; 0 if its size is not the fault, or is another shape.

    `LIES_ACROSS` where width and height have changed places.
    """
    sizes = re.match(r"measures (\d+)x(\d+)", image.fault)
    if sizes is None:
        return 0.0
    actual = int(sizes[1]), int(sizes[2])
    if actual == image.annotated_size[::-1]:
        return LIES_ACROSS
    return scale(image.annotated_size, actual) or 0.0


def _find_files(root: Path, names: Iterable[str]) -> dict[str, tuple[Path, int | None]]:
    """`find_file` for each name."""
    different = list(dict.fromkeys(names))
    if not is_remote(root):
        return {name: find_file(root, name) for name in different}
    # Over a network each question takes a while, but many can be asked at once.
    with ThreadPoolExecutor(REMOTE_THREADS) as pool:
        return dict(zip(different, pool.map(lambda name: find_file(root, name), different), strict=True))


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

"""Checks of what annotation files hold against the rules of the format and the image files: what passes is usable, the
rest is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from multibox.data import box_meaning, images
from multibox.data.addresses import is_remote
from multibox.data.coco_format import Annotation, AnnotationFile, Content, Id
from multibox.data.coco_images import UsableImage, check_images, verify
from multibox.data.coco_mending import title as title_of
from multibox.data.jpeg_header import Size
from multibox.data.problems import Doubt, Problems
from multibox.errors import DataError
from multibox.wording import counted, quoted, shortened

CLIP_TOLERANCE_PX = 0.01
"""A box that leaves the image by less is cut without being counted: that much comes from rounding decimals."""

MIN_BOX_SIDE = 1e-5
"""Share of the image's side that a box has to be larger than.

Smaller boxes could lose their size to rounding when the image is cropped or mirrored, and an infinite loss would end
the training; at 512 pixels of network input it is 1/200 of a pixel.
"""

SUSPICIOUS_SHARE = 0.02
"""Share of boxes that leave their image or are below a pixel, from which on it is asked what the boxes mean."""

FRAME_TOLERANCE = 0.01
"""Share of a side that boxes may reach over the border by rounding or by a hasty hand."""


MOST_OBJECTS = 5000
"""Objects of an image that are read: what compares them with each other or with anchors takes memory for each pair."""

OF_ANOTHER_SIZE = "images whose boxes fit them as they are, not as they are annotated"
"""The kind of problem of images whose size in the file of annotations is wrong."""


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

    `objects` are those of each image that has some. `num_clipped`: boxes that leave their image. `unchosen`: how many
    objects there are of each category that is not in the labels. `areas_from_boxes`: objects whose area was not
    annotated as a number above 0.
    """

    images: list[UsableImage]
    objects: dict[Id, list[UsableObject]]
    num_clipped: int
    skipped: list[str]
    problems: dict[str, list[str]]
    doubts: list[Doubt]
    unchosen: dict[int, int]
    areas_from_boxes: int


@dataclass
class _Tally:
    """What is counted on the way through the annotations."""

    num_clipped: Counter[Id]
    unchosen: Counter[int]
    with_odd_boxes: set[Id]
    num_odd: int = 0
    areas_from_boxes: int = 0


def check(
    source: AnnotationFile,
    content: Content,
    labels: dict[int, int],
    *,
    known: dict[int, str],
    skip_bad: bool,
    verify_images: bool,
    guess: bool = False,
) -> Usable:
    """The images of one annotation file that can be used, and their objects of the categories in `labels`.

    `labels`: the label of each chosen category, by id. `known`: all categories of the file. With `verify_images`, every
    image is decoded and its size compared, unless that would fetch the whole set over a network. With `guess`, boxes
    that all mean something else are read as that, which is only good for looking at them.

    Raises:
        DataError: something cannot be used, and `skip_bad` is off; or nearly all boxes mean something else.
    """
    problems = Problems(source.name, skip_bad=skip_bad)
    for kind, lines in content.faults.items():
        for line in lines:
            problems.add(kind, line)
    usable = check_images(source, content, problems)
    before = {kind: list(lines) for kind, lines in problems.lines.items()}
    objects, tally = _check_annotations(content, labels, known, usable, problems)
    doubts = [Doubt(_as_kind(kind), f"{len(lines):,} {kind}", tuple(lines)) for kind, lines in content.notes.items()]
    doubts += [*_listed_twice(content), *_moving(content)]
    meaning = _find_meaning(content, usable, tally)
    if meaning is not None:
        if meaning.is_certain and not guess:
            raise DataError(
                f"{source.name}: {meaning.text}. Correct the file, or let `multibox doctor ... --fix NEW_FOLDER` write "
                "a copy that is read so."
            )
        doubts.insert(0, Doubt("boxes-that-mean-something-else", meaning.text, is_fatal=meaning.is_certain))
        if meaning.is_certain:
            reread(
                content.annotations, {image.image_id: (image.width, image.height) for image in usable.values()}, meaning
            )
            problems.lines = before
            objects, tally = _check_annotations(content, labels, known, usable, problems)
    _check_frames(content, usable, tally, problems)
    _check_numbers(objects, usable, problems)
    problems.stop()
    if verify_images and not is_remote(source.root):
        verify(usable, problems)
        problems.stop()
    return Usable(
        images=list(usable.values()),
        objects=objects,
        num_clipped=sum(tally.num_clipped.get(image_id, 0) for image_id in usable),
        skipped=problems.skipped(),
        problems=problems.by_kind(),
        doubts=doubts,
        unchosen=dict(tally.unchosen),
        areas_from_boxes=tally.areas_from_boxes,
    )


def reread(annotations: Sequence[Annotation], sizes: dict[Id, Size], meaning: box_meaning.Meaning) -> None:
    """Give annotations the boxes that their numbers mean; those of unknown images stay."""
    chosen = [a for a in annotations if a.image_id in sizes and a.bbox is not None and len(a.bbox) == 4]
    numbers = np.array([a.bbox for a in chosen], dtype=np.float64).reshape(-1, 4)
    of_images = np.array([sizes[a.image_id] for a in chosen], dtype=np.float64).reshape(-1, 2)
    corners = box_meaning.corners_of(numbers, of_images, meaning.reading)
    for annotation, box in zip(chosen, box_meaning.numbers_as(corners, of_images, box_meaning.COCO), strict=True):
        annotation.bbox = box.tolist()
        annotation.area = None


def _as_kind(plural: str) -> str:
    return plural.split(",", maxsplit=1)[0].replace(" ", "-")


def _listed_twice(content: Content) -> list[Doubt]:
    """Files that are listed as several images: what is boxed in one is background in the other."""
    counts = Counter(image.file_name for image in content.images)
    if len(counts) == len(content.images):
        return []
    twice = tuple(quoted(name) for name, count in counts.items() if count > 1)
    text = f"{counted(len(twice), 'file')} listed as several images: what is boxed in one is background in the other"
    return [Doubt("files-listed-twice", text, twice)]


def _moving(content: Content) -> list[Doubt]:
    """Files that hold several frames."""
    names = tuple(quoted(image.file_name) for image in content.images if image.file_name[-4:].lower() == ".gif")
    if not names:
        return []
    return [Doubt("gifs", f"{counted(len(names), 'image')} in GIF, of which the first frame is read", names)]


def _find_meaning(content: Content, usable: dict[Id, UsableImage], tally: _Tally) -> box_meaning.Meaning | None:
    if tally.num_odd <= SUSPICIOUS_SHARE * len(content.annotations):
        return None
    chosen = [a for a in content.annotations if a.image_id in usable and a.bbox is not None and len(a.bbox) == 4]
    numbers = np.array([a.bbox for a in chosen], dtype=np.float64).reshape(-1, 4)
    sizes = [(usable[a.image_id].width, usable[a.image_id].height) for a in chosen]
    return box_meaning.find_meaning(numbers, np.array(sizes, dtype=np.float64).reshape(-1, 2), box_meaning.COCO)


def _check_annotations(
    content: Content,
    labels: dict[int, int],
    known: dict[int, str],
    usable: dict[Id, UsableImage],
    problems: Problems,
) -> tuple[dict[Id, list[UsableObject]], _Tally]:
    """The objects of each usable image, and what was counted."""
    objects: dict[Id, list[UsableObject]] = {}
    tally = _Tally(Counter(), Counter(), set())
    image_ids = {image.id for image in content.images}
    ids_as_text = _IdsAsText(content)
    seen: set[Id] = set()
    for position, annotation in enumerate(content.annotations):
        image_id = annotation.image_id
        if image_id not in image_ids:
            image_id = annotation.image_id = ids_as_text.find(image_id)
        image = usable.get(image_id)
        if image is None:
            if image_id not in image_ids:
                title = title_of(annotation.id, position)
                problems.add(
                    "annotations of unknown images", f"{title} has the unknown image_id {shortened(str(image_id))}"
                )
            continue  # its image is left out, and said to be
        if annotation.id is not None:
            if annotation.id in seen:
                title = f"{title_of(annotation.id, position)} ({image.title})"
                problems.add("annotations with the id of another", f"{title} has the id of another annotation")
                continue
            seen.add(annotation.id)
        label = labels.get(annotation.category_id)
        if label is None or annotation.ignore:
            if annotation.category_id not in known:
                title = f"{title_of(annotation.id, position)} ({image.title})"
                fault = f"has the unknown category_id {annotation.category_id}"
                problems.add("annotations of unknown categories", f"{title} {fault}")
            elif not annotation.ignore:
                tally.unchosen[annotation.category_id] += 1
            continue
        fault_of_box = box_fault(annotation.bbox, image.width, image.height)
        if fault_of_box is None:
            objects.setdefault(image_id, []).append(_usable_object(annotation, image, label, tally))
            continue
        tally.num_odd += 1
        tally.with_odd_boxes.add(image_id)
        problems.add("bad boxes", f"{title_of(annotation.id, position)} ({image.title}) {fault_of_box}")
    return objects, tally


def _usable_object(annotation: Annotation, image: UsableImage, label: int, tally: _Tally) -> UsableObject:
    """The object of an annotation whose box is in order."""
    assert annotation.bbox is not None
    x, y, width, height = annotation.bbox
    right, bottom = x + width, y + height
    if (
        x < -CLIP_TOLERANCE_PX
        or y < -CLIP_TOLERANCE_PX
        or right > image.width + CLIP_TOLERANCE_PX
        or bottom > image.height + CLIP_TOLERANCE_PX
    ):
        tally.num_clipped[image.image_id] += 1
        tally.num_odd += 1
        tally.with_odd_boxes.add(image.image_id)
    elif width < 1 and height < 1:
        tally.num_odd += 1
    area = annotation.area
    if area is None or not 0 < area < float("inf"):
        tally.areas_from_boxes += area is not None
        area = width * height
    return UsableObject(label, (x, y, right, bottom), area, bool(annotation.iscrowd))


class _IdsAsText:
    """The ids of images by their text: "1" is meant for 1 where there is no "1"."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._ids: dict[str, Id] | None = None

    def find(self, image_id: Id) -> Id:
        """The id of an image that this stands for, or itself if there is none."""
        if self._ids is None:
            self._ids = {str(image.id): image.id for image in self._content.images}
        return self._ids.get(str(image_id), image_id)


def _check_frames(content: Content, usable: dict[Id, UsableImage], tally: _Tally, problems: Problems) -> None:
    """Take out images whose boxes fit them as they are, but not as the annotated size says.

    It happens when a tool shows photographs turned, and writes down the size that they are stored in; or when the file
    has the sizes of smaller copies.
    """
    odd = tally.with_odd_boxes & usable.keys()
    if not odd:
        return
    boxes: dict[Id, list[list[float]]] = {}
    for annotation in content.annotations:
        if annotation.image_id in odd and annotation.bbox is not None:
            boxes.setdefault(annotation.image_id, []).append(annotation.bbox)
    for image_id, of_image in boxes.items():
        image = usable[image_id]
        if not _leave((image.width, image.height), of_image):
            continue
        size = _size_of(image)
        if size is not None and size not in {(image.width, image.height), (image.height, image.width)}:
            if _lie_inside(size, of_image):
                del usable[image_id]
                problems.add(
                    OF_ANOTHER_SIZE,
                    f"{image.title} measures {size[0]}x{size[1]} pixels, not {image.width}x{image.height} as "
                    "annotated, and its boxes fit it as it is",
                )
            continue
        if not fits_turned((image.width, image.height), of_image):
            continue
        header = images.read_header(image.path)
        if header is not None and header.swaps_sides:
            del usable[image_id]
            problems.add(
                "images with boxes of the other frame",
                f"{image.title} has boxes beyond {image.width}x{image.height} pixels, but they fit the photograph "
                "turned as it is to be shown",
            )
    problems.put_first("images with boxes of the other frame")
    problems.put_first(OF_ANOTHER_SIZE)


def _check_numbers(objects: dict[Id, list[UsableObject]], usable: dict[Id, UsableImage], problems: Problems) -> None:
    """Take out images with more objects than can be compared with each other."""
    for image_id in [image_id for image_id, own in objects.items() if len(own) > MOST_OBJECTS]:
        image = usable.pop(image_id, None)
        if image is not None:
            many = f"{len(objects[image_id]):,} objects; at most {MOST_OBJECTS:,} are read"
            problems.add("images with too many objects", f"{image.title} has {many}")


def fits_turned(size: Size, boxes: Sequence[Sequence[float]]) -> bool:
    """Whether boxes (x, y, width, height) leave an image of this size, a centre at least, but not one lying across."""
    return _leave(size, boxes) and _lie_inside(size[::-1], boxes)


def _leave(size: Size, boxes: Sequence[Sequence[float]]) -> bool:
    """Whether the centre of a box lies outside of an image of this size."""
    width, height = size
    return any(x + w / 2 > width or y + h / 2 > height for x, y, w, h in (box for box in boxes if len(box) == 4))


def _lie_inside(size: Size, boxes: Sequence[Sequence[float]]) -> bool:
    """Whether boxes lie in an image of this size, but for what a hasty hand adds."""
    width, height = size
    reach = 1 + FRAME_TOLERANCE
    return all(
        x >= -reach and y >= -reach and x + w <= width * reach and y + h <= height * reach
        for x, y, w, h in (box for box in boxes if len(box) == 4)
    )


def _size_of(image: UsableImage) -> Size | None:
    """The size of the image file; None if it cannot be read, which is told elsewhere."""
    try:
        return images.read_size(image.path)
    except DataError:
        return None


def box_fault(box: list[float] | None, image_width: int | None, image_height: int | None) -> str | None:
    """What is wrong with a box [x, y, width, height], as the end of a sentence, or None.

    Of an image of unknown size, it is not asked whether the box lies inside.
    """
    if box is None or len(box) != 4:
        return "has no box" if not box else f"has a box of {counted(len(box), 'number')}, not 4"
    if not all(abs(value) < float("inf") for value in box):  # false for NaN, too
        return f"has a box that is not finite: {_numbers(box)}"
    x, y, width, height = box
    if width <= MIN_BOX_SIDE * (image_width or 1):
        return f"has a box of width {width:g}"
    if height <= MIN_BOX_SIDE * (image_height or 1):
        return f"has a box of height {height:g}"
    if image_width is None or image_height is None:
        return None
    sides_inside = (min(x + width, image_width) - max(x, 0), min(y + height, image_height) - max(y, 0))
    if sides_inside[0] <= MIN_BOX_SIDE * image_width or sides_inside[1] <= MIN_BOX_SIDE * image_height:
        return f"has the box {_numbers(box)} outside its image of {image_width}x{image_height} pixels"
    return None


def _numbers(values: Iterable[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"

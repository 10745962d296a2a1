"""Detections as files of others' formats: JSON, JSON Lines, CSV, COCO results.

Each is written as the detections come, so an endless source needs no more memory than an image; but for JSON Lines,
whose reader may follow it, a file gets its name when it is complete.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import msgspec

from multibox.files import atomic_path
from multibox.predict.frames import Failure, Frame
from multibox.predict.sources import Source, printable
from multibox.structures import Detections

if TYPE_CHECKING:
    from multibox.data import coco_format

COLUMNS = ("source", "frame", "time_s", "width", "height", "class", "label", "score", "x1", "y1", "x2", "y2")
"""The columns of a CSV file. `frame` and `time_s` are empty for an image; boxes are in pixels of the image."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a file says of the run that it is from. `tile_px` is None where images are not cut into tiles."""

    model: str
    classes: tuple[str, ...]
    threshold: float
    tile_px: int | None = None


class PredictionFile(Protocol):
    """Takes what a run finds, frame by frame, the frames of a source one after the other."""

    def write(self, frame: Frame, detected: Detections) -> None:
        """Add the detections of a frame, which may be none."""
        ...

    def fail(self, failure: Failure) -> None:
        """Add that a source cannot be read, or not any further."""
        ...


@contextmanager
def open_json(
    path: str | os.PathLike[str], run: RunFacts, *, was_stopped: Callable[[], bool]
) -> Iterator[PredictionFile]:
    """One JSON object: the run, then `sources`, each with its `detections`, its `frames`, or the `error` instead.

    At its end stands whether the run was `interrupted`.
    """
    with _text_file(path) as text:
        text.write(_json(run).removesuffix("}") + ',"sources":[')
        file = _JsonFile(text, run.classes)
        yield file
        file.end_source()
        text.write(f'\n],"interrupted":{"true" if was_stopped() else "false"}}}\n')


@contextmanager
def open_json_lines(path: str | os.PathLike[str], run: RunFacts) -> Iterator[PredictionFile]:
    """One JSON object a line, for a frame, an image or a failure; every line is on disk when the next is begun."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", encoding="utf-8", newline="\n") as text:
        yield _JsonLinesFile(text, run.classes)


@contextmanager
def open_csv(path: str | os.PathLike[str], run: RunFacts) -> Iterator[PredictionFile]:
    """A row for each detection, under the names of `COLUMNS`; an image without any has no row."""
    with _text_file(path) as text:
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        yield _CsvFile(rows, run.classes)


@contextmanager
def open_coco(path: str | os.PathLike[str], run: RunFacts, known: KnownImages | None) -> Iterator[CocoFile]:
    """COCO results: a list of detections with `image_id`, `category_id`, `bbox` (x, y, width, height) and `score`.

    With `known`, ids are those of an annotation file. Without, images, and frames of videos, count from 1, categories
    from 1 in the order of the classes, and `images_path` says which is which, in the format of an annotation file.
    """
    with ExitStack() as files:
        text = files.enter_context(_text_file(path))
        images = files.enter_context(_text_file(images_path(path))) if known is None else None
        text.write("[")
        if images is not None:
            images.write('{"images":[')
        yield CocoFile(text, run, known=known, images=images)
        text.write("\n]\n")
        if images is not None:
            categories = [{"id": number, "name": name} for number, name in enumerate(run.classes, start=1)]
            images.write(f'\n],"annotations":[],"categories":{_json(categories)}}}\n')


def images_path(path: str | os.PathLike[str]) -> Path:
    """Where the images of COCO results lie: `results.images.json` beside `results.json`."""
    return Path(path).with_suffix(".images.json")


@dataclass(frozen=True, slots=True)
class KnownImages:
    """The ids of an annotation file: of each class, None for one that it does not have, and of images by file name.

    Each image comes with the size that it is annotated for, None where the file does not say.
    """

    file: Path
    category_ids: tuple[int | None, ...]
    by_name: Mapping[str, tuple[coco_format.Id, tuple[int | None, int | None]]]

    def find(self, frame: Frame) -> coco_format.Id | None:
        """The id of an image: that of its name, or of the only name that its path ends with; None if there is none."""
        if frame.index is not None:
            return None
        path = Path(str(frame.source.address))
        endings = ["/".join(path.parts[-count:]) for count in range(1, len(path.parts) + 1)]
        for name in [frame.source.name, *endings]:
            if name in self.by_name:
                image_id, size = self.by_name[name]
                is_other = None not in size and size != (frame.width, frame.height)
                return None if is_other else image_id
        return None


def read_known_images(path: Path, classes: Sequence[str]) -> KnownImages:
    """The ids in a COCO annotation file.

    Raises:
        DataError: it is no such file, or has none of the classes.
    """
    from multibox.data import coco_categories, coco_format

    source = coco_format.AnnotationFile(path, path.parent, 0)
    content = coco_format.read_content(source)
    categories = coco_categories.common_categories([source], [content])
    ids = coco_categories.choose_categories(categories, classes, str(path), allow_missing=True)
    images = {image.file_name.replace("\\", "/"): (image.id, (image.width, image.height)) for image in content.images}
    return KnownImages(path, tuple(ids), images)


class _JsonFile:
    """The entries of `sources`. A video's is open as long as its frames come."""

    def __init__(self, text: TextIO, classes: Sequence[str]) -> None:
        self._text = text
        self._classes = classes
        self._video: Source | None = None
        self._separator = "\n"
        self._frame_separator = "\n"

    def write(self, frame: Frame, detected: Detections) -> None:
        if frame.index is None:
            self._begin(_entry(frame, detected, self._classes))
            self._text.write("}")
            return
        if frame.source != self._video:
            self._begin(_about(frame) | {"rate": frame.rate})
            self._text.write(',"frames":[')
            self._video, self._frame_separator = frame.source, "\n"
        facts = {"frame": frame.index, "time_s": _seconds(frame), "detections": _rows(frame, detected, self._classes)}
        self._text.write(self._frame_separator + _json(facts))
        self._frame_separator = ",\n"

    def fail(self, failure: Failure) -> None:
        if failure.source == self._video:
            self._end_frames()
            self._text.write(f',"error":{_json(failure.reason)}}}')
            self._video = None
        else:
            self._begin(_failure(failure))
            self._text.write("}")

    def end_source(self) -> None:
        """Close the entry of a video, if one is open."""
        if self._video is not None:
            self._end_frames()
            self._text.write("}")
            self._video = None

    def _begin(self, entry: dict[str, Any]) -> None:
        self.end_source()
        self._text.write(self._separator + _json(entry).removesuffix("}"))
        self._separator = ",\n"

    def _end_frames(self) -> None:
        self._text.write("\n]")


class _JsonLinesFile:
    def __init__(self, text: TextIO, classes: Sequence[str]) -> None:
        self._text = text
        self._classes = classes

    def write(self, frame: Frame, detected: Detections) -> None:
        self._line(_entry(frame, detected, self._classes))

    def fail(self, failure: Failure) -> None:
        self._line(_failure(failure))

    def _line(self, entry: dict[str, Any]) -> None:
        self._text.write(_json(entry) + "\n")
        self._text.flush()


class _CsvFile:
    def __init__(self, rows: Any, classes: Sequence[str]) -> None:
        self._rows = rows
        self._classes = classes

    def write(self, frame: Frame, detected: Detections) -> None:
        index = "" if frame.index is None else frame.index
        place = (frame.source.title, index, _seconds(frame), frame.width, frame.height)
        for row in _rows(frame, detected, self._classes):
            self._rows.writerow((*place, row["class"], row["label"], row["score"], *row["box_px"]))

    def fail(self, failure: Failure) -> None:
        """A table of detections has no place for it."""


class CocoFile:
    """See `open_coco`."""

    def __init__(self, text: TextIO, run: RunFacts, *, known: KnownImages | None, images: TextIO | None) -> None:
        self._text = text
        self._known = known
        self._images = images
        self._category_ids = tuple(range(1, len(run.classes) + 1)) if known is None else known.category_ids
        self._num_images = 0
        self._separator = "\n"
        self.num_unknown = 0
        """Pictures that the annotation file does not have, or in another size."""
        self.first_unknown = ""
        self.left_out: dict[str, int] = {}
        """Number of detections of each class that the annotation file lacks."""
        self._classes = run.classes

    def write(self, frame: Frame, detected: Detections) -> None:
        """Add the detections of a frame, which may be none."""
        image_id = self._new_image(frame) if self._known is None else self._known.find(frame)
        if image_id is None:
            self.num_unknown += 1
            self.first_unknown = self.first_unknown or frame.source.title
            return
        boxes = detected.corner_and_size_px(frame.width, frame.height).tolist()
        for box, score, label in zip(boxes, detected.scores.tolist(), detected.labels.tolist(), strict=True):
            category_id = self._category_ids[label]
            if category_id is None:
                name = self._classes[label]
                self.left_out[name] = self.left_out.get(name, 0) + 1
                continue
            entry = {"image_id": image_id, "category_id": category_id, "bbox": [round(value, 3) for value in box]}
            self._text.write(self._separator + _json(entry | {"score": round(score, 6)}))
            self._separator = ",\n"

    def fail(self, failure: Failure) -> None:
        """What cannot be read has no detections, and no id."""

    def _new_image(self, frame: Frame) -> int:
        assert self._images is not None
        self._num_images += 1
        name = frame.source.name if not frame.source.is_live else frame.source.title
        entry = {"id": self._num_images, "file_name": printable(name), "width": frame.width, "height": frame.height}
        if frame.index is not None:
            entry |= {"frame": frame.index, "time_s": _seconds(frame)}
        self._images.write((",\n" if self._num_images > 1 else "\n") + _json(entry))
        return self._num_images


def detection_rows(detected: Detections, classes: Sequence[str], *, width: int, height: int) -> list[dict[str, Any]]:
    """Detections of an image of this size as JSON has them: class, label, score, and the corners in pixels."""
    boxes = detected.boxes_px(width, height).tolist()
    return [
        {
            "class": classes[label],
            "label": label,
            "score": round(score, 4),
            "box_px": [round(value, 2) for value in box],
        }
        for box, score, label in zip(boxes, detected.scores.tolist(), detected.labels.tolist(), strict=True)
    ]


def _about(frame: Frame) -> dict[str, Any]:
    source = frame.source
    return {"source": source.title, "kind": source.kind, "width": frame.width, "height": frame.height}


def _entry(frame: Frame, detected: Detections, classes: Sequence[str]) -> dict[str, Any]:
    when = {} if frame.index is None else {"frame": frame.index, "time_s": _seconds(frame)}
    return _about(frame) | when | {"detections": _rows(frame, detected, classes)}


def _failure(failure: Failure) -> dict[str, Any]:
    return {"source": failure.source.title, "kind": failure.source.kind, "error": failure.reason}


def _rows(frame: Frame, detected: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    return detection_rows(detected, classes, width=frame.width, height=frame.height)


def _seconds(frame: Frame) -> float | str:
    return "" if frame.time_s is None else round(frame.time_s, 4)


@contextmanager
def _text_file(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as text:
        yield text


def _json(content: Any) -> str:
    return msgspec.json.encode(content).decode()

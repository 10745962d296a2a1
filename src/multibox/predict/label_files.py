"""Detections as labels to correct: gathered image by image, and written when all are there, since several formats need
to know all images. Frames of videos are no files that a labelling tool could show, so they get no labels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from multibox.data.label_formats import LabelFormat, LabelSet
from multibox.data.labels import LabelledImage, LabelledObject
from multibox.data.labels_out import plan_labels, write_labels
from multibox.errors import OptionError
from multibox.predict.frames import Failure, Frame
from multibox.predict.result_files import RunFacts
from multibox.predict.sources import Source
from multibox.structures import Detections

MIN_SIDE_PX = 0.05
"""Boxes with a smaller side are no objects: rounded as the formats have them, nothing is left of such a side."""


class LabelFile:
    """Takes what a run finds on images. `num_frames` counts frames of videos, `num_empty` boxes without an area."""

    def __init__(self, root: Path, names: dict[str, str], model: str) -> None:
        self._root = root
        self._names = names
        self._model = model
        self._images: list[LabelledImage] = []
        self.num_frames = 0
        self.num_empty = 0

    @property
    def labels(self) -> LabelSet:
        """The labels of the images so far."""
        return LabelSet("", self._root, tuple(self._images), self._model)

    def write(self, frame: Frame, detected: Detections) -> None:
        """Add the detections of an image, which may be none, cut at its border."""
        if frame.index is not None:
            self.num_frames += 1
            return
        boxes = detected.boxes.clip(0, 1).astype(float) * [frame.width, frame.height, frame.width, frame.height]
        rows = zip(boxes.tolist(), detected.labels.tolist(), detected.scores.tolist(), strict=True)
        objects = [LabelledObject(label, x1, y1, x2, y2, score=score) for (x1, y1, x2, y2), label, score in rows]
        kept = [item for item in objects if min(item.x2 - item.x1, item.y2 - item.y1) >= MIN_SIDE_PX]
        self.num_empty += len(objects) - len(kept)
        name = self._names[frame.source.name]
        self._images.append(LabelledImage(name, frame.width, frame.height, kept))

    def fail(self, failure: Failure) -> None:
        """What cannot be read has no labels."""


@contextmanager
def open_labels(
    folder: Path, label_format: LabelFormat, run: RunFacts, sources: Sequence[Source]
) -> Iterator[LabelFile]:
    """Labels of the images among the sources, which are written when the context ends, unless an error ends it."""
    file = LabelFile(*_root_and_names(sources), run.model)
    yield file
    write_labels(label_format, folder, [file.labels], run.classes)


def plan_label_files(
    folder: Path, label_format: LabelFormat, sources: Sequence[Source], classes: Sequence[str]
) -> list[Path]:
    """The files that `open_labels` writes.

    Raises:
        OptionError: no source is an image file, or a file is there already.
        DataError: the format cannot tell the names of the images or classes apart, or not have them.
    """
    if not any(source.kind == "image" for source in sources):
        raise OptionError("--save-labels writes labels of image files, and there is none. Save frames as images first.")
    root, names = _root_and_names(sources)
    images = [LabelledImage(name, 1, 1, []) for name in names.values()]
    return plan_labels(label_format, folder, [LabelSet("", root, images, "a model")], classes)


def _root_and_names(sources: Sequence[Source]) -> tuple[Path, dict[str, str]]:
    """The folder that all images are in, and the name of each below it, by the name of its source."""
    images = [source for source in sources if source.kind == "image"]
    tops = {_top(source) for source in images}
    top = next(iter(tops)) if len(tops) == 1 else None
    if top is not None:
        return top, {source.name: source.name for source in images}
    paths = {source.name: Path(str(source.address)) for source in images}
    # The folder is resolved, but not the file: a link to an image has a name of its own.
    resolved = {name: path.parent.resolve() / path.name for name, path in paths.items()}
    common = Path(os.path.commonpath([path.parent for path in resolved.values()]))
    return common, {name: path.relative_to(common).as_posix() for name, path in resolved.items()}


def _top(source: Source) -> Path | None:
    """The folder that the name of a source begins at; None if its name is not the end of its path."""
    path, name = Path(str(source.address)), Path(source.name)
    is_end = path.parts[-len(name.parts) :] == name.parts
    return Path(*path.parts[: -len(name.parts)]) if is_end else None

"""Where the drawings of each source go, and writing them: images, and videos frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2

from multibox.drawing import drawing_path, save_drawing
from multibox.errors import OptionError
from multibox.predict.frames import Frame
from multibox.predict.sources import Source
from multibox.predict.video_file import open_video
from multibox.structures import Image

VIDEO_ENDING = ".mp4"


def plan(sources: Sequence[Source], save_to: Path) -> dict[str, Path]:
    """The path of the drawing of each source, by the source's name.

    `save_to` is a folder, in which drawings bear the names of their sources with their sub-folders, or a file if there
    is one source only. An image of a format that cannot be written gets `.jpg` appended, a video `.mp4`.

    Raises:
        OptionError: `save_to` is a file for several sources, or of a kind that the source is not written as.
        DataError: the name of a source leads outside the folder.
    """
    ending = save_to.suffix.lower()
    is_image = bool(ending) and ending.isascii() and cv2.haveImageWriter(f"drawing{ending}")
    if save_to.is_dir() or not (is_image or ending == VIDEO_ENDING):
        return _plan_folder(sources, save_to)
    if len(sources) > 1:
        raise OptionError(f"--save-to {save_to}: one file cannot take {len(sources)} sources. Name a folder.")
    (source,) = sources
    if is_image != (source.kind == "image"):
        wanted = "an image, .jpg or .png" if source.kind == "image" else f"a video, {VIDEO_ENDING}"
        raise OptionError(f"--save-to {save_to}: {source.title} is written as {wanted}, or name a folder.")
    return {source.name: save_to}


@contextmanager
def saving(paths: Mapping[str, Path]) -> Iterator[Callable[[Frame, Image], None]]:
    """A function that saves the drawing of a frame where its source has its place.

    The frames of a video come one after the other; its file is complete when the next source begins or the context
    ends. If an error ends it, the video that is being written is dropped.

    Raises:
        OptionError: a file cannot be written.
    """
    with ExitStack() as video:
        current: Source | None = None
        write: Callable[[Frame, Image], None] | None = None

        def save(frame: Frame, drawing: Image) -> None:
            nonlocal current, write
            if frame.source != current:
                video.close()
                current, write = frame.source, None
            path = paths[frame.source.name]
            if frame.index is None:
                save_drawing(path.parent, path.name, drawing)
                return
            if write is None:
                write = video.enter_context(open_video(path, frame))
            write(frame, drawing)

        yield save


def _plan_folder(sources: Sequence[Source], folder: Path) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for source in sources:
        path = _in_folder(folder, source)
        if path in taken:
            raise OptionError(f"{taken[path]} and {source.title} would both be saved as {path}. Rename one.")
        paths[source.name], taken[path] = path, source.title
    return paths


def _in_folder(folder: Path, source: Source) -> Path:
    if source.kind == "image":
        return drawing_path(folder, source.name)
    name = source.name if source.name.lower().endswith(VIDEO_ENDING) else source.name + VIDEO_ENDING
    return drawing_path(folder, name).with_name(Path(name).name)

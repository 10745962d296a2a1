"""What a user names as input: files, folders, patterns, cameras, streams -> sources in a fixed order, each with the
name of what is made of it. No file is opened here.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from multibox.errors import OptionError

Kind = Literal["image", "video", "camera", "stream"]

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif", ".avif", ".jp2"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif"),
)
VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
    *(".3gp", ".ogv", ".mjpeg", ".mjpg", ".h264", ".h265"),
)

STREAM = re.compile(r"(rtsps?|https?|rtmps?|udp|tcp|srt)://", re.IGNORECASE)
WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Source:
    """One image, video, camera or stream.

    `address` is what is opened: a path, the number of a camera, or the URL of a stream. `name` is a relative path with
    slashes, different for every source of a run: what is written for it bears that name.
    """

    kind: Kind
    address: str | int
    name: str

    @property
    def is_live(self) -> bool:
        """Whether it comes from elsewhere at its own pace."""
        return self.kind in {"camera", "stream"}

    @property
    def title(self) -> str:
        """How people and files are told of it: as it was named, but for a password."""
        if self.kind == "camera":
            return f"camera {self.address}"
        return printable(re.sub(r"(?<=://)[^/@]*@", "", str(self.address)) if self.is_live else str(self.address))


def find_sources(texts: Sequence[str], *, output_folder: Path | None = None) -> tuple[list[Source], list[str]]:
    """The sources that words of a command line name, and a line for each word that names none.

    A whole number is a camera, `rtsp://...`, `http://...` and the like a stream. A file or folder that is there is
    taken by its name even if that looks like a pattern; a pattern may have `**`. Folders are searched with all their
    sub-folders, but for hidden ones and `output_folder`, for files whose ending tells that they are images or videos,
    and are sorted as people do: 9 before 10. A file that is named twice comes once.

    Raises:
        OptionError: a camera or stream is named beside another source.
    """
    all_sources: list[Source] = []
    problems: list[str] = []
    for text in texts:
        sources = list(_read_word(text, output_folder))
        all_sources += sources
        if not sources:
            problems.append(_nothing(text))
    live = [source for source in all_sources if source.is_live]
    if live and len(texts) > 1:
        raise OptionError(f"{live[0].title}: a camera or stream has no end, so it comes alone. Name one source only.")
    return _with_distinct_names(_without_repetition(all_sources)), problems


def natural_key(path: Path) -> list[tuple[list[tuple[int, int | str]], str]]:
    """A key that sorts paths folder by folder, letters of either case alike, and numbers in them by their value."""
    return [(_number_key(part), part) for part in path.parts]


def printable(text: str) -> str:
    """The text without the bytes of a file name that are no text, so that any file and terminal takes it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _read_word(text: str, output_folder: Path | None) -> Iterator[Source]:
    path = Path(text)
    if text.isascii() and text.isdigit():
        yield Source("camera", int(text), f"camera_{int(text)}.mp4")
    elif STREAM.match(text):
        yield Source("stream", text, _stream_name(text))
    elif text and path.is_dir():
        yield from _files(_in_folder(path, output_folder), root=path)
    elif text and (path.exists() or path.is_symlink()):
        yield from _files([path], root=path.parent)
    elif WILDCARD.search(text):
        yield from _files(_matching(text, output_folder), root=_fixed_part(path))


def _files(paths: Iterable[Path], *, root: Path) -> Iterator[Source]:
    for path in paths:
        kind: Kind = "video" if path.suffix.lower() in VIDEO_ENDINGS else "image"
        yield Source(kind, str(path), path.relative_to(root).as_posix())


def _in_folder(folder: Path, output_folder: Path | None) -> list[Path]:
    """Images and videos in a folder and those in it; a link that leads to a folder for the second time is passed by."""
    seen = {folder.resolve()} | ({output_folder.resolve()} if output_folder is not None else set())
    paths: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        entered = []
        for name in folders:
            place = Path(parent, name).resolve()
            if not name.startswith(".") and place not in seen:
                seen.add(place)
                entered.append(name)
        folders[:] = entered
        paths += (Path(parent, name) for name in names if not name.startswith(".") and _has_known_ending(name))
    return sorted(paths, key=natural_key)


def _matching(pattern: str, output_folder: Path | None) -> list[Path]:
    """What a pattern matches: of files those that are images or videos, if any is; of folders what is in them."""
    output = output_folder.resolve() if output_folder is not None else None
    files: list[Path] = []
    # Not Path.glob, which would need to be told the folder that an absolute pattern starts at.
    for path in sorted(map(Path, glob.glob(pattern, recursive=True)), key=natural_key):  # noqa: PTH207
        if output is not None and path.resolve().is_relative_to(output):
            continue
        files += _in_folder(path, output_folder) if path.is_dir() else [path]
    return [path for path in files if _has_known_ending(path.name)] or files


def _fixed_part(pattern: Path) -> Path:
    """The folders before the first part that has a wildcard."""
    first = next(i for i, part in enumerate(pattern.parts) if WILDCARD.search(part))
    return Path(*pattern.parts[:first])


def _stream_name(url: str) -> str:
    plain = re.sub(r"[?#].*|^\w+://([^/@]*@)?", "", url)
    return (re.sub(r"[^\w.-]+", "_", plain).strip("._") or "stream") + ".mp4"


def _without_repetition(sources: Sequence[Source]) -> list[Source]:
    first: dict[str | Path, Source] = {}
    for source in sources:
        first.setdefault(source.title if source.is_live else Path(str(source.address)).resolve(), source)
    return list(first.values())


def _with_distinct_names(sources: list[Source]) -> list[Source]:
    """As they are if all names differ; else all names start at the folder that all files have in common."""
    names = {source.name for source in sources}
    if len(names) == len(sources) and not any(".." in name.split("/") for name in names):
        return sources
    paths = [Path(str(source.address)).parent.resolve() / Path(str(source.address)).name for source in sources]
    try:
        common = os.path.commonpath([path.parent for path in paths])
    except ValueError as error:
        raise OptionError("Files of the same name on different drives: name the drives one after the other.") from error
    return [
        replace(source, name=path.relative_to(common).as_posix()) for source, path in zip(sources, paths, strict=True)
    ]


def _nothing(text: str) -> str:
    shown = printable(text) or '""'
    if text and Path(text).is_dir():
        return f"{shown}: there is no image or video in this folder."
    if WILDCARD.search(text):
        return f"{shown}: nothing has a name like this."
    return f"{shown}: there is no such file or folder."


def _number_key(part: str) -> list[tuple[int, int | str]]:
    pieces = re.split(r"([0-9]+)", part.casefold())
    return [(0, int(piece)) if i % 2 else (1, piece) for i, piece in enumerate(pieces) if piece]


def _has_known_ending(name: str) -> bool:
    return name.lower().endswith(IMAGE_ENDINGS + VIDEO_ENDINGS)

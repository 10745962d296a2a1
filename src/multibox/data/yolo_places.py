"""Where the images and the labels of a YOLO set are: folders and lists, wherever their paths were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multibox.data.archives import absolute, folders_in, names_in
from multibox.data.image_files import SUFFIXES, image_names, spellings, stem_key, tails
from multibox.data.layouts import Layout
from multibox.data.split_names import kinds_of
from multibox.data.text_files import read_text
from multibox.errors import DataError
from multibox.wording import quoted


def image_paths(layout: Layout, content: dict[str, Any], word: str) -> tuple[list[Path], list[str], list[Path]]:
    """The images of a split, lines about listed ones that are missing, and its folders, none if they are listed."""
    given = content[word]
    places = given if isinstance(given, list) else [given]
    if not all(isinstance(place, str) and place for place in places):
        raise DataError(f"{layout.description}: `{word}` is neither a path nor a list of paths.")
    paths: list[Path] = []
    missing: list[str] = []
    folders: list[Path] = []
    for place in places:
        where = _find_place(layout, content, word, place)
        if where.is_dir():
            folder = _folder_of_images(where)
            folders.append(folder)
            paths += [folder / name for name in image_names(folder)]
            continue
        for line in lines_of(where, "the list of images"):
            path = _listed_image(line, where, layout, content) if line else None
            if path is not None:
                paths.append(path)
            elif line:
                missing.append(f"{where.name} lists {quoted(line)}, which is not there")
    has_lists = len(folders) < len(places)
    return list(dict.fromkeys(paths)), missing, [] if has_lists else folders


def label_folder(folder: Path) -> Path:
    """Where the labels of a folder of images are: `labels` in the place of the last `images` of its path, else here."""
    parts = folder.parts
    position = next((i for i in range(len(parts) - 1, -1, -1) if parts[i].lower() == "images"), None)
    if position is None:
        return folder
    top = folder.parents[len(parts) - position - 1]
    try:
        names = [inner.name for inner in folders_in(top) if inner.name.lower() == "labels"]
    except OSError:
        return folder
    for name in ["labels", *names] if "labels" in names else names:
        place = top.joinpath(name, *parts[position + 1 :])
        if place.is_dir():
            return place
    # Without any folder of labels, they may lie beside the images.
    return folder if text_names(folder) or not names else top.joinpath(names[0], *parts[position + 1 :])


def text_names(folder: Path) -> dict[str, str]:
    """The names of text files in a folder by their stems."""
    try:
        names = names_in(folder)
    except OSError:
        return {}
    return {stem_key(name): name for name in names if name[-4:].lower() == ".txt" and not name.startswith(".")}


def inside(folder: Path, given: str, word: str = "") -> Path | None:
    """What the end of a path of another machine is in this folder: not a mere `images`, which may be of any split."""
    for tail in tails(given):
        if word and "/" not in tail and not kinds_of(tail):
            continue
        if (folder / tail).exists():
            return folder / tail
    return None


def lines_of(file: Path, what: str) -> list[str]:
    """The lines of a text file without blanks around them, and without empty ones at its end."""
    lines = [line.strip() for line in read_text(file, what).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def shown_path(path: Path, folder: Path) -> str:
    """A path relative to a folder with slashes, or as it is if it lies elsewhere."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        whole, top = absolute(path), absolute(folder)
        return whole.relative_to(top).as_posix() if whole.is_relative_to(top) else str(path)


def _tops(layout: Layout, content: dict[str, Any]) -> list[Path]:
    """What paths may be relative to: `path`, which the set may have been moved from since, and the description."""
    base = str(content.get("path") or "")
    here = layout.description.parent
    tops = [here / base, layout.folder, here] if base else [layout.folder, here]
    return list(dict.fromkeys(tops))


def _find_place(layout: Layout, content: dict[str, Any], word: str, given: str) -> Path:
    """A folder of images or a list of them that a description names, wherever that is relative to."""
    plain = given.replace("\\", "/").strip()
    # Roboflow writes ../train/images for what is in ./train/images: the set's own folders come before neighbours.
    candidates = [plain.removeprefix("../"), plain] if plain.startswith("../") else [plain]
    for top in _tops(layout, content):
        for name in candidates:
            for path in (top / name, top / name / "images"):
                if path.is_dir() or (path.is_file() and path.suffix.lower() in {".txt", ".list"}):
                    return _below_the_top(absolute(path), layout, word)
    moved = inside(layout.folder, plain, word)
    if moved is None:
        raise DataError(
            f"{layout.description}: `{word}` names {given}, which does not exist. Correct the path in the file."
        )
    return absolute(moved)


def _below_the_top(path: Path, layout: Layout, word: str) -> Path:
    """The path, unless everything on the disk lies below it, among which images would be looked for for hours."""
    if path.resolve() == Path(path.anchor):
        raise DataError(f"{layout.description}: `{word}` names the whole disk, {path}. Name the folder of the images.")
    return path


def _listed_image(line: str, file: Path, layout: Layout, content: dict[str, Any]) -> Path | None:
    """The image that a line of a list names: as it stands, or by the end of its path inside the set."""
    for top in dict.fromkeys([file.parent, *_tops(layout, content)]):
        for name in dict.fromkeys((line, *spellings(line))):
            path = top / name
            if path.is_file():
                return absolute(path)
    for tail in tails(line):
        # A mere file name may be that of another image.
        for name in spellings(tail) if "/" in tail else ():
            if (layout.folder / name).is_file():
                return absolute(layout.folder / name)
    return None


def _folder_of_images(folder: Path) -> Path:
    """The folder itself, or the folder `images` in it if all its images are in there."""
    inner = folder / "images"
    if not inner.is_dir():
        return folder
    has_own = any(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir())
    return folder if has_own else inner

"""Where the images of a COCO file are: in its own folder or its split's, never in another's, nor outside the set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from multibox.data.archives import absolute, folders_in
from multibox.data.coco_format import read_outline
from multibox.data.coco_images import find_file
from multibox.data.split_names import kinds_of
from multibox.errors import DataError
from multibox.wording import listed

NUM_PROBED = 20
"""Number of images that a folder is judged by: the first one alone may be missing, which is a fault to be found."""

ANNOTATION_FOLDERS = frozenset(
    ("annotations", "annotation", "labels", "label", "ann", "anns", "json", "jsons", "coco", "instances", "gt")
)
"""What folders are called that hold annotation files only: their images lie beside the folder."""

IMAGE_FOLDERS = frozenset(("images", "image", "imgs", "img", "data", "jpegimages", "photos", "pictures", "frames"))
"""What folders are called that hold images of whatever split."""

WORDS_OF_FILES = ("annotations", "annotation", "instances", "labels", "label", "coco", "gt", "result", "export")
"""What the names of annotation files say beside what they are of: `instances_cam1`, `cam1.coco`."""


def is_annotation_folder(folder: Path) -> bool:
    """Whether a folder holds annotation files only, by its name."""
    return folder.name.lower() in ANNOTATION_FOLDERS


def find_folder(file: Path, top: Path) -> Path:
    """The folder that the images of an annotation file are in; its own folder if they are nowhere in the set `top`.

    What `multibox convert` wrote says where they are. Else looked at are, in this order: a folder of the file's name,
    the file's own folder, folders of its split, folders of images in general, and the others that belong to no other
    split and no other file.

    Raises:
        DataError: images of these names lie in several folders of equal right.
    """
    images, said = read_outline(file)
    if said is not None and (folder := absolute(said)).is_dir():
        return folder
    names = [image.file_name for image in images]
    names = names[:: max(1, len(names) // NUM_PROBED)]
    if not names:
        return file.parent
    best, most = file.parent, 0
    for is_own, folders in _ranks(file, top):
        hits = {folder: sum(find_file(folder, name)[1] is not None for name in names) for folder in folders}
        highest = max(hits.values(), default=0)
        chosen = [folder for folder, count in hits.items() if count and count == highest]
        if highest > most and len(chosen) > 1:
            raise DataError(
                f"{file}: images of these names are in {listed([str(folder) for folder in chosen])}. Say which with "
                "--train-ann-files and --train-data-roots, --val-ann-files and --val-data-roots."
            )
        if highest > most:
            best, most = chosen[0], highest
        if 2 * most >= len(names) or (most and is_own):
            break
    return best


def _ranks(file: Path, top: Path) -> Iterator[tuple[bool, Sequence[Path]]]:
    """Folders that images may be in, the likeliest first; those of one list have equal right.

    The truth value says whether they are the file's own, or its split's: what is missing there is not looked for
    elsewhere.
    """
    here = file.parent
    below = [folder for folder in _below(top) if not _is_of_other_split(folder, file, top)]
    name = _plain(file.stem)
    yield True, _with_images([folder for folder in below if name and _plain(folder.name) == name])
    if not _is_of_other_split(here, file, top):
        yield False, [here]
        yield False, [folder for folder in _inner(here) if folder.name.lower() in IMAGE_FOLDERS]
    kinds = _kinds(file)
    yield True, _with_images([folder for folder in below if kinds and kinds_of(folder.name) & kinds])
    theirs = {_plain(other.stem) for other in [*top.glob("*.json"), *top.glob("*/*.json")]} - {name, ""}
    free = [folder for folder in below if not any(_plain(part) in theirs for part in folder.relative_to(top).parts)]
    yield False, [folder for folder in free if folder.name.lower() in IMAGE_FOLDERS]
    yield False, [top]
    yield False, [folder for folder in free if folder.name.lower() not in IMAGE_FOLDERS]


def _kinds(file: Path) -> set[str]:
    """The kinds of split that an annotation file is of, by its name, or else by its folder."""
    return kinds_of(file.stem) or kinds_of(file.parent.name)


def _is_of_other_split(folder: Path, file: Path, top: Path) -> bool:
    """Whether a folder, or one around it in the set, is named after a split that the file is not of."""
    kinds = _kinds(file)
    if not kinds or not folder.is_relative_to(top):
        return False
    named = [kinds_of(part) for part in folder.relative_to(top).parts]
    return any(words and not words & kinds for words in named)


def _below(top: Path) -> list[Path]:
    """Folders in the set, and those in these: two levels, a third below folders of images."""
    first = _inner(top)
    second = [folder for outer in first for folder in _inner(outer)]
    third = [folder for outer in second if outer.name.lower() in IMAGE_FOLDERS for folder in _inner(outer)]
    return [*first, *second, *third]


def _inner(folder: Path) -> list[Path]:
    try:
        return [inner for inner in folders_in(folder) if not inner.name.startswith((".", "__MACOSX"))]
    except OSError:
        return []


def _with_images(folders: Sequence[Path]) -> list[Path]:
    """The folders, those inside others left out where they are no folders of images: outer ones come first."""
    inner = [deeper for folder in folders for deeper in _inner(folder) if deeper.name.lower() in IMAGE_FOLDERS]
    return list(dict.fromkeys([*folders, *inner]))


def _plain(name: str) -> str:
    """The name of a file or folder without what says only that there are annotations in it."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    left = [word for word in words if word not in WORDS_OF_FILES]
    return "".join(left)

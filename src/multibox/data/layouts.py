"""Data sets as they lie on disks: of which format a folder or file is, and which parts of it belong to which split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from multibox.data.coco_format import Source, read_content
from multibox.errors import DataError
from multibox.wording import quoted

Format = Literal["COCO", "YOLO", "Pascal VOC"]

TRAIN_NAMES = ("train", "training", "trainval")
VAL_NAMES = ("val", "valid", "validation", "test")
"""What splits are called, the likeliest first."""

NUM_PROBED = 20
"""Images that a folder is judged by: the first one alone may be missing, which is a fault to be found, not to stumble
over."""


@dataclass(frozen=True)
class Split:
    """A part of a data set: its annotation file and the folder that its images are in.

    `problems`: lines about what was lost on the way from another format, by what it is (a plural: "bad label lines");
    `remarks`: the same for what is odd but not lost.
    """

    annotation_file: Path
    root: Path
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    `splits`: the files of `train` and `val`, or one of them, if the format is COCO. For others, `words` has what the
    set itself calls these, and `description` is its data.yaml or its folder of annotations: of Pascal VOC, the folder
    Annotations, whose images are listed in ImageSets, or a folder with one of .xml files for each split.
    `left_out`: a split beside these that nothing here looks at.
    """

    format: Format
    folder: Path
    splits: dict[str, Split] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    description: Path = Path()
    left_out: str = ""


def find_layout(source: Path) -> Layout:
    """What kind of data set a folder or file is, and its parts.

    A COCO set is a .json with its images beside it or in a folder near by; a YOLO set has a data.yaml, a Pascal VOC set
    a folder Annotations of .xml files, or folders train and valid with .xml files beside the images.

    Raises:
        DataError: there is nothing of the kind, or several files could be the same part of it.
    """
    if source.is_file() and source.suffix.lower() == ".json":
        return Layout("COCO", source.parent, {"train": Split(source, _image_folder(source, "train"))})
    if source.is_file() and source.suffix.lower() in {".yaml", ".yml"}:
        return _yolo_layout(source)
    if not source.is_dir():
        raise DataError(f"{source}: there is no such folder or annotation file.")
    configurations = sorted([*source.glob("data.y*ml"), *source.glob("dataset.y*ml")])
    if configurations:
        return _yolo_layout(configurations[0])
    voc = _voc_layout(source)
    if voc is not None:
        return voc
    candidates = _coco_candidates(source)
    if not candidates:
        raise DataError(
            f"{source}: this is no data set that multibox knows. Expected annotations of COCO (a .json with `train` or "
            "`val` in its name or that of its folder), YOLO (data.yaml), or Pascal VOC (a folder Annotations)."
        )
    files = _coco_files(source, candidates)
    splits = {name: Split(file, _image_folder(file, name)) for name, file in files.items()}
    has_test = any(_is_of(file, "test") for file in candidates if file not in files.values())
    return Layout("COCO", source, splits, left_out="test" if has_test else "")


def _coco_candidates(folder: Path) -> list[Path]:
    return [file for depth in ("*.json", "*/*.json") for file in sorted(folder.glob(depth)) if _is_coco(file)]


def _coco_files(folder: Path, candidates: Sequence[Path]) -> dict[str, Path]:
    """The annotation file of each split: by its own name, or by that of the folder that it lies in."""
    found = {}
    for split, names in (("train", TRAIN_NAMES), ("val", VAL_NAMES)):
        for name in names:
            files = [file for file in candidates if _is_of(file, name)]
            if files:
                found[split] = _only_one(folder, files, f"what to {'train' if split == 'train' else 'validate'} on")
                break
    return found or {"train": _only_one(folder, candidates, "the data set")}


def _only_one(folder: Path, files: Sequence[Path], what: str) -> Path:
    # COCO itself has captions and keypoints of the same images beside the boxes.
    of_boxes = [file for file in files if "instances" in _words(file.stem)] or list(files)
    if len(of_boxes) > 1:
        names = " and ".join(str(file.relative_to(folder)) for file in of_boxes[:2])
        raise DataError(
            f"{folder}: {names} could both be {what}. Say which with --train-ann-files and --train-data-roots, "
            "--val-ann-files and --val-data-roots."
        )
    return of_boxes[0]


def _is_of(file: Path, name: str) -> bool:
    return name in _words(file.stem) or file.parent.name.lower() == name


def _words(stem: str) -> set[str]:
    return set("".join(letter if letter.isalpha() else " " for letter in stem.lower()).split())


def _is_coco(file: Path) -> bool:
    # Whole files may be large; the keys that tell are at the top level, but anywhere in it.
    try:
        data = file.read_bytes()
    except OSError:
        return False
    return all(key in data for key in (b'"images"', b'"annotations"', b'"categories"'))


def _image_folder(file: Path, split: str) -> Path:
    """Where the images of an annotation file are: the folder in which most of those looked for are found."""
    try:
        images = read_content(Source(file, file.parent, 0)).images
    except DataError:  # told when the set is read
        return file.parent
    names = [image.file_name for image in images[:: max(1, len(images) // NUM_PROBED)]]
    best, most = file.parent, 0
    for folder in _likely_folders(file, split):
        hits = sum((folder / name.replace("\\", "/")).is_file() for name in names)
        if hits > most:
            best, most = folder, hits
        if hits == len(names):
            break
    return best


def _likely_folders(file: Path, split: str) -> Iterator[Path]:
    """Folders that images may be in, the likeliest first: those of the split before others."""
    names = TRAIN_NAMES if split == "train" else VAL_NAMES
    yield file.parent
    for top in (file.parent, file.parent.parent):
        below = _folders(top)
        inner = [deeper for folder in below if folder.name.lower() in {"images", "data"} for deeper in _folders(folder)]
        of_split = [folder for folder in [*below, *inner] if _words(folder.name) & set(names)]
        yield from of_split
        yield from (folder / "images" for folder in of_split)
        yield from below
        yield from inner
    yield file.parent.parent


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError:
        return []


def _yolo_layout(file: Path) -> Layout:
    content = read_yolo_description(file)
    words = _words_for_splits(lambda word: bool(content.get(word)))
    if not words:
        raise DataError(f"{file}: this describes no YOLO set: it names neither `train` nor `val`.")
    has_test = bool(content.get("test")) and "test" not in words.values()
    return Layout("YOLO", file.parent, words=words, description=file, left_out="test" if has_test else "")


def read_yolo_description(file: Path) -> dict[str, Any]:
    """The content of a data.yaml that has `names`.

    Raises:
        DataError: it cannot be read, or describes no data set.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{file}: cannot read the description of the YOLO set; it is no YAML.") from error
    if not isinstance(content, dict) or not isinstance(content.get("names"), dict | list) or not content["names"]:
        raise DataError(f"{file}: this describes no YOLO set: it has no `names`.")
    return content


def _voc_layout(source: Path) -> Layout | None:
    voc = source if source.name == "Annotations" else source / "Annotations"
    if _has_xml(voc):
        words = _words_for_splits(lambda word: voc_list(voc.parent, word).is_file()) or {"train": ""}
        has_test = voc_list(voc.parent, "test").is_file() and "test" not in words.values()
        return Layout("Pascal VOC", voc.parent, words=words, description=voc, left_out="test" if has_test else "")
    words = _words_for_splits(lambda word: _has_xml(source / word))
    if words:
        has_test = _has_xml(source / "test") and "test" not in words.values()
        return Layout("Pascal VOC", source, words=words, description=source, left_out="test" if has_test else "")
    if _has_xml(source):
        return Layout("Pascal VOC", source, words={"train": ""}, description=source)
    return None


def voc_list(folder: Path, word: str) -> Path:
    """The file that lists the images of a split of a Pascal VOC set."""
    return folder / "ImageSets" / "Main" / f"{word}.txt"


def _has_xml(folder: Path) -> bool:
    """Whether there are annotations in a folder; other programs keep their own .xml files, a model for one."""
    for file in sorted(folder.glob("*.xml"))[:3]:
        try:
            if b"<annotation" in file.read_bytes()[:4096]:
                return True
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {quoted(error.strerror or str(error))}.") from error
    return False


def _words_for_splits(is_known: Callable[[str], bool]) -> dict[str, str]:
    found = {
        split: next(filter(is_known, words), None) for split, words in (("train", TRAIN_NAMES), ("val", VAL_NAMES))
    }
    return {split: word for split, word in found.items() if word is not None}

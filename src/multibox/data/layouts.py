"""Data sets as they lie on disks: of which format a folder or file is, and which parts of it belong to which split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from multibox.data.archives import archived
from multibox.data.coco_folders import find_folder, is_annotation_folder
from multibox.data.image_files import image_names
from multibox.data.split_names import TRAIN_NAMES, VAL_NAMES, is_of, kinds_of, words_of
from multibox.data.text_files import read_text
from multibox.errors import DataError
from multibox.files import check_regular
from multibox.plain_yaml import read_yaml
from multibox.wording import counted, listed, quoted

Format = Literal["COCO", "YOLO", "Pascal VOC", "labelme", "Open Images", "CVAT", "Label Studio", "VIA"]

CLASS_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
"""Files with the names of the classes, a line for each, that YOLO sets without a description have."""

COCO_KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Split:
    """A part of a data set: its annotation file and the folder that its images are in.

    Lines by what they are about, a plural such as "label lines that cannot be read": `problems` were lost on the way
    from another format, `doubts` are hardly meant, `remarks` are odd but not lost. `title`: what messages call the
    annotation file, if it was made from files of another format.
    """

    annotation_file: Path
    root: Path
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)
    doubts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    `splits`: the files of `train` and `val`, or one of them, if the format is COCO. For others, `words` has what the
    set itself calls these, and `description` is what the reading begins with: of YOLO, its data.yaml, obj.data or list
    of classes; of Pascal VOC, the folder Annotations, whose images are listed in ImageSets, or a folder with one of
    .xml files for each split; of others, the folder of its files, which `words` names. `left_out`: a split
    beside these that nothing here looks at. `passed_over`: lines about files that could have been a part.
    """

    format: Format
    folder: Path
    splits: dict[str, Split] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    description: Path = Path()
    left_out: str = ""
    passed_over: tuple[str, ...] = ()


def find_layout(source: Path) -> Layout:
    """What kind of data set a folder or file is, and its parts.

    A COCO set is a .json with its images beside it or in a folder of the set; a YOLO set has a data.yaml, an obj.data
    or a list of classes beside its labels; a Pascal VOC set has a folder Annotations of .xml files, or .xml files
    beside the images; labelme writes a .json beside each image, CVAT an annotations.xml, Label Studio
    and VIA one .json that is no COCO. A folder that has nothing but
    a folder with one of these will do; so will a .zip of any of them.

    Raises:
        DataError: there is nothing of the kind, several files could be the same part of it, or images could lie in
            several folders.
    """
    source = archived(source)
    if source.is_file() and source.suffix.lower() == ".json":
        return _json_layout(source)
    if source.is_file() and source.suffix.lower() in {".yaml", ".yml"}:
        return _yaml_layout(source)
    if source.is_file() and source.name.lower() == "obj.data":
        return _darknet_layout(source)
    if not source.is_dir():
        raise DataError(f"{source}: there is no such folder or annotation file.")
    layout = _layout_of_folder(source) or _layout_below(source)
    if layout is None:
        raise DataError(_nothing_known(source))
    return layout


def voc_list(folder: Path, word: str) -> Path:
    """The file that lists the images of a split of a Pascal VOC set."""
    return folder / "ImageSets" / "Main" / f"{word}.txt"


def read_yolo_description(file: Path) -> dict[str, Any]:
    """The content of a data.yaml that has `names`; all values are text as it stands there, so that `yes` is no truth.

    Raises:
        DataError: it cannot be read, or describes no data set.
    """
    try:
        content = read_yaml(read_text(file, "the description of the YOLO set"), as_text=True)
    except yaml.YAMLError as error:
        raise DataError(f"{file}: cannot read the description of the YOLO set: it is not valid YAML.") from error
    if not isinstance(content, dict) or not isinstance(content.get("names"), dict | list) or not content["names"]:
        raise DataError(f"{file}: this describes no YOLO set: it has no `names`.")
    return content


def read_darknet_description(file: Path) -> dict[str, str]:
    """The content of an obj.data: lines such as `train = data/train.txt`."""
    pairs = (line.partition("=") for line in read_text(file, "the description of the YOLO set").splitlines())
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def has_labelme(folder: Path) -> bool:
    """Whether labelme's files lie in a folder, by its first ones."""
    return any(is_labelme(file) for file in sorted(folder.glob("*.json"))[:5])


def is_labelme(file: Path) -> bool:
    """Whether a .json file is labelme's, which begins with its version, flags and shapes."""
    try:
        check_regular(file)
        with file.open("rb") as opened:
            return b'"shapes"' in opened.read(4096).replace(b"\0", b"")  # of UTF-16
    except OSError:
        return False


def has_xml(folder: Path) -> bool:
    """Whether there are annotations in a folder; other programs keep their own .xml files, a model for one."""
    files = [file for file in folder.glob("**/*") if file.suffix.lower() == ".xml" and not file.name.startswith(".")]
    for file in sorted(files)[:3]:
        try:
            check_regular(file)
            with file.open("rb") as opened:
                beginning = opened.read(4096)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {quoted(error.strerror or str(error))}.") from error
        if b"<annotation" in beginning.replace(b"\0", b""):  # UTF-16 has a null beside each letter
            return True
    return False


def _layout_of_folder(source: Path) -> Layout | None:
    yaml_file = _yaml_file(source)
    if yaml_file is not None:
        return _yaml_layout(yaml_file)
    if (source / "obj.data").is_file():
        return _darknet_layout(source / "obj.data")
    return (
        _cvat_layout(source)
        or _voc_layout(source)
        or _coco_layout(source)
        or _labelme_layout(source)
        or _tasks_layout(source)
        or _listed_layout(source)
        or _open_images_layout(source)
    )


def _layout_below(source: Path) -> Layout | None:
    """The set in the only folder of this one that has one, such as VOC2007 in VOCdevkit."""
    layouts = {}
    for folder in _folders(source):
        layout = _layout_of_folder(folder) or (_layout_below(folder) if len(_folders(source)) == 1 else None)
        if layout is not None:
            layouts[folder] = layout
    if len(layouts) > 1:
        names = listed([folder.name for folder in layouts])
        raise DataError(f"{source}: there are several data sets in it, {names}. Name one of them.")
    return next(iter(layouts.values()), None)


def _nothing_known(source: Path) -> str:
    names = image_names(source)
    folders = [source, source / "labels", source / "train" / "labels", source / "labels" / "train"]
    if names and any(next(folder.glob("*.txt"), None) for folder in folders):
        return (
            f"{source}: there are images and .txt files as in a YOLO set, but nothing says what the classes are "
            "called. Add a classes.txt with a name a line, in the order of their numbers, or a data.yaml."
        )
    what = f"{counted(len(names), 'image')}, but no labels of them" if names else "no data set that multibox knows"
    return (
        f"{source}: this is {what}. Expected annotations of COCO (a .json with `train` or `val` in its name or that of "
        "its folder), YOLO (data.yaml, obj.data or classes.txt), Pascal VOC (a folder Annotations), labelme, CVAT, "
        "Label Studio or VIA."
    )


def _top_of(file: Path) -> Path:
    """The folder of the set that a single annotation file belongs to."""
    return file.parent.parent if is_annotation_folder(file.parent) else file.parent


def _json_layout(file: Path) -> Layout:
    """The set of a single annotation file."""
    tool = _tool_of(file)
    if tool is None:
        return Layout("COCO", file.parent, {"train": Split(file, find_folder(file, _top_of(file)))})
    top = _top_of(file)
    return Layout(tool, top, words={"train": file.relative_to(top).as_posix()}, description=top)


def _tasks_layout(source: Path) -> Layout | None:
    """Label Studio's or VIA's own JSON, one file for each split, in the folder or in one for annotations in it."""
    places = [source, *(folder for folder in _folders(source) if is_annotation_folder(folder))]
    files = [file for place in places for file in sorted(place.glob("*.json")) if not file.name.startswith(".")]
    tools = {file: tool for file in files if (tool := _tool_of(file)) is not None}
    if not tools:
        return None
    words: dict[str, str] = {}
    for split, kinds in (("train", {"train"}), ("val", {"val"}), ("val", {"test"})):
        file = next((file for file in tools if kinds_of(file.stem) & kinds), None)
        if file is not None:
            words.setdefault(split, file.relative_to(source).as_posix())
    if not words:
        words = {"train": _only_one(source, list(tools), "the data set").relative_to(source).as_posix()}
    tool = tools[source / next(iter(words.values()))]
    return Layout(tool, source, words=words, description=source)


def _tool_of(file: Path) -> Literal["Label Studio", "VIA"] | None:
    """The tool whose own JSON a file is: tasks are a list, VIA's images have regions or stand in a project."""
    try:
        check_regular(file)
        with file.open("rb") as opened:
            beginning = opened.read(4096).replace(b"\0", b"")  # of UTF-16
    except OSError:
        return None
    plain = beginning.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if plain.startswith(b"{") and (b'"_via_' in plain or (b'"filename"' in plain and b'"regions"' in plain)):
        return "VIA"
    is_list = plain.startswith(b"[") and plain[1:].lstrip().startswith(b"{")
    return "Label Studio" if is_list and (b'"annotations"' in plain or b'"id"' in plain) else None


def _coco_layout(source: Path) -> Layout | None:
    candidates, passed_over = _coco_candidates(source)
    if not candidates:
        if passed_over:
            raise DataError(f"{source}: {passed_over[0]}. Give the annotation file that has all three.")
        return None
    files = _coco_files(source, candidates)
    top = source.parent if is_annotation_folder(source) else source
    splits = {name: Split(file, find_folder(file, top)) for name, file in files.items()}
    has_test = any(is_of(file, "test") for file in candidates if file not in files.values())
    return Layout("COCO", source, splits, left_out="test" if has_test else "", passed_over=tuple(passed_over))


def _coco_candidates(folder: Path) -> tuple[list[Path], list[str]]:
    """Annotation files, and lines about files that lack something to be one."""
    candidates, passed_over = [], []
    for file in [file for depth in ("*.json", "*/*.json") for file in sorted(folder.glob(depth))]:
        if file.name.startswith(".") or is_labelme(file):
            continue
        missing = _missing_keys(file)
        if not missing:
            candidates.append(file)
        elif missing != list(COCO_KEYS) and "images" not in missing:
            lacks = listed([f"`{key}`" for key in missing])
            passed_over.append(f"{file} is passed over: it lists images, but has no {lacks}")
    return candidates, passed_over


def _missing_keys(file: Path) -> list[str]:
    # Whole files may be large; the keys that tell are at the top level, but anywhere in it.
    try:
        check_regular(file)
        data = file.read_bytes()
    except OSError:
        return list(COCO_KEYS)
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        data = data.replace(b"\0", b"")
    return [key for key in COCO_KEYS if b'"' + key.encode() + b'"' not in data]


def _coco_files(folder: Path, candidates: Sequence[Path]) -> dict[str, Path]:
    """The annotation file of each split: by its own name, or by that of the folder that it lies in."""
    chosen = {}
    for split, names in (("train", TRAIN_NAMES), ("val", VAL_NAMES)):
        for name in names:
            files = [file for file in candidates if is_of(file, name)]
            if files:
                chosen[split] = _only_one(folder, files, f"what to {'train' if split == 'train' else 'validate'} on")
                break
    return chosen or {"train": _only_one(folder, candidates, "the data set")}


def _only_one(folder: Path, files: Sequence[Path], what: str) -> Path:
    # COCO itself has captions and keypoints of the same images beside the boxes.
    of_boxes = [file for file in files if "instances" in words_of(file.stem)] or list(files)
    if len(of_boxes) > 1:
        names = " and ".join(str(file.relative_to(folder)) for file in of_boxes[:2])
        raise DataError(
            f"{folder}: {names} could both be {what}. Say which with --train-ann-files and --train-data-roots, "
            "--val-ann-files and --val-data-roots."
        )
    return of_boxes[0]


def _yaml_file(folder: Path) -> Path | None:
    """The description of a YOLO set: data.yaml or dataset.yaml, else the only YAML file with `names` and a split."""
    usual = sorted([*folder.glob("data.y*ml"), *folder.glob("dataset.y*ml")])
    if usual:
        return usual[0]
    others = [file for file in sorted(folder.glob("*.y*ml")) if _is_description(file)]
    if len(others) > 1:
        names = " and ".join(file.name for file in others[:2])
        raise DataError(f"{folder}: {names} could both describe the YOLO set. Name one of them.")
    return others[0] if others else None


def _is_description(file: Path) -> bool:
    try:
        content = read_yolo_description(file)
    except DataError:
        return False
    return any(content.get(word) for word in (*TRAIN_NAMES, *VAL_NAMES))


def _yaml_layout(file: Path) -> Layout:
    content = read_yolo_description(file)
    words = _words_for_splits(lambda word: bool(content.get(word)))
    if not words:
        raise DataError(f"{file}: this describes no YOLO set: it names neither `train` nor `val`.")
    has_test = bool(content.get("test")) and "test" not in words.values()
    return Layout("YOLO", file.parent, words=words, description=file, left_out="test" if has_test else "")


def _darknet_layout(file: Path) -> Layout:
    content = read_darknet_description(file)
    words = _words_for_splits(lambda word: bool(content.get(word)))
    if not words:
        raise DataError(f"{file}: this describes no YOLO set: it names neither `train` nor `valid`.")
    return Layout("YOLO", file.parent, words=words, description=file)


def _listed_layout(source: Path) -> Layout | None:
    """A YOLO set with a list of its classes, but no description: images beside the labels, or in folders beside."""
    places = [source, *(folder for folder in _folders(source) if folder.name.lower() in {"labels", *TRAIN_NAMES})]
    description = next((place / name for place in places for name in CLASS_LISTS if (place / name).is_file()), None)
    if description is None:
        return None
    words = _words_for_splits(lambda word: (source / word).is_dir() or (source / "images" / word).is_dir())
    return Layout("YOLO", source, words=words or {"train": ""}, description=description)


def _voc_layout(source: Path) -> Layout | None:
    folder = next((inner for inner in _folders(source) if inner.name.lower() == "annotations"), None)
    if folder is not None and has_xml(folder):
        lists = sorted((source / "ImageSets" / "Main").glob("*.txt"))
        words = _words_for_splits(lambda word: voc_list(source, word).is_file())
        inner = _words_for_splits(lambda word: has_xml(folder / word))
        if not words and inner and not lists:
            return Layout("Pascal VOC", source, words=inner, description=folder, left_out=_test(inner, folder))
        if not words:  # CVAT's list is called default
            words = {"train": lists[0].stem if len(lists) == 1 else ""}
        has_test = voc_list(source, "test").is_file() and "test" not in words.values()
        return Layout("Pascal VOC", source, words=words, description=folder, left_out="test" if has_test else "")
    words = _words_for_splits(lambda word: has_xml(source / word))
    if words:
        return Layout("Pascal VOC", source, words=words, description=source, left_out=_test(words, source))
    if any(file.suffix.lower() == ".xml" for file in source.iterdir()) and has_xml(source):
        return Layout("Pascal VOC", source, words={"train": ""}, description=source)
    return None


def _test(words: Mapping[str, str], folder: Path) -> str:
    return "test" if "test" not in words.values() and has_xml(folder / "test") else ""


def _cvat_layout(source: Path) -> Layout | None:
    """CVAT's own files: annotations.xml, or one for each split, whose root is `annotations`, not `annotation`."""
    files = [file for file in sorted(source.glob("*.xml")) if not file.name.startswith(".") and _is_cvat(file)]
    words: dict[str, str] = {}
    for split, kinds in (("train", {"train"}), ("val", {"val"}), ("val", {"test"})):
        file = next((file.name for file in files if kinds_of(file.stem) & kinds), None)
        if file is not None:
            words.setdefault(split, file)
    if not words and files:
        words = {"train": _only_one(source, files, "the data set").name}
    return Layout("CVAT", source, words=words, description=source) if words else None


def _is_cvat(file: Path) -> bool:
    with file.open("rb") as opened:
        return b"<annotations>" in opened.read(4096).replace(b"\0", b"")  # of UTF-16


def _labelme_layout(source: Path) -> Layout | None:
    words = _words_for_splits(lambda word: has_labelme(source / word))
    if not words and has_labelme(source):
        words = {"train": ""}
    if not words:
        below = [folder for folder in _folders(source) if has_labelme(folder)]
        return replace(_labelme_layout(below[0]) or Layout("labelme", source)) if len(below) == 1 else None
    has_test = "test" not in words.values() and has_labelme(source / "test")
    return Layout("labelme", source, words=words, description=source, left_out="test" if has_test else "")


def _open_images_layout(source: Path) -> Layout | None:
    """Tables such as train-annotations-bbox.csv."""
    tables = [file for file in sorted(source.glob("*bbox*.csv")) if _begins_with(file, b"ImageID,")]
    words: dict[str, str] = {}
    for split, kinds in (("train", {"train"}), ("val", {"val"}), ("val", {"test"})):
        table = next((file.name for file in tables if kinds_of(file.stem) & kinds), None)
        if table is not None:
            words.setdefault(split, table)
    if not words and len(tables) == 1:
        words = {"train": tables[0].name}
    return Layout("Open Images", source, words=words, description=source) if words else None


def _begins_with(file: Path, beginning: bytes) -> bool:
    try:
        check_regular(file)
        with file.open("rb") as opened:
            return opened.read(64).removeprefix(b"\xef\xbb\xbf").startswith(beginning)
    except OSError:
        return False


def _words_for_splits(is_known: Callable[[str], bool]) -> dict[str, str]:
    words = {
        split: next(filter(is_known, names), None) for split, names in (("train", TRAIN_NAMES), ("val", VAL_NAMES))
    }
    return {split: word for split, word in words.items() if word is not None}


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(
            entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))
        )
    except OSError:
        return []

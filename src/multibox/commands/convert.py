"""`multibox convert`."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multibox.commands.console import say, say_command
from multibox.commands.options import OutputFormat
from multibox.errors import DataError, OptionError
from multibox.files import make_folder
from multibox.unfinished import unfinished_folder
from multibox.wording import counted, typed

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.data.layouts import Layout, Split

    Sets = dict[str, tuple[Split, CocoData]]

EXIT_LOST = 1
"""Exit code for a set of which something could not be read."""


def convert(
    source: Path, /, *, save_to: Annotated[Path, Parameter(name=["--out", "--save-to"])], format: OutputFormat = "coco"
) -> int:
    """Turn a data set into COCO annotations, or into labels of another format; images stay where they are.

    Example: multibox convert my_photos --save-to as_coco

    Exit code: 0 if all labels were read, 1 if some were lost, 2 if there is nothing to train on.

    Args:
        source: The folder of the data set, its data.yaml or .json, or a .zip, which is read as it is. Formats: YOLO,
            Pascal VOC, labelme, Open Images, CVAT, Label Studio, VIA, Hugging Face; COCO too if --format is not coco.
        save_to: Folder for annotations_train.json and annotations_val.json, or the files of the format.
        format: Format of the labels that are written.
    """
    from multibox.data.layouts import find_layout

    layout = find_layout(source)
    if layout.format == "COCO" and format == "coco":
        raise OptionError(f"{source}: this is a COCO set already. Give it to `multibox train` as it is.")
    make_folder(save_to)
    if format == "coco":
        sets = _as_coco(source, layout, save_to)
        how_to_import = "`multibox train` reads the set as it is. Next, train:"
    else:
        with unfinished_folder(Path(gettempdir())) as folder:
            sets = _as_coco(source, layout, folder, shows_files=False)
        how_to_import = _write(source, sets, save_to, format)
    if layout.left_out:
        say(f"Its part `{layout.left_out}` is not converted.")
    num_lost = sum(len(data.skipped) + sum(map(len, split.problems.values())) for split, data in sets.values())
    if num_lost:
        say(f"{num_lost} things of {source} are lost, as told above: correct them and convert again before you train.")
        return EXIT_LOST
    say(how_to_import)
    if format == "coco":
        say_command(f"multibox train {typed(source)}")
    return 0


def _as_coco(source: Path, layout: Layout, folder: Path, *, shows_files: bool = True) -> Sets:
    """The splits of a set as COCO files in a folder, and what training would read of them.

    Raises:
        DataError: nothing can be read.
    """
    from multibox.data import coco
    from multibox.data.convert import convert as write_coco

    splits = layout.splits if layout.format == "COCO" else write_coco(layout, folder, say=say)
    sets = {}
    for name, split in splits.items():
        # Read as training reads it: what is wrong is told now, not after a night.
        titles = [split.title] if split.title else None
        data = coco.read([split.annotation_file], [split.root], skip_bad=True, titles=titles)
        _report(split, data, str(split.annotation_file) if shows_files else split.title or str(split.annotation_file))
        sets[name] = split, data
    if not any(sum(data.objects_per_class) for _, data in sets.values()):
        raise DataError(
            f"{source}: not one object of it can be read, so there is nothing to train on. Correct its labels."
        )
    return sets


def _report(split: Split, data: CocoData, title: str) -> None:
    """Say what was read of a split, and what is wrong with it."""
    left_out = f"; {len(data.skipped)} bad ones left out (`multibox doctor` names them)" if data.skipped else ""
    images, objects = counted(len(data.records), "image"), counted(sum(data.objects_per_class), "object")
    classes = counted(len(data.classes), "class", "classes")
    say(f"{title}: {images}, {objects} of {classes}{left_out}")
    for kind, lines in [*split.problems.items(), *split.doubts.items(), *split.remarks.items()]:
        say(f"  {len(lines)} {kind}; the first: {lines[0]}")
    for doubt in data.doubts:
        say(f"  {doubt.text}")


def _write(source: Path, sets: Sets, folder: Path, label_format: OutputFormat) -> str:
    """Write the labels of a set in another format; what to do next."""
    from multibox.data.labels_out import FORMATS_WITH_CROWDS, how_to_import, label_set, write_labels

    first, *others = [data.classes for _, data in sets.values()]
    if any(classes != first for classes in others):
        raise DataError(f"{source}: its splits have different classes. Give both files the same categories.")
    label_sets = [label_set(name, split.root, data) for name, (split, data) in sets.items()]
    write_labels(label_format, folder, label_sets, first)
    num_crowds = sum(data.num_crowds for _, data in sets.values())
    if num_crowds and label_format not in FORMATS_WITH_CROWDS:
        say(f"{counted(num_crowds, 'box', 'boxes')} around many objects left out: this format cannot say so.")
    say(f"Labels: {typed(folder)}")
    return how_to_import(label_format, folder, label_sets)

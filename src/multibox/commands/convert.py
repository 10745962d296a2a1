"""`multibox convert`."""

from __future__ import annotations

import shlex
from pathlib import Path

from multibox.commands.options import say
from multibox.errors import DataError, OptionError
from multibox.files import make_folder

EXIT_LOST = 1
"""Exit code for a set of which something could not be read."""


def convert(source: Path, /, *, save_to: Path) -> int:
    """Turn a YOLO, Pascal VOC or labelme data set into COCO annotations; images stay where they are.

    Exit code: 0 if all labels were read, 1 if some were lost, 2 if there is nothing to train on.

    Args:
        source: The folder of the data set, its data.yaml, or a .zip, which is unpacked into the folder.
        save_to: Folder for annotations_train.json and annotations_val.json.
    """
    from multibox.data import coco
    from multibox.data.archives import is_archive, unpack
    from multibox.data.convert import convert as write_coco
    from multibox.data.layouts import find_layout
    from multibox.wording import counted

    if is_archive(source):
        make_folder(save_to)
        source = unpack(source, save_to)
    layout = find_layout(source)
    if layout.format == "COCO":
        raise OptionError(f"{source}: this is a COCO set already. Give it to `multibox train` as it is.")
    make_folder(save_to)
    splits = write_coco(layout, save_to)
    options = []
    num_lost = num_objects = 0
    for name, split in splits.items():
        # Read as training reads it: what is wrong is told now, not after a night.
        data = coco.read([split.annotation_file], [split.root], skip_bad=True, titles=[split.title])
        left_out = f"; {len(data.skipped)} bad ones left out (`multibox doctor` names them)" if data.skipped else ""
        images, objects = counted(len(data.records), "image"), counted(sum(data.objects_per_class), "object")
        classes = counted(len(data.classes), "class", "classes")
        say(f"{split.annotation_file}: {images}, {objects} of {classes}{left_out}")
        for kind, lines in [*split.problems.items(), *split.doubts.items(), *split.remarks.items()]:
            say(f"  {len(lines)} {kind}; the first: {lines[0]}")
        for doubt in data.doubts:
            say(f"  {doubt.text}")
        num_lost += len(data.skipped) + sum(map(len, split.problems.values()))
        num_objects += sum(data.objects_per_class)
        options += [f"--{name}-ann-files", str(split.annotation_file), f"--{name}-data-roots", str(split.root)]
    if layout.left_out:
        say(f"Its part `{layout.left_out}` is not converted.")
    if not num_objects:
        raise DataError(
            f"{source}: not one object of it can be read, so there is nothing to train on. Correct its labels."
        )
    if num_lost:
        say(f"{num_lost} things of {source} are lost, as told above: correct them and convert again before you train.")
        return EXIT_LOST
    say(f"Train with: multibox train {shlex.join(options)}")
    return 0

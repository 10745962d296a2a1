"""`multibox convert`."""

from __future__ import annotations

import shlex
from pathlib import Path

from multibox.commands.options import say
from multibox.errors import OptionError
from multibox.files import make_folder


def convert(source: Path, /, *, save_to: Path) -> int:
    """Turn a YOLO or Pascal VOC data set into COCO annotations; images stay where they are.

    Args:
        source: The folder of the data set, or its data.yaml.
        save_to: Folder for annotations_train.json and annotations_val.json.
    """
    from multibox.data import coco
    from multibox.data.convert import convert as write_coco
    from multibox.data.layouts import find_layout
    from multibox.wording import counted

    layout = find_layout(source)
    if layout.format == "COCO":
        raise OptionError(f"{source}: this is a COCO set already. Give it to `multibox train` as it is.")
    make_folder(save_to)
    splits = write_coco(layout, save_to)
    options = []
    for name, split in splits.items():
        # Read as training reads it: what is wrong is told now, not after a night.
        data = coco.read([split.annotation_file], [split.root], skip_bad=True)
        left_out = f"; {len(data.skipped)} bad ones left out (`multibox doctor` names them)" if data.skipped else ""
        images, objects = counted(len(data.records), "image"), counted(sum(data.objects_per_class), "object")
        classes = counted(len(data.classes), "class", "classes")
        say(f"{split.annotation_file}: {images}, {objects} of {classes}{left_out}")
        for kind, lines in [*split.problems.items(), *split.remarks.items()]:
            say(f"  {len(lines)} {kind}; the first: {lines[0]}")
        options += [f"--{name}-ann-files", str(split.annotation_file), f"--{name}-data-roots", str(split.root)]
    if layout.left_out:
        say(f"Its part `{layout.left_out}` is not converted.")
    say(f"Train with: multibox train {shlex.join(options)}")
    return 0

"""`multibox doctor`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from multibox.commands.console import console
from multibox.commands.options import Flag, require_together, say
from multibox.errors import DataError, OptionError

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.data.layouts import Split
    from multibox.doctor.duplicates import Twins

NUM_SHOWN_CHANGES = 10


def doctor(
    source: Path | None = None,
    /,
    *,
    train_ann_files: str = "",
    train_data_roots: str = "",
    val_ann_files: str = "",
    val_data_roots: str = "",
    classes: str = "",
    json: Path | None = None,
    save_mosaic: Path | None = None,
    fix: Path | None = None,
    no_timing: Flag = False,
) -> int:
    """Examine a data set: what is in it, what is wrong with it, and what it means for a model.

    Exit code: 0 if nothing is wrong, 1 with warnings, 2 with errors, which training would refuse.

    Args:
        source: A data set: a folder, file or .zip of COCO, YOLO (data.yaml), Pascal VOC or labelme. Instead, COCO
            files can be named:
        train_ann_files: Annotation files (COCO json), separated by commas.
        train_data_roots: The folder of images of each annotation file, separated by commas.
        val_ann_files: Annotation files to validate on.
        val_data_roots: The folder of images of each of these.
        classes: Names of the classes to look at, separated by commas. Default: all.
        json: File for everything that was found.
        save_mosaic: Image file (.jpg or .png) for samples with their boxes.
        fix: New folder for a corrected copy, with changes.json; the original is not touched.
        no_timing: Do not measure how fast this machine trains.
    """
    from multibox.data import coco
    from multibox.doctor import run
    from multibox.doctor.tables import doctor_tables

    with ExitStack() as stack:
        splits = _splits(source, train_ann_files, train_data_roots, val_ann_files, val_data_roots, stack)
        wanted = coco.split_list(classes) or None
        try:
            data = {name: _read(parts, wanted) for name, parts in splits.items()}
        except DataError as error:
            if fix is None:
                raise
            # What nothing can be examined of may be mended all the same.
            say(str(error))
            _fix(source, splits, fix, ())
            return 2
        _refuse_overwriting(splits, data, json, save_mosaic)
        is_timed = _can_time(no_timing)
        with console.status("Examining", spinner="line") as status:
            examination = run.doctor(data, is_timed=is_timed, parts=splits, report=status.update)
        console.print(doctor_tables(examination))
        if save_mosaic is not None:
            _save_contact_sheet(save_mosaic, data)
        if json is not None:
            import msgspec

            from multibox.files import write_atomically

            json.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(
                json, msgspec.json.format(msgspec.json.encode(run.examination_to_plain(examination)), indent=2) + b"\n"
            )
            say(f"All of this: {json}")
        if fix is not None:
            _fix(source, splits, fix, examination.twins)
    return examination.exit_code


def _refuse_overwriting(
    splits: dict[str, list[Split]], data: dict[str, CocoData], json: Path | None, mosaic: Path | None
) -> None:
    """Fail before the work where an output would replace what is read."""
    from multibox.predict.drawings import refuse_overwriting

    outputs = [(option, path) for option, path in (("--json", json), ("--save-mosaic", mosaic)) if path is not None]
    inputs = [part.annotation_file for parts in splits.values() for part in parts]
    inputs += [record.path for of_split in data.values() for record in of_split.records]
    refuse_overwriting(outputs, inputs)


def _splits(
    source: Path | None, train_files: str, train_roots: str, val_files: str, val_roots: str, stack: ExitStack
) -> dict[str, list[Split]]:
    """The annotation files of each split, with their folders; other formats are turned into COCO on the way."""
    from multibox.data.archives import is_archive, unpack
    from multibox.data.convert import convert
    from multibox.data.layouts import find_layout

    require_together(train_files, train_roots, "--train-ann-files", "--train-data-roots")
    require_together(val_files, val_roots, "--val-ann-files", "--val-data-roots")
    if (source is None) == (not train_files and not val_files):
        raise OptionError("Name a data set: either a folder or file, or --train-ann-files and --train-data-roots.")
    if source is None:
        named = {"train": (train_files, train_roots), "val": (val_files, val_roots)}
        return {name: _named(files, roots) for name, (files, roots) in named.items() if files}
    place = source
    if is_archive(source):
        place = unpack(source, Path(stack.enter_context(tempfile.TemporaryDirectory())))
    try:
        layout = find_layout(place)
        found = layout.splits
        if layout.format != "COCO":
            found = convert(layout, Path(stack.enter_context(tempfile.TemporaryDirectory())), guess=True)
    except DataError as error:  # where an archive was unpacked to is nobody's business
        raise DataError(str(error).replace(str(place), str(source))) from error
    if place != source:
        titles = {name: split.title or str(split.annotation_file) for name, split in found.items()}
        found = {
            name: replace(split, title=titles[name].replace(str(place), str(source))) for name, split in found.items()
        }
    without = f"; its part `{layout.left_out}` is not looked at" if layout.left_out else ""
    say(f"{source}: a {layout.format} set, {' and '.join(found)}{without}.")
    for line in layout.passed_over:
        say(f"{line}.".replace(str(place), str(source)))
    for split in found.values() if layout.format == "COCO" else ():
        say(f"{split.annotation_file}, images in {split.root}".replace(str(place), str(source)))
    return {name: [split] for name, split in found.items()}


def _named(files: str, roots: str) -> list[Split]:
    from multibox.data import coco
    from multibox.data.layouts import Split

    pairs = coco.split_list(files), coco.split_list(roots)
    if len(pairs[0]) != len(pairs[1]):
        raise OptionError(f"{files}: name one folder of images for each annotation file, separated by commas.")
    return [Split(Path(file), Path(root)) for file, root in zip(*pairs, strict=True)]


def _read(parts: list[Split], classes: list[str] | None) -> CocoData:
    from multibox.data import coco

    files, roots = [part.annotation_file for part in parts], [part.root for part in parts]
    titles = [part.title for part in parts]
    return coco.read(
        files, roots, classes=classes, skip_bad=True, allow_missing_classes=True, titles=titles, guess=True
    )


def _can_time(no_timing: bool) -> bool:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        say('What the data mean for a model is left out: that needs PyTorch (pip install "multibox[train]").')
        return False
    return not no_timing


def _save_contact_sheet(path: Path, data: dict[str, CocoData]) -> None:
    import cv2

    from multibox.doctor.contact_sheet import contact_sheet
    from multibox.files import write_atomically

    if not cv2.haveImageWriter(path.name):
        raise OptionError(f"{path}: no image can be written under this name. End it in .jpg or .png.")
    _, encoded = cv2.imencode(path.suffix, contact_sheet(data.get("train", next(iter(data.values())))))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encoded.tobytes())
    say(f"Samples: {path}")


def _fix(source: Path | None, splits: dict[str, list[Split]], target: Path, twins: Sequence[Twins]) -> None:
    from multibox.doctor.fixing import CHANGES
    from multibox.doctor.fixing import fix as write_fixed
    from multibox.wording import counted

    if any(len(parts) > 1 for parts in splits.values()):
        raise OptionError("--fix takes one annotation file for each split. Fix several one after the other.")
    if source is not None and source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise OptionError(f"{target} lies in {source}, and the original is to stay as it is. Name a folder elsewhere.")
    changes = write_fixed({name: parts[0] for name, parts in splits.items()}, target, twins=twins)
    for change in changes[:NUM_SHOWN_CHANGES]:
        say(f"{change.split}: {change.what}: {change.why}")
    if len(changes) > NUM_SHOWN_CHANGES:
        say(f"... and {len(changes) - NUM_SHOWN_CHANGES} more")
    say(f"A corrected copy is in {target}; {counted(len(changes), 'change')} listed in {target / CHANGES}.")
    lost = sum("left out" in change.what for change in changes)
    if lost:
        say(f"{lost} of them left something out of the data: look at these before you train on it.")
